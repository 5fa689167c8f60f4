"""Plugins that misbehave, installed beside one that does not: each fault costs its own call and is seen on its own
resource, the server and the other plugin go on as before.

The components are the committed builds under plugins/testing/dist: `dialect-hostile` does what `spec.mode` of a Hostile
says, `dialect-echo` makes a ConfigMap of each Echo.
"""

import json
import statistics
import time

import pytest
from conformance.session import Server as Connection
from harness import processes
from harness.kubectl import Kubectl
from harness.registry import push_layout
from harness.server import Server, running
from harness.wait import until
from objects import GROUP, LAYOUT, made, plugin

LIMITS = {"memory": "64Mi", "deadline": "1s", "output": "8Mi", "concurrency": 2}
# Each with words of which the Event's reason or message must have one (case aside).
MODES = {
    "trap": ["trap", "unreachable"],
    "panic": ["trap", "unreachable", "panic"],
    "loop": ["deadline", "time"],
    "stack-overflow": ["stack", "trap"],
    "memory-bomb": ["memory", "trap", "unreachable"],
    "slow-memory-growth": ["memory", "trap", "unreachable"],
    "huge-output": ["output", "memory", "large", "trap", "unreachable"],
    "many-children": ["children", "output", "large", "memory", "deadline", "trap", "unreachable"],
    "malformed-json": ["json", "malformed", "pars"],
    "malformed-status": ["json", "malformed", "pars"],
    "deep-json": ["json", "recursion", "deep", "malformed"],
    "not-utf-8": ["utf", "trap", "malformed"],
    "foreign-kind": ["ClusterRoleBinding", "kind"],
    "other-namespace": ["namespace"],
    "child-without-name": ["name"],
    "child-not-an-object": ["object", "json"],
    "status-not-an-object": ["object", "status"],
    "fail": ["fails because it was asked to"],
}
# Wrong, but nothing that must be reported as a fault: the host has to stay calm.
CALM_MODES = [
    "none",
    "many-events",
    "log-flood",
    "log-huge-line",
    "foreign-name",
    "retry-now",
    "retry-never",
    "requeue-now",
    "invalid-of-nothing",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Server(tmp_path_factory.mktemp("hostile"))) as server:
        yield server


@pytest.fixture(scope="module")
def kubectl(server):
    everywhere = Kubectl(server.kubeconfig, home=server.directory)
    images = push_layout(LAYOUT, server.registry)
    names = ("dialect-echo", "dialect-hostile")
    everywhere.apply(*(plugin(name, images[name], **LIMITS) for name in names))
    for name in names:
        everywhere("wait", f"plugins.purlin.dev/{name}", "--for=condition=Ready", "--timeout=60s", timeout=90)
    everywhere("create", "namespace", "arena")
    kinds = f"echoes.{GROUP},hostiles.{GROUP}"
    until("both kinds to be served", lambda: everywhere.run("get", kinds, "-n", "arena").returncode == 0, 30)
    return everywhere.within("arena")


@pytest.fixture(scope="module")
def echo(server):
    return Echo(server)


class Echo:
    """Measures how long the well-behaved plugin takes: from the write of an Echo to its ConfigMap, by the API alone."""

    def __init__(self, server):
        self.connection, self.number = Connection(server.kubeconfig), 0

    def latency(self):
        """Seconds for one Echo."""
        self.number += 1
        name = f"echo-{self.number}"
        started = time.monotonic()
        answer = self.connection.send(
            "POST",
            f"/apis/{GROUP}/v1/namespaces/arena/echoes",
            json.dumps(made("Echo", name, text="hello")),
            {"Content-Type": "application/json"},
        )
        assert answer.status == 201, answer.data
        while self.connection.send("GET", f"/api/v1/namespaces/arena/configmaps/{name}").status != 200:
            assert time.monotonic() - started < 30, f"{name} was not answered in 30 s"
            time.sleep(0.002)
        return time.monotonic() - started

    def latencies(self, count):
        return [self.latency() for _ in range(count)]


def warnings(kubectl, name):
    events = kubectl.json(
        "get", "events", "--field-selector", f"involvedObject.name={name},involvedObject.kind=Hostile"
    )["items"]
    return [f"{e['reason']}: {e.get('message', '')}" for e in events if e["type"] == "Warning"]


