"""Where models come from: stores that the tests start, with the Secrets that open them, as KServe's users write them."""

import hashlib
import io
import json
import subprocess
import tarfile
import uuid
import zipfile

import pytest
import requests
from harness.kubectl import Kubectl
from harness.server import Server, binary, running
from harness.wait import until
from serving import stores
from serving.conftest import FIXTURES
from serving.service import condition, onnx, ready

GRAPH = (FIXTURES / "digits-logreg.onnx").read_bytes()
TOKEN = "hf_tester"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def web():
    web = stores.Web()
    yield web
    web.close()


@pytest.fixture(scope="module")
def mirror():
    mirror = stores.Web()
    mirror.token = TOKEN
    mirror.put_repository("org/digits", {"model.onnx": GRAPH, "README.md": b"# Digits"})
    yield mirror
    mirror.close()


@pytest.fixture(scope="module")
def s3(folder):
    bucket = folder / "buckets/models/digits"
    bucket.mkdir(parents=True)
    (bucket / "model.onnx").write_bytes(GRAPH)
    with stores.s3(folder) as address:
        yield address


@pytest.fixture(scope="module")
def images(folder):
    with stores.images(folder) as address:
        yield address


@pytest.fixture(scope="module")
def place(mirror, tmp_path_factory):
    """`purlin up` whose hub is the mirror."""
    with running(Server(tmp_path_factory.mktemp("up"), arguments=["--model-hub", mirror.address])) as server:
        yield server


@pytest.fixture
def kubectl(place, home):
    cluster = Kubectl(place.kubeconfig, home=home)
    namespace = f"t-{uuid.uuid4().hex[:10]}"
    cluster("create", "namespace", namespace)
    yield cluster.within(namespace)
    cluster.run("delete", "namespace", namespace, "--wait=false")


def service(name, uri, **predictor):
    made = onnx(name, "/nowhere", **predictor)
    made["spec"]["predictor"]["model"]["storageUri"] = uri
    return made


def apply(kubectl, *objects):
    for one in objects:
        kubectl("apply", "-f", "-", stdin=json.dumps(one))


def secret(name, annotations=None, **data):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "annotations": annotations or {}},
        "stringData": data,
    }


def model(name, uri, **source):
    """A Model by itself, without a dialect."""
    return {
        "apiVersion": "purlin.dev/v1alpha1",
        "kind": "Model",
        "metadata": {"name": name},
        "spec": {"format": {"name": "onnx"}, "source": {"uri": uri, **source}},
    }


def answers(place, kubectl, name):
    body = {"inputs": [{"name": "input", "shape": [1, 64], "datatype": "FP32", "data": [1.0] * 64}]}
    url = f"http://127.0.0.1:{place.port + 3}/serving/{kubectl.namespace}/{name}/v2/models/{name}/infer"
    return requests.post(url, json=body, timeout=30).status_code == 200


def reason(kubectl, name):
    return condition(kubectl, "models", name, "Ready").get("reason")


def test_s3_with_the_secret_of_a_service_account(place, kubectl, s3):
    annotations = {
        "serving.kserve.io/s3-endpoint": s3,
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-region": "us-east-1",
    }
    keys = {"AWS_ACCESS_KEY_ID": stores.KEY, "AWS_SECRET_ACCESS_KEY": stores.SECRET}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}, "secrets": [{"name": "s3creds"}]}
    apply(kubectl, secret("s3creds", annotations, **keys), account)
    apply(kubectl, service("stored", "s3://models/digits", serviceAccountName="sa"))
    ready(kubectl, "stored")
    assert answers(place, kubectl, "stored")


def test_s3_with_a_storage_key_whose_secret_comes_later(place, kubectl, s3):
    made = service("keyed", "unused")
    storage = {"key": "localMinIO", "path": "digits", "parameters": {"type": "s3", "bucket": "models"}}
    made["spec"]["predictor"]["model"].pop("storageUri")
    made["spec"]["predictor"]["model"]["storage"] = storage
    apply(kubectl, made)
    until("the Secret is missed", lambda: reason(kubectl, "keyed-predictor-00001") == "SecretNotFound", 30)
    settings = {
        "type": "s3",
        "access_key_id": stores.KEY,
        "secret_access_key": stores.SECRET,
        "endpoint_url": f"http://{s3}",
        "bucket": "models",
        "region": "us-east-1",
    }
    apply(kubectl, secret("storage-config", localMinIO=json.dumps(settings)))
    ready(kubectl, "keyed")
    assert answers(place, kubectl, "keyed")


def test_s3_with_a_wrong_key_is_a_condition(kubectl, s3):
    settings = {"AWS_ACCESS_KEY_ID": stores.KEY, "AWS_SECRET_ACCESS_KEY": "wrong", "endpoint": f"http://{s3}"}
    apply(kubectl, secret("creds", **settings), model("wrong", "s3://models/digits", secret="creds"))
    until("the key is refused", lambda: reason(kubectl, "wrong") == "SourceUnauthorized", 30)


def test_a_hub_s_mirror_with_a_token(place, kubectl):
    made = service("hubbed", "hf://org/digits")
    token = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token-of-mine"}}}
    made["spec"]["predictor"]["model"]["env"] = [token]
    apply(kubectl, secret("hub", **{"token-of-mine": TOKEN}), made)
    ready(kubectl, "hubbed")
    assert answers(place, kubectl, "hubbed")


def test_a_model_in_an_image(place, kubectl, images):
    reference = stores.push_modelcar(images, "acme/digits", {"model.onnx": GRAPH})
    apply(kubectl, service("shipped", f"oci://{reference}"))
    ready(kubectl, "shipped")
    assert answers(place, kubectl, "shipped")


