"""Status and scale of built-in kinds, eviction-free: who may change what, and generations."""

from ..case import case
from .objects import deployment, job, pod


@case
def deployment_status(s):
    path = s.path("deployments", "apps/v1")
    s.post(path, {**deployment("d"), "status": {"replicas": 9}})
    s.put(
        f"{path}/d/status",
        {**deployment("d", {"replicas": 5}), "status": {"replicas": 2, "observedGeneration": 1}},
    )
    s.patch(f"{path}/d/status", "merge", {"status": {"readyReplicas": 1}})
    s.patch(
        f"{path}/d/status",
        "strategic",
        {"status": {"conditions": [{"type": "Available", "status": "True", "reason": "x", "message": "y"}]}},
    )
    s.patch(
        f"{path}/d/status",
        "strategic",
        {"status": {"conditions": [{"type": "Progressing", "status": "True"}]}},
    )
    s.patch(f"{path}/d", "merge", {"status": {"replicas": 7}})
    s.patch(f"{path}/d/status", "merge", {"status": {"readyReplicas": 99}})
    s.get(f"{path}/d/status")


@case
def deployment_scale(s):
    path = s.path("deployments", "apps/v1")
    first = s.post(path, deployment("d"))
    s.get(f"{path}/d/scale")
    s.put(
        f"{path}/d/scale",
        {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 3}},
    )
    s.patch(f"{path}/d/scale", "merge", {"spec": {"replicas": 4}})
    s.put(
        f"{path}/d/scale",
        {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": "d", "resourceVersion": first.version},
            "spec": {"replicas": 5},
        },
    )
    s.put(
        f"{path}/d/scale",
        {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": "d"},
            "spec": {"replicas": -5},
        },
    )
    s.get(f"{path}/d", only=lambda j: [j["spec"]["replicas"], j["metadata"]["generation"]])
    s.get(f"{path}/none/scale")


@case
def pod_status(s):
    path = s.path("pods")
    s.post(path, pod("p"))
    s.patch(
        f"{path}/p/status",
        "strategic",
        {
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "podIP": "10.0.0.1",
                "podIPs": [{"ip": "10.0.0.1"}],
            }
        },
    )
    s.patch(
        f"{path}/p/status", "strategic", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    )
    s.patch(f"{path}/p/status", "merge", {"spec": {"nodeName": "x"}})
    s.get(f"{path}/p/log", container="nonsense")
    s.get(f"{path}/none/log")


@case
def job_status(s):
    path = s.path("jobs", "batch/v1")
    s.post(path, job("j"))
    s.patch(f"{path}/j/status", "merge", {"status": {"active": 1}})
    s.patch(f"{path}/j/status", "merge", {"status": {"active": -1}})
    s.get(f"{path}/j/status")
    s.get(f"{path}/j/scale")


@case
def namespace_status_and_missing_subresources(s):
    s.get(f"/api/v1/namespaces/{s.namespace}/status")
    s.get(s.path("configmaps") + "/a/status")
    s.put(s.path("configmaps") + "/a/status", {})
    s.get(s.path("pods") + "/a/nonsense")


@case
def service_account_tokens(s):
    path = s.path("serviceaccounts")
    s.post(path, {"metadata": {"name": "robot"}})
    hide = lambda j: {
        **j,
        "status": {k: "<token>" if k == "token" else v for k, v in j["status"].items()},
        "metadata": {k: v for k, v in j["metadata"].items() if k != "managedFields"},
    }
    s.post(
        f"{path}/robot/token",
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 600, "audiences": ["tests"]},
        },
        only=hide,
    )
    s.post(
        f"{path}/none/token", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    )
    s.post(
        f"{path}/robot/token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 5}},
    )
