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


def conditions(kubectl, kind, name):
    """The status of each condition, by its type."""
    found = kubectl.json("get", kind, name).get("status", {}).get("conditions", [])
    return {one["type"]: one["status"] for one in found}


def ready(kubectl, name, limit=60, kind="inferenceservice"):
    """Waits until an InferenceService, or an object of another of KServe's kinds, is ready."""
    until(f"{kind} {name} is ready", lambda: condition(kubectl, kind, name, "Ready").get("status") == "True", limit)


def host(kubectl, name, kind="inferenceservice"):
    """The host under which an InferenceService answers, from its status."""
    url = kubectl.json("get", kind, name)["status"]["url"]
    return url.removeprefix("http://")


def events(kubectl, kind, name):
    """Type, reason and message of the Events about an object."""
    selector = f"--field-selector=involvedObject.kind={kind},involvedObject.name={name}"
    found = kubectl.json("get", "events", selector)["items"]
    return [(event["type"], event["reason"], event["message"]) for event in found]


def gone(kubectl, *kinds):
    """Whether a namespace has no objects of these kinds left."""
    found = kubectl("get", ",".join(kinds), "--ignore-not-found", "-o", "name").split()
    return not found
