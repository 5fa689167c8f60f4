"""A server that may read models from a folder of its own, with the models that the tests serve in it."""

import json
import pathlib
import shutil
import sys

import pytest
from harness.cluster import ClusterServer
from harness.server import REPOSITORY, Server, running

FIXTURES = REPOSITORY / "host/nn/tests/fixtures"


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder of models, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("models")
    for name, fixture in {"digits": "digits-logreg", "forest": "iris-forest", "scaled": "iris-scaled", "digits2": "digits-logreg"}.items():
        (folder / name).mkdir()
        shutil.copy(FIXTURES / f"{fixture}.onnx", folder / name / "model.onnx")
    (folder / "broken").mkdir()
    (folder / "broken/model.onnx").write_bytes(b"this is no graph")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="session")
def image_map(tmp_path_factory):
    """Images that stand for programs beside these tests."""
    file = tmp_path_factory.mktemp("images") / "image-map.json"
    here = pathlib.Path(__file__).parent
    python = {"path": [str(pathlib.Path(sys.executable).parent)], "paths": {"/app": str(here)}}
    images = [{"image": f"docker.io/example/{name}:*", **python} for name in ("predictor", "transformer", "step")]
    vllm = {"path": [*python["path"], str(here / "programs")]}
    images.append({"image": "docker.io/vllm/vllm-openai-cpu:*", **vllm})
    images.append({"image": "ghcr.io/llm-d/llm-d-routing-sidecar:*", **python, "paths": {"/app": str(here / "programs")}})
    file.write_text(json.dumps({"images": images}))
    return file


@pytest.fixture(scope="session")
def server(request, models, image_map, tmp_path_factory):
    """Purlin with the gateway; takes the place of the server that other suites share."""
    kind, arguments = Server, ["--model-dir", str(models)]
    if request.config.getoption("--mode") == "cluster":
        kind, arguments = ClusterServer, [*arguments, "--local-pods"]
    with running(kind(tmp_path_factory.mktemp("up"), image_map=image_map, arguments=arguments)) as server:
        yield server


@pytest.fixture(scope="session")
def gateway(server):
    """Host and port of the gateway."""
    return server.gateway


@pytest.fixture(scope="session")
def expected():
    """What the original library answers: inputs and outputs of a fixture."""
    return lambda fixture: json.loads(pathlib.Path(FIXTURES / f"{fixture}.json").read_text())
