"""CustomResourceDefinitions: registration, validation of definitions, and objects of custom kinds."""

from ..case import case
from ..session import TABLE
from .objects import DEFINITIONS, definition, establish


def widget(group, name="w", /, **spec):
    return {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": 3, **spec},
    }


def widgets(s, **more):
    body, group = definition(s, s.word, "Widget", **more)
    establish(s, body)
    return s.path(body["spec"]["names"]["plural"], f"{group}/v1"), group


@case
def a_definition_is_accepted_and_established(s):
    body, _ = definition(s, "accepted", "Accepted")
    s.post(DEFINITIONS, body, only=lambda j: {**j, "status": None})
    establish(s, body)
    s.get(
        f"{DEFINITIONS}/{body['metadata']['name']}",
        only=lambda j: {**j, "metadata": {k: v for k, v in j["metadata"].items() if k != "managedFields"}},
    )
    s.post(DEFINITIONS, body)
    s.get(f"/apis/{body['spec']['group']}")
    s.get(f"/apis/{body['spec']['group']}/v1")
    s.get(
        DEFINITIONS,
        fieldSelector=f"metadata.name={body['metadata']['name']}",
        accept=TABLE,
        includeObject="None",
    )


@case
def malformed_definitions(s):
    good, group = definition(s, "malformed", "Malformed")

    def changed(**spec):
        return {**good, "spec": {**good["spec"], **spec}}

    version = good["spec"]["versions"][0]
    s.post(DEFINITIONS, {**good, "metadata": {"name": "wrong.name"}})
    s.post(DEFINITIONS, changed(scope="Galactic"))
    s.post(DEFINITIONS, changed(versions=[]))
    s.post(DEFINITIONS, changed(versions=[{**version, "storage": False}]))
    s.post(DEFINITIONS, changed(versions=[version, version]))
    s.post(DEFINITIONS, changed(versions=[{**version, "schema": None}]))
    schema = lambda inner: changed(
        versions=[
            {
                **version,
                "schema": {"openAPIV3Schema": inner},
                "additionalPrinterColumns": [],
                "subresources": {},
            }
        ]
    )
    s.post(DEFINITIONS, schema({"type": "string"}))
    s.post(DEFINITIONS, schema({"type": "object", "properties": {"a": {}}}))
    s.post(DEFINITIONS, schema({"type": "object", "properties": {"a": {"type": "array"}}}))
    s.post(DEFINITIONS, schema({"type": "object", "properties": {"a": {"type": "strange"}}}))
    s.post(DEFINITIONS, schema({"type": "object", "properties": {"a": {"type": "string", "default": 5}}}))
    s.post(DEFINITIONS, schema({"type": "object", "x-kubernetes-validations": [{"rule": "self.("}]}))


@case
def defaults_and_pruning(s):
    path, group = widgets(s)
    s.post(path, {**widget(group, unknown=1, free={"any": [1, {"x": 2}]}), "top": "pruned"})
    s.get(f"{path}/w")
    s.post(path, widget(group, "ports", ports=[{"port": 80}, {"port": 81, "protocol": "UDP"}]))
    s.post(path, widget(group, "nulls", maybe=None, colour=None, replicas=None))
    s.post(path, widget(group, "either", either="5%", map={"a": 1.5}))
    s.patch(f"{path}/w", "merge", {"spec": {"colour": None, "later": 2}})


@case
def field_validation_of_custom_objects(s):
    path, group = widgets(s)
    s.post(path, widget(group, "ignored", unknown=1), fieldValidation="Ignore")
    s.post(path, widget(group, "warned", unknown=1), fieldValidation="Warn")
    s.post(path, widget(group, "strict", unknown=1), fieldValidation="Strict")
    s.patch(f"{path}/ignored", "merge", {"spec": {"unknown": 2}}, fieldValidation="Strict")
    s.post(
        path,
        f'{{"apiVersion":"{group}/v1","kind":"Widget","metadata":{{"name":"twice"}},"spec":{{"size":1,"size":2}}}}',
        fieldValidation="Strict",
    )


@case
def invalid_custom_objects(s):
    path, group = widgets(s)
    for number, spec in enumerate(
        [
            {"size": 0}, {"size": 11}, {"size": "big"}, {"size": 7}, {"size": 1.5}, {"size": None}, {"colour": "blue"}, {"name": "toolong"},
            {"name": "BAD"}, {"tags": ["a", "a"]}, {"tags": ["a", "b", "c", "d"]}, {"tags": "a"}, {"ports": [{"port": 1}, {"port": 1}]},
            {"ports": [{}]}, {"either": 1.5}, {"map": {"a": "x"}}, {"size": 0, "colour": "blue"},
        ]
    ):  # fmt: skip
        s.post(path, widget(group, f"n{number}", **spec))
    s.post(path, {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "empty"}})
    s.post(path, {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "empty"}, "spec": {}})
    s.post(
        path,
        {"apiVersion": f"{group}/v1", "kind": "Other", "metadata": {"name": "kind"}, "spec": {"size": 1}},
    )
    s.post(
        path,
        {"apiVersion": f"{group}/v2", "kind": "Widget", "metadata": {"name": "kind"}, "spec": {"size": 1}},
    )


