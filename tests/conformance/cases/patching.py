"""Patches: JSON (RFC 6902), merge (RFC 7386), and strategic merge with its directives and merge keys."""

from ..case import case
from .objects import config_map, deployment, pod_spec


@case
def json_patch_operations(s):
    path = s.path("configmaps")
    s.post(path, config_map("a", {"one": "1", "two": "2"}))
    one = f"{path}/a"
    s.patch(one, "json", [{"op": "copy", "from": "/data/one", "path": "/data/copied"}])
    s.patch(one, "json", [{"op": "move", "from": "/data/two", "path": "/data/moved"}])
    s.patch(
        one,
        "json",
        [{"op": "remove", "path": "/data/one"}, {"op": "add", "path": "/data/a~1b", "value": "x"}],
    )
    s.patch(
        one,
        "json",
        [
            {"op": "test", "path": "/data/moved", "value": "2"},
            {"op": "replace", "path": "/data/moved", "value": "3"},
        ],
    )
    s.patch(one, "json", [])


@case
def json_patch_failures(s):
    path = s.path("configmaps")
    s.post(path, config_map("a", {"one": "1"}))
    one = f"{path}/a"
    s.patch(one, "json", [{"op": "test", "path": "/data/one", "value": "no"}])
    s.patch(one, "json", [{"op": "remove", "path": "/data/none"}])
    s.patch(one, "json", [{"op": "replace", "path": "/data/none", "value": "x"}])
    s.patch(one, "json", [{"op": "dance", "path": "/data/one"}])
    s.patch(one, "json", {"data": {}})
    s.patch(one, "json", "not json")
    s.patch(one, "json", [{"op": "add", "path": "/data/one", "value": 5}])
    s.get(one)


@case
def json_patch_of_lists(s):
    path = s.path("deployments", "apps/v1")
    containers = [{"name": n, "image": f"{n}:1"} for n in ("a", "b")]
    s.post(
        path,
        deployment(
            "d", {"template": {"metadata": {"labels": {"app": "x"}}, "spec": pod_spec(containers=containers)}}
        ),
    )
    at = "/spec/template/spec/containers"
    only = lambda j: [c["name"] for c in j["spec"]["template"]["spec"]["containers"]]
    s.patch(
        f"{path}/d",
        "json",
        [{"op": "add", "path": f"{at}/0", "value": {"name": "first", "image": "x:1"}}],
        only=only,
    )
    s.patch(
        f"{path}/d",
        "json",
        [{"op": "add", "path": f"{at}/-", "value": {"name": "last", "image": "x:1"}}],
        only=only,
    )
    s.patch(f"{path}/d", "json", [{"op": "remove", "path": f"{at}/1"}], only=only)
    s.patch(f"{path}/d", "json", [{"op": "remove", "path": f"{at}/9"}])
    s.patch(
        f"{path}/d",
        "json",
        [
            {"op": "test", "path": f"{at}/0/image", "value": "x:1"},
            {"op": "replace", "path": f"{at}/0/image", "value": "x:2"},
        ],
        only=lambda j: j["metadata"]["generation"],
    )


@case
def merge_patch(s):
    path = s.path("configmaps")
    s.post(path, config_map("a", {"one": "1", "two": "2"}, labels={"x": "y"}))
    one = f"{path}/a"
    s.patch(one, "merge", {"data": {"one": None, "three": "3"}})
    s.patch(one, "merge", {"data": None})
    s.patch(one, "merge", {"data": {"fresh": "1"}, "metadata": {"labels": None, "annotations": {"a": "b"}}})
    s.patch(one, "merge", {})
    s.patch(one, "merge", {"data": "text"})
    s.patch(one, "merge", [1, 2])
    s.patch(one, "merge", "{broken")
    s.patch(f"{path}/none", "merge", {"data": {"x": "y"}})


@case
def patch_with_a_version_is_conditional(s):
    path = s.path("configmaps")
    first = s.post(path, config_map("a"))
    s.patch(f"{path}/a", "merge", {"metadata": {"resourceVersion": first.version}, "data": {"k": "1"}})
    s.patch(f"{path}/a", "merge", {"metadata": {"resourceVersion": first.version}, "data": {"k": "2"}})
    s.patch(f"{path}/a", "strategic", {"metadata": {"resourceVersion": first.version}, "data": {"k": "3"}})
    s.patch(
        f"{path}/a",
        "json",
        [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": first.version},
            {"op": "add", "path": "/data/k", "value": "4"},
        ],
    )


@case
def a_patch_that_changes_nothing_keeps_the_version(s):
    path = s.path("configmaps")
    s.post(path, config_map("a"))
    s.patch(f"{path}/a", "merge", {"data": {"k": "v"}})
    s.patch(f"{path}/a", "strategic", {"data": {"k": "v"}})
    s.get(f"{path}/a")


