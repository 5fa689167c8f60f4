"""Transformers and explainers in containers: KServe's own server before a model that a plugin serves, told where it is as
KServe tells it."""

import threading
import time

import numpy
import pytest
import requests
import tritonclient.grpc as triton
from harness.wait import until
from serving.service import condition, conditions, events, gone, host, onnx, ready

WIDTH = 64
ROW = [float(value % 7) for value in range(WIDTH)]


def transformed(name, folder, protocol="v2", *args, **transformer):
    """A model in a folder, and a transformer before it that asks it by a protocol."""
    container = {
        "name": "kserve-container",
        "image": "docker.io/example/transformer:1",
        "command": ["python", "/app/transformer.py"],
        "args": [f"--predictor_protocol={protocol}", "--grpc_port=8081", "--enable_docs_url=false", *args],
        "ports": [{"containerPort": 8080}, {"containerPort": 8081, "name": "h2c"}],
    }
    service = onnx(name, folder)
    service["spec"]["transformer"] = {"containers": [container], **transformer}
    return service


class Asker:
    """Asks a service in the ways that its clients have. A component is asked by itself where it is named."""

    def __init__(self, gateway, kubectl, name):
        self.gateway, self.kubectl, self.name = gateway, kubectl, name

    def post(self, path, body, component=""):
        url = f"http://{self.gateway}/serving/{self.kubectl.namespace}/{self.name}{component}"
        return requests.post(f"{url}{path}", json=body, timeout=60)

    def v1(self, row, component=""):
        answer = self.post(f"/v1/models/{self.name}:predict", {"instances": [row]}, component)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def v2(self, row, component=""):
        tensor = {"name": "input", "shape": [1, WIDTH], "datatype": "FP32", "data": row}
        answer = self.post(f"/v2/models/{self.name}/infer", {"inputs": [tensor], "id": "7"}, component)
        assert answer.status_code == 200, answer.text
        assert answer.json()["id"] == "7"
        return {output["name"]: output["data"] for output in answer.json()["outputs"]}

    def grpc(self, row):
        options = [("grpc.default_authority", host(self.kubectl, self.name))]
        with triton.InferenceServerClient(self.gateway, channel_args=options) as client:
            given = triton.InferInput("input", [1, WIDTH], "FP32")
            given.set_data_from_numpy(numpy.array([row], numpy.float32))
            answer = client.infer(self.name, [given], client_timeout=60).get_response()
        names = {"FP32": "fp32_contents", "INT64": "int64_contents"}
        return {output.name: list(getattr(output.contents, names[output.datatype])) for output in answer.outputs}


def doubled(row):
    return [2 * value for value in row]


def alike(found, expected):
    """Whether answers are the same but for how a client writes numbers."""
    assert found.keys() == expected.keys()
    return all(numpy.allclose(found[key], expected[key], rtol=1e-6) for key in expected)


@pytest.mark.parametrize("protocol", ["v1", "v2", "grpc-v2"])
def test_a_transformer_stands_before_a_model(kubectl, models, gateway, protocol):
    name = f"pipeline-{protocol}"
    kubectl.apply(transformed(name, models / "digits", protocol))
    ready(kubectl, name, 180)
    ask = Asker(gateway, kubectl, name)
    if protocol == "v1":
        assert ask.v1(ROW) == {**ask.v1(doubled(ROW), "-predictor"), "factor": 2.0}
    else:
        expected = {**ask.v2(doubled(ROW), "-predictor"), "factor": [2.0]}
        assert alike(ask.v2(ROW), expected)
        assert ask.v2(ROW, "-transformer") == ask.v2(ROW)
        assert alike(ask.grpc(ROW), expected)

    status = kubectl.json("get", "inferenceservice", name)["status"]
    component = status["components"]["transformer"]
    assert component["url"].startswith(f"http://{name}-transformer.{kubectl.namespace}."), component
    assert component["latestReadyRevision"] == component["latestCreatedRevision"]
    found = conditions(kubectl, "inferenceservice", name)
    kinds = ("Ready", "PredictorReady", "TransformerReady", "IngressReady", "RoutesReady", "LatestDeploymentReady")
    assert all(found[kind] == "True" for kind in kinds), found

    kubectl("delete", "inferenceservice", name)
    until("nothing is left", lambda: gone(kubectl, "pods", "models.purlin.dev", "routes.purlin.dev"), 60)
    assert ask.post("/v2", {}).status_code == 404


def pods(kubectl):
    """The Pods of the transformer."""
    return kubectl("get", "pods", "-l", "purlin.dev/model=changing-transformer", "-o", "name").split()


