"""`purlin` as a person calls it, cosign, and somebody else's registry."""

import base64
import json
import os
import pathlib
import subprocess
import urllib.request

import pytest
from harness import ports
from harness.server import Server, binary, running
from harness.wait import until

CACHE = pathlib.Path(os.environ.get("PURLIN_CACHE") or pathlib.Path.home() / ".cache/purlin") / "bin"
PASSWORD = "purlin-test"
# bcrypt of that password, as htpasswd files have it.
HTPASSWD = "tester:$2b$05$abcdefghijklmnopqrstuufb1BuY4VByqeZgfObsIKjSxYukeXOIm\n"


class Tool:
    """A program with an environment of its own."""

    def __init__(self, program, home, environment=()):
        self.program = str(program)
        self.home = home
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PURLIN_", "KUBE"))}
        self.environment = {**kept, "HOME": str(home), "COSIGN_PASSWORD": PASSWORD, **dict(environment)}

    def run(self, *arguments):
        return subprocess.run(
            [self.program, *map(str, arguments)],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def __call__(self, *arguments):
        result = self.run(*arguments)
        assert result.returncode == 0, f"{arguments}\n{result.stdout}{result.stderr}"
        return result.stdout

    def json(self, *arguments):
        return json.loads(self(*arguments, "--output", "json"))

    def fails(self, *arguments):
        result = self.run(*arguments)
        assert result.returncode == 1, f"{arguments}\nexit {result.returncode}\n{result.stdout}{result.stderr}"
        assert "panicked" not in result.stderr
        return result.stderr


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with running(Server(tmp_path_factory.mktemp("up"))) as server:
        yield server


@pytest.fixture
def purlin(server, tmp_path):
    registry = f"localhost:{server.port + 1}"
    return Tool(
        f"{binary()}",
        tmp_path,
        {"KUBECONFIG": str(server.kubeconfig), "PURLIN_INDEX": f"{registry}/purlin/index:latest"},
    )


@pytest.fixture
def cosign(tmp_path):
    return Tool(CACHE / "cosign", tmp_path)


@pytest.fixture(scope="session")
def registry(server):
    return f"localhost:{server.port + 1}"


@pytest.fixture
def distribution(tmp_path):
    """A `distribution` registry that wants a user's name and a password."""
    port = ports.row(1)
    folder = tmp_path / "distribution"
    folder.mkdir()
    (folder / "htpasswd").write_text(HTPASSWD)
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\nauth: {{htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}}}\n"
    )
    log = open(folder / "log", "w")
    process = subprocess.Popen([CACHE / "registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        until("the registry", lambda: _answers(port), 30)
        yield f"localhost:{port}"
    finally:
        process.kill()
        process.wait()


def _answers(port):
    token = base64.b64encode(f"tester:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v2/", headers={"Authorization": f"Basic {token}"})
    try:
        return urllib.request.urlopen(request, timeout=5).status == 200
    except OSError:
        return False
