"""InferenceServices as the tests apply them, and waiting for what becomes of them."""

from harness.wait import until


def onnx(name, folder, **predictor):
    """An InferenceService that serves the ONNX model in a folder."""
    model = {"modelFormat": {"name": "onnx"}, "protocolVersion": "v2", "storageUri": f"file://{folder}"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"model": model, **predictor}},
    }


def condition(kubectl, kind, name, condition_type):
    """The condition of a type; empty where there is none."""
    conditions = kubectl.json("get", kind, name).get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == condition_type), {})


def ready(kubectl, name, limit=60):
    """Waits until an InferenceService is ready."""
    until(
        f"InferenceService {name} is ready",
        lambda: condition(kubectl, "inferenceservice", name, "Ready").get("status") == "True",
        limit,
    )


def host(kubectl, name):
    """The host under which an InferenceService answers, from its status."""
    url = kubectl.json("get", "inferenceservice", name)["status"]["url"]
    return url.removeprefix("http://")
