"""For each language: a new project is built, passes its cases and the common vectors, is pushed, refused without a
signature, signed, installed, and searches; and an edit of it is reloaded."""

import json
import os
import shutil
import subprocess

import pytest
from harness.kubectl import Kubectl
from harness.server import REPOSITORY, Server, binary, running
from harness.wait import until
from toolchains import STEPS, need, step

LANGUAGES = {
    "go": ("main.go", "main.go"),
    "python": ("plugin.py", "plugin.py"),
    "js": ("plugin.js", "plugin.js"),
    "rust": ("src", "src"),
}


IMAGE = "sdk-tests/echo"


def purlin(*arguments, check=True, **environment):
    ran = subprocess.run(
        [str(binary()), "plugin", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"COSIGN_PASSWORD": "sdk-tests"} | environment,
    )
    assert not check or ran.returncode == 0, f"{arguments}: {ran.stdout}\n{ran.stderr}"
    return ran


def refused(*arguments):
    """What the command said, which must fail and not crash."""
    ran = purlin(*arguments, check=False)
    assert ran.returncode == 1 and "panicked" not in ran.stderr, f"{arguments}: {ran.stdout}\n{ran.stderr}"
    return ran.stderr


def ended(condition):
    return f'object.status.conditions.exists(c, c.type == "{condition}" && c.status == "True")'


def experiment(name):
    return {
        "apiVersion": "purlin.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "parallelism": 2,
            "maxTrials": 2,
            "objective": {"metric": "loss", "direction": "minimize"},
            "algorithm": {"name": "halton"},
            "parameters": [{"name": "x", "type": "double", "min": "0", "max": "1"}],
            "trialTemplate": {
                "parameters": [{"name": "x", "reference": "x"}],
                "object": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {
                        "template": {
                            "spec": {
                                "restartPolicy": "Never",
                                "containers": [
                                    {
                                        "name": "main",
                                        "image": IMAGE,
                                        "command": ["echo", "loss=${trialParameters.x}"],
                                    }
                                ],
                            }
                        }
                    },
                },
                "primaryContainer": "main",
                "successCondition": ended("Complete"),
                "failureCondition": ended("Failed"),
            },
            "metricsCollector": {"source": "stdout"},
        },
    }


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdk")
    images = folder / "images.yaml"
    images.write_text(json.dumps({"images": [{"image": f"docker.io/{IMAGE}:*"}]}))
    with running(Server(folder, image_map=images)) as server:
        yield server


@pytest.fixture(scope="module")
def kubectl(up):
    return Kubectl(up.kubeconfig)


@pytest.fixture(scope="module")
def keys(up, kubectl, tmp_path_factory):
    """A key pair; what is under `signed` in the registry must be signed with it."""
    keys = tmp_path_factory.mktemp("keys") / "acme"
    purlin("keygen", "--out", keys)
    rule = {
        "prefix": f"{up.registry}/signed",
        "mode": "require",
        "keys": [{"name": "acme", "pem": keys.with_suffix(".pub").read_text()}],
    }
    policy = {
        "apiVersion": "purlin.dev/v1alpha1",
        "kind": "PluginPolicy",
        "metadata": {"name": "acme"},
        "spec": {"rules": [rule]},
    }
    kubectl("apply", "-f", "-", stdin=policy)

    def accepted():
        conditions = kubectl_json(kubectl, "pluginpolicy", "acme").get("status", {}).get("conditions", [])
        return [one for one in conditions if one["status"] == "True"]

    until("the policy to be in force", accepted)
    return keys.with_suffix(".key"), keys.with_suffix(".pub")


def kubectl_json(kubectl, *arguments):
    return json.loads(kubectl("get", *arguments, "-o", "json"))


@pytest.fixture(scope="module", params=LANGUAGES)
def project(request, tmp_path_factory):
    language = request.param
    need(language)
    folder = tmp_path_factory.mktemp(language) / "halton"
    purlin("new", "halton", "--lang", language, "--stage", "tuner", "--dir", folder)
    return language, folder


