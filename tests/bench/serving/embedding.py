"""Texts to vectors: MiniLM behind the gateway, and ONNX Runtime called directly on the same cores with the same library, threads
and texts. They take turns, so that what else the machine does is shared out."""

import concurrent.futures
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime
import requests
from harness.server import REPOSITORY
from serving import huggingface

from .services import purlin, service

BATCH = 16
# Many short turns: on a machine that others use too, the speed of one second is not that of the next.
TURNS = 15
SHARE = 3
# Enough that the next request is there when one is answered.
CLIENTS = 2


def texts():
    """Paragraphs of English: those of this project's documentation."""
    pages = "\n\n".join(page.read_text() for page in sorted((REPOSITORY / "docs").glob("*.md")))
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", pages)]
    return [part for part in paragraphs if 200 < len(part) < 700 and not part.startswith("|")][:BATCH]


def library():
    return next(pathlib.Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*"))


class Direct:
    """ONNX Runtime in a process of its own, which waits between its turns."""

    def __init__(self, folder, threads, cores, given):
        self.process = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).with_name("direct.py"), folder, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.tell(json.dumps(given))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def turn(self, seconds):
        self.tell(str(seconds))
        return json.loads(self.process.stdout.readline())


def served(url, seconds, given):
    """Texts a second, and the vectors."""
    body = json.dumps({"inputs": [{"name": "input0", "shape": [len(given)], "datatype": "BYTES", "data": given}]})

    def client(_):
        calls = 0
        with requests.Session() as session:
            while time.perf_counter() < until:
                answer = session.post(url, data=body, timeout=60)
                assert answer.status_code == 200, answer.text
                calls += 1
        return calls, answer.json()["outputs"][0]

    assert requests.post(url, data=body, timeout=60).ok
    began = time.perf_counter()
    until = began + seconds
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        counts, outputs = zip(*clients.map(client, range(CLIENTS)))
    took = time.perf_counter() - began
    return sum(counts) * len(given) / took, numpy.array(outputs[0]["data"]).reshape(outputs[0]["shape"])


def measure(flags):
    given, found, ratios = texts(), {}, {}
    assert len(given) == BATCH
    with tempfile.TemporaryDirectory(prefix="purlin-bench-") as directory:
        models = pathlib.Path(directory)
        huggingface.minilm(models / "minilm")
        # One core for one thread each, the client on another; and two for two, as a person has them, with the client beside.
        for threads in (1, 2):
            cores = set(sorted(os.sched_getaffinity(0))[:threads])
            if len(cores) < threads:
                raise SystemExit(f"bench: {threads} cores are needed, and {len(cores)} are there")
            server = purlin(models, ["--onnxruntime", str(library())], cores=cores)
            with server as server, Direct(models / "minilm", threads, cores, given) as direct:
                server.apply(service("minilm", "huggingface", models / "minilm"))
                server.ready("minilm")
                ours, theirs, graphs = [], [], []
                for _ in range(TURNS):
                    ours.append(served(server.url("minilm"), flags.seconds / SHARE, given)[0])
                    one = direct.turn(flags.seconds / SHARE)
                    theirs.append(one["texts_per_s"])
                    graphs.append(one["graph_texts_per_s"])
            found[f"{threads} threads"] = {
                "purlin, texts_per_s": statistics.median(ours),
                "direct, texts_per_s": statistics.median(theirs),
                "direct, graph alone": statistics.median(graphs),
            }
            ratios[f"purlin over direct, {threads} threads"] = statistics.median(ours) / statistics.median(theirs)
            ratios[f"purlin over graph alone, {threads} threads"] = statistics.median(ours) / statistics.median(graphs)
    return {**found, "ratios": ratios, "better": "ratio above 0.95: what a platform is allowed to cost"}