def spec(**pod):
    return {"spec": {"template": {"spec": pod}}}


def with_deployment(s):
    path = s.path("deployments", "apps/v1")
    containers = [
        {
            "name": "a",
            "image": "a:1",
            "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
            "args": ["one", "two"],
            "ports": [{"containerPort": 80}, {"containerPort": 81}],
        },
        {"name": "b", "image": "b:1", "volumeMounts": [{"name": "v", "mountPath": "/one"}]},
    ]
    template = pod_spec(
        containers=containers,
        volumes=[{"name": "v", "emptyDir": {}}],
        tolerations=[{"key": "t", "operator": "Exists"}],
    )
    s.post(path, deployment("d", {"template": {"metadata": {"labels": {"app": "x"}}, "spec": template}}))
    return f"{path}/d"


only_pod = lambda j: j["spec"]["template"]["spec"]


@case
def strategic_merge_of_lists_by_key(s):
    one = with_deployment(s)
    s.patch(one, "strategic", spec(containers=[{"name": "b", "image": "b:2"}]), only=only_pod)
    s.patch(one, "strategic", spec(containers=[{"name": "new", "image": "n:1"}]), only=only_pod)
    s.patch(
        one,
        "strategic",
        spec(containers=[{"name": "a", "env": [{"name": "Y", "value": "3"}, {"name": "Z", "value": "4"}]}]),
        only=only_pod,
    )
    s.patch(one, "strategic", spec(containers=[{"name": "a", "args": ["three"]}]), only=only_pod)
    s.patch(
        one,
        "strategic",
        spec(containers=[{"name": "a", "ports": [{"containerPort": 81, "name": "web"}]}]),
        only=only_pod,
    )
    s.patch(one, "strategic", spec(tolerations=[{"key": "u", "operator": "Exists"}]), only=only_pod)


@case
def strategic_merge_directives(s):
    one = with_deployment(s)
    s.patch(one, "strategic", spec(containers=[{"name": "b", "$patch": "delete"}]), only=only_pod)
    s.patch(
        one,
        "strategic",
        spec(containers=[{"name": "a", "env": [{"name": "X", "$patch": "delete"}]}]),
        only=only_pod,
    )
    s.patch(
        one, "strategic", spec(containers=[{"name": "a", "$patch": "replace", "image": "a:9"}]), only=only_pod
    )
    s.patch(
        one,
        "strategic",
        spec(containers=[{"$patch": "replace"}, {"name": "only", "image": "o:1"}]),
        only=only_pod,
    )
    s.patch(one, "strategic", spec(volumes=None), only=only_pod)
    s.patch(one, "strategic", spec(securityContext={"$patch": "replace", "runAsUser": 5}), only=only_pod)
    s.patch(one, "strategic", spec(securityContext={"runAsGroup": 6}), only=only_pod)
    s.patch(one, "strategic", spec(securityContext={"$patch": "nonsense"}))


@case
def strategic_merge_order_and_primitives(s):
    one = with_deployment(s)
    s.patch(
        one,
        "strategic",
        spec(
            **{
                "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                "containers": [{"name": "b", "image": "b:3"}],
            }
        ),
        only=only_pod,
    )
    s.patch(
        one,
        "strategic",
        {"metadata": {"finalizers": ["example.com/one"]}},
        only=lambda j: j["metadata"].get("finalizers"),
    )
    s.patch(
        one,
        "strategic",
        {"metadata": {"finalizers": ["example.com/two"]}},
        only=lambda j: j["metadata"].get("finalizers"),
    )
    s.patch(
        one,
        "strategic",
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/one"]}},
        only=lambda j: j["metadata"].get("finalizers"),
    )
    s.patch(
        one, "strategic", {"metadata": {"finalizers": None}}, only=lambda j: j["metadata"].get("finalizers")
    )


@case
def strategic_merge_retain_keys(s):
    one = with_deployment(s)
    s.patch(
        one,
        "strategic",
        {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
        only=lambda j: j["spec"]["strategy"],
    )
    s.patch(
        one,
        "strategic",
        spec(volumes=[{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]),
        only=only_pod,
    )


@case
def strategic_merge_failures(s):
    one = with_deployment(s)
    s.patch(one, "strategic", spec(containers=[{"image": "nameless:1"}]))
    s.patch(one, "strategic", {"spec": "text"})
    s.patch(one, "strategic", spec(containers={"name": "a"}))
    s.patch(one, "strategic", [])
    s.patch(one, "strategic", "{")


@case
def wrong_patch_types(s):
    path = s.path("configmaps")
    s.post(path, config_map("a"))
    s.request("PATCH", f"{path}/a", {"data": {}}, type="application/json")
    s.request("PATCH", f"{path}/a", {"data": {}}, type="text/plain")
    s.request("PATCH", path, {"data": {}}, type="application/merge-patch+json")
