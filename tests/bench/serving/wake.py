"""From zero to the first answer: a model of 10 MB whose file is there, asked after it has left memory."""

import json
import pathlib
import tempfile
import time

import numpy
import onnx
import requests
from harness.metrics import total
from harness.wait import until
from onnx import TensorProto, helper, numpy_helper

from .services import purlin, service

# 64 -> 1600 -> 1500 -> 10 in FP32: 10.0 MB.
LAYERS = (64, 1600, 1500, 10)


def model(path, seed, layers=LAYERS):
    """A perceptron with random weights; each seed makes another file, so that no two share a graph."""
    random = numpy.random.default_rng(seed)
    nodes, weights, last = [], [], "input"
    for at, (given, taken) in enumerate(zip(layers, layers[1:])):
        for name, shape in ((f"w{at}", (given, taken)), (f"b{at}", (taken,))):
            values = random.standard_normal(shape).astype(numpy.float32) * 0.1
            weights.append(numpy_helper.from_array(values, name))
        nodes.append(helper.make_node("Gemm", [last, f"w{at}", f"b{at}"], [f"g{at}"]))
        last = f"g{at}"
        if at < len(layers) - 2:
            nodes.append(helper.make_node("Relu", [last], [f"r{at}"]))
            last = f"r{at}"
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", layers[0]])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", layers[-1]])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, str(path))
    return path.stat().st_size


def measure(flags):
    names = [f"wake-{number}" for number in range(8)]
    answer = json.dumps({"inputs": [{"name": "input", "shape": [1, 64], "datatype": "FP32", "data": [1.0] * 64}]})
    took = []
    with tempfile.TemporaryDirectory(prefix="purlin-bench-") as directory:
        models = pathlib.Path(directory)
        for seed, name in enumerate(names):
            (models / name).mkdir()
            size = model(models / name / "model.onnx", seed)
        with purlin(models) as server:
            services = [service(name, "onnx", models / name, minReplicas=0) for name in names]
            for one in services:
                annotation = "autoscaling.knative.dev/scale-to-zero-pod-retention-period"
                one["metadata"]["annotations"] = {annotation: "1s"}
            server.apply(*services)
            for name in names:
                server.ready(name)
            with requests.Session() as session:
                loaded = lambda: total(server.server.metrics(), "purlin_models_loaded")
                loads = lambda: total(server.server.metrics(), "purlin_models_loads_total", 'outcome="success"')
                for _ in range(flags.rounds):
                    until("no model is in memory", lambda: loaded() == 0, 90, interval=0.2)
                    before = loads()
                    for name in names:
                        began = time.perf_counter()
                        got = session.post(server.url(name), data=answer, timeout=30)
                        took.append((time.perf_counter() - began) * 1000)
                        assert got.status_code == 200, got.text
                    # What was in memory all along would be no wake.
                    assert loads() - before == len(names)
    took.sort()
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))]
    found = {"model_bytes": size, "samples": len(took), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": took[-1]}
    return {
        "purlin up": found,
        "ratios": {"limit": 50 / found["p99_ms"]},
        "better": "ratio above 1: within the limit of 50 ms",
    }
