"""SIGKILL to `purlin up` at random moments of a running experiment. Afterwards every acknowledged write is there, each
trial ran exactly once, and the experiment ends as if nothing had happened.

$PURLIN_FAULT_SEED repeats a run's moments. Fifty kills are marked long; the short suite does five.
"""

import os
import random
import shutil
import sys
import time

import pytest
import yaml
from faults.writer import Writer
from harness import katib, processes
from harness.kubectl import Kubectl
from harness.server import REPOSITORY, Server, running
from harness.wait import until

NAMESPACE = "kubeflow"
IMAGE = "registry.example/trainer:1"


def experiment(name, trials, seconds, parallel=3):
    """A random search whose trials run faults/trainer.py."""
    command = [
        "python3",
        "/opt/trainer/trainer.py",
        "--x=${trialParameters.x}",
        "--trial=${trialParameters.name}",
        f"--seconds={seconds}",
    ]
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "parallelTrialCount": parallel,
            "maxTrialCount": trials,
            "maxFailedTrialCount": 0,
            "objective": {"type": "maximize", "objectiveMetricName": "Validation-accuracy"},
            "algorithm": {"algorithmName": "random"},
            "parameters": [
                {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
            ],
            "trialTemplate": {
                "retain": True,
                "primaryContainerName": "main",
                "trialParameters": [
                    {"name": "x", "reference": "x"},
                    {"name": "name", "reference": "${trialSpec.Name}"},
                ],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {
                        "backoffLimit": 0,
                        "template": {
                            "spec": {
                                "restartPolicy": "Never",
                                "containers": [{"name": "main", "image": IMAGE, "command": command}],
                            }
                        },
                    },
                },
            },
        },
    }


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "ledger"


@pytest.fixture
def server(tmp_path, ledger):
    """A server of the test's own, with an image map for the trainer."""
    programs = tmp_path / "trainer"
    programs.mkdir()
    shutil.copy(REPOSITORY / "tests/faults/trainer.py", programs)
    (programs / "bin").mkdir()
    (programs / "bin/python3").symlink_to(sys.executable)
    image_map = programs / "image-map.yaml"
    entry = {"image": IMAGE, "paths": {"/opt/trainer": "."}, "path": ["bin"], "env": {"LEDGER": str(ledger)}}
    image_map.write_text(yaml.safe_dump({"images": [entry]}))
    ledger.touch()
    with running(Server(tmp_path / "up", image_map=image_map)) as server:
        yield server


def runs(ledger):
    """(trials started, trials ended), each a list with one entry an event."""
    events = [line.split() for line in ledger.read_text().splitlines()]
    return [e[1] for e in events if e[0] == "start"], [e[1] for e in events if e[0] == "end"]


def check_kills(server, ledger, kills, trials, seconds, spread):
    seed = int(os.environ.get("PURLIN_FAULT_SEED") or random.SystemRandom().randrange(10**6))
    print(f"PURLIN_FAULT_SEED={seed}")
    generator = random.Random(seed)
    kubectl = Kubectl(server.kubeconfig, NAMESPACE, home=server.directory)
    if kubectl.run("get", "namespace", NAMESPACE).returncode != 0:
        kubectl("create", "namespace", NAMESPACE)
    kubectl("create", "namespace", "writes")
    writer = Writer(server.kubeconfig, "writes")
    writer.start()
    try:
        kubectl.apply(experiment("killed", trials, seconds))
        for number in range(1, kills + 1):
            # Now and then before it is even ready: recovery itself must survive a kill.
            early = number < kills and generator.random() < 0.1
            time.sleep(generator.uniform(0, spread))
            server.kill()
            server.start(wait=not early)
            print(
                f"kill {number}: {len(runs(ledger)[1])} runs ended, {writer.writes} writes acknowledged",
                flush=True,
            )
        last = {}

        def ended():
            result = kubectl.run("get", katib.EXPERIMENTS, "killed", "-o", "yaml")
            last["seen"] = yaml.safe_load(result.stdout) if result.returncode == 0 else result.stderr
            return result.returncode == 0 and katib.ended(last["seen"])

        until("the experiment to end", ended, timeout=120 + trials * seconds, interval=0.5)
    finally:
        writer.stop()

    found = last["seen"]
    assert "Succeeded" in katib.conditions(found), found["status"]
    assert found["status"]["trials"] == found["status"]["trialsSucceeded"] == trials

    names = [t["metadata"]["name"] for t in katib.trials(kubectl, "killed")]
    started, finished = runs(ledger)
    assert len(names) == trials, "trials were lost or doubled"
    assert sorted(finished) == sorted(names), "a run was lost, doubled, or belongs to no trial"
    assert sorted(started) == sorted(names), "a run was started again"
    pods = [
        p["metadata"]["labels"]["batch.kubernetes.io/job-name"] for p in kubectl.json("get", "pods")["items"]
    ]
    assert sorted(pods) == sorted(names), "one Pod a trial"
    assert len(kubectl("get", "jobs", "-o", "name").split()) == trials

    stored = {
        i["metadata"]["name"]: int(i["data"]["value"])
        for i in kubectl.within("writes").json("get", "configmaps")["items"]
        if i["metadata"]["name"].startswith("w")
    }
    assert len(writer.acknowledged) > 10
    lost = {n: (v, stored.get(n)) for n, v in writer.acknowledged.items() if stored.get(n, -1) < v}
    assert not lost, f"acknowledged writes were lost (acknowledged, stored): {lost}"
    invented = {n: v for n, v in stored.items() if v > writer.sent.get(n, -1)}
    assert not invented, f"values were stored that nobody sent: {invented}"
    until("the programs to be gone", lambda: not processes.naming("/trainer.py --x="), 20)
    print(
        f"{kills} kills, {writer.writes} writes acknowledged and {len(lost)} of them lost, {trials} trials of which "
        f"{len(started) - len(set(started))} ran twice"
    )


def test_five_kills(server, ledger):
    check_kills(server, ledger, kills=5, trials=8, seconds=2, spread=2.5)


@pytest.mark.long
def test_fifty_kills(server, ledger):
    check_kills(server, ledger, kills=50, trials=60, seconds=3, spread=2.5)


def test_a_stopped_server_resumes_where_it_was(server, ledger):
    """A clean stop in the middle, by SIGTERM's twin SIGINT, loses and doubles as little as a kill."""
    kubectl = Kubectl(server.kubeconfig, NAMESPACE, home=server.directory)
    if kubectl.run("get", "namespace", NAMESPACE).returncode != 0:
        kubectl("create", "namespace", NAMESPACE)
    kubectl.apply(experiment("stopped", trials=4, seconds=3, parallel=2))
    until("two runs to start", lambda: len(runs(ledger)[0]) >= 2, 60)
    assert server.stop() == 0, server.log_tail()
    server.start()
    until(
        "the experiment to end", lambda: katib.ended(kubectl.json("get", katib.EXPERIMENTS, "stopped")), 120
    )
    names = sorted(t["metadata"]["name"] for t in katib.trials(kubectl, "stopped"))
    assert len(names) == 4 and sorted(set(runs(ledger)[1])) == names
