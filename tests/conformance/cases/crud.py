"""Each kind through its whole life: create, read, list, replace, each patch, delete, and what is no longer there."""

from ..case import case
from ..session import TABLE
from .objects import KINDS, config_map, made, pod, service_account


@case(over={resource: resource for resource in KINDS})
def life(s, resource):
    group, _ = KINDS[resource]
    path = s.path(resource, group)
    body = made(s, resource)
    created = s.post(path, body)
    s.post(path, body)
    s.get(f"{path}/x")
    s.get(path, labelSelector="set=mine")
    s.get(path, fieldSelector="metadata.name=x", accept=TABLE)
    body["metadata"]["labels"]["more"] = "yes"
    s.put(f"{path}/x", {**body, "metadata": {**body["metadata"], "resourceVersion": created.version}})
    s.put(f"{path}/x", {**body, "metadata": {**body["metadata"], "resourceVersion": created.version}})
    s.patch(f"{path}/x", "merge", {"metadata": {"labels": {"set": None, "merged": "1"}}})
    s.patch(f"{path}/x", "json", [{"op": "add", "path": "/metadata/annotations", "value": {"json": "2"}}])
    s.patch(f"{path}/x", "strategic", {"metadata": {"annotations": {"strategic": "3"}}})
    s.delete(f"{path}/x", {"gracePeriodSeconds": 0} if resource == "pods" else None)
    s.get(f"{path}/x")
    s.delete(f"{path}/x")


@case(over={resource: resource for resource in KINDS})
def delete_collection(s, resource):
    group, _ = KINDS[resource]
    path = s.path(resource, group)
    for name in ("one", "two"):
        s.post(path, made(s, resource, name))
    other = made(s, resource, "three")
    other["metadata"]["labels"] = {"set": "other"}
    s.post(path, other)
    s.delete(
        path,
        {"gracePeriodSeconds": 0} if resource == "pods" else None,
        labelSelector="set=mine",
        only=lambda j: j["kind"],
    )
    s.get(path, labelSelector="set", only=lambda j: [i["metadata"]["name"] for i in j["items"]])


@case
def generate_name(s):
    path = s.path("configmaps")
    body = config_map()
    body["metadata"] = {"generateName": "made-"}
    first = s.post(path, body)
    s.get(f"{path}/{first['metadata']['name']}")
    s.post(path, {**body, "metadata": {"generateName": "Bad_"}})
    s.post(path, {**body, "metadata": {}})
    s.post(path, {**body, "metadata": {"generateName": "x" * 80, "labels": {"long": "1"}}})