def test_an_archive_behind_an_address(place, kubectl, web):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("model.onnx")
        entry.size = len(GRAPH)
        archive.addfile(entry, io.BytesIO(GRAPH))
    web.files["/digits.tar.gz"] = packed.getvalue()
    apply(kubectl, service("packed", f"{web.address}/digits.tar.gz"))
    ready(kubectl, "packed")
    assert answers(place, kubectl, "packed")
    digest = f"sha256:{hashlib.sha256(packed.getvalue()).hexdigest()}"
    assert kubectl.json("get", "models", "packed-predictor-00001")["status"]["digest"] == digest


def test_an_archive_in_a_bucket(place, kubectl, s3, folder):
    with zipfile.ZipFile(folder / "buckets/models/digits.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.onnx", GRAPH)
    keys = {"AWS_ACCESS_KEY_ID": stores.KEY, "AWS_SECRET_ACCESS_KEY": stores.SECRET, "endpoint": f"http://{s3}"}
    apply(kubectl, secret("creds", **keys), model("zipped", "s3://models/digits.zip", secret="creds"))
    until("the model is loaded", lambda: reason(kubectl, "zipped") == "Loaded", 30)


def test_an_archive_that_is_none_is_a_condition(kubectl, web):
    web.files["/broken.tgz"] = GRAPH
    apply(kubectl, model("unpacked", f"{web.address}/broken.tgz"))
    until("the archive is refused", lambda: reason(kubectl, "unpacked") == "SourceInvalid", 30)
    message = condition(kubectl, "models", "unpacked", "Ready")["message"]
    assert "broken.tgz is no archive that can be read" in message


def test_a_cut_download_goes_on(place, kubectl, web):
    web.files["/cut.onnx"] = GRAPH
    web.cuts = 2
    apply(kubectl, service("cut", f"{web.address}/cut.onnx"))
    ready(kubectl, "cut")
    assert answers(place, kubectl, "cut")
    ranges = [begin for path, begin in web.asked if path == "/cut.onnx"]
    assert ranges[0] is None and [begin for begin in ranges if begin], ranges


def test_models_share_one_download_and_say_how_far_it_is(place, kubectl, web):
    web.files["/slow.onnx"] = GRAPH
    web.pause = 1.0
    apply(kubectl, *(service(f"slow-{index}", f"{web.address}/slow.onnx") for index in range(3)))
    until("its progress is told", lambda: reason(kubectl, "slow-0-predictor-00001") == "Downloading", 30)
    assert "downloading" in condition(kubectl, "models", "slow-0-predictor-00001", "Ready")["message"]
    for index in range(3):
        ready(kubectl, f"slow-{index}")
    web.pause = 0.0
    # Who comes later asks whether it has changed, and is told that it has not.
    assert answers(place, kubectl, "slow-2")
    blobs = place.data / "models/blobs"
    assert (blobs / hashlib.sha256(GRAPH).hexdigest()).exists()
    assert len(list((place.data / "models/partial").iterdir())) == 0


def test_another_content_than_expected_is_a_condition(kubectl, web):
    web.files["/pinned.onnx"] = GRAPH
    right = f"sha256:{hashlib.sha256(GRAPH).hexdigest()}"
    wrong = f"sha256:{'0' * 64}"
    uri = f"{web.address}/pinned.onnx"
    apply(kubectl, model("right", uri, digest=right), model("wrong", uri, digest=wrong))
    until("the wrong one is refused", lambda: reason(kubectl, "wrong") == "DigestMismatch", 30)
    until("the right one is loaded", lambda: reason(kubectl, "right") == "Loaded", 30)


def test_fetch_puts_files_into_a_folder(s3, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    settings = {
        "AWS_ACCESS_KEY_ID": stores.KEY,
        "AWS_SECRET_ACCESS_KEY": stores.SECRET,
        "AWS_ENDPOINT_URL": f"http://{s3}",
    }
    for name, value in settings.items():
        (credentials / name).write_text(value)
    command = [binary(), "fetch", "s3://models/digits", tmp_path / "model", "--credentials", credentials]
    done = subprocess.run([*command, "--output", "json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [file["name"] for file in report["files"]] == ["model.onnx"]
    assert (tmp_path / "model/model.onnx").read_bytes() == GRAPH
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["model.onnx"]
    line = f"{hashlib.sha256(GRAPH).hexdigest()}  model.onnx\n".encode()
    assert report["digest"] == f"sha256:{hashlib.sha256(line).hexdigest()}"
    (credentials / "AWS_SECRET_ACCESS_KEY").write_text("wrong")
    failed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert failed.returncode == 75 and "spec.source.secret" in failed.stderr
    unknown = subprocess.run([binary(), "fetch", "ftp://x/y", tmp_path / "x"], capture_output=True, text=True, timeout=60)
    assert unknown.returncode == 1 and "ftp" in unknown.stderr


def test_a_killed_fetch_leaves_nothing_that_looks_whole_and_goes_on(web, tmp_path):
    web.files["/killed.onnx"] = GRAPH
    web.pause = 0.5
    command = [binary(), "fetch", f"{web.address}/killed.onnx", tmp_path]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    partial = tmp_path / ".purlin-fetch/partial"
    until("something came", lambda: partial.is_dir() and any(one.stat().st_size for one in partial.iterdir()), 20)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed.onnx").exists()
    assert not list((tmp_path / ".purlin-fetch/blobs").iterdir())
    web.pause = 0.0
    subprocess.run(command, check=True, timeout=60)
    assert (tmp_path / "killed.onnx").read_bytes() == GRAPH
    ranges = [begin for path, begin in web.asked if path == "/killed.onnx"]
    assert ranges[-1] is not None, ranges
