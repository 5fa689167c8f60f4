"""Pods, Jobs and logs through kubectl: what the embedded node does, seen as a person sees it."""

import json
import threading
import time

import pytest
from harness.wait import until

pytestmark = pytest.mark.platform

PYTHON = "docker.io/tensorflow/tensorflow:latest"


def pod(name, script, **spec):
    main = {"name": "main", "image": PYTHON, "command": ["sh", "-c", script], **spec.pop("main", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": [main], **spec},
    }


def finished(kubectl, name, timeout=60):
    """The Pod, once it has ended."""

    def probe():
        found = kubectl.json("get", "pod", name)
        return found if found["status"].get("phase") in ("Succeeded", "Failed") else None

    return until(f"pod {name} to end", probe, timeout)


def state(found, container="main"):
    statuses = found["status"].get("containerStatuses", []) + found["status"].get("initContainerStatuses", [])
    return next(s["state"] for s in statuses if s["name"] == container)


def test_exit_codes_and_reasons(kubectl):
    kubectl.apply(pod("good", "exit 0"), pod("bad", "exit 7"))
    assert finished(kubectl, "good")["status"]["phase"] == "Succeeded"
    found = finished(kubectl, "bad")
    assert found["status"]["phase"] == "Failed"
    assert state(found)["terminated"]["exitCode"] == 7 and state(found)["terminated"]["reason"] == "Error"
    rows = {row.split()[0]: row.split() for row in kubectl("get", "pods").splitlines()}
    assert rows["NAME"] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert rows["good"][1:3] == ["0/1", "Completed"] and rows["bad"][1:3] == ["0/1", "Error"]


def test_what_stands_for_the_image_is_shown(kubectl):
    kubectl.apply(pod("p", "exit 0"))
    finished(kubectl, "p")
    described = kubectl("describe", "pod", "p")
    assert "Events:" in described and "Started" in described
    assert PYTHON in described


def test_logs_follow_to_the_end(kubectl):
    kubectl.apply(pod("p", "for i in 1 2 3 4; do echo line $i; sleep 0.4; done; echo error line >&2"))
    kubectl("wait", "pod/p", "--for=jsonpath={.status.phase}=Running", "--timeout=30s")
    follower = kubectl.start("logs", "-f", "p")
    assert follower.stdout.readline() == "line 1\n"
    # From the same buffer: the second line may have come with the first, and `communicate` would not see it.
    overdue = threading.Timer(30, follower.kill)
    overdue.start()
    assert follower.stdout.read() == "line 2\nline 3\nline 4\nerror line\n"
    assert follower.wait(30) == 0
    overdue.cancel()
    assert kubectl("logs", "p", "--tail=2") == "line 4\nerror line\n"
    stamped = kubectl("logs", "p", "--timestamps", "--tail=1")
    assert stamped.endswith(" error line\n") and stamped[4] == "-" and "T" in stamped.split()[0]


def test_init_containers_run_first_and_share_a_volume(kubectl):
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    kubectl.apply(
        pod(
            "p",
            "cat /shared/note",
            main=mount,
            initContainers=[
                {
                    "name": "first",
                    "image": PYTHON,
                    "command": ["sh", "-c", "echo from first > /shared/note"],
                    **mount,
                }
            ],
            volumes=[{"name": "shared", "emptyDir": {}}],
        )
    )
    found = finished(kubectl, "p")
    assert found["status"]["phase"] == "Succeeded", found["status"]
    assert kubectl("logs", "p", "-c", "main") == "from first\n"


def test_a_failing_init_container_fails_the_pod(kubectl):
    kubectl.apply(
        pod(
            "p",
            "echo never",
            initContainers=[{"name": "first", "image": PYTHON, "command": ["sh", "-c", "exit 3"]}],
        )
    )
    found = finished(kubectl, "p")
    assert found["status"]["phase"] == "Failed" and state(found, "first")["terminated"]["exitCode"] == 3
    assert "terminated" not in state(found)


def test_environment_from_everywhere(kubectl):
    kubectl("create", "configmap", "settings", "--from-literal=colour=red")
    kubectl("create", "secret", "generic", "hidden", "--from-literal=word=hush")
    env = [
        {"name": "PLAIN", "value": "p"},
        {"name": "JOINED", "value": "$(PLAIN)-$(COLOUR)"},
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "word"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    # A reference to a variable that is set only later stays as it is written.
    kubectl.apply(
        pod(
            "p",
            'echo $PLAIN $COLOUR $WORD $POD "$JOINED" $colour',
            main={"env": env, "envFrom": [{"configMapRef": {"name": "settings"}}]},
        )
    )
    finished(kubectl, "p")
    assert kubectl("logs", "p") == "p red hush p p-$(COLOUR) red\n"


def test_config_map_and_secret_volumes(kubectl):
    kubectl("create", "configmap", "settings", "--from-literal=colour=red")
    kubectl("create", "secret", "generic", "hidden", "--from-literal=word=hush")
    kubectl.apply(
        pod(
            "p",
            "cat /etc/settings/colour /etc/hidden/word",
            main={
                "volumeMounts": [
                    {"name": "s", "mountPath": "/etc/settings"},
                    {"name": "h", "mountPath": "/etc/hidden"},
                ]
            },
            volumes=[
                {"name": "s", "configMap": {"name": "settings"}},
                {"name": "h", "secret": {"secretName": "hidden"}},
            ],
        )
    )
    assert finished(kubectl, "p")["status"]["phase"] == "Succeeded"
    assert kubectl("logs", "p") == "redhush"


def test_an_image_that_nothing_stands_for(kubectl):
    kubectl.apply(pod("p", "true", main={"image": "example.invalid/none:1"}))

    def waiting():
        found = kubectl.json("get", "pod", "p")
        return found["status"].get("containerStatuses") and state(found).get("waiting")

    reason = until("the container to wait", waiting)
    assert (
        reason["reason"] in ("ErrImagePull", "ImagePullBackOff")
        and "example.invalid/none:1" in reason["message"]
    )
    assert "example.invalid/none:1" in kubectl("events", "--for", "pod/p")


def test_restart_on_failure_backs_off(kubectl):
    kubectl.apply(pod("p", "exit 1", restartPolicy="OnFailure"))
    until(
        "a restart",
        lambda: (
            kubectl.json("get", "pod", "p")["status"].get("containerStatuses", [{}])[0].get("restartCount", 0)
            >= 1
        ),
        60,
    )
    until("the wait between restarts", lambda: "CrashLoopBackOff" in kubectl("get", "pod", "p"), 60)
    last = kubectl.json("get", "pod", "p")["status"]["containerStatuses"][0]["lastState"]
    assert last["terminated"]["exitCode"] == 1


def test_deletion_asks_then_kills(kubectl):
    kubectl.apply(
        pod("polite", "trap 'exit 0' TERM; while :; do sleep 0.1; done"),
        pod("deaf", "trap '' TERM; while :; do sleep 0.1; done"),
    )
    for name in ("polite", "deaf"):
        kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Running", "--timeout=30s")
    started = time.monotonic()
    kubectl("delete", "pod", "polite", "deaf", "--timeout=30s")
    assert time.monotonic() - started < 20


def test_the_termination_message_falls_back_to_the_log(kubectl):
    kubectl.apply(
        pod("p", "echo the last word; exit 1", main={"terminationMessagePolicy": "FallbackToLogsOnError"})
    )
    assert "the last word" in state(finished(kubectl, "p"))["terminated"]["message"]


def job(name, script, **spec):
    template = {
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": PYTHON, "command": ["sh", "-c", script]}],
        }
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template, **spec},
    }