@case
def immutable_metadata(s):
    path = s.path("configmaps")
    s.post(
        path,
        {
            **config_map("a"),
            "metadata": {
                "name": "a",
                "uid": "11111111-2222-3333-4444-555555555555",
                "creationTimestamp": "2001-01-01T00:00:00Z",
                "resourceVersion": "",
            },
        },
    )
    s.patch(f"{path}/a", "merge", {"metadata": {"uid": "11111111-2222-3333-4444-555555555555"}})
    s.patch(f"{path}/a", "merge", {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z"}})
    s.patch(f"{path}/a", "merge", {"metadata": {"name": "b"}})
    s.patch(f"{path}/a", "merge", {"metadata": {"namespace": "other"}})
    s.patch(
        f"{path}/a",
        "merge",
        {"metadata": {"deletionTimestamp": "2001-01-01T00:00:00Z", "generation": 7, "selfLink": "/x"}},
    )


@case
def create_with_a_version_is_refused(s):
    path = s.path("configmaps")
    body = config_map("a")
    body["metadata"]["resourceVersion"] = "5"
    s.post(path, body)


@case
def replace_creates_nothing(s):
    path = s.path("configmaps")
    s.put(f"{path}/none", config_map("none"))
    s.put(f"{path}/other", config_map("none"))
    s.post(path, config_map("a"))
    s.put(f"{path}/a", config_map("b"))
    s.put(f"{path}/a", config_map("a", {"k": "unconditional"}))
    s.put(f"{path}/a", config_map("a", {"k": "unconditional"}))


@case
def leases_demand_a_version(s):
    path = s.path("leases", "coordination.k8s.io/v1")
    body = KINDS["leases"][1]("a")
    s.post(path, body)
    s.put(f"{path}/a", body)


@case
def secrets(s):
    path = s.path("secrets")
    base = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}
    s.post(path, {**base, "data": {"x": "not base64!"}})
    s.post(path, {**base, "data": {"bad key": "AAEC"}})
    s.post(path, {**base, "type": "kubernetes.io/tls", "data": {"tls.crt": "AAEC"}})
    s.post(path, {**base, "type": "example.com/own", "stringData": {"x": "y"}})
    s.patch(f"{path}/a", "merge", {"stringData": {"z": "added"}})
    s.patch(f"{path}/a", "merge", {"type": "Opaque"})
    s.patch(f"{path}/a", "merge", {"immutable": True})
    s.patch(f"{path}/a", "merge", {"data": {"x": "AAEC"}})
    s.patch(f"{path}/a", "merge", {"immutable": False})
    s.get(
        path, fieldSelector="type=example.com/own", only=lambda j: [i["metadata"]["name"] for i in j["items"]]
    )


@case
def config_maps(s):
    path = s.path("configmaps")
    s.post(path, {**config_map("a", {"k": "v"}), "binaryData": {"k": "AAEC"}})
    s.post(path, config_map("a", {"bad key": "v"}))
    s.post(path, config_map("a", {"number": 5}))
    s.post(path, {**config_map("a", {"k": "v"}), "binaryData": {"b": "AAEC"}, "immutable": True})
    s.patch(f"{path}/a", "merge", {"data": {"k": "w"}})
    s.patch(f"{path}/a", "merge", {"metadata": {"labels": {"still": "allowed"}}})


@case
def service_accounts(s):
    path = s.path("serviceaccounts")
    s.post(
        path,
        {
            **service_account("a"),
            "automountServiceAccountToken": False,
            "imagePullSecrets": [{"name": "one"}],
        },
    )
    s.patch(f"{path}/a", "strategic", {"imagePullSecrets": [{"name": "two"}]})


@case
def pod_validation(s):
    path = s.path("pods")
    main = {"name": "main", "image": "x:1"}
    bad = {
        "no-containers": {"containers": []},
        "same-name": {"containers": [main, main]},
        "no-image": {"containers": [{"name": "main"}]},
        "bad-name": {"containers": [{**main, "name": "Main_"}]},
        "bad-restart": {"containers": [main], "restartPolicy": "Sometimes"},
        "bad-mount": {"containers": [{**main, "volumeMounts": [{"name": "none", "mountPath": "/x"}]}]},
        "bad-env": {"containers": [{**main, "env": [{"name": "1=", "value": "x"}]}]},
        "bad-port": {"containers": [{**main, "ports": [{"containerPort": 70000}]}]},
        "bad-quantity": {"containers": [{**main, "resources": {"limits": {"cpu": "much"}}}]},
        "request-above-limit": {
            "containers": [{**main, "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}]
        },
    }
    for name, spec in bad.items():
        s.post(path, pod(name, spec))


@case
def pod_defaults(s):
    path = s.path("pods")
    main = {
        "name": "main",
        "image": "x",
        "ports": [{"containerPort": 80}],
        "env": [{"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}},
        "readinessProbe": {"httpGet": {"port": 80}},
        "livenessProbe": {"exec": {"command": ["true"]}},
    }
    volumes = [
        {"name": "c", "configMap": {"name": "c"}},
        {"name": "s", "secret": {"secretName": "s"}},
        {"name": "h", "hostPath": {"path": "/tmp"}},
        {"name": "e", "emptyDir": {}},
        {"name": "d", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    s.post(
        path,
        pod(
            "a",
            {
                "schedulerName": "nobody",
                "containers": [main],
                "initContainers": [{"name": "i", "image": "y:2"}],
                "volumes": volumes,
            },
        ),
    )
    s.post(
        path,
        pod(
            "b",
            {
                "schedulerName": "nobody",
                "containers": [{"name": "m", "image": "x:latest", "imagePullPolicy": "Never"}],
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
            },
        ),
    )


@case
def pod_updates_are_limited(s):
    path = s.path("pods")
    s.post(path, pod("a"))
    s.patch(
        f"{path}/a", "strategic", {"spec": {"containers": [{"name": "main", "image": "example.invalid/x:2"}]}}
    )
    s.patch(f"{path}/a", "strategic", {"spec": {"containers": [{"name": "main", "command": ["sh"]}]}})
    s.patch(f"{path}/a", "merge", {"spec": {"activeDeadlineSeconds": 5}})
    s.patch(f"{path}/a", "merge", {"spec": {"nodeName": "elsewhere"}})


@case
def pod_deletion_is_graceful(s):
    path = s.path("pods")
    # Bound long before it is deleted: a busy real server may not have noticed a binding yet, and then deletes at once.
    bound = pod("c")
    s.post(path, {**bound, "spec": {**bound["spec"], "nodeName": "elsewhere"}})
    s.post(path, pod("a"))
    s.delete(f"{path}/a")
    s.get(f"{path}/a")
    s.post(path, pod("b"))
    s.post(
        f"{path}/b/binding",
        {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": "b"},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "elsewhere"},
        },
    )
    s.get(f"{path}/b", only=lambda j: [j["spec"].get("nodeName"), j["status"]])
    s.delete(
        f"{path}/c",
        {"gracePeriodSeconds": 30},
        only=lambda j: [
            j["metadata"].get("deletionGracePeriodSeconds"),
            j["metadata"].get("deletionTimestamp"),
        ],
    )
    s.delete(f"{path}/c", {"gracePeriodSeconds": 0}, only=lambda j: j["kind"])
    s.get(f"{path}/c")
    s.delete(f"{path}/b", {"gracePeriodSeconds": 0}, only=lambda j: j["kind"])
    s.get(f"{path}/b")


@case
def jobs(s):
    path = s.path("jobs", "batch/v1")
    job = KINDS["jobs"][1]
    s.post(
        path,
        job("indexed", {"completionMode": "Indexed", "completions": 3, "parallelism": 2, "backoffLimit": 1}),
    )
    s.post(path, job("bad-restart", {"template": {"spec": {"containers": [{"name": "m", "image": "x"}]}}}))
    s.post(path, job("negative", {"parallelism": -1}))
    s.post(path, job("no-completions", {"completionMode": "Indexed"}))
    s.post(
        path,
        job(
            "ttl",
            {"ttlSecondsAfterFinished": 60, "activeDeadlineSeconds": 100, "podReplacementPolicy": "Failed"},
        ),
    )
    s.patch(f"{path}/indexed", "merge", {"spec": {"parallelism": 1, "suspend": True}})
    s.patch(f"{path}/indexed", "merge", {"spec": {"completionMode": "NonIndexed"}})
    s.patch(
        f"{path}/ttl",
        "strategic",
        {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "other"}]}}}},
    )


@case
def deployments(s):
    path = s.path("deployments", "apps/v1")
    deployment = KINDS["deployments"][1]
    s.post(path, deployment("a"))
    s.post(path, deployment("mismatch", {"selector": {"matchLabels": {"app": "y"}}}))
    s.post(path, deployment("negative", {"replicas": -1}))
    s.patch(f"{path}/a", "merge", {"spec": {"selector": {"matchLabels": {"app": "y"}}}})
    s.patch(f"{path}/a", "merge", {"spec": {"minReadySeconds": 3}})
    s.patch(f"{path}/a", "merge", {"metadata": {"labels": {"generation": "unchanged"}}})


@case
def namespaces(s):
    name = f"extra-{s.run}"
    s.post("/api/v1/namespaces", {"metadata": {"name": name, "labels": {"one": "1"}}})
    s.post("/api/v1/namespaces", {"metadata": {"name": name}})
    s.get(f"/api/v1/namespaces/{name}")
    s.patch(f"/api/v1/namespaces/{name}", "merge", {"metadata": {"labels": {"two": "2"}}})
    s.get("/api/v1/namespaces", labelSelector="one=1", accept=TABLE)
    s.post("/api/v1/namespaces", {"metadata": {"name": "Bad_Name"}})
    s.post("/api/v1/namespaces", {"metadata": {"name": "x" * 64}})
    s.post(f"/api/v1/namespaces/{name}-none/configmaps", config_map("a"))
    s.post(s.path("configmaps"), config_map("a", namespace="another"))
    s.delete(f"/api/v1/namespaces/{name}", only=lambda j: [j["kind"], j.get("status", {}).get("phase")])


@case
def events(s):
    path = s.path("events")
    event = KINDS["events"][1]
    s.post(path, event("a", namespace=s.namespace))
    s.post(
        path,
        {
            **event("b", namespace=s.namespace),
            "involvedObject": {"kind": "ConfigMap", "name": "a", "namespace": "elsewhere"},
        },
    )
    s.get(
        path,
        fieldSelector="involvedObject.name=a,reason=Tried,type=Normal",
        only=lambda j: [i["metadata"]["name"] for i in j["items"]],
    )
    s.get(path, fieldSelector="involvedObject.name!=a", only=lambda j: j["items"])
    s.get(s.path("events", "events.k8s.io/v1") + "/a")
    s.post(
        s.path("events", "events.k8s.io/v1"),
        {
            "metadata": {"name": "new"},
            "eventTime": "2025-01-02T03:04:05.678901Z",
            "action": "Try",
            "reason": "Tried",
            "note": "it was tried",
            "type": "Normal",
            "reportingController": "tests",
            "reportingInstance": "tests-1",
            "regarding": {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "namespace": s.namespace},
        },
    )
    s.get(f"{path}/new")
