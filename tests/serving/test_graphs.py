"""InferenceGraphs as KServe's users write them: what becomes of a request at each kind of node, and what of a graph."""

import collections
import json

import pytest
import requests
import yaml
from harness.wait import until
from serving.service import condition, conditions, events, gone, host, onnx, ready

NAMESPACE = "graphs"
ASKED = {"instances": [[1, 2]]}
SEQUENCE = "{routerType: Sequence, steps: [%s]}"


def graph(name, **nodes):
    """An InferenceGraph; a node is written as in YAML."""
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": {"name": name},
        "spec": {"nodes": {node: yaml.safe_load(text) for node, text in nodes.items()}},
    }


def step(name, status=200):
    """An InferenceService whose server says what it was given."""
    container = {
        "name": "kserve-container",
        "image": "docker.io/example/step:1",
        "command": ["python", "/app/step.py"],
        "args": [f"--model_name={name}", f"--status={status}"],
        "ports": [{"containerPort": 8080}],
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"containers": [container]}},
    }


@pytest.fixture(scope="module")
def kubectl(cluster, models):
    """kubectl in a namespace with the services that the graphs ask."""
    cluster("create", "namespace", NAMESPACE)
    kubectl = cluster.within(NAMESPACE)
    services = [step("first"), step("second"), step("failing", 404), onnx("digits", models / "digits")]
    kubectl.apply(*services)
    for service in services:
        ready(kubectl, service["metadata"]["name"], 120)
    yield kubectl
    cluster.run("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def ask(kubectl, gateway):
    """Applies a graph, waits for it and gives what asks it, by its host."""
    made = []

    def applied(manifest):
        kubectl.apply(manifest)
        name = manifest["metadata"]["name"]
        made.append(name)
        ready(kubectl, name, kind="inferencegraph")
        address = host(kubectl, name, "inferencegraph")

        def post(body=ASKED, path="/"):
            return requests.post(f"http://{gateway}{path}", json=body, headers={"Host": address}, timeout=30)

        return post

    yield applied
    if made:
        kubectl("delete", "inferencegraph", "--ignore-not-found", *made)


def test_a_sequence_hands_on_the_request_or_the_answer(kubectl, ask, gateway):
    post = ask(
        graph(
            "sequence",
            root="""
            routerType: Sequence
            steps:
            - serviceName: first
              name: one
            - serviceName: second
              data: $response
            """,
        )
    )
    answer = post()
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json", answer.text
    told = answer.json()
    assert (told["step"], told["path"]) == ("second", "/v1/models/second:predict")
    assert (told["given"]["step"], told["given"]["given"]) == ("first", ASKED)

    # The address of the gateway with a path is the same.
    answer = requests.post(f"http://{gateway}/serving/{NAMESPACE}/sequence", json=ASKED, timeout=30)
    assert answer.json() == told
    # Without `data` and with $request it is what the node was given.
    post = ask(graph("asked", root=SEQUENCE % "{serviceName: first}, {serviceName: second, data: $request}"))
    assert post().json()["given"] == ASKED

    status = kubectl.json("get", "inferencegraph", "sequence")["status"]
    assert status["url"] == f"http://sequence.{NAMESPACE}.localhost:{gateway.rpartition(':')[2]}"
    assert status["observedGeneration"] == 1 and status["deploymentMode"] == "Knative"
    expected = {"Ready": "True", "ConfigurationsReady": "True", "RoutesReady": "True", "Stopped": "False"}
    assert conditions(kubectl, "inferencegraph", "sequence") == expected
    found = [event[:2] for event in events(kubectl, "InferenceGraph", "sequence")]
    assert ("Normal", "InferenceGraphReady") in found
    header, row = kubectl("get", "ig", "sequence").splitlines()
    assert header.split() == ["NAME", "URL", "READY", "AGE"]
    assert row.split()[:3] == ["sequence", status["url"], "True"]


def test_a_step_that_fails_ends_a_sequence_only_where_it_is_hard(ask):
    def sequence(name, first, dependency, second):
        steps = "{serviceName: %s, dependency: %s}, {serviceName: %s, data: $request}" % (first, dependency, second)
        return ask(graph(name, root=SEQUENCE % steps))()

    answer = sequence("hard", "failing", "Hard", "first")
    assert (answer.status_code, answer.json()["step"]) == (404, "failing")
    assert answer.json()["detail"] == "Intentional 404"
    answer = sequence("soft", "failing", "Soft", "first")
    assert (answer.status_code, answer.json()["step"]) == (200, "first")
    # The last step's answer is the graph's, whatever its status.
    answer = sequence("last", "first", "Soft", "failing")
    assert (answer.status_code, answer.json()["step"]) == (404, "failing")


def test_a_sequence_goes_on_where_the_condition_holds_for_the_answer_before(ask):
    post = ask(
        graph(
            "conditional",
            root="""
            routerType: Sequence
            steps:
            - serviceName: first
            - serviceName: second
              condition: '[@this].#(given.animal=="dog")'
            """,
        )
    )
    assert post({"animal": "dog"}).json()["step"] == "second"
    answer = post({"animal": "cat"})
    assert (answer.status_code, answer.json()["step"]) == (200, "first")


def test_a_switch_takes_the_first_step_whose_condition_holds(ask):
    post = ask(
        graph(
            "switch",
            root="""
            routerType: Switch
            steps:
            - serviceName: first
              condition: '[@this].#(source=="client")'
            - serviceName: failing
              condition: source
            """,
        )
    )
    answer = post({"source": "client", **ASKED})
    assert (answer.status_code, answer.json()["step"]) == (200, "first")
    assert answer.json()["given"] == {"source": "client", **ASKED}
    assert (post({"source": "kafka"}).status_code, post({"source": "kafka"}).json()["step"]) == (404, "failing")
    answer = post({"other": 1})
    assert answer.status_code == 404 and "condition" in answer.json()["error"], answer.text


def test_an_ensemble_puts_the_answers_together(ask):
    post = ask(
        graph(
            "ensemble",
            root="""
            routerType: Ensemble
            steps:
            - {serviceName: first, name: one}
            - {serviceName: second}
            - {serviceName: failing, name: soft, dependency: Soft}
            """,
        )
    )
    answer = post()
    assert answer.status_code == 200, answer.text
    assert {key: told["step"] for key, told in answer.json().items()} == {"one": "first", "1": "second", "soft": "failing"}
    assert all(told["given"] == ASKED for told in answer.json().values())
    steps = "[{serviceName: first}, {serviceName: failing, dependency: Hard}]"
    answer = ask(graph("ensemble-hard", root=f"{{routerType: Ensemble, steps: {steps}}}"))()
    assert (answer.status_code, answer.json()["step"]) == (404, "failing")


def test_a_splitter_shares_requests_by_weight(ask):
    steps = "[{serviceName: first, weight: 20}, {serviceName: second, weight: 80}]"
    post = ask(graph("splitter", root=f"{{routerType: Splitter, steps: {steps}}}"))
    shares = collections.Counter(post().json()["step"] for _ in range(100))
    assert shares == {"first": 20, "second": 80}


def test_nodes_lead_to_nodes(ask):
    post = ask(
        graph(
            "nested",
            root="""
            routerType: Sequence
            steps:
            - serviceName: first
            - nodeName: both
              data: $response
            """,
            both="""
            routerType: Ensemble
            steps:
            - {serviceName: second, name: plain}
            - {nodeName: chosen, name: chosen}
            """,
            chosen="""
            routerType: Switch
            steps:
            - {serviceName: failing, condition: nothing}
            - {serviceName: first, condition: given.instances}
            """,
        )
    )
    told = post().json()
    assert {key: (one["step"], one["given"]["step"]) for key, one in told.items()} == {
        "plain": ("second", "first"),
        "chosen": ("first", "first"),
    }


def test_a_model_that_a_plugin_serves_is_a_step_by_both_protocols(ask, expected):
    known = expected("digits-logreg")["outputs"]
    post = ask(graph("native", root=SEQUENCE % "{serviceName: digits, dependency: Hard}"))
    row = [1.0] * 64
    tensor = {"name": "input", "shape": [1, 64], "datatype": "FP32", "data": row}
    answer = post({"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_name"] == "digits"
    assert {output["name"] for output in answer.json()["outputs"]} == set(known)
    assert len(post({"instances": [row, row]}).json()["predictions"]) == 2
    # What is wrong with a request is said by the step that was given it.
    answer = post({"inputs": [{**tensor, "shape": [1, 3], "data": [1.0] * 3}]})
    assert answer.status_code == 400 and "input" in answer.json()["error"], answer.text


@pytest.mark.parametrize("at", ["gateway", "host", "cluster"])
def test_a_step_asks_a_url(ask, gateway, at):
    """A service by the gateway's address, and by the names under which it is known inside a cluster."""
    authority = {
        "gateway": f"{gateway}/serving/{NAMESPACE}/first",
        "host": f"first.{NAMESPACE}.localhost:{gateway.rpartition(':')[2]}",
        "cluster": f"first.{NAMESPACE}.svc.cluster.local",
    }[at]
    url = f"http://{authority}/v1/models/first:predict"
    answer = ask(graph(f"url-{at}", root=SEQUENCE % f"{{serviceUrl: '{url}'}}"))()
    assert answer.status_code == 200, answer.text
    assert (answer.json()["step"], answer.json()["path"]) == ("first", "/v1/models/first:predict")


def test_a_server_that_is_not_there_is_said(ask):
    url = "http://127.0.0.1:9/v1/models/gone:predict"
    answer = ask(graph("away", root=SEQUENCE % f"{{serviceUrl: '{url}'}}"))()
    assert answer.status_code in (500, 502, 503) and url in answer.json()["error"], answer.text


def test_a_graph_changes_stops_and_goes(kubectl, ask, gateway):
    manifest = graph("mutable", root=SEQUENCE % "{serviceName: first}")
    post = ask(manifest)
    assert post().json()["step"] == "first"
    manifest["spec"]["nodes"]["root"]["steps"][0]["serviceName"] = "second"
    kubectl.apply(manifest)
    until("the change counts", lambda: post().json()["step"] == "second", 30)
    assert kubectl.json("get", "inferencegraph", "mutable")["status"]["observedGeneration"] == 2

    kubectl("annotate", "inferencegraph", "mutable", "serving.kserve.io/stop=true")
    until("it no longer answers", lambda: post().status_code == 404, 30)
    stopped = lambda: condition(kubectl, "inferencegraph", "mutable", "Stopped").get("status") == "True"
    until("it says that it is stopped", stopped, 30)
    assert "url" not in kubectl.json("get", "inferencegraph", "mutable")["status"]
    kubectl("annotate", "inferencegraph", "mutable", "serving.kserve.io/stop-")
    ready(kubectl, "mutable", kind="inferencegraph")
    until("it answers again", lambda: post().status_code == 200, 30)

    kubectl("delete", "inferencegraph", "mutable")
    until("it no longer answers", lambda: post().status_code == 404, 30)
    until("its route is gone", lambda: "route/mutable" not in kubectl("get", "routes.purlin.dev", "-o", "name"), 30)


def test_a_graph_waits_for_its_services(kubectl, ask, gateway):
    """A service that is not there is said, and the graph becomes ready once it is."""
    manifest = graph("early", root=SEQUENCE % "{serviceName: first}, {serviceName: late}")
    kubectl.apply(manifest)

    def said():
        found = condition(kubectl, "inferencegraph", "early", "Ready")
        return found.get("status") == "False" and found["message"]

    message = until("the graph says what it waits for", said, 30)
    assert all(part in message for part in ("spec.nodes.root.steps[1].serviceName", '"late"', NAMESPACE)), message
    warned = [event for event in events(kubectl, "InferenceGraph", "early") if event[0] == "Warning"]
    assert [event[1] for event in warned] == ["ServiceNotFound"] and message in warned[0][2], warned
    kubectl.apply(step("late"))
    post = ask(manifest)
    assert post().json()["step"] == "late"
    kubectl("delete", "inferenceservice", "late")
    until("the graph says that it is gone", said, 30)


REFUSED = {
    "no-root": ({"other": SEQUENCE % "{serviceName: first}"}, ["spec.nodes", "root"]),
    "no-steps": ({"root": "{routerType: Sequence}"}, ["spec.nodes.root.steps", "step"]),
    "no-target": ({"root": SEQUENCE % "{name: one}"}, ["spec.nodes.root.steps[0]", "serviceName"]),
    "two-targets": (
        {"root": SEQUENCE % "{serviceName: first, serviceUrl: 'http://x'}"},
        ["spec.nodes.root.steps[0].serviceUrl", "http://x", "only one"],
    ),
    "no-such-node": ({"root": SEQUENCE % "{nodeName: lost}"}, ["spec.nodes.root.steps[0].nodeName", "lost"]),
    "circle": ({"root": SEQUENCE % "{nodeName: root}"}, ["spec.nodes.root.steps", "lead on"]),
    "same-names": (
        {"root": SEQUENCE % "{serviceName: first, name: a}, {serviceName: second, name: a}"},
        ["spec.nodes.root.steps[1].name", '"a"'],
    ),
    "weights": (
        {"root": "{routerType: Splitter, steps: [{serviceName: first, weight: 20}, {serviceName: second, weight: 20}]}"},
        ["spec.nodes.root.steps", "40", "100"],
    ),
    "no-weight": (
        {"root": "{routerType: Splitter, steps: [{serviceName: first}, {serviceName: second, weight: 100}]}"},
        ["spec.nodes.root.steps[0].weight"],
    ),
    "no-scheme": (
        {"root": SEQUENCE % "{serviceUrl: 'first.example/v1'}"},
        ["spec.nodes.root.steps[0].serviceUrl", "first.example/v1", "http://"],
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_is_a_condition_and_an_event(kubectl, mistake):
    nodes, parts = REFUSED[mistake]
    kubectl.apply(graph(mistake, **nodes))

    def said():
        found = kubectl.json("get", "inferencegraph", mistake).get("status", {}).get("conditions", [])
        return next((one["message"] for one in found if one["status"] == "False" and one["reason"] == "InvalidSpec"), "")

    message = until("the graph says what is wrong", said, 30)
    assert all(part in message for part in parts), message
    warned = [event for event in events(kubectl, "InferenceGraph", mistake) if event[0] == "Warning"]
    assert warned and all(part in warned[0][2] for part in parts), warned
    # Once it is corrected, nothing of it is left.
    right = {**dict.fromkeys(nodes), "root": yaml.safe_load(SEQUENCE % "{serviceName: first}")}
    change = json.dumps({"spec": {"nodes": right}})
    kubectl("patch", "inferencegraph", mistake, "--type=merge", "-p", change)
    ready(kubectl, mistake, kind="inferencegraph")
    assert "InvalidSpec" not in kubectl("get", "inferencegraph", mistake, "-o", "yaml")
    kubectl("delete", "inferencegraph", mistake)


def test_what_has_no_effect_is_said(kubectl, ask):
    manifest = graph("settings", root=SEQUENCE % "{serviceName: first}")
    manifest["spec"] |= {"timeout": 30, "minReplicas": 2, "resources": {"limits": {"cpu": "1"}}}
    assert ask(manifest)().status_code == 200
    found = events(kubectl, "InferenceGraph", "settings")
    (told,) = [message for kind, reason, message in found if (kind, reason) == ("Warning", "NoEffect")]
    assert all(field in told for field in ("spec.minReplicas", "spec.resources")) and "timeout" not in told, told


def test_nothing_is_left_of_the_graphs(kubectl):
    kubectl("delete", "inferencegraphs", "--all")
    until("all graphs are gone", lambda: gone(kubectl, "inferencegraphs"), 30)
    routes = lambda: [name for name in kubectl("get", "routes.purlin.dev", "-o", "name").split() if "predictor" not in name]
    left = {f"route.purlin.dev/{name}" for name in ("first", "second", "failing", "digits")}
    until("only the services' routes are left", lambda: set(routes()) <= left, 30)
