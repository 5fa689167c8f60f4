"""The protocols of the gateway, asked by their own clients."""

import contextlib
import json
import resource
import socket
import time

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


@pytest.mark.parametrize("binary", [False, True])
def test_numbers_that_json_has_not(digits, binary):
    """What a model cannot compute is in its answer as it is, where the client asks for binary data; else it is told to."""
    tensor = {"name": "input", "shape": [1, 64], "datatype": "FP32", "data": [3e38] * 64}
    body = {"inputs": [tensor], "parameters": {"binary_data_output": binary}}
    answer = requests.post(f"{digits['url']}/v2/models/digits/infer", json=body, timeout=10)
    assert answer.status_code == (200 if binary else 400), answer.text
    assert binary or "binary_data_output" in answer.json()["error"]
    answer = requests.post(f"{digits['url']}/v1/models/digits:predict", json={"instances": [[3e38] * 64]}, timeout=10)
    assert answer.status_code == 400
    assert "NaN" in answer.json()["error"]


def test_a_model_that_is_not_there(digits):
    answer = requests.post(f"{digits['url']}/v2/models/other/infer", json={"inputs": []}, timeout=10)
    assert answer.status_code == 404
    assert "digits" in answer.json()["error"], "it says what there is"


def test_ten_thousand_idle_connections(digits, images):
    """They keep nothing from others: neither those that were answered once nor those that have said nothing yet."""
    idle = 10_000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < idle + 1000:
        pytest.skip(f"a process may have {most} files open at most; raise the hard limit (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    address, port = digits["address"].split(":")
    rows, labels = images
    with contextlib.ExitStack() as connections:
        opened = []
        for number in range(idle):
            opened.append(connections.enter_context(socket.create_connection((address, int(port)), 30)))
            if number % 2:
                opened[-1].sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
                assert opened[-1].recv(4096).startswith(b"HTTP/1.1 200 ")
        began = time.monotonic()
        for _ in range(20):
            answer = requests.post(f"{digits['url']}/v1/models/digits:predict", json={"instances": rows.tolist()}, timeout=30)
            assert [prediction["label"] for prediction in answer.json()["predictions"]] == labels
        took = time.monotonic() - began
        print(f"{idle} connections are idle; 20 requests took {took:.2f} s")
        assert took < 20
        # None was closed to make room.
        for one in opened[1::1000]:
            one.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert one.recv(4096).startswith(b"HTTP/1.1 200 ")
