"""A plugin is replaced while it is called: no call fails, no object is left behind; a version that cannot work does not
take over, one whose calls fail gives its place back.

The components of version 0.1 of the contract are those in plugins/history/testing-v0.1, those of 0.2 in
plugins/testing/dist.
"""

import json
import re
import threading
import time

import pytest
from conformance.session import Server as Connection
from harness.kubectl import Kubectl
from harness.registry import push_layout
from harness.server import REPOSITORY, Server, running
from harness.wait import until

OLD, NEW = REPOSITORY / "plugins/history/testing-v0.1", REPOSITORY / "plugins/testing/dist"
GROUP = "testing.purlin.dev"
GRANTS = ["kube(write core/ConfigMap)", "kube(read core/ConfigMap)"]


def digests(layout):
    manifests = json.loads((layout / "index.json").read_text())["manifests"]
    name = lambda entry: entry["annotations"]["org.opencontainers.image.ref.name"].rpartition("/")[2].partition(":")[0]
    return {name(entry): entry["digest"] for entry in manifests}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Server(tmp_path_factory.mktemp("upgrade"))) as server:
        yield server


@pytest.fixture(scope="module")
def kubectl(server):
    everywhere = Kubectl(server.kubeconfig, home=server.directory)
    push_layout(OLD, server.registry)
    everywhere.images = push_layout(NEW, server.registry)
    return everywhere


def install(kubectl, name, digest, wait=True, **config):
    spec = {"image": kubectl.images[name], "digest": digest, "grants": GRANTS, "config": config}
    plugin = {"apiVersion": "purlin.dev/v1alpha1", "kind": "Plugin", "metadata": {"name": name}, "spec": spec}
    kubectl.apply(plugin)
    if wait:
        until(f"{name} to serve {digest}", lambda: serving(kubectl, name) == digest, 60)


def status(kubectl, name):
    return kubectl.json("get", "plugins.purlin.dev", name).get("status", {})


def serving(kubectl, name):
    return status(kubectl, name).get("serving", {}).get("digest")


def ready(kubectl, name):
    conditions = status(kubectl, name).get("conditions", [])
    return next((c for c in conditions if c["type"] == "Ready"), {})


def outcomes(server, plugin):
    """Calls of a plugin that the kernel counted, by outcome."""
    found = {}
    for line in server.metrics().splitlines():
        match = re.match(r'purlin_kernel_plugin_calls_total\{(.*)\} (\d+)', line)
        if match and f'plugin="{plugin}"' in match[1]:
            outcome = re.search(r'outcome="([^"]*)"', match[1])[1]
            found[outcome] = found.get(outcome, 0) + int(match[2])
    return found


class Writer(threading.Thread):
    """Changes one Echo after the other, as fast as the API answers."""

    def __init__(self, server, number, objects):
        super().__init__(daemon=True)
        self.connection, self.number, self.objects = Connection(server.kubeconfig), number, objects
        self.written, self.stop, self.failure = {}, False, None

    def run(self):
        try:
            step = 0
            while not self.stop:
                name = f"echo-{self.number}-{step % self.objects}"
                step += 1
                body = {
                    "apiVersion": f"{GROUP}/v1",
                    "kind": "Echo",
                    "metadata": {"name": name},
                    "spec": {"step": str(step)},
                }
                answer = self.connection.send(
                    "PATCH",
                    f"/apis/{GROUP}/v1/namespaces/load/echoes/{name}?fieldManager=load&force=true",
                    json.dumps(body),
                    {"Content-Type": "application/apply-patch+yaml"},
                )
                assert answer.status in (200, 201), answer.data
                self.written[name] = str(step)
        except Exception as error:
            self.failure = error


def test_an_upgrade_under_load_fails_no_call(kubectl, server):
    old, new = digests(OLD)["dialect-echo"], digests(NEW)["dialect-echo"]
    assert old != new
    install(kubectl, "dialect-echo", old)
    kubectl("create", "namespace", "load")
    writers = [Writer(server, number, 50) for number in range(4)]
    for writer in writers:
        writer.start()
    time.sleep(2)
    switches = 0
    for digest in [new, old] * 4 + [new]:
        install(kubectl, "dialect-echo", digest)
        switches += 1
        time.sleep(1)
    for writer in writers:
        writer.stop = True
    for writer in writers:
        writer.join(30)
        assert writer.failure is None, writer.failure
    written = {name: step for writer in writers for name, step in writer.written.items()}

    def behind():
        maps = kubectl.json("get", "configmaps", "-n", "load")["items"]
        seen = {item["metadata"]["name"]: item["data"].get("step") for item in maps}
        return [name for name, step in written.items() if seen.get(name) != step]

    until("every Echo to be as it was written last", lambda: not behind(), 60)
    counted = outcomes(server, "dialect-echo")
    print(f"\n{switches} upgrades beside {len(written)} objects; calls by outcome: {counted}")
    assert counted.get("ok", 0) > 1000 and set(counted) == {"ok"}, counted
    events = kubectl.json("get", "events", "-n", "load")["items"]
    assert [event for event in events if event["type"] == "Warning"] == []


def test_a_version_that_cannot_work_does_not_take_over(kubectl):
    old, new = digests(OLD)["dialect-hostile"], digests(NEW)["dialect-hostile"]
    install(kubectl, "dialect-hostile", old)
    install(kubectl, "dialect-hostile", new, wait=False, during="check", mode="trap")
    until("the refusal", lambda: ready(kubectl, "dialect-hostile").get("reason") == "PluginTrapped", 30)
    assert serving(kubectl, "dialect-hostile") == old
    install(kubectl, "dialect-hostile", new, during="check", mode="none")
    until("it to be ready", lambda: ready(kubectl, "dialect-hostile").get("status") == "True", 30)


def test_a_version_whose_calls_fail_gives_its_place_back(kubectl, server):
    old, new = digests(OLD)["dialect-hostile"], digests(NEW)["dialect-hostile"]
    install(kubectl, "dialect-hostile", old)
    kubectl("create", "namespace", "back")
    hostile = lambda name: {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Hostile",
        "metadata": {"name": name, "namespace": "back"},
        "spec": {"mode": "none"},
    }
    kubectl.apply(*(hostile(f"h-{number}") for number in range(8)))
    install(kubectl, "dialect-hostile", new, wait=False, mode="trap")
    until("the version before to be back", lambda: ready(kubectl, "dialect-hostile").get("reason") == "RolledBack", 60)
    assert serving(kubectl, "dialect-hostile") == old
    found = status(kubectl, "dialect-hostile")
    assert found["rolledBack"]["digest"] == new, found
    events = kubectl.json("get", "events", "-A", "--field-selector", "involvedObject.name=dialect-hostile")["items"]
    assert any(event["reason"] == "RolledBack" for event in events)
    # A kernel that starts anew does not try the failed version again.
    server.stop()
    server.start()
    until("the status after a restart", lambda: ready(kubectl, "dialect-hostile").get("reason") == "RolledBack", 30)
    assert serving(kubectl, "dialect-hostile") == old
    # Another spec is another try.
    install(kubectl, "dialect-hostile", new, mode="none")
    until("it to be ready", lambda: ready(kubectl, "dialect-hostile").get("status") == "True", 30)
