"""The same model behind Purlin and behind MLServer, the same client, one after the other in one run.

Eight connections that ask again as soon as they are answered say how much each can do. How long an answer takes where Purlin is
not asked for all it can is measured at 20 times the rate that MLServer reached.
"""

import json
import pathlib
import pickle
import shutil
import subprocess
import tempfile

from harness.server import REPOSITORY

from .services import MlServer, paced, purlin, service, wrk

# Times MLServer's rate, at which the latency is measured.
TIMES = 20
FIXTURE = REPOSITORY / "host/nn/tests/fixtures/digits-logreg.onnx"

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


def measure(flags):
    found = {}
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
        peer.start()
        try:
            wrk(peer.url(), body(), 2)
            found["mlserver"] = wrk(peer.url(), body(), flags.seconds)
            found["mlserver"]["resident_mib"] = peer.resident() / 2**20
            found["mlserver"]["ready_s"] = peer.ready_s
        finally:
            peer.stop()
        rate = TIMES * found["mlserver"]["requests_per_s"]
        with purlin(models) as server:
            server.apply(service("digits", "onnx", models / "digits"), service("sklearn", "sklearn", models / "sklearn"))
            for name in ("digits", "sklearn"):
                server.ready(name)
                wrk(server.url(name), body(), 2)
                found[f"purlin, {name}"] = wrk(server.url(name), body(), flags.seconds)
                found[f"purlin, {name}"]["resident_mib"] = server.resident() / 2**20
                paced(server.url(name), body(), rate, 2)
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
