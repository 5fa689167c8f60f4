"""The protocols of the gateway, asked by their own clients."""

import json

import numpy
import pytest
import requests
import tritonclient.grpc
import tritonclient.http
from serving.service import host, onnx, ready


@pytest.fixture(scope="module")
def digits(cluster, models, gateway):
    """A digits classifier in a namespace: the path under which its route answers, its host, and its address."""
    namespace = "protocols"
    cluster("create", "namespace", namespace)
    kubectl = cluster.within(namespace)
    kubectl("apply", "-f", "-", stdin=json.dumps(onnx("digits", models / "digits")))
    ready(kubectl, "digits")
    yield {"url": f"http://{gateway}/serving/{namespace}/digits", "host": host(kubectl, "digits"), "address": gateway}
    cluster.run("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def images(expected):
    reference = expected("digits-logreg")
    shape, data = reference["inputs"]["input"]["shape"], reference["inputs"]["input"]["data"]
    labels = reference["outputs"]["label"]["data"]
    return numpy.array(data, dtype=numpy.float32).reshape(shape), labels


def test_v2_over_rest_by_host(digits, images):
    rows, labels = images
    body = {"inputs": [{"name": "input", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}]}
    url = f"http://{digits['address']}/v2/models/digits/infer"
    answer = requests.post(url, json=body, headers={"host": digits["host"]}, timeout=10)
    assert answer.status_code == 200, answer.text
    outputs = {output["name"]: output for output in answer.json()["outputs"]}
    assert outputs["label"]["data"] == labels


def test_v2_metadata_and_health(digits):
    metadata = requests.get(f"{digits['url']}/v2/models/digits", timeout=10).json()
    assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 64]}]
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready"):
        assert requests.get(f"{digits['url']}{path}", timeout=10).status_code == 200


def test_v1_predict(digits, images):
    rows, labels = images
    answer = requests.post(f"{digits['url']}/v1/models/digits:predict", json={"instances": rows.tolist()}, timeout=10)
    assert [prediction["label"] for prediction in answer.json()["predictions"]] == labels


@pytest.mark.parametrize("binary", [False, True])
def test_tritons_client_over_http(digits, images, binary):
    rows, labels = images
    client = tritonclient.http.InferenceServerClient(digits["url"].removeprefix("http://"))
    given = tritonclient.http.InferInput("input", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows, binary_data=binary)
    wanted = [tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities")]
    answer = client.infer("digits", [given], outputs=wanted)
    assert answer.as_numpy("label").tolist() == labels
    assert answer.as_numpy("probabilities").shape == (len(labels), 10)


def test_tritons_client_over_grpc(digits, images):
    rows, labels = images
    options = [("grpc.default_authority", digits["host"])]
    client = tritonclient.grpc.InferenceServerClient(digits["address"], channel_args=options)
    assert client.is_model_ready("digits")
    given = tritonclient.grpc.InferInput("input", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows)
    assert client.infer("digits", [given]).as_numpy("label").tolist() == labels


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shape": [1, 63]}, "shape"),
        ({"datatype": "FP31"}, "datatype"),
        ({"shape": [-5, 64]}, "shape"),
        ({"data": []}, "data"),
    ],
)
def test_what_is_wrong_is_named(digits, change, says):
    tensor = {"name": "input", "shape": [1, 64], "datatype": "FP32", "data": [0.5] * 64, **change}
    answer = requests.post(f"{digits['url']}/v2/models/digits/infer", json={"inputs": [tensor]}, timeout=10)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_a_model_that_is_not_there(digits):
    answer = requests.post(f"{digits['url']}/v2/models/other/infer", json={"inputs": []}, timeout=10)
    assert answer.status_code == 404
    assert "digits" in answer.json()["error"], "it says what there is"