def take_example(language, folder):
    """Puts the SDK's example in the place of the template's source."""
    source, target = LANGUAGES[language]
    example = REPOSITORY / "sdk" / language / "examples/halton" / source
    # The time of a copy is now: cargo builds what is newer than what it built.
    if example.is_dir():
        shutil.copytree(example, folder / target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(example, folder / target)


def test_a_new_project_passes_its_cases(project):
    language, folder = project
    with step(language, "build a new project, and install what that needs"):
        purlin("build", folder)
    with step(language, "load it and run its cases"):
        report = json.loads(purlin("test", folder, "--no-build", "--output", "json").stdout)
    assert report["failed"] == 0 and report["cases"] == 2
    assert "is there already" in refused("new", "halton", "--lang", "go", "--stage", "tuner", "--dir", folder)


def test_the_common_tuner_is_built_signed_installed_and_searches(project, up, kubectl, keys):
    language, folder = project
    take_example(language, folder)
    with step(language, "build the common tuner"):
        purlin("build", folder)
    with step(language, "load it and run the vectors"):
        vectors = ["--no-build", "--cases", REPOSITORY / "sdk/halton.json", "--output", "json"]
        report = json.loads(purlin("test", folder, *vectors).stdout)
    assert report["failed"] == 0 and report["cases"] == 21

    private, public = keys
    reference = f"{up.registry}/signed/halton-{language}:0.1.0"
    kubeconfig = ["--kubeconfig", up.kubeconfig]
    install = ["install", reference, "--name", "halton", "--wait", "120", *kubeconfig]

    def conditions():
        found = kubectl_json(kubectl, "plugin", "halton")["status"]["conditions"]
        return {one["type"]: (one["status"], one["reason"]) for one in found}

    try:
        with step(language, "push it, and be refused without a signature"):
            purlin("push", folder / "build/halton.wasm", reference)
            assert "SignatureMissing" in refused("verify", reference, "--key", public)
            said = refused(*install)
            assert "SignatureMissing" in said and "purlin plugin sign" in said, said
            assert conditions()["Ready"] == ("False", "SignatureMissing")
            assert conditions()["Verified"] == ("False", "SignatureMissing")
            kubectl("delete", "plugin", "halton")
        with step(language, "sign it and install it"):
            purlin("sign", reference, "--key", private)
            purlin("verify", reference, "--key", public)
            purlin(*install)
            assert conditions()["Ready"] == ("True", "Loaded")
            assert conditions()["Verified"] == ("True", "SignatureValid")
        with step(language, "search with it"):
            search(up, kubectl, f"search-{language}")
    finally:
        kubectl("delete", "plugin", "halton", "--ignore-not-found")


def search(up, kubectl, name):
    """Runs an experiment to its end; the plugin must have been asked for its points."""
    before = suggested(up)
    kubectl("apply", "-f", "-", stdin=experiment(name))

    def status():
        found = kubectl_json(kubectl, "experiments.purlin.dev", name).get("status", {})
        return found if found.get("completionTime") else None

    found = until("the experiment's end", status, timeout=120)
    assert found["trials"]["succeeded"] == 2, found
    assert suggested(up) > before
    kubectl("delete", "experiments.purlin.dev", name, "--wait=false")


def suggested(up):
    """How often the plugin answered `suggest`."""
    lines = up.metrics().splitlines()
    calls = [line for line in lines if line.startswith("purlin_sandbox_call_duration_seconds_count{")]
    mine = [line for line in calls if 'plugin="halton"' in line and 'function="suggest"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in mine)


def test_an_edit_is_reloaded(project, up, kubectl):
    """`purlin plugin dev` builds, pushes and loads what was edited; what did not change is not compiled again."""
    language, folder = project
    take_example(language, folder)
    source, target = LANGUAGES[language]
    edited = folder / target
    edited = edited / "lib.rs" if edited.is_dir() else edited
    text = edited.read_text()
    assert "must be above 0 on" in text
    edited.write_text(text.replace("must be above 0 on", "must be more than 0 on"))
    dev = ["dev", folder, "--once", "--registry", up.registry, "--kubeconfig", up.kubeconfig]
    done = json.loads(purlin(*dev, "--output", "json").stdout)
    STEPS[language, "build an edit"] = done["buildSeconds"]
    STEPS[language, "push and reload it"] = done["reloadSeconds"]
    try:
        found = kubectl_json(kubectl, "plugin", "halton")["status"]
        ready = [one["status"] for one in found["conditions"] if one["type"] == "Ready"]
        assert (found["digest"], ready) == (done["digest"], ["True"]), found
        assert done["reloadSeconds"] < 30, done
    finally:
        kubectl("delete", "plugin", "halton")


def test_sources_pass_natively():
    for language, command in {
        "go": ["go", "test", "./..."],
        "js": ["node", "--test", "examples/halton/"],
    }.items():
        need(language)
        with step(language, "the SDK's own tests"):
            subprocess.run(command, cwd=REPOSITORY / "sdk" / language, check=True)
