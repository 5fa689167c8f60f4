"""TrainedModels: models that share an InferenceService, each under its own name at that service's address."""

import json

import numpy
import pytest
import requests
import tritonclient.grpc as triton
from harness.wait import until
from serving.service import condition, conditions, events, gone, host, onnx, ready


def parent(name="shared", **resources):
    """An InferenceService without a model of its own, as in KServe's example."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"minReplicas": 1, "triton": {"resources": {"limits": {"memory": "2Gi"}}, **resources}}},
    }


def trained(name, uri, framework="onnx", memory="512Mi", service="shared"):
    model = {"framework": framework, "storageUri": uri if "://" in str(uri) else f"file://{uri}", "memory": memory}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "TrainedModel",
        "metadata": {"name": name},
        "spec": {"inferenceService": service, "model": model},
    }


@pytest.fixture
def ask(kubectl, gateway):
    """Asks a model at the service's address over REST, with so many features."""

    def post(model, width, service="shared"):
        body = {"inputs": [{"name": "input", "shape": [1, width], "datatype": "FP32", "data": [1.0] * width}]}
        url = f"http://{gateway}/serving/{kubectl.namespace}/{service}/v2/models/{model}/infer"
        return requests.post(url, json=body, timeout=30)

    return post


def test_models_share_a_service_and_answer_by_name(kubectl, models, gateway, ask):
    kubectl.apply(parent(), trained("digits", models / "digits"), trained("forest", models / "forest"))
    for name in ("digits", "forest"):
        ready(kubectl, name, kind="trainedmodel")
    assert ask("digits", 64).status_code == 200 and ask("forest", 4).status_code == 200
    assert ask("digits", 4).status_code == 400 and ask("other", 4).status_code == 404

    address = host(kubectl, "shared")
    with triton.InferenceServerClient(gateway, channel_args=[("grpc.default_authority", address)]) as client:
        for name, width in (("digits", 64), ("forest", 4)):
            given = triton.InferInput("input", [1, width], "FP32")
            given.set_data_from_numpy(numpy.ones((1, width), numpy.float32))
            found = client.infer(name, [given])
            output = ask(name, width).json()["outputs"][0]
            assert found.as_numpy(output["name"]).flatten().tolist() == output["data"]
    listed = requests.get(f"http://{gateway}/v2/models", headers={"Host": address}, timeout=30)
    assert listed.json() == {"models": ["digits", "forest"]}

    status = kubectl.json("get", "trainedmodel", "digits")["status"]
    assert status["url"] == f"http://{address}/v2/models/digits/infer"
    local = f"http://shared.{kubectl.namespace}.svc.cluster.local/v2/models/digits/infer"
    assert status["address"] == {"url": local}
    found = conditions(kubectl, "trainedmodel", "digits")
    kinds = ("Ready", "InferenceServiceReady", "MemoryResourceAvailable", "IsMMSPredictor")
    assert all(found[kind] == "True" for kind in kinds), found
    header, row = kubectl("get", "tm", "digits").splitlines()
    assert header.split() == ["NAME", "URL", "READY", "AGE"]
    assert row.split()[:3] == ["digits", status["url"], "True"]
    assert ("Normal", "TrainedModelReady") in [event[:2] for event in events(kubectl, "TrainedModel", "digits")]

    # Another source is another model under the same name.
    kubectl.apply(trained("digits", models / "scaled"))
    until("the name stands for the other model", lambda: ask("digits", 4).status_code == 200, 60)

    kubectl("delete", "trainedmodel", "digits")
    until("the name is gone", lambda: ask("digits", 4).status_code == 404, 30)
    assert ask("forest", 4).status_code == 200
    kubectl("delete", "inferenceservice", "shared")
    until("the address is gone", lambda: ask("forest", 4).status_code == 404, 30)
    kinds = ("models.purlin.dev", "routes.purlin.dev")
    until("nothing is left", lambda: gone(kubectl, *kinds), 30)
    kubectl("delete", "trainedmodel", "forest")


