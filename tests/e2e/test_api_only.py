"""`purlin up --api-only`: an API server for tests, on which nobody acts."""

import time
import urllib.error
import urllib.request

import pytest
from harness.kubectl import Kubectl
from harness.server import Server, running

pytestmark = [pytest.mark.platform, pytest.mark.embedded]


@pytest.fixture
def alone(tmp_path):
    with running(Server(tmp_path / "up", arguments=["--api-only"])) as server:
        yield server


def test_objects_are_kept_and_nothing_is_done_about_them(alone, home):
    kubectl = Kubectl(alone.kubeconfig, home=home).within("default")
    container = {"name": "main", "image": "example.invalid/x:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    kubectl.apply(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": {"template": template}}
    )
    time.sleep(1)
    assert kubectl.json("get", "job", "a")["status"] == {}
    assert kubectl.json("get", "pods")["items"] == []
    assert kubectl.json("get", "nodes")["items"] == []
    assert "plugin " not in alone.log.read_text()
    with urllib.request.urlopen(f"{alone.health}/readyz", timeout=5) as ready:
        assert ready.status == 200
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://{alone.registry}/v2/", timeout=5)


def test_it_goes_on_as_a_platform(alone, home):
    kubectl = Kubectl(alone.kubeconfig, home=home).within("default")
    kubectl("create", "configmap", "kept")
    assert alone.stop() == 0
    alone.arguments = []
    alone.start()
    assert kubectl.json("get", "configmap", "kept")["metadata"]["name"] == "kept"
    assert kubectl.json("get", "nodes")["items"], "the node is there now"
