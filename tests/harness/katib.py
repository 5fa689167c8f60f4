"""Reading Katib's resources as its users do: what a trial printed, what an experiment says about itself."""

import re

ACCURACY = re.compile(r"Validation-accuracy=([0-9.]+)")
GROUP = "kubeflow.org"
EXPERIMENTS, TRIALS, SUGGESTIONS = (
    f"{plural}.{GROUP}" for plural in ("experiments", "trials", "suggestions")
)


def conditions(found):
    """The types of the conditions that hold."""
    return {c["type"]: c for c in found.get("status", {}).get("conditions", []) if c["status"] == "True"}


def ended(found):
    """Whether an experiment or a trial is over, one way or the other."""
    return bool(
        set(conditions(found)) & {"Succeeded", "Failed", "Killed", "EarlyStopped", "MetricsUnavailable"}
    )


def trials(kubectl, experiment):
    """The experiment's trials."""
    return kubectl.json("get", TRIALS, "-l", f"katib.kubeflow.org/experiment={experiment}")["items"]


def assignments(found):
    """Name to value, of a trial's spec or of an optimal trial."""
    return {a["name"]: a["value"] for a in found["parameterAssignments"]}


def metric(observation, name):
    """The named metric: a dictionary with latest, min and max, as text."""
    return next(m for m in observation["metrics"] if m["name"] == name)


def best_logged(kubectl, trial):
    """The highest accuracy in the trial's own log, by its Job, as a number."""
    found = [float(text) for text in ACCURACY.findall(kubectl("logs", f"job/{trial}", "--all-containers"))]
    assert found, f"trial {trial} printed no accuracy"
    return max(found)
