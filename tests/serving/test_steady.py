"""Minutes of load on two services while they are changed, killed and put to sleep: no request fails.

$PURLIN_STEADY_SECONDS says how long (600). What the gateway sheds by policy, with 503 and Retry-After, is counted apart.
"""

import json
import os
import signal
import threading
import time

import pytest
import requests
from harness.wait import until
from serving.service import onnx, ready
from serving.test_containers import custom

SECONDS = float(os.environ.get("PURLIN_STEADY_SECONDS", "600"))
ROW = {"name": "input", "shape": [1, 64], "datatype": "FP32", "data": [1.0] * 64}


class Load:
    """Clients that ask again and again until they are told to end."""

    def __init__(self, clients, ask, pause):
        self.answered, self.shed, self.failed, self.seen = 0, 0, [], set()
        self.going, self.paused = True, threading.Event()
        self.ask, self.pause = ask, pause
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        with requests.Session() as session:
            while self.going:
                if self.paused.is_set():
                    time.sleep(0.1)
                    continue
                try:
                    answer = self.ask(session)
                except requests.RequestException as error:
                    self.failed.append(repr(error))
                    continue
                if answer.status_code == 200:
                    self.answered += 1
                    self.seen.add(answer.json().get("pid"))
                elif answer.status_code == 503 and "retry-after" in answer.headers:
                    self.shed += 1
                else:
                    self.failed.append(f"{answer.status_code} {answer.text[:300]}")
                time.sleep(self.pause)

    def end(self):
        self.going = False
        for thread in self.threads:
            thread.join(60)


@pytest.mark.long
def test_nothing_fails_in_minutes_of_change(kubectl, models, gateway):
    namespace = kubectl.namespace
    digits = onnx("digits", models / "digits", minReplicas=0)
    digits["metadata"]["annotations"] = {"autoscaling.knative.dev/scale-to-zero-pod-retention-period": "2s"}
    kubectl("apply", "-f", "-", stdin=json.dumps(digits))
    kubectl("apply", "-f", "-", stdin=json.dumps(custom("doubler", delay=0.01, minReplicas=2, maxReplicas=2)))
    ready(kubectl, "digits")
    ready(kubectl, "doubler", 120)

    base = f"http://{gateway}/serving/{namespace}"
    infer = f"{base}/digits/v2/models/digits/infer"
    predict = f"{base}/doubler/v1/models/doubler:predict"
    plugin = Load(4, lambda session: session.post(infer, json={"inputs": [ROW]}, timeout=60), 0.005)
    container = Load(4, lambda session: session.post(predict, json={"instances": [1]}, timeout=60), 0.005)
    began, round_, done = time.monotonic(), 0, []
    while time.monotonic() - began < SECONDS:
        round_ += 1
        # A canary, rolled out step by step, and then made the whole: an upgrade.
        folder = models / ("digits2" if round_ % 2 else "digits")
        for percent in (10, 50, None):
            changed = json.loads(json.dumps(digits))
            changed["spec"]["predictor"]["model"]["storageUri"] = f"file://{folder}"
            if percent is not None:
                changed["spec"]["predictor"]["canaryTrafficPercent"] = percent
            kubectl("apply", "-f", "-", stdin=json.dumps(changed))
            time.sleep(4)
            ready(kubectl, "digits")
        done.append("canary and upgrade")
        # A server that is killed, as its node's failure would. Not each time: one that ended often is started again ever later,
        # as in any cluster, and in the end both would be waited for.
        if round_ % 3 == 1:
            os.kill(requests.post(predict, json={"instances": [1]}, timeout=60).json()["pid"], signal.SIGKILL)
            done.append("kill")
        time.sleep(6)
        # Silence, until the model is out of memory, and all clients at once.
        plugin.paused.set()
        latest = lambda: [m["status"].get("replicas") for m in kubectl.json("get", "models")["items"] if "digits" in m["metadata"]["name"]]
        until("digits is out of memory", lambda: not any(latest()), 120)
        plugin.paused.clear()
        time.sleep(4)
        done.append("zero and back")
    plugin.end()
    container.end()
    for name, load in (("plugin", plugin), ("container", container)):
        print(f"{name}: {load.answered} answered, {load.shed} shed, {len(load.failed)} failed")
    print(f"{len(done)} changes in {time.monotonic() - began:.0f} s: {sorted(set(done))}")
    assert not plugin.failed, plugin.failed[:5]
    assert not container.failed, container.failed[:5]
    assert plugin.answered > 1000 and container.answered > 1000