def refused(kubectl, name, kind, *parts):
    """Waits until a condition says what is wrong, with these parts; an Event has them, too."""

    def said():
        found = condition(kubectl, "trainedmodel", name, kind)
        return found.get("status") == "False" and found.get("message")

    message = until(f"{name} says what is wrong", said, 60)
    assert all(part in message for part in parts), message
    assert conditions(kubectl, "trainedmodel", name).get("Ready", "False") == "False"

    def warned():
        found = [event[2] for event in events(kubectl, "TrainedModel", name) if event[0] == "Warning"]
        return any(all(part in message for part in parts) for message in found)

    until("an Event says so, too", warned, 30)


def test_a_parent_that_is_missing_is_said_until_it_comes(kubectl, models, ask):
    kubectl.apply(trained("waiting", models / "digits", service="shared"))
    refused(kubectl, "waiting", "InferenceServiceReady", "spec.inferenceService", '"shared"', kubectl.namespace, "create")
    assert gone(kubectl, "models.purlin.dev")
    kubectl.apply(parent())
    ready(kubectl, "waiting", kind="trainedmodel")
    assert ask("waiting", 64).status_code == 200
    kubectl("delete", "inferenceservice", "shared")
    until("its Model goes with the parent", lambda: gone(kubectl, "models.purlin.dev"), 30)
    until("it says so", lambda: conditions(kubectl, "trainedmodel", "waiting")["Ready"] == "False", 30)


def test_a_parent_with_a_model_of_its_own_takes_no_others(kubectl, models):
    kubectl.apply(onnx("alone", models / "digits"), trained("second", models / "forest", service="alone"))
    refused(kubectl, "second", "IsMMSPredictor", "multi-model", "spec.inferenceService", '"alone"', "storageUri")


def test_memory_is_shared_in_the_order_of_arrival(kubectl, models, ask):
    kubectl.apply(parent(), trained("small", models / "digits", memory="1536Mi"))
    ready(kubectl, "small", kind="trainedmodel")
    kubectl.apply(trained("large", models / "forest", memory="1Gi"))
    refused(kubectl, "large", "MemoryResourceAvailable", "spec.model.memory", '"1Gi"', "2Gi")
    assert ask("small", 64).status_code == 200 and ask("large", 4).status_code == 404
    kubectl("delete", "trainedmodel", "small")
    ready(kubectl, "large", kind="trainedmodel")
    until("there is room", lambda: ask("large", 4).status_code == 200, 30)


def test_a_model_that_cannot_be_loaded_leaves_the_others_alone(kubectl, models, ask):
    wrong = [
        trained("strange", models / "digits", framework="crystal-ball"),
        trained("broken", models / "broken"),
        trained("lost", models / "nowhere"),
    ]
    kubectl.apply(parent(), trained("good", models / "digits"), *wrong)
    ready(kubectl, "good", kind="trainedmodel")
    refused(kubectl, "strange", "FrameworkSupported", "spec.model.framework", '"crystal-ball"')
    refused(kubectl, "broken", "FrameworkSupported", "spec.model.storageUri", str(models / "broken"))
    refused(kubectl, "lost", "FrameworkSupported", "spec.model.storageUri", str(models / "nowhere"))
    assert ask("good", 64).status_code == 200


MISTAKES = {
    "memory": ({"spec": {"model": {"memory": "plenty"}}}, ["spec.model.memory", '"plenty"', "256Mi"]),
    "name": ({"metadata": {"name": "a.b"}}, ["metadata.name", '"a.b"']),
    "framework": ({"spec": {"model": {"framework": ""}}}, ["spec.model.framework"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_a_condition_and_an_event(kubectl, models, mistake):
    change, parts = MISTAKES[mistake]
    manifest = trained("mistaken", models / "digits")
    manifest["metadata"] |= change.get("metadata", {})
    manifest["spec"]["model"] |= change.get("spec", {}).get("model", {})
    name = manifest["metadata"]["name"]
    kubectl.apply(manifest)

    def said():
        found = kubectl.json("get", "trainedmodel", name).get("status", {}).get("conditions", [])
        return any(one["status"] == "False" and all(part in one["message"] for part in parts) for one in found)

    until("the condition says what is wrong", said, 15)
    warned = [event[2] for event in events(kubectl, "TrainedModel", name) if event[0] == "Warning"]
    assert any(all(part in message for part in parts) for message in warned), json.dumps(warned)
