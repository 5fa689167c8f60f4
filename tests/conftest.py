"""Fixtures for every suite: one server for the session, kubectl on it, a namespace a test.

$PURLIN_TEST_KUBECONFIG points the tests at a server that is already there (a real kube-apiserver, to try the tests
themselves); what needs more than an API server is then skipped.

`--mode cluster` runs the same tests against Purlin in a cluster: a real kube-apiserver with etcd and the controllers of a
cluster, `purlin run`, `purlin node` and `purlin registry`. Tests of the embedded API are then skipped and counted.
"""

import os
import pathlib
import subprocess
import uuid

import pytest
from harness.cluster import ClusterServer
from harness.kubectl import Kubectl
from harness.server import REPOSITORY, Plain, Server, binary, running

IMAGE_MAP = REPOSITORY / "examples/digits/image-map.yaml"


@pytest.fixture(scope="session")
def server(request, tmp_path_factory):
    """The server that most tests share."""
    existing = os.environ.get("PURLIN_TEST_KUBECONFIG")
    if existing:
        yield Plain(existing)
        return
    assert binary().exists(), f"{binary()} is not there; build it or set PURLIN_BIN"
    subprocess.run([REPOSITORY / "examples/digits/setup.sh"], check=True)
    kind = ClusterServer if request.config.getoption("--mode") == "cluster" else Server
    with running(kind(tmp_path_factory.mktemp("up"), image_map=IMAGE_MAP)) as server:
        yield server


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def cluster(server, home):
    """kubectl without a namespace."""
    return Kubectl(server.kubeconfig, home=home)


@pytest.fixture
def kubectl(cluster):
    """kubectl in a namespace of the test's own, which is deleted at the end."""
    namespace = f"t-{uuid.uuid4().hex[:10]}"
    cluster("create", "namespace", namespace)
    yield cluster.within(namespace)
    cluster.run("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="session")
def manifests():
    return pathlib.Path(__file__).parent / "manifests"


def pytest_addoption(parser):
    parser.addoption(
        "--mode",
        choices=["up", "cluster"],
        default="up",
        help="what the shared server is: `purlin up`, or Purlin in a cluster with a real kube-apiserver",
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--mode") == "cluster":
        skip = pytest.mark.skip(reason="about the embedded API, which a cluster does not have")
        for item in items:
            if item.get_closest_marker("embedded"):
                item.add_marker(skip)
    if os.environ.get("PURLIN_TEST_KUBECONFIG"):
        skip = pytest.mark.skip(reason="needs `purlin up`, not only an API server")
        for item in items:
            if item.get_closest_marker("platform"):
                item.add_marker(skip)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Puts the end of the server's log under a failed test's report."""
    report = (yield).get_result()
    running = getattr(item, "funcargs", {}).get("server")
    if report.failed and running is not None:
        report.sections.append(("server", running.log_tail()))
