"""The main job: Katib's random search manifest, unmodified, by kubectl alone, from apply to the best trial."""

import re

import pytest
import yaml
from harness import katib
from harness.wait import until

pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def kubeflow(cluster):
    if cluster.run("get", "namespace", "kubeflow").returncode != 0:
        cluster("create", "namespace", "kubeflow")
    return cluster.within("kubeflow")


@pytest.fixture(scope="module")
def manifest(manifests):
    return manifests / "katib-random.yaml"


@pytest.fixture(scope="module")
def experiment(server, kubeflow, manifest):
    """The experiment after its end. Every test here reads it; none changes it."""
    kubeflow("apply", "-f", manifest)

    def probe():
        found = kubeflow.json("get", katib.EXPERIMENTS, "random")
        return found if katib.ended(found) else None

    return until("the experiment to end", probe, timeout=300, interval=0.5)


def test_it_succeeds_by_its_goal_or_by_its_budget(experiment):
    holding = katib.conditions(experiment)
    assert "Succeeded" in holding, experiment["status"]
    assert holding["Succeeded"]["reason"] in ("ExperimentGoalReached", "ExperimentMaxTrialsReached")
    status = experiment["status"]
    if holding["Succeeded"]["reason"] == "ExperimentMaxTrialsReached":
        assert status["trials"] == status["trialsSucceeded"] == 15
    else:
        best = katib.metric(status["currentOptimalTrial"]["observation"], "Validation-accuracy")
        assert float(best["max"]) >= 0.99 and status["trials"] <= 15
    assert status["startTime"] and status["completionTime"]
    assert not status.get("trialsFailed")


def test_every_trial_is_a_real_run_with_parameters_in_range(experiment, kubeflow):
    trials = katib.trials(kubeflow, "random")
    assert len(trials) == experiment["status"]["trials"]
    seen = set()
    for trial in trials:
        values = katib.assignments(trial["spec"])
        assert 0.01 <= float(values["lr"]) <= 0.05 and values["num-epochs"] in ("5", "10")
        seen.add(tuple(values.items()))
        name = trial["metadata"]["name"]
        assert re.fullmatch(r"random-[a-z0-9]{8}", name)
        command = kubeflow.json("get", "job", name)["spec"]["template"]["spec"]["containers"][0]["command"]
        assert f"--lr={values['lr']}" in command and f"--num-epochs={values['num-epochs']}" in command
    assert len(seen) > len(trials) // 2, "the parameters hardly vary"


def test_the_observation_of_a_trial_is_what_its_program_printed(experiment, kubeflow):
    for trial in katib.trials(kubeflow, "random"):
        observed = katib.metric(trial["status"]["observation"], "Validation-accuracy")
        printed = katib.ACCURACY.findall(kubeflow("logs", f"job/{trial['metadata']['name']}"))
        assert len(printed) == int(katib.assignments(trial["spec"])["num-epochs"])
        assert float(observed["max"]) == pytest.approx(max(map(float, printed)))
        assert float(observed["min"]) == pytest.approx(min(map(float, printed)))
        assert float(observed["latest"]) == pytest.approx(float(printed[-1]))


def test_the_optimal_trial_is_the_best_of_the_trials_own_logs(experiment, kubeflow):
    best = {
        t["metadata"]["name"]: katib.best_logged(kubeflow, t["metadata"]["name"])
        for t in katib.trials(kubeflow, "random")
    }
    optimal = experiment["status"]["currentOptimalTrial"]
    reported = float(katib.metric(optimal["observation"], "Validation-accuracy")["max"])
    assert reported == pytest.approx(max(best.values()))
    assert best[optimal["bestTrialName"]] == pytest.approx(max(best.values()))
    chosen = kubeflow.json("get", katib.TRIALS, optimal["bestTrialName"])
    assert katib.assignments(optimal) == katib.assignments(chosen["spec"])


def test_columns(experiment, kubeflow):
    header, row = kubeflow("get", katib.EXPERIMENTS).splitlines()[:2]
    assert header.split() == ["NAME", "TYPE", "STATUS", "AGE"]
    assert row.split()[:3] == ["random", "Succeeded", "True"]
    header, *rows = kubeflow("get", katib.TRIALS).splitlines()
    assert header.split() == ["NAME", "TYPE", "STATUS", "AGE"] and all(
        r.split()[1:3] == ["Succeeded", "True"] for r in rows
    )
    header, row = kubeflow("get", katib.SUGGESTIONS).splitlines()[:2]
    assert (
        header.split() == ["NAME", "TYPE", "STATUS", "REQUESTED", "ASSIGNED", "AGE"]
        and row.split()[0] == "random"
    )


