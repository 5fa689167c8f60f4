"""Predictors of ModelMesh: manifests as its users write them, with the Secret of its quick start, and one address for all."""

import json
import uuid

import joblib
import numpy
import pytest
import requests
import tritonclient.grpc
import yaml
from harness.kubectl import Kubectl
from harness.server import Server, running
from harness.wait import until
from serving import stores
from serving.conftest import FIXTURES
from serving.service import condition
from sklearn.datasets import load_digits
from sklearn.svm import SVC

GRAPH = (FIXTURES / "digits-logreg.onnx").read_bytes()
EXPECTED = json.loads((FIXTURES / "digits-logreg.json").read_text())
IMAGES, DIGITS = load_digits(return_X_y=True)
ONNX, SKLEARN = "example-onnx-mnist", "example-sklearn-mnist-svm"


@pytest.fixture(scope="module")
def svm():
    return SVC(gamma=0.001).fit(IMAGES[::2], DIGITS[::2])


@pytest.fixture(scope="module")
def s3(tmp_path_factory, svm):
    folder = tmp_path_factory.mktemp("stores")
    bucket = folder / "buckets/modelmesh-example-models"
    for name in ("onnx", "sklearn"):
        (bucket / name).mkdir(parents=True)
    (bucket / "onnx/mnist.onnx").write_bytes(GRAPH)
    joblib.dump(svm, bucket / "sklearn/mnist-svm.joblib")
    with stores.s3(folder) as address:
        yield address


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """`purlin up` whose memory has room for the model that was asked last, and no other."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "models/digits").mkdir(parents=True)
    (folder / "models/digits/model.onnx").write_bytes(GRAPH)
    arguments = ["--model-memory", "1", "--model-dir", str(folder)]
    with running(Server(tmp_path_factory.mktemp("up"), arguments=arguments)) as server:
        yield server


@pytest.fixture
def kubectl(place, home, s3):
    """kubectl in a namespace with the Secret of ModelMesh's quick start."""
    cluster = Kubectl(place.kubeconfig, home=home)
    namespace = f"t-{uuid.uuid4().hex[:10]}"
    cluster("create", "namespace", namespace)
    kubectl = cluster.within(namespace)
    entry = {
        "type": "s3",
        "access_key_id": stores.KEY,
        "secret_access_key": stores.SECRET,
        "endpoint_url": f"http://{s3}",
        "default_bucket": "modelmesh-example-models",
        "region": "us-east-1",
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "storage-config"}}
    apply(kubectl, {**secret, "stringData": {"localMinIO": json.dumps(entry)}})
    yield kubectl
    cluster.run("delete", "namespace", namespace, "--wait=false")


def apply(kubectl, *objects):
    for one in objects:
        kubectl("apply", "-f", "-", stdin=json.dumps(one))


def manifest(manifests, name, kind="Predictor", folder="modelmesh"):
    documents = yaml.safe_load_all((manifests / folder / f"{name}.yaml").read_text())
    return [document for document in documents if document["kind"] == kind]


def status(kubectl, name):
    return kubectl.json("get", "predictor", name).get("status", {})


def available(kubectl, name):
    until(f"Predictor {name} is available", lambda: status(kubectl, name).get("available"), 60)
    return status(kubectl, name)


def failed(kubectl, name, reason):
    """Waits until a Predictor tells of a failure; returns its status."""
    until(f"{name}: {reason}", lambda: status(kubectl, name).get("lastFailureInfo", {}).get("reason") == reason, 60)
    return status(kubectl, name)


