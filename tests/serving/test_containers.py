"""Models that containers serve: Pods of their own, as many as the load asks for, and no request lost on the way."""

import concurrent.futures
import json
import os
import signal
import time

import numpy
import requests
import tritonclient.grpc as triton
from harness.wait import until
from serving.service import condition, host, ready


def custom(name, delay=0.0, image="docker.io/example/predictor:1", **predictor):
    """A custom predictor as users write it: KServe's server, which listens where its arguments say."""
    container = {
        "name": "kserve-container",
        "image": image,
        "command": ["python", "/app/predictor.py"],
        "args": [
            *(f"--model_name={name}", "--http_port=8080", "--grpc_port=8081", f"--delay={delay}"),
            "--enable_docs_url=false",
        ],
        "ports": [{"containerPort": 8080}, {"containerPort": 8081, "name": "h2c"}],
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"containers": [container], **predictor}},
    }


def apply(kubectl, service):
    kubectl("apply", "-f", "-", stdin=json.dumps(service))


def predict(gateway, namespace, name, value=1, timeout=60):
    url = f"http://{gateway}/serving/{namespace}/{name}/v1/models/{name}:predict"
    return requests.post(url, json={"instances": [value]}, timeout=timeout)


def pods(kubectl, name):
    selector = f"purlin.dev/model={name}-predictor-00001"
    return kubectl.json("get", "pods", "-l", selector)["items"]


def test_a_custom_predictor_answers_all_protocols(kubectl, gateway):
    apply(kubectl, custom("doubler"))
    ready(kubectl, "doubler", 120)
    answer = predict(gateway, kubectl.namespace, "doubler", 21)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == [42]

    tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.5, 2.5]}
    url = f"http://{gateway}/serving/{kubectl.namespace}/doubler/v2/models/doubler/infer"
    answer = requests.post(url, json={"inputs": [tensor]}, timeout=30)
    assert answer.json()["outputs"][0]["data"] == [3.0, 5.0], answer.text

    options = [("grpc.default_authority", host(kubectl, "doubler"))]
    with triton.InferenceServerClient(gateway, channel_args=options) as client:
        given = triton.InferInput("x", [2], "FP32")
        given.set_data_from_numpy(numpy.array([1.5, 2.5], numpy.float32))
        answer = client.infer("doubler", [given]).get_response()
        # KServe's server answers with numbers where Triton's would with bytes, which alone its client reads.
        assert list(answer.outputs[0].contents.fp32_contents) == [3.0, 5.0], answer


def test_an_image_that_is_not_there_is_a_condition(kubectl):
    apply(kubectl, custom("nowhere", image="docker.io/example/nothing:1"))

    def said():
        found = condition(kubectl, "models", "nowhere-predictor-00001", "Ready")
        return found.get("reason") == "ImagePullFailed" and "example/nothing:1" in found["message"]

    until("the Model names the image", said, 60)


def test_a_template_that_is_no_pod_is_a_condition_and_hurts_nobody(kubectl, gateway):
    for name, metadata in [("odd", "text"), ("even", {"labels": {"a": "b"}})]:
        container = {"name": "c", "image": "docker.io/example/nothing:1", "resources": {"limits": {"cpu": 1}}}
        template = {"metadata": metadata, "spec": {"containers": [container]}}
        model = {"apiVersion": "purlin.dev/v1alpha1", "kind": "Model", "metadata": {"name": name}}
        apply(kubectl, {**model, "spec": {"container": {"template": template}}})

    def said(name):
        return condition(kubectl, "models", name, "Ready")

    until("the field is named", lambda: "spec.container.template.metadata" in said("odd").get("message", ""), 30)
    # Whoever comes after it is looked at as ever.
    until("the other goes on", lambda: said("even").get("reason") == "ImagePullFailed", 60)


def test_load_brings_replicas_and_their_absence_zero(kubectl, gateway):
    scaling = {"minReplicas": 0, "maxReplicas": 3, "scaleTarget": 2, "scaleMetric": "concurrency"}
    apply(kubectl, custom("elastic", delay=0.2, **scaling))
    ready(kubectl, "elastic", 120)
    stop = time.monotonic() + 30
    failed, servers = [], set()

    def client(_):
        while time.monotonic() < stop:
            answer = predict(gateway, kubectl.namespace, "elastic")
            if answer.status_code != 200:
                failed.append((answer.status_code, answer.text))
                return
            servers.add(answer.json()["pid"])

    with concurrent.futures.ThreadPoolExecutor(6) as clients:
        list(clients.map(client, range(6)))
    assert not failed, failed[:3]
    assert len(servers) == 3, "six requests at once, with a target of two, are work for more than three"

    def asleep():
        return not pods(kubectl, "elastic")

    until("nobody asks and the replicas are gone", asleep, 120)
    began = time.monotonic()
    answer = predict(gateway, kubectl.namespace, "elastic", 4)
    assert answer.status_code == 200 and answer.json()["predictions"] == [8]
    print(f"from zero to an answer, a Python server: {time.monotonic() - began:.2f} s")


def test_a_replica_that_is_killed_costs_no_request(kubectl, gateway):
    apply(kubectl, custom("steady", delay=0.05, minReplicas=1, maxReplicas=1))
    ready(kubectl, "steady", 120)
    stop = time.monotonic() + 20
    failed, servers = [], []

    def client(_):
        while time.monotonic() < stop:
            answer = predict(gateway, kubectl.namespace, "steady")
            if answer.status_code == 200:
                servers.append(answer.json()["pid"])
            else:
                failed.append((answer.status_code, answer.text))

    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        running = [clients.submit(client, number) for number in range(4)]
        until("there are answers", lambda: servers, 30)
        os.kill(servers[-1], signal.SIGKILL)
        for one in running:
            one.result()
    assert not failed, failed[:3]
    assert len(set(servers)) == 2, "the replica was started again"