@pytest.mark.parametrize("mode", MODES)
def test_a_fault_is_seen_on_the_resource(kubectl, server, mode):
    name = f"bad-{mode}"
    kubectl.apply(made("Hostile", name, mode=mode))
    found = until(f"a warning on {name}", lambda: warnings(kubectl, name), 30)
    assert any(word.lower() in text.lower() for text in found for word in MODES[mode]), found
    assert server.process.poll() is None, "the server died"
    kubectl("delete", f"hostiles.{GROUP}", name, "--timeout=30s")


@pytest.mark.parametrize("mode", CALM_MODES)
def test_a_nuisance_is_borne(kubectl, server, echo, mode):
    kubectl.apply(made("Hostile", f"odd-{mode}", mode=mode))
    time.sleep(1)
    assert server.process.poll() is None, "the server died"
    assert echo.latency() < 5
    kubectl("delete", f"hostiles.{GROUP}", f"odd-{mode}", "--timeout=30s")


def test_a_hostile_finalize_does_not_hold_the_object_for_ever(kubectl):
    kubectl.apply(made("Hostile", "sticky", mode="trap", during="finalize"))
    time.sleep(0.5)
    kubectl("delete", f"hostiles.{GROUP}", "sticky", "--wait=false")
    # Either it goes, or it says why it stays.
    until(
        "it to go or to explain itself",
        lambda: (
            kubectl.run("get", f"hostiles.{GROUP}", "sticky").returncode != 0 or warnings(kubectl, "sticky")
        ),
        30,
    )


def test_nothing_foreign_was_made(kubectl):
    assert kubectl.run("get", "configmaps", "-n", "kube-system", "bad-other-namespace").returncode != 0
    assert kubectl.run("get", "clusterrolebindings", "i-am-root").returncode != 0


def test_the_other_plugins_latency_holds_under_all_of_it_at_once(kubectl, server, echo):
    echo.latencies(5)  # warm up
    alone = echo.latencies(40)
    kubectl.apply(*(made("Hostile", f"mob-{mode}", mode=mode) for mode in [*MODES, *CALM_MODES]))
    time.sleep(0.5)
    beside = echo.latencies(40)
    resident = processes.resident_bytes(server.process.pid)
    kubectl("delete", f"hostiles.{GROUP}", "--all", "--wait=false")
    show = lambda values: (
        f"median {statistics.median(values) * 1000:.1f} ms, worst {max(values) * 1000:.1f} ms"
    )
    print(
        f"\nalone: {show(alone)}; beside {len(MODES) + len(CALM_MODES)} hostile objects: {show(beside)}; {resident >> 20} MiB resident"
    )
    # Two looping calls take a whole core each while they last; a machine with two cores shares.
    assert statistics.median(beside) < 5 * statistics.median(alone) + 0.1, "the median suffers"
    assert max(beside) < 3, "one call was held up"
    assert resident < 1 << 30, "the server keeps what hostile calls allocated"


def test_the_calls_are_counted(server, kubectl):
    traps = [
        line
        for line in server.metrics().splitlines()
        if line.startswith("purlin_") and "trap" in line and "dialect-hostile" in line
    ]
    assert traps and sum(float(line.rsplit(" ", 1)[1]) for line in traps) >= 1


def test_an_image_that_is_no_plugin_is_refused(kubectl, server):
    kubectl.apply(plugin("nothing", f"{server.registry}/purlin/not-there:1.0.0"))

    def reason():
        conditions = (
            kubectl.json("get", "plugins.purlin.dev", "nothing").get("status", {}).get("conditions", [])
        )
        return next(
            (c for c in conditions if c["type"] in ("Resolved", "Ready") and c["status"] == "False"), None
        )

    assert "not-there" in until("the plugin to be refused", reason, 30)["message"]
    kubectl("delete", "plugins.purlin.dev", "nothing")


def test_a_missing_grant_is_named(kubectl, server):
    images = push_layout(LAYOUT, server.registry)
    kubectl.apply(plugin("tuner-relay", images["tuner-relay"]))

    def refused():
        status = kubectl.json("get", "plugins.purlin.dev", "tuner-relay").get("status", {})
        return next(
            (c for c in status.get("conditions", []) if c["type"] == "Granted" and c["status"] == "False"),
            None,
        )

    assert "call(tuner)" in until("the grant to be missed", refused, 30)["message"]
    kubectl(
        "patch",
        "plugins.purlin.dev",
        "tuner-relay",
        "--type=merge",
        "-p",
        '{"spec": {"grants": ["call(tuner)"]}}',
    )
    kubectl("wait", "plugins.purlin.dev/tuner-relay", "--for=condition=Ready", "--timeout=30s")
