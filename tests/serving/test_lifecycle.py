"""From YAML to answers and back: what becomes of an InferenceService while it is changed, and where it fails."""

import json
import time

import requests
from harness.wait import until
from serving.service import condition, onnx, ready


def ask(gateway, namespace, name, width=64):
    body = {"inputs": [{"name": "input", "shape": [1, width], "datatype": "FP32", "data": [1.0] * width}]}
    url = f"http://{gateway}/serving/{namespace}/{name}/v2/models/{name}/infer"
    return requests.post(url, json=body, timeout=30)


def events(kubectl, name):
    """Type and reason of the Events about a Model."""
    found = kubectl.json("get", "events", f"--field-selector=involvedObject.kind=Model,involvedObject.name={name}")
    return [(event["type"], event["reason"]) for event in found["items"]]


def test_a_source_that_is_not_there_is_a_condition(kubectl, models):
    kubectl("apply", "-f", "-", stdin=json.dumps(onnx("lost", models / "nowhere")))
    until(
        "the InferenceService says that its source cannot be read",
        lambda: "cannot be read" in condition(kubectl, "inferenceservice", "lost", "PredictorReady").get("message", "")
        or "cannot be read" in json.dumps(kubectl.json("get", "inferenceservice", "lost").get("status", {})),
        30,
    )


def test_a_file_that_is_no_model_is_a_condition(kubectl, models):
    kubectl("apply", "-f", "-", stdin=json.dumps(onnx("broken", models / "broken")))
    until(
        "the Model says that its file is no graph",
        lambda: condition(kubectl, "models", "broken-predictor-00001", "Ready").get("reason") == "InvalidModel",
        30,
    )
    until(
        "an Event says so too",
        lambda: ("Warning", "InvalidModel") in events(kubectl, "broken-predictor-00001"),
        30,
    )


def test_a_model_that_gets_ready_has_an_event(kubectl, models):
    kubectl("apply", "-f", "-", stdin=json.dumps(onnx("told", models / "digits")))
    ready(kubectl, "told")
    until("an Event says so", lambda: ("Normal", "Loaded") in events(kubectl, "told-predictor-00001"), 30)


def test_a_folder_without_a_model_names_the_field(kubectl, models):
    kubectl("apply", "-f", "-", stdin=json.dumps(onnx("empty", models / "empty")))
    until(
        "the Model names its source",
        lambda: "spec.source.uri" in condition(kubectl, "models", "empty-predictor-00001", "Ready").get("message", ""),
        30,
    )
    # Whoever wrote the InferenceService is told of the field that they wrote.
    until(
        "the InferenceService names its model's place",
        lambda: "spec.predictor.model.storageUri" in condition(kubectl, "inferenceservice", "empty", "PredictorReady").get("message", ""),
        30,
    )


def test_models_outside_the_folders_are_not_read(kubectl):
    kubectl("apply", "-f", "-", stdin=json.dumps(onnx("secret", "/etc")))
    until(
        "the source is refused",
        lambda: condition(kubectl, "models", "secret-predictor-00001", "Ready").get("reason") == "SourceForbidden",
        30,
    )


def test_an_upgrade_and_a_rollback_cut_nothing(kubectl, models, gateway):
    """A model that cannot be loaded never takes the place of one that answers."""
    namespace = kubectl.namespace
    kubectl("apply", "-f", "-", stdin=json.dumps(onnx("rolling", models / "digits")))
    ready(kubectl, "rolling")
    assert ask(gateway, namespace, "rolling").status_code == 200
    kubectl("apply", "-f", "-", stdin=json.dumps(onnx("rolling", models / "broken")))
    until(
        "the second revision fails",
        lambda: condition(kubectl, "models", "rolling-predictor-00002", "Ready").get("status") == "False",
        30,
    )
    for _ in range(20):
        assert ask(gateway, namespace, "rolling").status_code == 200
        time.sleep(0.05)


def test_a_deleted_service_no_longer_answers(kubectl, models, gateway):
    kubectl("apply", "-f", "-", stdin=json.dumps(onnx("short", models / "digits")))
    ready(kubectl, "short")
    assert ask(gateway, kubectl.namespace, "short").status_code == 200
    kubectl("delete", "inferenceservice", "short")
    until("its route is gone", lambda: ask(gateway, kubectl.namespace, "short").status_code == 404, 30)


def test_scale_to_zero_and_back(kubectl, models, gateway):
    service = onnx("napper", models / "digits", minReplicas=0)
    service["metadata"]["annotations"] = {"autoscaling.knative.dev/scale-to-zero-pod-retention-period": "1s"}
    kubectl("apply", "-f", "-", stdin=json.dumps(service))
    ready(kubectl, "napper")
    until(
        "the model is out of memory",
        lambda: kubectl.json("get", "models", "napper-predictor-00001")["status"].get("replicas") == 0,
        90,
    )
    started = time.monotonic()
    answer = ask(gateway, kubectl.namespace, "napper")
    print(f"from zero to an answer: {(time.monotonic() - started) * 1000:.0f} ms")
    assert answer.status_code == 200
    assert condition(kubectl, "inferenceservice", "napper", "Ready")["status"] == "True"


def test_models_survive_a_kill(server, kubectl, models, gateway):
    kubectl("apply", "-f", "-", stdin=json.dumps(onnx("hardy", models / "digits")))
    ready(kubectl, "hardy")

    def since():
        """When each condition of the service and its Model last turned."""
        kinds = {"inferenceservice": "hardy", "models.purlin.dev": "hardy-predictor-00001"}
        found = [kubectl.json("get", kind, name)["status"]["conditions"] for kind, name in kinds.items()]
        return [{one["type"]: (one["status"], one["lastTransitionTime"]) for one in conditions} for conditions in found]

    before = since()
    assert before[1]["Ready"][0] == before[1]["Loaded"][0] == "True", before
    time.sleep(1.1)  # times are whole seconds
    server.crash()
    until("it answers again", lambda: ask(gateway, kubectl.namespace, "hardy").status_code == 200, 30)
    time.sleep(3)
    assert since() == before, "it was loaded again, which is no news"