def ask(place, kubectl, name, rows, tensor="input", host=None):
    """Asks over REST, as clients in the cluster do: by the host that all models of the namespace share."""
    given = {"name": tensor, "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}
    host = host or f"modelmesh-serving.{kubectl.namespace}:8008"
    url = f"http://{place.gateway}/v2/models/{name}/infer"
    return requests.post(url, json={"inputs": [given]}, headers={"host": host}, timeout=30)


def labels(answer):
    assert answer.status_code == 200, answer.text
    outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    return outputs.get("label") or next(iter(outputs.values()))


@pytest.fixture(scope="module")
def rows():
    reference = EXPECTED["inputs"]["input"]
    return numpy.array(reference["data"], dtype=numpy.float32).reshape(reference["shape"])


def test_an_unmodified_predictor_answers_over_rest_and_grpc(place, kubectl, manifests, rows):
    kubectl("apply", "-f", manifests / "modelmesh/onnx.yaml")
    told = available(kubectl, ONNX)
    assert (told["transitionStatus"], told["activeModelState"], told["targetModelState"]) == ("UpToDate", "Loaded", "")
    assert (told["failedCopies"], told["totalCopies"]) == (0, 1) and "lastFailureInfo" not in told
    expected = EXPECTED["outputs"]["label"]["data"]
    host = told["httpEndpoint"].removeprefix("http://")
    assert host == f"modelmesh-serving.{kubectl.namespace}.localhost:{place.port + 3}"
    for name in (host, f"modelmesh-serving.{kubectl.namespace}", f"modelmesh-serving.{kubectl.namespace}.svc:8008"):
        assert labels(ask(place, kubectl, ONNX, rows, host=name)) == expected
    address = told["grpcEndpoint"].removeprefix("grpc://")
    options = [("grpc.default_authority", address)]
    client = tritonclient.grpc.InferenceServerClient(place.gateway, channel_args=options)
    given = tritonclient.grpc.InferInput("input", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows)
    assert client.infer(ONNX, [given]).as_numpy("label").tolist() == expected
    headers = {"mm-vmodel-id": ONNX, "mm-balanced": "true"}
    assert client.infer(ONNX, [given], headers=headers).as_numpy("label").tolist() == expected
    # The metadata name the model where the message does not.
    assert client.infer("", [given], headers=headers).as_numpy("label").tolist() == expected


def test_columns_are_those_of_modelmesh(kubectl, manifests):
    kubectl("apply", "-f", manifests / "modelmesh/onnx.yaml")
    available(kubectl, ONNX)
    head, line = kubectl("get", "predictors").splitlines()
    assert head.split() == ["NAME", "TYPE", "AVAILABLE", "ACTIVEMODEL", "TARGETMODEL", "TRANSITION", "AGE"]
    assert line.split()[:5] == [ONNX, "onnx", "true", "Loaded", "UpToDate"], line


def test_predictors_share_an_address_and_come_back_to_memory(place, kubectl, manifests, rows, svm):
    kubectl("apply", "-f", manifests / "modelmesh/onnx.yaml", "-f", manifests / "modelmesh/sklearn.yaml")
    for name in (ONNX, SKLEARN):
        available(kubectl, name)
    images = IMAGES[1::90].astype(numpy.float32)
    expected = svm.predict(images).tolist()
    # Memory has room for one of them.
    assert labels(ask(place, kubectl, SKLEARN, images, "predict")) == expected
    until("the other is on standby", lambda: status(kubectl, ONNX)["activeModelState"] == "Standby", 60)
    assert status(kubectl, ONNX)["available"]
    assert labels(ask(place, kubectl, ONNX, rows)) == EXPECTED["outputs"]["label"]["data"]
    until("now this one is", lambda: status(kubectl, SKLEARN)["activeModelState"] == "Standby", 60)
    unknown = ask(place, kubectl, "nobody", rows)
    assert unknown.status_code == 404 and SKLEARN in unknown.text, unknown.text
    kubectl("delete", "predictor", ONNX)
    until("the deleted one is gone", lambda: ask(place, kubectl, ONNX, rows).status_code == 404, 30)
    assert labels(ask(place, kubectl, SKLEARN, images, "predict")) == expected


def test_a_model_that_is_not_there_is_told_and_may_come_later(kubectl, manifests):
    (predictor,) = manifest(manifests, "onnx")
    predictor["spec"]["path"] = "onnx/nowhere.onnx"
    apply(kubectl, predictor)
    told = failed(kubectl, ONNX, "ModelLoadFailed")
    assert (told["available"], told["activeModelState"], told["transitionStatus"]) == (False, "FailedToLoad", "UpToDate")
    info = told["lastFailureInfo"]
    assert "onnx/nowhere.onnx" in info["message"] and info["time"] and info["modelId"].startswith(f"{ONNX}-ksp-"), info
    assert info["location"] == "runtime-onnx" and told["failedCopies"] == 1
    kubectl("apply", "-f", manifests / "modelmesh/onnx.yaml")
    assert "lastFailureInfo" not in available(kubectl, ONNX)


def test_an_entry_that_is_not_there_is_told_by_name(kubectl, manifests):
    (predictor,) = manifest(manifests, "onnx")
    predictor["spec"]["storage"]["s3"]["secretKey"] = "elsewhere"
    apply(kubectl, predictor)
    assert "elsewhere" in failed(kubectl, ONNX, "ModelLoadFailed")["lastFailureInfo"]["message"]


def test_a_change_that_cannot_be_loaded_takes_nothing_away(place, kubectl, manifests, rows):
    kubectl("apply", "-f", manifests / "modelmesh/volume.yaml")
    name = "example-volume"
    available(kubectl, name)
    kubectl("patch", "predictor", name, "--type=merge", "-p", '{"spec": {"storage": {"path": "nowhere"}}}')
    told = failed(kubectl, name, "ModelLoadFailed")
    assert told["available"]
    assert (told["targetModelState"], told["transitionStatus"]) == ("FailedToLoad", "BlockedByFailedLoad")
    assert labels(ask(place, kubectl, name, rows)) == EXPECTED["outputs"]["label"]["data"]


def test_a_spec_that_makes_no_sense_is_told(kubectl, manifests):
    (predictor,) = manifest(manifests, "sklearn")
    predictor["spec"]["path"] = "another"
    apply(kubectl, predictor)
    told = failed(kubectl, SKLEARN, "InvalidPredictorSpec")
    assert told["transitionStatus"] == "InvalidSpec" and not told["available"]
    message = told["lastFailureInfo"]["message"]
    assert message.startswith("spec.storage.path:") and "only one of" in message, message
    predictor["spec"].pop("path")
    predictor["spec"]["runtime"] = {"name": "gone"}
    apply(kubectl, predictor)
    assert "spec.runtime.name" in failed(kubectl, SKLEARN, "RuntimeNotRecognized")["lastFailureInfo"]["message"]


def test_an_inference_service_with_the_deployment_mode(place, kubectl, manifests, svm):
    services = manifest(manifests, "modelmesh", "InferenceService", "kserve")
    apply(kubectl, *services)
    name = services[0]["metadata"]["name"]
    ready = lambda: condition(kubectl, "inferenceservice", name, "Ready").get("status") == "True"
    until(f"InferenceService {name} is ready", ready, 60)
    told = kubectl.json("get", "inferenceservice", name)["status"]
    address = f"modelmesh-serving.{kubectl.namespace}.localhost:{place.port + 3}"
    assert told["url"] == f"grpc://{address}" and told["deploymentMode"] == "ModelMesh"
    assert told["components"]["predictor"]["restUrl"] == f"http://{address}"
    states = told["modelStatus"]["states"]
    assert states["activeModelState"] in ("Loaded", "Standby") and states["targetModelState"] == "", states
    images = IMAGES[1::90].astype(numpy.float32)
    assert labels(ask(place, kubectl, name, images, "predict")) == svm.predict(images).tolist()
