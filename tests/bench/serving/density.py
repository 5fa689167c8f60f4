"""Two thousand models on one node, two hundred of them hot: memory, errors and latency under a Zipf load."""

import json
import pathlib
import tempfile
import threading
import time

import numpy
import requests

from .services import NAMESPACE, purlin
from .wake import model as perceptron

REGISTERED = 2_000
# Half a megabyte each.
LAYERS = (64, 320, 320, 10)
HOT = 200
LIMIT = 1 << 30
# What loaded models may take; the rest of the limit is the platform's.
BUDGET = 512 << 20


def resource(name, folder):
    return {
        "apiVersion": "purlin.dev/v1alpha1",
        "kind": "Model",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "format": {"name": "onnx"},
            "source": {"uri": f"file://{folder}"},
            "scaling": {"minReplicas": 0, "idleSeconds": 3600},
        },
    }


def route(name):
    return {
        "apiVersion": "purlin.dev/v1alpha1",
        "kind": "Route",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"hosts": [f"{name}.{NAMESPACE}."], "backends": [{"model": name, "weight": 100}]},
    }


def measure(flags):
    random = numpy.random.default_rng(7)
    with tempfile.TemporaryDirectory(prefix="purlin-bench-") as directory:
        models = pathlib.Path(directory)
        names = [f"m-{number:04}" for number in range(REGISTERED)]
        for seed, name in enumerate(names):
            (models / name).mkdir()
            perceptron(models / name / "model.onnx", seed, LAYERS)
        with purlin(models, ["--model-memory", str(BUDGET)]) as server:
            began = time.monotonic()
            for at in range(0, REGISTERED, 200):
                part = names[at : at + 200]
                server.apply(*(resource(name, models / name) for name in part), *(route(name) for name in part))
            ready(server, REGISTERED)
            registered_s = time.monotonic() - began
            peak = Peak(server)
            took, failed = load(server, names, random, flags.seconds * 4)
            peak.stop()
            found = {
                "registered_s": registered_s,
                "requests": len(took),
                "failed": failed,
                "p50_ms": float(numpy.percentile(took, 50)),
                "p99_ms": float(numpy.percentile(took, 99)),
                "resident_peak_mib": peak.bytes / 2**20,
            }
    return {
        "purlin up": found,
        "ratios": {"limit": LIMIT / peak.bytes},
        "better": "ratio above 1: within the limit of 1 GiB",
    }


def ready(server, count):
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        models = server.kubectl.json("get", "models")["items"]
        good = sum(
            any(one["type"] == "Ready" and one["status"] == "True" for one in model.get("status", {}).get("conditions", []))
            for model in models
        )
        if good == count:
            return
        time.sleep(2)
    raise AssertionError(f"{good} of {count} models are ready")


def load(server, names, random, seconds, clients=8):
    """Most requests go to the hot models, by Zipf's law; one in a hundred wakes one of the others."""
    body = json.dumps({"inputs": [{"name": "input", "shape": [1, 64], "datatype": "FP32", "data": [1.0] * 64}]})
    hot = random.permutation(names)[:HOT]
    weights = 1 / numpy.arange(1, HOT + 1)
    weights /= weights.sum()
    took, failed, until = [], [], time.monotonic() + seconds

    def client(seed):
        own = numpy.random.default_rng(seed)
        with requests.Session() as session:
            while time.monotonic() < until:
                cold = own.random() < 0.01
                name = own.choice(names) if cold else own.choice(hot, p=weights)
                began = time.perf_counter()
                answer = session.post(server.url(name), data=body, timeout=30)
                took.append((time.perf_counter() - began) * 1000)
                if answer.status_code != 200:
                    failed.append(answer.text)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took, len(failed)


class Peak:
    """The most memory that was seen."""

    def __init__(self, server):
        self.bytes, self.server, self.going = 0, server, True
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while self.going:
            self.bytes = max(self.bytes, self.server.resident())
            time.sleep(0.2)

    def stop(self):
        self.going = False
        self.thread.join()
