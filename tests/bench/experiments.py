"""Many concurrent experiments that do nothing: what one costs in time and memory, and whether twice as many cost twice."""

import json
import queue
import threading
import time

from . import peers

PATH = "/apis/purlin.dev/v1alpha1/namespaces/noop/experiments"
LIMIT = 900


def experiment(number):
    """One trial, whose object is a ConfigMap and succeeds at once."""
    return {
        "apiVersion": "purlin.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": f"noop-{number}"},
        "spec": {
            "parallelism": 1,
            "maxTrials": 1,
            "objective": {"metric": "none", "direction": "maximize"},
            "algorithm": {"name": "random"},
            "parameters": [{"name": "x", "type": "double", "min": "0", "max": "1"}],
            "trialTemplate": {
                "parameters": [{"name": "x", "reference": "x"}],
                "object": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "${trialParameters.x}"}},
                "successCondition": "true",
                "failureCondition": "false",
                "retain": True,
            },
            "metricsCollector": {"source": "none"},
        },
    }


def measure(peer, count):
    """Seconds from the first create to the last experiment's end, and memory before and after."""
    before = peers.resident(peer)
    connection = peers.connect(peer)
    connection.send(
        "POST", "/api/v1/namespaces", '{"metadata":{"name":"noop"}}', {"Content-Type": "application/json"}
    )
    numbers = queue.SimpleQueue()
    for number in range(count):
        numbers.put(number)
    started = time.monotonic()
    failures = []
    creators = [threading.Thread(target=_create, args=(peer, numbers, failures)) for _ in range(4)]
    for thread in creators:
        thread.start()
    for thread in creators:
        thread.join()
    if failures:
        raise SystemExit(f"bench: creating a no-op experiment failed: {failures[0]}")
    created = time.monotonic() - started
    peak, ended = before, {}
    while len(ended) < count and time.monotonic() - started < LIMIT:
        peak = max(peak, peers.resident(peer))
        listed = json.loads(connection.send("GET", PATH).data)
        ended = {i["metadata"]["name"]: _end(i) for i in listed["items"] if _end(i)}
        time.sleep(0.25)
    return {
        "experiments": count,
        "succeeded": sum(end == "Succeeded" for end in ended.values()),
        "unfinished": count - len(ended),
        "create_s": created,
        "total_s": time.monotonic() - started,
        "resident_before_mib": before / 2**20,
        "resident_peak_mib": max(peak, peers.resident(peer)) / 2**20,
    }


def _create(peer, numbers, failures):
    connection = peers.connect(peer)
    while True:
        try:
            number = numbers.get_nowait()
        except queue.Empty:
            return
        answer = connection.send(
            "POST", PATH, json.dumps(experiment(number)), {"Content-Type": "application/json"}
        )
        if answer.status != 201:
            failures.append(answer.data[:500])
            return


def _end(found):
    for condition in found.get("status", {}).get("conditions", []):
        if condition["type"] in ("Succeeded", "Failed") and condition["status"] == "True":
            return condition["type"]
    return None