@case
def custom_life(s):
    path, group = widgets(s)
    created = s.post(path, widget(group))
    s.get(path)
    s.get(path, accept=TABLE)
    s.get(f"{path}/w", accept=TABLE)
    s.put(f"{path}/w", widget(group, size=4))
    s.put(
        f"{path}/w", {**widget(group, size=4), "metadata": {"name": "w", "resourceVersion": created.version}}
    )
    s.patch(f"{path}/w", "merge", {"spec": {"size": 5}})
    s.patch(f"{path}/w", "json", [{"op": "replace", "path": "/spec/size", "value": 6}])
    s.patch(f"{path}/w", "strategic", {"spec": {"size": 5}})
    s.patch(f"{path}/w", "merge", {"spec": {"size": 50}})
    s.delete(f"{path}/w")
    s.get(f"{path}/w")


@case
def custom_subresources(s):
    path, group = widgets(s)
    s.post(path, {**widget(group, replicas=2), "status": {"phase": "Ignored"}})
    s.put(f"{path}/w/status", {**widget(group, size=9), "status": {"phase": "Set", "replicas": 1}})
    s.patch(f"{path}/w", "merge", {"status": {"phase": "Ignored"}, "metadata": {"labels": {"a": "b"}}})
    s.patch(
        f"{path}/w/status", "merge", {"status": {"phase": "Patched"}, "metadata": {"annotations": {"a": "b"}}}
    )
    s.patch(f"{path}/w/status", "merge", {"status": {"phase": 5}})
    s.patch(f"{path}/w/status", "merge", {"status": {"at": "not a time"}})
    s.get(f"{path}/w/status")
    s.get(f"{path}/w/scale")
    s.patch(f"{path}/w/scale", "merge", {"spec": {"replicas": 7}})
    s.put(
        f"{path}/w/scale",
        {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "w"}, "spec": {"replicas": 8}},
    )
    s.patch(f"{path}/w/scale", "merge", {"spec": {"replicas": -1}})
    s.get(f"{path}/w/nonsense")


@case
def custom_apply(s):
    path, group = widgets(s)
    one = f"{path}/w"
    s.apply(one, widget(group, ports=[{"port": 80}], tags=["a"]), "first")
    partial = lambda **spec: {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": spec,
    }
    s.apply(one, partial(ports=[{"port": 81}], tags=["b"]), "second")
    s.apply(one, partial(size=9), "second")
    s.apply(one, partial(size=9), "second", force="true")
    s.apply(one, partial(ports=[{"port": 80}]), "first")
    s.apply(f"{one}/status", {**partial(), "status": {"phase": "Applied"}}, "observer")


@case
def a_cluster_scoped_kind(s):
    body, group = definition(s, "globals", "Global", scope="Cluster")
    establish(s, body)
    made = {"apiVersion": f"{group}/v1", "kind": "Global", "metadata": {"name": "g"}, "spec": {"size": 1}}
    s.post(f"/apis/{group}/v1/globals", made)
    s.get(f"/apis/{group}/v1/globals/g")
    s.get(f"/apis/{group}/v1/globals", accept=TABLE)
    s.post(s.path("globals", f"{group}/v1"), made)
    s.delete(f"/apis/{group}/v1/globals/g")


@case
def versions_of_one_kind(s):
    base, group = definition(s, "versioned", "Versioned")
    version = base["spec"]["versions"][0]
    body, group = definition(
        s,
        "versioned",
        "Versioned",
        versions=[
            version,
            {**version, "name": "v1beta1", "storage": False, "deprecated": True},
            {**version, "name": "v1alpha1", "served": False, "storage": False},
        ],
    )
    establish(s, body)
    s.get(f"/apis/{group}")
    s.post(
        s.path("versioned", f"{group}/v1beta1"),
        {
            "apiVersion": f"{group}/v1beta1",
            "kind": "Versioned",
            "metadata": {"name": "a"},
            "spec": {"size": 1},
        },
    )
    s.get(s.path("versioned", f"{group}/v1") + "/a")
    s.get(s.path("versioned", f"{group}/v1beta1") + "/a")
    s.get(s.path("versioned", f"{group}/v1alpha1") + "/a")


@case
def a_definition_changes_and_goes(s):
    path, group = widgets(s)
    plural = path.rpartition("/")[2]
    s.post(path, widget(group, "old"))
    s.patch(
        f"{DEFINITIONS}/{plural}.{group}",
        "merge",
        {"spec": {"scope": "Cluster"}},
        only=lambda j: j["spec"]["scope"],
    )
    s.patch(
        f"{DEFINITIONS}/{plural}.{group}",
        "merge",
        {"spec": {"group": "other.example.com"}},
        only=lambda j: j["spec"]["group"],
    )
    s.delete(f"{DEFINITIONS}/{plural}.{group}", only=lambda j: j["kind"])
