"""A namespace's quota on plugins, as a ResourceQuota: who has used it up waits and is told so, others do not notice."""

import pytest
from harness.kubectl import Kubectl
from harness.registry import push_layout
from harness.server import Server, running
from harness.wait import until
from objects import LAYOUT, made, plugin

CPU, MEMORY = "purlin.dev/plugin-cpu", "purlin.dev/plugin-memory"


def quota(**hard):
    names = {"cpu": CPU, "memory": MEMORY, "pods": "pods"}
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "plugins"},
        "spec": {"hard": {names[name]: value for name, value in hard.items()}},
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running(Server(tmp_path_factory.mktemp("quota"))) as server:
        everywhere = Kubectl(server.kubeconfig, home=server.directory)
        images = push_layout(LAYOUT, server.registry)
        names = ("dialect-echo", "dialect-hostile")
        everywhere.apply(*(plugin(name, images[name], memory="256Mi", deadline="2s") for name in names))
        for name in names:
            everywhere("wait", f"plugins.purlin.dev/{name}", "--for=condition=Ready", "--timeout=60s", timeout=90)
        everywhere("create", "namespace", "calm")
        yield everywhere


@pytest.fixture
def namespace(cluster, request):
    name = request.node.name.replace("_", "-")[5:60].strip("-")
    cluster("create", "namespace", name)
    yield cluster.within(name)
    cluster("delete", "namespace", name, "--wait=false")


def status(kubectl):
    return kubectl.json("get", "resourcequota", "plugins").get("status", {})


def limited(kubectl, *hard, **entries):
    kubectl.apply(quota(**entries))
    until("the quota to hold", lambda: all(h in status(kubectl).get("hard", {}) for h in hard), 30)


def told(kubectl, name):
    events = kubectl.json("get", "events", "--field-selector", f"involvedObject.name={name}")["items"]
    return [event["message"] for event in events if event["reason"] == "QuotaExceeded"]


def answered(kubectl, name):
    return lambda: kubectl.run("get", "configmap", name).returncode == 0


def test_plugin_time(cluster, namespace):
    limited(namespace, CPU, cpu="50m", pods="10")
    namespace.apply(made("Echo", "before", text="x"))
    until("an answer within the quota", answered(namespace, "before"), 30)
    # It spins until its deadline, which is four times what the namespace has saved up.
    namespace.apply(made("Hostile", "spinner", mode="loop"))
    until("the quota to be used up", lambda: told(namespace, "spinner"), 60)
    namespace.apply(made("Echo", "after", text="x"))
    message = until("the waiting object to say why", lambda: told(namespace, "after"), 30)[0]
    assert CPU in message and "ResourceQuota" in message and "0.05" in message, message
    assert not answered(namespace, "after")()
    calm = cluster.within("calm")
    calm.apply(made("Echo", "neighbour", text="x"))
    until("the neighbour's answer", answered(calm, "neighbour"), 10)
    used = until("the use to be written", lambda: status(namespace)["used"].get(CPU, "0m") != "0m", 60)
    assert used
    described = namespace("describe", "resourcequota", "plugins")
    assert CPU in described and MEMORY not in described
    # A higher quota lets it go on; what waits looks again within a minute.
    namespace("delete", "hostiles", "spinner", "--wait=false")
    namespace.apply(quota(cpu="2"))
    until("the answer after the quota was raised", answered(namespace, "after"), 90)


def test_plugin_memory(namespace):
    limited(namespace, MEMORY, memory="8Mi")
    namespace.apply(made("Hostile", "eater", mode="memory-bomb"))
    message = until("the quota to be used up", lambda: told(namespace, "eater"), 60)[0]
    assert MEMORY in message, message
    namespace.apply(made("Echo", "small", text="x"))
    until("a call that fits", answered(namespace, "small"), 60)


def test_a_quota_that_is_no_quantity_is_refused(namespace):
    assert "quantities must match" in namespace.fails("apply", "-f", "-", stdin=quota(cpu="plenty"))


def test_a_quota_taken_away_is_over(namespace):
    limited(namespace, CPU, cpu="0")
    namespace.apply(made("Echo", "waiting", text="x"))
    until("the quota to be used up", lambda: told(namespace, "waiting"), 30)
    namespace("delete", "resourcequota", "plugins")
    until("the answer without a quota", answered(namespace, "waiting"), 90)
