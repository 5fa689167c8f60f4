"""What resources a Model would need, by what it used: said in its status, as the Vertical Pod Autoscaler says it."""

import datetime
import json
import threading
import time

import requests
from harness.wait import until
from serving.service import onnx, ready
from serving.test_containers import apply, custom, pods

# What a metrics server has, as a definition of the cluster: there is none in these tests.
METRICS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "pods.metrics.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, it stands for the metrics server in a test"},
    },
    "spec": {
        "group": "metrics.k8s.io",
        "names": {"kind": "PodMetrics", "plural": "pods", "singular": "podmetrics"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def recommended(kubectl, model):
    status = kubectl.json("get", "models.purlin.dev", model).get("status", {})
    return status.get("recommendation")


def milli(cpu):
    assert cpu.endswith("m"), cpu
    return int(cpu.removesuffix("m"))


def mebi(memory):
    assert memory.endswith("Mi"), memory
    return int(memory.removesuffix("Mi"))


def in_order(found):
    order = [found["lowerBound"], found["target"], found["upperBound"]]
    assert [milli(amounts["cpu"]) for amounts in order] == sorted(milli(amounts["cpu"]) for amounts in order), found
    assert [mebi(amounts["memory"]) for amounts in order] == sorted(mebi(amounts["memory"]) for amounts in order), found


def test_a_model_that_a_plugin_serves_is_measured_by_its_calls(kubectl, gateway, models):
    kubectl("apply", "-f", "-", stdin=json.dumps(onnx("measured", models / "digits")))
    ready(kubectl, "measured")
    url = f"http://{gateway}/serving/{kubectl.namespace}/measured/v2/models/measured/infer"
    body = {"inputs": [{"name": "input", "shape": [1, 64], "datatype": "FP32", "data": [1.0] * 64}]}
    going = threading.Event()

    def ask():
        with requests.Session() as session:
            while not going.is_set():
                session.post(url, json=body, timeout=30)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        found = until("there is a recommendation", lambda: recommended(kubectl, "measured-predictor-00001"), 120)
    finally:
        going.set()
        asking.join()
    in_order(found)
    # A small model needs what every process does; of the processor it had some.
    assert mebi(found["target"]["memory"]) >= 250, found
    assert 25 <= milli(found["target"]["cpu"]) <= 4000, found


def test_a_model_in_containers_is_measured_by_the_metrics_of_its_pods(kubectl):
    apply(kubectl, custom("metered"))
    ready(kubectl, "metered", 120)
    pod = pods(kubectl, "metered")[0]["metadata"]
    kubectl("apply", "-f", "-", stdin=json.dumps(METRICS))
    kubectl("wait", "crd/pods.metrics.k8s.io", "--for=condition=Established", "--timeout=30s", timeout=60)
    try:
        started = time.monotonic()

        def told():
            usage = {"name": "kserve-container", "usage": {"cpu": "1500m", "memory": "1Gi"}}
            metrics = {
                "apiVersion": "metrics.k8s.io/v1beta1",
                "kind": "PodMetrics",
                "metadata": {"name": pod["name"], "namespace": pod["namespace"], "labels": pod["labels"]},
                "timestamp": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "window": "15s",
                "containers": [usage],
            }
            kubectl("apply", "-f", "-", stdin=json.dumps(metrics))
            return recommended(kubectl, "metered-predictor-00001")

        found = until("there is a recommendation", told, 90, interval=5)
        print(f"\nrecommended after {time.monotonic() - started:.0f} s: {found}")
    finally:
        kubectl("delete", "crd", "pods.metrics.k8s.io")
    in_order(found)
    # What it used and the margin, in buckets of a twentieth.
    assert 1725 <= milli(found["target"]["cpu"]) <= 1725 * 1.06, found
    assert 1177 <= mebi(found["target"]["memory"]) <= 1177 * 1.07, found
