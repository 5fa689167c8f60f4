"""What a dialect may have the kernel do: each case is an object that it wants and was not granted. None may come to be, and
each is said on the object that asked. The component is `dialect-probe` (plugins/testing), which answers with the objects
in its parent's `spec.children` and asks to see those in `spec.related`.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness.kubectl import Kubectl
from harness.registry import push_layout
from harness.server import REPOSITORY, Server, running
from harness.wait import until

LAYOUT = REPOSITORY / "plugins/testing/dist"
GROUP = "testing.purlin.dev"
# Without these it does not load; they say nothing about objects.
LOADING = [
    "http(GET http://localhost:* in 127.0.0.0/8)",
    "http(GET https://nowhere.invalid)",
    "secret(allowed)",
    "kv",
    "blob",
    "events(com.example.*)",
    "call(tuner)",
]
WRITING = [
    "kube(write core/ConfigMap)",
    "kube(write core/Pod in team-a)",
    "kube(write batch/Job)",
    "kube(write purlin.dev/Experiment)",
    "kube(write rbac.authorization.k8s.io/Role in nowhere)",
    "kube(read core/ConfigMap)",
    "kube(read core/Secret in team-b)",
]


class Sink(BaseHTTPRequestHandler):
    """Takes CloudEvents."""

    heard = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        Sink.heard.append((dict(self.headers), body))
        self.send_response(202)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as sink:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{sink.server_address[1]}/"
        with running(Server(tmp_path_factory.mktemp("grants"), arguments=["--event-sink", url])) as server:
            yield server
        sink.shutdown()


@pytest.fixture(scope="module")
def kubectl(server):
    everywhere = Kubectl(server.kubeconfig, home=server.directory)
    image = push_layout(LAYOUT, server.registry)["dialect-probe"]
    for namespace in ("team-a", "team-b"):
        everywhere("create", "namespace", namespace)
    everywhere.image = image
    grant(everywhere, LOADING + WRITING)
    everywhere("wait", "plugins.purlin.dev/dialect-probe", "--for=condition=Ready", "--timeout=60s", timeout=90)
    return everywhere


def grant(kubectl, grants):
    spec = {"image": kubectl.image, "grants": grants}
    kubectl.apply(
        {"apiVersion": "purlin.dev/v1alpha1", "kind": "Plugin", "metadata": {"name": "dialect-probe"}, "spec": spec}
    )


def probe(name, namespace="team-a", **spec):
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Probe",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def denials(kubectl, name, namespace):
    fields = f"involvedObject.name={name},involvedObject.kind=Probe"
    events = kubectl.json("get", "events", "-n", namespace, "--field-selector", fields)["items"]
    return [event["message"] for event in events if event["reason"] == "NotGranted"]


def pod(**spec):
    containers = spec.pop("containers", [{"name": "c", "image": "none:1"}])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "wanted"},
        "spec": {"containers": containers, **spec},
    }


def privileged(**context):
    return pod(containers=[{"name": "c", "image": "none:1", "securityContext": context}])


def job(template):
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "wanted"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", **template["spec"]}}},
    }


def experiment(trial):
    return {
        "apiVersion": "purlin.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "wanted"},
        "spec": {
            "objective": {"metric": "m", "direction": "minimize"},
            "algorithm": {"name": "random"},
            "parameters": [{"name": "x", "type": "int", "min": "1", "max": "2"}],
            "maxTrials": 1,
            "trialTemplate": {"object": trial},
        },
    }


HOST_PATH = pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}])
CASES = {
    # name: (namespace, the object, words of the grant that is missing)
    "pod-in-another-namespace": ("team-b", pod(), "kube(write core/Pod in team-b)"),
    "role": (
        "team-a",
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "wanted"}, "rules": []},
        "kube(write rbac.authorization.k8s.io/Role in team-a)",
    ),
    "privileged": ("team-a", privileged(privileged=True), "pod-security(privileged"),
    "host-path": ("team-a", HOST_PATH, "pod-security(privileged"),
    "host-network": ("team-a", pod(hostNetwork=True), "pod-security(privileged"),
    "host-pid": ("team-a", pod(hostPID=True), "pod-security(privileged"),
    "host-ipc": ("team-a", pod(hostIPC=True), "pod-security(privileged"),
    "capabilities": ("team-a", privileged(capabilities={"add": ["SYS_ADMIN"]}), "pod-security(privileged"),
    "unconfined": ("team-a", privileged(seccompProfile={"type": "Unconfined"}), "pod-security(privileged"),
    "proc-mount": ("team-a", privileged(procMount="Unmasked"), "pod-security(privileged"),
    "host-port": (
        "team-a",
        pod(containers=[{"name": "c", "image": "none:1", "ports": [{"containerPort": 80, "hostPort": 80}]}]),
        "pod-security(privileged",
    ),
    "init-container": (
        "team-a",
        pod(initContainers=[{"name": "i", "image": "none:1", "securityContext": {"privileged": True}}]),
        "pod-security(privileged",
    ),
    "privileged-as-text": ("team-a", privileged(privileged="true"), "pod-security(privileged"),
    "job-privileged": ("team-a", job(privileged(privileged=True)), "pod-security(privileged"),
    "job-host-path": ("team-b", job(HOST_PATH), "pod-security(privileged"),
    "experiment-privileged": ("team-a", experiment(job(privileged(privileged=True))), "pod-security(privileged"),
    "experiment-host-path": ("team-a", experiment(job(HOST_PATH)), "pod-security(privileged"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_not_granted_is_not_made(kubectl, case):
    namespace, wanted, missing = CASES[case]
    kubectl.apply(probe(case, namespace, children=[wanted]))
    found = until(f"a denial on {case}", lambda: denials(kubectl, case, namespace), 20)
    assert any(missing in message for message in found), found
    made = kubectl.run("get", wanted["kind"].lower(), "wanted", "-n", namespace)
    assert made.returncode != 0, made.stdout
    kubectl("delete", f"probes.{GROUP}", case, "-n", namespace, "--timeout=30s")


def test_one_denied_object_keeps_all_of_an_answer_from_being_made(kubectl):
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "harmless"}, "data": {}}
    kubectl.apply(probe("mixed", children=[config_map, privileged(privileged=True)]))
    until("a denial", lambda: denials(kubectl, "mixed", "team-a"), 20)
    assert kubectl.run("get", "configmap", "harmless", "-n", "team-a").returncode != 0
    # Once it asks for what it has, it gets it.
    kubectl.apply(probe("mixed", children=[config_map]))
    until(
        "the ConfigMap", lambda: kubectl.run("get", "configmap", "harmless", "-n", "team-a").returncode == 0, 20
    )
    kubectl("delete", f"probes.{GROUP}", "mixed", "-n", "team-a", "--timeout=30s")


@pytest.mark.parametrize(
    "selector, missing",
    [
        ({"apiVersion": "v1", "kind": "Secret"}, "kube(read core/Secret in team-a)"),
        ({"apiVersion": "v1", "kind": "Secret", "namespace": "team-b"}, "namespace"),
        ({"apiVersion": "v1", "kind": "Secret", "namespace": "kube-system"}, "namespace"),
        ({"apiVersion": "v1", "kind": "ServiceAccount"}, "does not list"),
    ],
)
def test_what_was_not_granted_is_not_seen(kubectl, selector, missing):
    kubectl.apply(probe("looking", related=[selector]))
    fields = "involvedObject.name=looking,involvedObject.kind=Probe"

    def said():
        events = kubectl.json("get", "events", "-n", "team-a", "--field-selector", fields)["items"]
        return [event["message"] for event in events if missing in event["message"]]

    until(f"{missing!r} to be said", said, 20)
    status = kubectl.json("get", f"probes.{GROUP}", "looking", "-n", "team-a").get("status", {})
    assert not status.get("related"), status
    kubectl.apply(probe("looking"))
    kubectl("delete", f"probes.{GROUP}", "looking", "-n", "team-a", "--timeout=30s")


def results(kubectl, name, namespace="team-a"):
    status = kubectl.json("get", f"probes.{GROUP}", name, "-n", namespace).get("status", {})
    return status.get("results")


def test_what_the_host_does_for_a_plugin(kubectl, server):
    kubectl("create", "secret", "generic", "allowed", "--from-literal=token=abc", "-n", "team-a")
    kubectl("create", "secret", "generic", "other", "--from-literal=token=abc", "-n", "team-a")
    steps = [
        {"do": "secret", "name": "allowed"},
        {"do": "secret", "name": "other"},
        {"do": "secret", "name": "shared/allowed"},
        {"do": "kv-set", "key": "cursor", "value": "7"},
        {"do": "kv-get", "key": "cursor"},
        {"do": "kv-keys", "prefix": ""},
        {"do": "blob-write", "key": "model.bin", "value": "weights"},
        {"do": "blob-read", "key": "model.bin"},
        {"do": "event", "id": "1", "type": "com.example.done", "subject": "a b", "data": '{"n": 1}', "datacontenttype": "application/json"},
        {"do": "event", "id": "2", "type": "org.other", "data": ""},
        {"do": "http", "url": f"{server.health}/healthz".replace("127.0.0.1", "localhost")},
        {"do": "http", "url": f"{server.health}/healthz"},
        {"do": "tuner", "algorithm": "random"},
    ]
    kubectl.apply(probe("working", steps=steps))
    found = until("its results", lambda: results(kubectl, "working"), 30)
    ok = [result.get("ok") for result in found]
    assert found[0] == {"ok": {"token": "abc"}}, found
    assert "secret(other)" in found[1]["denied"] and "secret(shared/allowed)" in found[2]["denied"], found
    assert ok[3] >= 1 and ok[4] == "7" and ok[5] == ["cursor"], found
    assert ok[7] == "weights", found
    assert "ok" in found[8] and "org.other" in found[9]["denied"], found
    assert ok[10]["status"] == 200 and "denied" in found[11], found
    assert "ok" in found[12], found
    headers, body = Sink.heard[0]
    heard = {name.lower(): value for name, value in headers.items()}
    assert heard["ce-type"] == "com.example.done" and heard["ce-subject"] == "a%20b", heard
    assert heard["ce-source"] == "/apis/purlin.dev/v1alpha1/plugins/dialect-probe", heard
    assert json.loads(body) == {"n": 1}
    assert all(headers["ce-type"] != "org.other" for headers, _ in Sink.heard)


def test_a_plugins_store_goes_with_the_plugin(kubectl, server):
    stores = lambda: kubectl.json("get", "secrets", "-n", "purlin-system", "-l", "purlin.dev/plugin=dialect-probe")["items"]
    assert len(stores()) == 1
    kubectl("delete", f"probes.{GROUP}", "--all", "-n", "team-a", "--timeout=30s")
    kubectl("delete", "plugins.purlin.dev", "dialect-probe", "--timeout=30s")
    until("the store to be gone", lambda: not stores(), 30)
    grant(kubectl, LOADING + WRITING)
    kubectl("wait", "plugins.purlin.dev/dialect-probe", "--for=condition=Ready", "--timeout=60s", timeout=90)
    kubectl.apply(probe("again", steps=[{"do": "kv-get", "key": "cursor"}, {"do": "blob-read", "key": "model.bin"}]))
    found = until("its results", lambda: results(kubectl, "again"), 30)
    assert found == [{"ok": None}, {"ok": None}], "another plugin of the same name reads nothing of the one before"


def test_a_grant_that_is_taken_back_unloads(kubectl):
    grant(kubectl, [grant for grant in LOADING + WRITING if grant != "kv"])

    def refused():
        plugin = kubectl.json("get", "plugins.purlin.dev", "dialect-probe")
        conditions = {condition["type"]: condition for condition in plugin["status"]["conditions"]}
        found = conditions["Granted"]
        return plugin if found["status"] == "False" and "kv" in plugin["status"].get("refused", []) else None

    plugin = until("the plugin to say what it lacks", refused, 20)
    assert not plugin["status"].get("serving"), "what lacks a grant must not be called"
    grant(kubectl, ["everything"] + LOADING + WRITING)

    def unknown():
        plugin = kubectl.json("get", "plugins.purlin.dev", "dialect-probe")
        messages = [condition["message"] for condition in plugin["status"]["conditions"]]
        return any("spec.grants[0]" in message and "everything" in message for message in messages)

    until("the unknown capability to be named", unknown, 20)
