"""The same model behind Purlin and behind MLServer, the same client, in turns.

Eight connections that ask again as soon as they are answered say how much each can do. How long an answer takes where Purlin is
not asked for all it can is measured at 20 times the rate that MLServer reached.
"""

import json
import pathlib
import pickle
import shutil
import statistics
import subprocess
import tempfile

from harness.server import REPOSITORY

from .services import MlServer, paced, purlin, service, wrk

# Times MLServer's rate, at which the latency is measured.
TIMES = 20
# A turn's seconds, which wrk wants whole. Many short turns: on a machine that others use too, the speed of one second is
# not that of the next.
TURN = 2
FIXTURE = REPOSITORY / "host/nn/tests/fixtures/digits-logreg.onnx"

MODELS = ("digits", "sklearn")

# What makes the model for MLServer: the same estimator as the fixture's, with the library that reads it.
TRAIN = """
import sys, joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
digits = load_digits()
joblib.dump(LogisticRegression(max_iter=1000).fit(digits.data, digits.target), sys.argv[1])
"""


def body(name="input"):
    row = [float(value % 17) for value in range(64)]
    tensor = {"name": name, "shape": [1, 64], "datatype": "FP32", "data": row}
    return json.dumps({"inputs": [tensor]}).encode()


def together(turns):
    """Turns of one server as one: what it did in all of them, and the latency of the middle one."""
    return {
        "requests_per_s": statistics.mean(turn["requests_per_s"] for turn in turns),
        "failed": sum(turn["failed"] for turn in turns),
        "p50_us": statistics.median(turn["p50_us"] for turn in turns),
        "p99_us": statistics.median(turn["p99_us"] for turn in turns),
    }


def measure(flags):
    with tempfile.TemporaryDirectory(prefix="purlin-bench-") as directory:
        directory = pathlib.Path(directory)
        models = directory / "models"
        (models / "digits").mkdir(parents=True)
        shutil.copy(FIXTURE, models / "digits/model.onnx")
        joblib = directory / "digits.joblib"
        peer = MlServer(directory / "mlserver", "mlserver_sklearn.SKLearnModel", joblib)
        subprocess.run([peer.python / "bin/python", "-c", TRAIN, joblib], check=True)
        (models / "sklearn").mkdir()
        shutil.copy(joblib, models / "sklearn/model.joblib")
        with peer, purlin(models) as server:
            server.apply(service("digits", "onnx", models / "digits"), service("sklearn", "sklearn", models / "sklearn"))
            for name in MODELS:
                server.ready(name)
            urls = {"mlserver": peer.url(), **{f"purlin, {name}": server.url(name) for name in MODELS}}
            for url in urls.values():
                wrk(url, body(), TURN)
            turns = {who: [] for who in urls}
            for _ in range(max(1, flags.seconds // TURN)):
                for who, url in urls.items():
                    turns[who].append(wrk(url, body(), TURN))
            found = {who: together(its) for who, its in turns.items()}
            found["mlserver"] |= {"resident_mib": peer.resident() / 2**20, "ready_s": peer.ready_s}
            rate = TIMES * found["mlserver"]["requests_per_s"]
            for name in MODELS:
                found[f"purlin, {name}"]["resident_mib"] = server.resident() / 2**20
                paced(server.url(name), body(), rate, TURN)
                found[f"purlin, {name}, {TIMES} times"] = paced(server.url(name), body(), rate, flags.seconds)
    a, b = found["purlin, digits"], found["mlserver"]
    return {
        **found,
        "ratios": {
            "requests_per_s": a["requests_per_s"] / b["requests_per_s"],
            "p50_us": b["p50_us"] / a["p50_us"],
            "sklearn_requests_per_s": found["purlin, sklearn"]["requests_per_s"] / b["requests_per_s"],
            "sklearn_p50_us": b["p50_us"] / found["purlin, sklearn"]["p50_us"],
        },
        "better": "ratio above 1: purlin is faster",
    }
