"""The audit log: who wrote what, and when. Purlin's own parts write under names of their own."""

import datetime
import json

import pytest
from harness.wait import until

pytestmark = [pytest.mark.platform, pytest.mark.embedded]


def job(name):
    container = {"name": "main", "image": "docker.io/tensorflow/tensorflow:latest", "command": ["true"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template}}


def test_every_write_says_who_and_what(server, kubectl):
    kubectl.apply(job("audited"))
    kubectl("wait", "--for=condition=complete", "job/audited", "--timeout=60s")

    def records():
        lines = (server.data / "audit.log").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        found = [r for r in found if r["objectRef"].get("namespace") == kubectl.namespace]
        return found if any(r["user"]["username"] == "system:purlin:job-controller" for r in found) else None

    found = until("the job's story in the audit log", records, 10)
    made = next(r for r in found if r["objectRef"]["resource"] == "jobs" and r["verb"] in ("create", "patch"))
    assert made["user"]["username"] == "admin"
    assert made["objectRef"]["apiGroup"] == "batch"
    assert made["userAgent"].startswith("kubectl")
    assert 200 <= made["responseStatus"]["code"] < 300
    received = datetime.datetime.fromisoformat(made["requestReceivedTimestamp"].replace("Z", "+00:00"))
    assert abs(datetime.datetime.now(datetime.timezone.utc) - received) < datetime.timedelta(minutes=5)

    def writers(resource, subresource=""):
        return {
            r["user"]["username"]
            for r in found
            if r["objectRef"]["resource"] == resource and r["objectRef"].get("subresource", "") == subresource
        }

    assert "system:purlin:job-controller" in writers("jobs", "status")
    assert "system:purlin:job-controller" in writers("pods")
    assert "system:purlin:scheduler" in writers("pods", "binding")
    assert "system:purlin:node" in writers("pods", "status")
