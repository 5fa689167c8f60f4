"""Everything about a request but its object: dry runs, field validation, content types, credentials, wrong paths."""

import json

from ..case import case
from ..session import PARTIAL, PARTIAL_LIST, TABLE
from .objects import KINDS, config_map, deployment, made


@case
def dry_runs(s):
    path = s.path("configmaps")
    s.post(path, config_map("a"), dryRun="All")
    s.get(f"{path}/a")
    s.post(path, config_map("a"), dryRun="Some")
    s.post(path, config_map("a"))
    s.put(f"{path}/a", config_map("a", {"k": "dry"}), dryRun="All")
    s.patch(f"{path}/a", "merge", {"data": {"k": "dry"}}, dryRun="All")
    s.patch(f"{path}/a", "merge", {"data": {"k": 5}}, dryRun="All")
    s.get(f"{path}/a")
    s.post(path, config_map("a"), dryRun="All")


@case(over={mode.lower(): mode for mode in ("Ignore", "Warn", "Strict", "Sometimes")})
def field_validation(s, mode):
    path = s.path("deployments", "apps/v1")
    body = deployment("d")
    body["spec"]["unknown"] = 1
    body["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    s.post(path, body, fieldValidation=mode)
    s.post(
        s.path("configmaps"),
        '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"twice"},"data":{"a":"1","a":"2"}}',
        fieldValidation=mode,
    )
    s.post(
        s.path("configmaps"),
        {**config_map("m"), "metadata": {"name": "m", "nonsense": 1}},
        fieldValidation=mode,
    )


@case
def malformed_bodies(s):
    path = s.path("configmaps")
    s.post(path, "{broken")
    s.post(path, "")
    s.post(path, "[]")
    s.post(path, '"text"')
    s.post(path, {})
    s.post(path, {**config_map("a"), "kind": "Secret"})
    s.post(path, {**config_map("a"), "apiVersion": "v2"})
    s.post(path, {**config_map("a"), "metadata": {"name": 5}})
    s.post(path, {**config_map("a"), "metadata": {"name": "a", "labels": {"bad key!": "x"}}})
    s.post(path, {**config_map("a"), "metadata": {"name": "a", "labels": {"k": "bad value!"}}})
    s.post(path, {**config_map("a"), "metadata": {"name": "a", "annotations": {"bad key!": "x"}}})
    s.post(path, {**config_map("a"), "metadata": {"name": "a/b"}})
    s.post(path, {**config_map("a"), "metadata": {"name": ".."}})
    s.post(path, {**config_map("x" * 254)})


@case
def types_are_checked(s):
    path = s.path("deployments", "apps/v1")
    for spec in [
        {"replicas": "3"},
        {"replicas": 3.5},
        {"template": []},
        {"selector": "x"},
        {"paused": "yes"},
        {"minReadySeconds": 99999999999},
    ]:
        s.post(path, deployment("d", spec))


@case
def yaml_bodies(s):
    path = s.path("configmaps")
    s.post(
        path,
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  k: v\n",
        type="application/yaml",
    )
    s.get(
        f"{path}/y",
        accept="application/yaml",
        only=lambda text: sorted(
            line for line in text.splitlines() if line.startswith(("kind", "apiVersion", "  k:"))
        ),
    )
    s.post(path, "a: [", type="application/yaml")


@case
def accepted_types(s):
    path = s.path("configmaps")
    s.post(path, config_map("a"))
    one = f"{path}/a"
    for accept in [
        "*/*",
        "application/*",
        "application/json;q=0.5, text/html",
        "text/html",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=Nonsense;v=v1;g=meta.k8s.io,application/json",
        "application/json;as=Table;v=v9;g=meta.k8s.io",
    ]:
        s.get(one, accept=accept)
    s.post(path, "x", type="text/plain")
    s.post(path, "<a/>", type="application/xml")


@case(over={resource: resource for resource in KINDS})
def tables(s, resource):
    path = s.path(resource, KINDS[resource][0])
    s.post(path, made(s, resource))
    s.get(f"{path}/x", accept=TABLE)
    s.get(path, accept=TABLE, labelSelector="set=mine", includeObject="None")
    s.get(path, accept=TABLE, labelSelector="set=mine", includeObject="Object")


@case
def partial_metadata(s):
    path = s.path("configmaps")
    s.post(path, config_map("a", labels={"set": "mine"}))
    s.get(f"{path}/a", accept=PARTIAL)
    s.get(path, accept=PARTIAL_LIST, labelSelector="set=mine")
    s.patch(f"{path}/a", "merge", {"data": {"k": "w"}}, accept=PARTIAL)


@case
def credentials(s):
    s.get("/api/v1/namespaces", token="nonsense")
    s.get(s.path("configmaps"), token="")
    s.post(s.path("configmaps"), config_map("a"), token="")
    s.get("/api", token="", only=lambda j: j["kind"])
    s.get("/version", token="", only=lambda j: j["major"])
    s.get("/healthz", token="")
    s.get("/livez", token="")
    s.get("/readyz", token="")


@case
def who_am_i(s):
    s.post(
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"},
        only=lambda j: [j["kind"], sorted(j["status"]["userInfo"]["groups"])],
    )
    s.post(
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": "default"}},
        },
        only=lambda j: [j["kind"], j["status"]["allowed"]],
    )


@case
def wrong_paths(s):
    s.get("/nonsense")
    s.get("/api/v2")
    s.get("/apis/nonsense.example.com")
    s.get("/apis/nonsense.example.com/v1")
    s.get("/apis/batch/v9/jobs")
    s.get("/api/v1/nonsense")
    s.get(s.path("nonsense"))
    s.post("/api/v1/configmaps", config_map("a"))
    s.get(s.path("namespaces"))
    s.put(s.path("configmaps"), config_map("a"))
    s.post(s.path("configmaps") + "/a", config_map("a"))
    s.request("TRACE", s.path("configmaps"))


@case
def a_large_object(s):
    path = s.path("configmaps")
    s.post(path, config_map("big", {"k": "x" * 1_100_000}))
    s.post(path, config_map("fits", {"k": "x" * 900_000}), only=lambda j: len(j["data"]["k"]))
    s.request("POST", path, json.dumps(config_map("huge", {"k": "x" * 4_000_000})))


@case
def unusual_text(s):
    path = s.path("configmaps")
    s.post(
        path,
        config_map(
            "a",
            {"k": 'snow ☃, quote ", <b>&amp;</b>, \u2028 and \u0000'},
            annotations={"example.com/x": "é\n\t"},
        ),
    )
    s.get(f"{path}/a")
    s.post(path, config_map("empty", {}))
    s.post(path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bare"}})
    s.post(
        path,
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "nulls", "labels": None, "annotations": {}},
            "data": None,
        },
    )
