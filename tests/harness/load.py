"""Experiments that run nothing: each trial's object is a ConfigMap and succeeds at once. Spread over namespaces, which is
how work is shared; and what became of them, each trial counted."""

import threading
import time

from .wait import until

GROUP = "/apis/purlin.dev/v1alpha1"


def experiment(name, trials=2, parallelism=2):
    return {
        "apiVersion": "purlin.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": name},
        "spec": {
            "parallelism": parallelism,
            "maxTrials": trials,
            "objective": {"metric": "none", "direction": "maximize"},
            "algorithm": {"name": "random"},
            "parameters": [{"name": "x", "type": "double", "min": "0", "max": "1"}],
            "trialTemplate": {
                "parameters": [{"name": "x", "reference": "x"}],
                "object": {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"labels": {"of": "a-trial"}},
                    "data": {"x": "${trialParameters.x}"},
                },
                "successCondition": "true",
                "failureCondition": "false",
                "retain": True,
            },
            "metricsCollector": {"source": "none"},
        },
    }


def namespaces(api, prefix, count):
    names = [f"{prefix}-{number}" for number in range(count)]
    for name in names:
        status, body = api.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        assert status in (201, 409), body
    return names


def create(api, names, count, first=0, trials=2, threads=4, pause=0.0):
    """Makes so many experiments, each in the next namespace."""
    failures, numbers = [], iter(range(first, first + count))
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            path = f"{GROUP}/namespaces/{names[number % len(names)]}/experiments"
            for _ in range(60):
                try:
                    status, body = api.send("POST", path, experiment(f"e-{number}", trials))
                except OSError as error:
                    status, body = 0, str(error)
                if status in (201, 409):
                    break
                time.sleep(0.5)
            else:
                failures.append(body)
            time.sleep(pause)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures[:3]


def ended(api, names):
    """How each experiment in the namespaces ended, by its namespace and name; those that go on are left out."""
    found = {}
    for item in listed(api, f"{GROUP}/experiments", names):
        for condition in item.get("status", {}).get("conditions", []):
            if condition["type"] in ("Succeeded", "Failed") and condition["status"] == "True":
                found[(item["metadata"]["namespace"], item["metadata"]["name"])] = condition["type"]
    return found


def listed(api, path, names):
    wanted = set(names)
    return [i for i in api.get(path)["items"] if i["metadata"]["namespace"] in wanted]


def finish(api, names, count, timeout):
    """Waits until all experiments ended well; returns the seconds that took."""
    started = time.monotonic()

    def probe():
        try:
            now = ended(api, names)
        except OSError:
            return False
        failed = [key for key, end in now.items() if end != "Succeeded"]
        assert not failed, f"failed: {failed[:5]}"
        return len(now) >= count or False

    until(f"{count} experiments to end", probe, timeout=timeout, interval=0.5)
    return time.monotonic() - started


def count(api, names, experiments, trials=2):
    """Checks that each experiment has each of its trials once, and each trial its one object. Returns (lost, doubled)."""
    by_experiment = {}
    for item in listed(api, f"{GROUP}/trials", names):
        owner = item["metadata"]["ownerReferences"][0]["name"]
        key = (item["metadata"]["namespace"], owner)
        by_experiment.setdefault(key, []).append(item["spec"]["index"])
    maps = listed(api, "/api/v1/configmaps?labelSelector=of%3Da-trial", names)
    lost = sum(max(0, trials - len(set(indexes))) for indexes in by_experiment.values())
    lost += trials * (experiments - len(by_experiment))
    doubled = sum(len(indexes) - len(set(indexes)) for indexes in by_experiment.values())
    doubled += sum(max(0, len(set(indexes)) - trials) for indexes in by_experiment.values())
    owners = [m["metadata"]["ownerReferences"][0]["uid"] for m in maps]
    doubled += len(owners) - len(set(owners))
    lost += experiments * trials - len(set(owners))
    return lost, doubled