def test_the_suggestion_lists_what_was_assigned(experiment, kubeflow):
    suggestion = kubeflow.json("get", katib.SUGGESTIONS, "random")
    assert suggestion["spec"]["algorithm"]["algorithmName"] == "random"
    assigned = {s["name"]: katib.assignments(s) for s in suggestion["status"]["suggestions"]}
    for trial in katib.trials(kubeflow, "random"):
        assert assigned[trial["metadata"]["name"]] == katib.assignments(trial["spec"])


def test_describe_shows_status_and_events(experiment, kubeflow):
    text = kubeflow("describe", katib.EXPERIMENTS, "random")
    assert "Current Optimal Trial" in text and "Events:" in text
    assert "<none>" not in text.partition("Events:")[2]


def test_logs_of_a_trial(experiment, kubeflow):
    best = experiment["status"]["currentOptimalTrial"]["bestTrialName"]
    pods = kubeflow("get", "pods", "-l", f"katib.kubeflow.org/trial={best}", "-o", "name").split()
    assert len(pods) == 1, "one Pod a trial, found by Katib's label"
    text = kubeflow("logs", pods[0], "-c", "training-container")
    assert "Train-accuracy=" in text and "Validation-accuracy=" in text


def test_explain(experiment, cluster):
    assert "maxTrialCount" in cluster("explain", f"{katib.EXPERIMENTS}.spec")
    text = cluster("explain", katib.EXPERIMENTS, "--recursive")
    assert "feasibleSpace" in text and "currentOptimalTrial" in text


def test_applying_again_changes_nothing(experiment, kubeflow, manifest):
    assert "unchanged" in kubeflow("apply", "-f", manifest)
    later = kubeflow.json("get", katib.EXPERIMENTS, "random")
    assert later["status"]["trials"] == experiment["status"]["trials"]
    assert later["metadata"]["generation"] == experiment["metadata"]["generation"]


def test_no_process_is_left_and_jobs_are_retained(experiment, kubeflow):
    assert {p["status"]["phase"] for p in kubeflow.json("get", "pods")["items"]} == {"Succeeded"}
    assert len(kubeflow("get", "jobs", "-o", "name").split()) == experiment["status"]["trials"]


def test_kernel_metrics_count_calls_into_plugins(experiment, server):
    text = server.metrics()
    assert (
        re.search(r"^purlin_\w+\{?.*\}? [0-9.e+]+$", text, re.M)
        and "purlin_kernel_" in text
        and "purlin_sandbox_" in text
    )


def variant(manifest, name, **spec):
    """The manifest under another name with changed fields."""
    changed = yaml.safe_load(manifest.read_text())
    changed["metadata"] = {"name": name}
    changed["spec"].update(spec)
    return changed


def test_an_unknown_algorithm_fails_with_a_reason(kubectl, manifest):
    kubectl.apply(variant(manifest, "nosuch", algorithm={"algorithmName": "no-such-algorithm"}))

    def failed():
        result = kubectl.run("get", katib.EXPERIMENTS, "nosuch", "-o", "yaml")
        holding = katib.conditions(yaml.safe_load(result.stdout)) if result.returncode == 0 else {}
        return holding.get("Failed")

    assert "no-such-algorithm" in until("the experiment to fail", failed)["message"]


def test_failing_trials_end_the_experiment(kubectl, manifest):
    changed = variant(manifest, "failing", maxFailedTrialCount=1, maxTrialCount=6)
    container = changed["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
    container["command"][1] = "/opt/mxnet-mnist/not-there.py"
    changed["spec"]["trialTemplate"]["trialSpec"]["spec"]["backoffLimit"] = 0
    kubectl.apply(changed)
    until(
        "the experiment to fail",
        lambda: "Failed" in katib.conditions(kubectl.json("get", katib.EXPERIMENTS, "failing")),
        120,
    )
    found = kubectl.json("get", katib.EXPERIMENTS, "failing")
    failure = katib.conditions(found)["Failed"]
    assert failure["reason"] == "ExperimentFailed" and "max failed count" in failure["message"]
    assert found["status"]["trialsFailed"] >= 2


def test_deleting_an_experiment_takes_everything(kubectl, manifest):
    kubectl.apply(variant(manifest, "deleted"))
    until("a running pod", lambda: "Running" in kubectl("get", "pods"), 60)
    kubectl("delete", katib.EXPERIMENTS, "deleted", "--timeout=60s", timeout=90)
    until(
        "all to go",
        lambda: (
            kubectl(
                "get",
                f"{katib.TRIALS},{katib.SUGGESTIONS},jobs,pods,experiments.purlin.dev,trials.purlin.dev",
                "-o",
                "name",
            )
            == ""
        ),
        60,
    )
