"""Server-side apply: who owns what, conflicts, force, removal, and the managedFields of other writers."""

from ..case import case
from .objects import config_map, deployment, pod_spec

BASE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


def data(**values):
    return {**BASE, "data": values}


@case
def apply_creates_and_updates(s):
    one = s.path("configmaps") + "/a"
    s.apply(one, data(x="1", y="2"))
    s.apply(one, data(x="1", y="2"))
    s.apply(one, data(x="3"))
    s.apply(
        one,
        {
            **BASE,
            "metadata": {"name": "a", "labels": {"l": "1"}, "annotations": {"b": "2"}},
            "data": {"x": "3"},
        },
    )
    s.apply(one, BASE)


@case
def apply_conflicts(s):
    one = s.path("configmaps") + "/a"
    s.apply(one, data(x="1", y="1"), "first")
    s.apply(one, data(x="2"), "second")
    s.apply(one, data(x="1"), "second")
    s.apply(one, data(x="2"), "second")
    s.apply(one, data(x="2"), "second", force="true")
    s.apply(one, data(y="1"), "first")
    s.apply(one, data(x="9"), "third")  # a conflict with two managers is listed in no order


@case
def apply_and_other_writers(s):
    path = s.path("configmaps")
    one = f"{path}/a"
    s.post(path, {**config_map("a", {"x": "1"})}, fieldManager="creator")
    s.apply(one, data(x="2"), "applier")
    s.apply(one, data(x="1", z="1"), "applier")
    s.patch(one, "merge", {"data": {"z": "2"}}, fieldManager="patcher")
    s.apply(one, data(x="1", z="1"), "applier")
    s.patch(one, "merge", {"data": {"z": None}}, fieldManager="patcher")
    s.apply(one, data(x="1"), "applier")
    s.get(one)


@case
def apply_keyed_lists(s):
    one = s.path("deployments", "apps/v1") + "/d"
    body = lambda *containers: {
        **deployment(
            "d",
            {
                "template": {
                    "metadata": {"labels": {"app": "x"}},
                    "spec": pod_spec(containers=list(containers)),
                }
            },
        )
    }
    a = {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}], "ports": [{"containerPort": 80}]}
    b = {"name": "b", "image": "b:1"}
    s.apply(one, body(a, b), "first")
    partial = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]}}},
    }
    s.apply(one, partial, "second")
    s.apply(one, body(a), "first")
    s.apply(one, {**partial, "spec": {"replicas": 4}}, "second")
    s.apply(one, {**partial, "spec": {"replicas": 4}}, "second", force="true")


@case
def apply_failures(s):
    one = s.path("configmaps") + "/a"
    s.patch(one, "apply", data(x="1"))
    s.apply(one, {**data(x="1"), "metadata": {"name": "b"}})
    s.apply(one, {"kind": "ConfigMap", "metadata": {"name": "a"}})
    s.apply(one, {**data(x="1"), "kind": "Secret"})
    s.apply(one, "x: [")
    s.apply(one, {**data(x="1"), "metadata": {"name": "a", "managedFields": [{"manager": "x"}]}})
    s.apply(one, data(x=5))
    s.apply(one, {**data(x="1"), "unknown": 1})
    s.apply(one, {**data(x="1"), "metadata": {"name": "a", "resourceVersion": "1"}})
    s.apply(one, data(x="1"), "m" * 129)


@case
def apply_takes_yaml(s):
    one = s.path("configmaps") + "/a"
    s.apply(one, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    two\n    lines\n")


@case
def apply_dry_run(s):
    one = s.path("configmaps") + "/a"
    s.apply(one, data(x="1"), dryRun="All")
    s.get(one)


@case
def apply_to_status(s):
    path = s.path("deployments", "apps/v1")
    s.post(path, deployment("d"), fieldManager="creator")
    s.apply(
        f"{path}/d/status",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "status": {"replicas": 3}},
        "observer",
    )
    s.apply(
        f"{path}/d",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "status": {"replicas": 4}},
        "other",
    )


@case
def managed_fields_of_updates(s):
    path = s.path("configmaps")
    one = f"{path}/a"
    first = s.post(path, config_map("a", {"x": "1", "y": "1"}), fieldManager="one")
    s.put(one, {**config_map("a", {"x": "2", "y": "1"}), "metadata": {"name": "a"}}, fieldManager="two")
    s.patch(one, "merge", {"metadata": {"labels": {"l": "1"}}}, headers={"User-Agent": "agent/1.0 (rest)"})
    s.patch(one, "merge", {"data": {"x": None}}, fieldManager="three")
    s.patch(one, "merge", {"metadata": {"managedFields": [{}]}})
    assert first.uid


@case
def apply_to_a_keyless_and_a_set_list(s):
    path = s.path("serviceaccounts")
    base = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}}
    s.apply(f"{path}/a", {**base, "imagePullSecrets": [{"name": "one"}]}, "first")
    s.apply(f"{path}/a", {**base, "imagePullSecrets": [{"name": "two"}]}, "second")
    s.apply(f"{path}/a", {**base, "metadata": {"name": "a", "finalizers": ["example.com/one"]}}, "first")
    s.apply(
        f"{path}/a",
        {
            **base,
            "metadata": {"name": "a", "finalizers": ["example.com/two"]},
            "imagePullSecrets": [{"name": "two"}],
        },
        "second",
    )
    s.apply(f"{path}/a", base, "first")
    s.patch(f"{path}/a", "merge", {"metadata": {"finalizers": None}})
