"""Katib's own Python SDK, `kubeflow-katib`, unmodified: KatibClient against `purlin up`.

Not tested: `get_trial_metrics` asks Katib's database over gRPC (`katib-db-manager:6789`), which Purlin does not have;
the same numbers are in the trial's observation.
"""

import json
import types

import kubeflow.katib as sdk
import pytest
import yaml
from harness.wait import until
from kubeflow.katib import KatibClient, V1beta1Experiment
from kubernetes.client import V1ObjectMeta

pytestmark = pytest.mark.platform

# The image map of examples/digits says what stands for it.
BASE_IMAGE = "docker.io/tensorflow/tensorflow:2.13.0"


@pytest.fixture(scope="module")
def namespace(cluster):
    cluster("create", "namespace", "sdk")
    yield "sdk"
    cluster.run("delete", "namespace", "sdk", "--wait=false")


@pytest.fixture(scope="module")
def katib(server, namespace):
    return KatibClient(config_file=str(server.kubeconfig), namespace=namespace)


@pytest.fixture(scope="module")
def manifest(manifests):
    """The manifest, shortened."""
    loaded = yaml.safe_load((manifests / "katib-random.yaml").read_text())
    del loaded["metadata"]["namespace"]
    loaded["spec"].update(maxTrialCount=4)
    return loaded


@pytest.fixture(scope="module")
def finished(katib, manifest):
    """An experiment that ran to its end; returns its name."""
    katib.create_experiment(manifest)
    katib.wait_for_experiment_condition("random", timeout=180, polling_interval=1)
    return "random"


def test_get_experiment(katib, finished):
    found = katib.get_experiment(finished)
    assert found.spec.max_trial_count == 4 and found.status.trials_succeeded <= 4
    assert katib.is_experiment_succeeded(finished) and not katib.is_experiment_failed(finished)
    assert katib.is_experiment_created(finished)
    assert {c.type for c in katib.get_experiment_conditions(finished)} >= {"Created", "Running", "Succeeded"}
    assert [e.metadata.name for e in katib.list_experiments()] == [finished]


def test_creating_it_again_is_refused(katib, finished, manifest):
    with pytest.raises(Exception, match="already exists"):
        katib.create_experiment(manifest)


def test_trials(katib, finished):
    trials = katib.list_trials(finished)
    assert len(trials) == katib.get_experiment(finished).status.trials
    one = katib.get_trial(trials[0].metadata.name)
    assert one.spec.parameter_assignments and one.status.observation.metrics
    details = katib.get_success_trial_details(finished)
    assert {d["name"] for d in details} == {t.metadata.name for t in trials}


def test_suggestion(katib, finished):
    found = katib.get_suggestion(finished)
    assert found.spec.algorithm.algorithm_name == "random" and len(found.status.suggestions) >= 1
    assert [s.metadata.name for s in katib.list_suggestions()] == [finished]


def test_optimal_hyperparameters(katib, finished):
    optimal = katib.get_optimal_hyperparameters(finished)
    best = max(
        katib.list_trials(finished),
        key=lambda t: float(
            next(m.max for m in t.status.observation.metrics if m.name == "Validation-accuracy")
        ),
    )
    reported = next(m.max for m in optimal.observation.metrics if m.name == "Validation-accuracy")
    assert float(reported) == pytest.approx(
        float(next(m.max for m in best.status.observation.metrics if m.name == "Validation-accuracy"))
    )
    assert {a.name for a in optimal.parameter_assignments} == {"lr", "num-epochs"}


def test_a_larger_budget_continues_a_long_running_experiment(katib, manifest):
    changed = {
        **manifest,
        "metadata": {"name": "longer"},
        "spec": {**manifest["spec"], "maxTrialCount": 2, "maxFailedTrialCount": 1, "resumePolicy": "LongRunning"},
    }
    changed["spec"]["objective"] = {**manifest["spec"]["objective"], "goal": 1.1}
    katib.create_experiment(changed)
    katib.wait_for_experiment_condition("longer", timeout=120, polling_interval=1)
    katib.edit_experiment_budget(
        "longer", max_trial_count=4, parallel_trial_count=2, max_failed_trial_count=1
    )
    until("four trials", lambda: (katib.get_experiment("longer").status.trials_succeeded or 0) == 4, 120, 0.5)
    katib.wait_for_experiment_condition("longer", timeout=60, polling_interval=1)
    assert len(katib.list_trials("longer")) == 4


def test_tune_runs_a_python_function(katib):
    def objective(parameters):
        a, b = float(parameters["a"]), float(parameters["b"])
        print(f"result={4 * a - b**2}")

    katib.tune(
        name="tuned",
        objective=objective,
        base_image=BASE_IMAGE,
        parameters={"a": sdk.search.int(min=10, max=20), "b": sdk.search.double(min=0.1, max=0.2)},
        objective_metric_name="result",
        max_trial_count=4,
        parallel_trial_count=2,
        max_failed_trial_count=1,
        retain_trials=True,
    )
    katib.wait_for_experiment_condition("tuned", timeout=120, polling_interval=1)
    optimal = katib.get_optimal_hyperparameters("tuned")
    values = {p.name: float(p.value) for p in optimal.parameter_assignments}
    reported = next(m for m in optimal.observation.metrics if m.name == "result")
    assert float(reported.max) == pytest.approx(4 * values["a"] - values["b"] ** 2, rel=1e-6)
    assert values["a"] == int(values["a"]) and 10 <= values["a"] <= 20


def test_tune_without_retained_trials_deletes_the_jobs(katib, cluster, namespace):
    def objective(parameters):
        print(f"result={parameters['a']}")

    katib.tune(
        name="forgotten",
        objective=objective,
        base_image=BASE_IMAGE,
        parameters={"a": sdk.search.int(min=1, max=9)},
        objective_metric_name="result",
        max_trial_count=2,
        parallel_trial_count=2,
    )
    katib.wait_for_experiment_condition("forgotten", timeout=120, polling_interval=1)
    jobs = lambda: [
        j for j in cluster.within(namespace)("get", "jobs", "-o", "name").split() if "forgotten" in j
    ]
    until("the jobs to go", lambda: not jobs(), 30)
    assert len(katib.list_trials("forgotten")) == 2


def test_a_typed_experiment_and_its_deletion(katib, manifest):
    answer = types.SimpleNamespace(data=json.dumps(manifest["spec"]))  # what `deserialize` takes: a response
    typed = V1beta1Experiment(
        api_version="kubeflow.org/v1beta1",
        kind="Experiment",
        metadata=V1ObjectMeta(name="typed"),
        spec=katib.api_client.deserialize(answer, sdk.V1beta1ExperimentSpec),
    )
    katib.create_experiment(typed)
    until("the experiment to start", lambda: katib.is_experiment_created("typed"), 30)
    katib.delete_experiment("typed")
    until("it to go", lambda: "typed" not in [e.metadata.name for e in katib.list_experiments()], 60)


def test_job_logs(katib, finished):
    trial = katib.list_trials(finished)[0].metadata.name
    text = list(katib.get_job_logs(finished, trial))
    assert any("Validation-accuracy=" in line for line in text)