def test_a_job_completes(kubectl):
    kubectl.apply(job("work", "echo done", completions=3, parallelism=2))
    kubectl("wait", "job/work", "--for=condition=Complete", "--timeout=60s", timeout=90)
    status = kubectl.json("get", "job", "work")["status"]
    assert status["succeeded"] == 3 and status["startTime"] and status["completionTime"]
    assert len(kubectl("get", "pods", "-l", "batch.kubernetes.io/job-name=work", "-o", "name").split()) == 3
    assert "done" in kubectl("logs", "job/work")
    assert kubectl("get", "jobs").splitlines()[1].split()[1:3] == ["Complete", "3/3"]


def test_a_job_gives_up_after_its_backoff_limit(kubectl):
    kubectl.apply(job("work", "exit 1", backoffLimit=0))
    kubectl("wait", "job/work", "--for=condition=Failed", "--timeout=60s", timeout=90)
    condition = next(
        c for c in kubectl.json("get", "job", "work")["status"]["conditions"] if c["type"] == "Failed"
    )
    assert condition["reason"] == "BackoffLimitExceeded"


def test_an_indexed_job_tells_each_pod_its_index(kubectl):
    kubectl.apply(
        job(
            "work", "echo index $JOB_COMPLETION_INDEX", completions=3, parallelism=3, completionMode="Indexed"
        )
    )
    kubectl("wait", "job/work", "--for=condition=Complete", "--timeout=60s", timeout=90)
    assert kubectl.json("get", "job", "work")["status"]["completedIndexes"] == "0-2"
    logs = kubectl(
        "logs", "-l", "batch.kubernetes.io/job-name=work", "--prefix=false", "--max-log-requests=5"
    )
    assert sorted(logs.split("\n")) == ["", "index 0", "index 1", "index 2"]


def test_a_finished_job_goes_after_its_time_to_live(kubectl):
    kubectl.apply(job("work", "true", ttlSecondsAfterFinished=1))
    until("the job to go", lambda: kubectl.run("get", "job", "work").returncode != 0, 60)
    until("its pods to go", lambda: kubectl("get", "pods", "-o", "name") == "", 30)


def test_a_suspended_job_runs_when_resumed(kubectl):
    kubectl.apply(job("work", "true", suspend=True))
    time.sleep(1)
    assert kubectl("get", "pods", "-o", "name") == ""
    kubectl("patch", "job", "work", "--type=merge", "-p", json.dumps({"spec": {"suspend": False}}))
    kubectl("wait", "job/work", "--for=condition=Complete", "--timeout=60s", timeout=90)
