"""Replicas share the models among them: each is in one gateway's memory, and every gateway answers for all."""

import concurrent.futures
import shutil
import time

import grpc
import pytest
import requests
from harness.server import REPOSITORY
from harness.wait import until

MODELS = [f"digits-{number}" for number in range(12)]
GROUP = "/apis/purlin.dev/v1alpha1/namespaces/placement"
ROW = {"inputs": [{"name": "input", "shape": [1, 64], "datatype": "FP32", "data": [1.0] * 64}]}


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models/digits"
    folder.mkdir(parents=True)
    shutil.copy(REPOSITORY / "host/nn/tests/fixtures/digits-logreg.onnx", folder / "model.onnx")
    return folder


def create(api, folder):
    api.create("/api/v1/namespaces", {"metadata": {"name": "placement"}})
    for name in MODELS:
        spec = {
            "format": {"name": "onnx"},
            "modelName": "digits",
            "source": {"uri": f"file://{folder}"},
            # Whoever tries one that belongs elsewhere soon lets it go.
            "scaling": {"minReplicas": 1, "idleSeconds": 2},
        }
        model = {"apiVersion": "purlin.dev/v1alpha1", "kind": "Model", "metadata": {"name": name}, "spec": spec}
        api.create(f"{GROUP}/models", model)
        spec = {"hosts": [f"{name}."], "backends": [{"model": name, "weight": 100}]}
        route = {"apiVersion": "purlin.dev/v1alpha1", "kind": "Route", "metadata": {"name": name}, "spec": spec}
        api.create(f"{GROUP}/routes", route)


def all_ready(api):
    def is_ready(model):
        conditions = model.get("status", {}).get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    return all(is_ready(model) for model in api.get(f"{GROUP}/models")["items"])


def loaded(replica):
    """How many models a replica has in memory."""
    lines = replica.get("/metrics")[1].splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("purlin_models_loaded "))


def ask(replica, name):
    url = f"http://127.0.0.1:{replica.port + 1}/serving/placement/{name}/v2/models/digits/infer"
    return requests.post(url, json=ROW, timeout=30)


def is_ready_by_grpc(replica, name):
    """`ModelReady` of the Open Inference Protocol, written out: one text goes and one truth value comes."""
    options = [("grpc.default_authority", f"{name}.localhost")]
    with grpc.insecure_channel(f"127.0.0.1:{replica.port + 1}", options=options) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelReady")
        return call(b"\x0a\x06digits", timeout=30) == b"\x08\x01"


def test_models_are_shared_out_and_survive_a_replica(replicas, api, models):
    one, other = replicas.start(2, arguments=["--model-dir", models.parent])
    create(api, models)
    until("the models to be ready", lambda: all_ready(api), timeout=120)

    def shared_out():
        counts = [loaded(one), loaded(other)]
        return sum(counts) == len(MODELS) and min(counts) > 0 and counts

    counts = until("each model to be in one memory", shared_out, timeout=60)
    for replica in (one, other):
        for name in MODELS:
            answer = ask(replica, name)
            assert answer.status_code == 200, answer.text
            assert is_ready_by_grpc(replica, name)
    assert [loaded(one), loaded(other)] == counts, "requests were handed on"

    stop, failed = time.monotonic() + 15, []

    def client(number):
        while time.monotonic() < stop:
            answer = ask(one, MODELS[number])
            if answer.status_code != 200:
                failed.append((answer.status_code, answer.text))
            time.sleep(0.05)

    with concurrent.futures.ThreadPoolExecutor(len(MODELS)) as clients:
        running = [clients.submit(client, number) for number in range(len(MODELS))]
        time.sleep(2)
        other.kill()
        for each in running:
            each.result()
    assert not failed, failed[:3]
    until("the survivor to have all", lambda: loaded(one) == len(MODELS), timeout=30)
