"""A plugin that stands before a model: it changes what the model gets, and what the client does."""

import pytest
import requests
from harness.kubectl import Kubectl
from harness.registry import push_layout
from harness.server import REPOSITORY
from harness.wait import until
from serving.service import condition

LAYOUT = REPOSITORY / "plugins/testing/dist"


@pytest.fixture(scope="module")
def plugin(server, cluster):
    image = push_layout(LAYOUT, server.registry)["transformer-scale"]
    resource = {"apiVersion": "purlin.dev/v1alpha1", "kind": "Plugin", "metadata": {"name": "transformer-scale"}}
    cluster.apply({**resource, "spec": {"image": image}})
    cluster("wait", "plugins.purlin.dev/transformer-scale", "--for=condition=Ready", "--timeout=60s", timeout=90)
    yield "transformer-scale"
    cluster("delete", "plugins.purlin.dev", "transformer-scale")


def resource_of(kind, name, **spec):
    return {"apiVersion": "purlin.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def scaled(divisor):
    settings = [{"name": "divisor", "value": str(divisor)}]
    return resource_of("Model", "scaled", runtime="transformer-scale", transforms="plain", settings=settings)


def deploy(kubectl: Kubectl, models, divisor):
    kubectl.apply(
        resource_of("Model", "plain", format={"name": "onnx"}, source={"uri": f"file://{models / 'digits'}"}),
        scaled(divisor),
        resource_of("Route", "plain", backends=[{"model": "plain"}]),
        resource_of("Route", "through", backends=[{"model": "plain"}], transformer="scaled"),
    )
    for name in ("plain", "scaled"):
        ready = lambda name=name: condition(kubectl, "models.purlin.dev", name, "Ready").get("status") == "True"
        until(f"{name} is ready", ready, 60)


class Client:
    """Asks a route for what the model says of 64 numbers."""

    def __init__(self, gateway, namespace):
        self.base = f"http://{gateway}/serving/{namespace}"

    def infer(self, route, numbers, **more):
        tensor = {"name": "input", "shape": [1, 64], "datatype": "FP32", "data": numbers}
        url = f"{self.base}/{route}/v2/models/plain/infer"
        return requests.post(url, json={"inputs": [tensor], **more}, timeout=30)


def outputs(answer):
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def test_a_model_gets_and_a_client_gets_what_the_transformer_makes(kubectl, gateway, models, plugin):
    deploy(kubectl, models, 16)
    client = Client(gateway, kubectl.namespace)
    numbers = [float(number % 17) for number in range(64)]
    until("there are routes", lambda: client.infer("through", numbers).status_code == 200, 30)
    through = outputs(client.infer("through", [number * 16 for number in numbers]))
    plain = outputs(client.infer("plain", numbers))
    best = through.pop("best")
    assert through == plain
    probabilities = next(data for data in plain.values() if len(data) == 10)
    assert best == [probabilities.index(max(probabilities))]
    # The client chooses among what there is behind the transformer.
    assert list(outputs(client.infer("through", numbers, outputs=[{"name": "best"}]))) == ["best"]
    # A setting that is changed counts from then on.
    kubectl.apply(scaled(1))
    until("the divisor is another", lambda: outputs(client.infer("through", numbers))["best"] == best, 30)


def test_what_is_wrong_is_said(kubectl, gateway, models, plugin):
    deploy(kubectl, models, "none")
    client = Client(gateway, kubectl.namespace)
    until("there are routes", lambda: client.infer("plain", [1.0] * 64).status_code == 200, 30)
    answer = client.infer("through", [1.0] * 64)
    assert answer.status_code == 400 and 'spec.settings[0].value: "none"' in answer.json()["error"], answer.text
    kubectl.apply(
        resource_of("Model", "nameless", transforms="plain"),
        resource_of("Model", "itself", runtime="transformer-scale", transforms="itself"),
        resource_of("Model", "strange", runtime="runtime-onnx", transforms="plain"),
    )
    for name, reason, words in (
        ("nameless", "InvalidSpec", "spec.runtime: required"),
        ("itself", "InvalidSpec", 'spec.transforms: "itself"'),
        ("strange", "NoRuntime", 'spec.runtime: no ready Plugin "runtime-onnx" is of the stage `transformer`'),
    ):
        found = until(f"{name} is told", lambda name=name: condition(kubectl, "models.purlin.dev", name, "Ready"), 30)
        assert found["reason"] == reason and words in found["message"], found
