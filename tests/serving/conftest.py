"""A server that may read models from a folder of its own, with the models that the tests serve in it."""

import pathlib
import shutil

import pytest
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
def server(models, tmp_path_factory):
    """`purlin up` with the gateway; takes the place of the server that other suites share."""
    with running(Server(tmp_path_factory.mktemp("up"), arguments=["--model-dir", str(models)])) as server:
        yield server


@pytest.fixture(scope="session")
def gateway(server):
    """Host and port of the gateway."""
    return f"127.0.0.1:{server.port + 3}"


@pytest.fixture(scope="session")
def expected():
    """What the original library answers: inputs and outputs of a fixture."""
    import json

    return lambda fixture: json.loads(pathlib.Path(FIXTURES / f"{fixture}.json").read_text())