def test_a_transformer_is_changed_and_no_request_is_lost(kubectl, models, gateway):
    """A transformer comes to a service that answers, and then another one takes its place."""
    kubectl.apply(onnx("changing", models / "digits"))
    ready(kubectl, "changing")
    ask = Asker(gateway, kubectl, "changing")
    plain, stop, failed, factors = ask.v2(ROW), threading.Event(), [], []

    def client():
        while not stop.is_set():
            try:
                factors.append(ask.v2(ROW).get("factor", [1.0])[0])
            except AssertionError as error:
                failed.append(str(error))
            time.sleep(0.05)

    asking = threading.Thread(target=client)
    asking.start()
    try:
        kubectl.apply(transformed("changing", models / "digits", "v2", "--factor=3"))
        until("the first transformer answers", lambda: 3.0 in factors, 180)
        kubectl.apply(transformed("changing", models / "digits", "v2", "--factor=4"))
        until("the second transformer answers", lambda: 4.0 in factors, 180)
        until("nobody but the second answers", lambda: len(pods(kubectl)) == 1 and factors[-1] == 4.0, 60)
        broken = transformed("changing", models / "digits", "v2", "--factor=5")
        broken["spec"]["transformer"]["containers"][0]["image"] = "docker.io/example/nothing:1"
        kubectl.apply(broken)
        told = lambda: [event[2] for event in events(kubectl, "Model", "changing-transformer") if event[0] == "Warning"]
        until("an Event says what is wrong", lambda: any("example/nothing:1" in message for message in told()), 60)
        assert factors[-1] == 4.0
        removed = '[{"op": "remove", "path": "/spec/transformer"}]'
        kubectl("patch", "inferenceservice", "changing", "--type=json", "-p", removed)
        until("the predictor answers by itself", lambda: factors[-1] == 1.0, 60)
    finally:
        stop.set()
        asking.join()
    assert not failed, failed[:3]
    assert set(factors) == {1.0, 3.0, 4.0} and ask.v2(ROW) == plain
    until("its Pods are gone", lambda: gone(kubectl, "pods"), 60)
    ready(kubectl, "changing")
    assert "TransformerReady" not in conditions(kubectl, "inferenceservice", "changing")


def test_a_transformer_goes_to_zero_and_comes_back(kubectl, models, gateway):
    service = transformed("sleepy", models / "digits", minReplicas=0)
    service["metadata"]["annotations"] = {"autoscaling.knative.dev/scale-to-zero-pod-retention-period": "1s"}
    kubectl.apply(service)
    ready(kubectl, "sleepy", 180)
    ask = Asker(gateway, kubectl, "sleepy")
    expected = ask.v2(ROW)
    until("nobody asks and its Pod is gone", lambda: gone(kubectl, "pods"), 180)
    assert condition(kubectl, "inferenceservice", "sleepy", "Ready")["status"] == "True"
    assert ask.v2(ROW) == expected


def test_an_explainer_in_a_container_is_told_whom_to_ask(kubectl, models, gateway):
    service = onnx("explained", models / "digits")
    container = {
        "name": "kserve-container",
        "image": "docker.io/example/step:1",
        "command": ["python", "/app/step.py"],
        "args": ["--adversary_type=SquareAttack"],
        "ports": [{"containerPort": 8080}],
    }
    service["spec"]["explainer"] = {"containers": [container]}
    kubectl.apply(service)
    ready(kubectl, "explained", 120)
    ask = Asker(gateway, kubectl, "explained")
    answer = ask.post("/v1/models/explained:explain", {"instances": [ROW]})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["step"], told["path"], told["given"]) == (
        "explained",
        "/v1/models/explained:explain",
        {"instances": [ROW]},
    )
    given = told["arguments"]
    assert given[0] == "--adversary_type=SquareAttack"
    predictor = given[given.index("--predictor_host") + 1]
    answer = requests.post(f"http://{predictor}/v1/models/explained:predict", json={"instances": [ROW]}, timeout=30)
    assert answer.json() == ask.v1(ROW)
    assert conditions(kubectl, "inferenceservice", "explained")["ExplainerReady"] == "True"
    assert kubectl.json("get", "inferenceservice", "explained")["status"]["components"]["explainer"]["url"]


def test_what_is_wrong_with_a_transformer_is_said(kubectl, models, gateway):
    service = transformed("unknown-image", models / "digits")
    service["spec"]["transformer"]["containers"][0]["image"] = "docker.io/example/nothing:1"
    kubectl.apply(service)

    def said():
        found = condition(kubectl, "inferenceservice", "unknown-image", "TransformerReady")
        return found.get("status") == "False" and "example/nothing:1" in found["message"]

    until("the service names the image", said, 60)
    assert condition(kubectl, "inferenceservice", "unknown-image", "PredictorReady")["status"] == "True"
    assert conditions(kubectl, "inferenceservice", "unknown-image")["Ready"] == "False"
    warned = [event for event in events(kubectl, "InferenceService", "unknown-image") if event[0] == "Warning"]
    assert any("example/nothing:1" in event[2] for event in warned), warned
    # The predictor answers by itself meanwhile.
    Asker(gateway, kubectl, "unknown-image").v2(ROW, "-predictor")


def test_a_transformer_without_a_container_is_refused(kubectl, models):
    service = transformed("bare", models / "digits")
    service["spec"]["transformer"] = {"minReplicas": 1}
    kubectl.apply(service)

    def said():
        found = kubectl.json("get", "inferenceservice", "bare").get("status", {}).get("conditions", [])
        return any(one["status"] == "False" and "spec.transformer.containers" in one["message"] for one in found)

    until("the service names the field", said, 30)
    warned = [event for event in events(kubectl, "InferenceService", "bare") if event[0] == "Warning"]
    assert any("spec.transformer.containers" in event[2] for event in warned), warned
