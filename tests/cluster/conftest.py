"""One real kube-apiserver with etcd and one registry for the module; replicas are each test's own."""

import uuid

import pytest
from harness.api import Api
from harness.cluster import Registry, Replica, install
from harness.real import Real


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    server = Real(tmp_path_factory.mktemp("real"))
    server.start()
    yield server
    server.discard()


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    process = Registry(tmp_path_factory.mktemp("registry")).start().says("ready")
    yield process
    process.discard()


@pytest.fixture(scope="module")
def api(real):
    return Api(real.kubeconfig)


class Replicas:
    """`purlin run` processes against one server. All of them end with the test."""

    def __init__(self, directory, real, registry):
        self.directory, self.real, self.registry = directory, real, registry
        self.all = []

    def start(self, count, shards=4, kubeconfig=None, wait=True, arguments=(), lease=("5s", "2s")):
        """So many more, with the first-party plugins ready in each."""
        prefix = uuid.uuid4().hex[:6]
        started = []
        for number in range(count):
            name = f"{prefix}-{number}"
            target = kubeconfig or self.real.kubeconfig
            replica = Replica(self.directory, name, target, shards, arguments, lease).start()
            started.append(replica)
            self.all.append(replica)
            # One after the other: each compiles the plugins, and the machine is small.
            if wait:
                replica.ready()
                install(self.real.kubeconfig, self.registry)
        return started

    def held(self):
        """How many shards each running replica has."""
        return [int(r.metric("shards_held")) for r in self.all if r.running]

    def leaders(self):
        return sum(int(r.metric("leader")) for r in self.all if r.running)

    def fenced(self):
        return sum(int(r.metric("writes_fenced_total")) for r in self.all if r.running)

    def log_tail(self):
        return "\n".join(replica.log_tail(40) for replica in self.all)


@pytest.fixture
def replicas(tmp_path, real, registry):
    group = Replicas(tmp_path, real, registry)
    yield group
    for replica in group.all:
        replica.discard()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    group = getattr(item, "funcargs", {}).get("replicas")
    if report.failed and group is not None:
        report.sections.append(("replicas", group.log_tail()))
