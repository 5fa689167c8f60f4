"""Explanations and drift, against the packages that people use: shap and SciPy."""

import json

import numpy
import pytest
import requests
import scipy.stats
import shap
from harness.wait import until
from serving.service import condition
from skl2onnx import to_onnx
from sklearn.datasets import load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier


def resource(kind, name, spec):
    return {"apiVersion": "purlin.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def apply(kubectl, *objects):
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def ready(kubectl, name):
    until(
        f"Model {name} is ready",
        lambda: condition(kubectl, "models", name, "Ready").get("status") == "True",
        60,
    )


def forest(folder, data):
    """A forest as ONNX in a folder, and the original."""
    model = RandomForestClassifier(20, max_depth=4, random_state=1).fit(data.data, data.target)
    folder.mkdir(parents=True)
    graph = to_onnx(model, data.data[:1].astype(numpy.float32), options={"zipmap": False}, target_opset=17)
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    return model


@pytest.mark.parametrize("load", [load_iris, load_wine], ids=["iris", "wine"])
def test_explanations_are_those_of_shap(kubectl, models, gateway, load):
    data, name = load(), load.__name__.replace("_", "-")
    folder = models / f"{kubectl.namespace}-{name}"
    model = forest(folder, data)
    background, rows = data.data[::45].astype(numpy.float32), data.data[:2].astype(numpy.float32)
    # Without their own sampling, so that both are exact.
    samples = 2 ** data.data.shape[1]
    settings = [
        {"name": "background", "value": json.dumps(background.tolist())},
        {"name": "nsamples", "value": str(samples)},
    ]
    source = {"uri": f"file://{folder}"}
    apply(
        kubectl,
        resource("Model", name, {"format": {"name": "onnx"}, "source": source}),
        resource("Model", f"{name}-why", {"format": {"name": "shap"}, "explains": name, "settings": settings}),
        resource("Route", name, {"backends": [{"model": name, "weight": 100}], "explainer": f"{name}-why"}),
    )
    ready(kubectl, name)
    ready(kubectl, f"{name}-why")
    url = f"http://{gateway}/serving/{kubectl.namespace}/{name}/v1/models/{name}:explain"
    answer = requests.post(url, json={"instances": rows.tolist()}, timeout=300)
    assert answer.status_code == 200, answer.text
    explained = answer.json()
    explained = explained.get("explanations", explained.get("predictions"))
    found = numpy.array(explained["shap_values"] if isinstance(explained, dict) else explained)

    explainer = shap.KernelExplainer(lambda x: model.predict_proba(x), background)
    expected = explainer.shap_values(rows, nsamples=samples, l1_reg=False, silent=True)
    expected = numpy.transpose(numpy.array(expected), (0, 2, 1))
    assert found.shape == expected.shape
    worst = abs(found - expected).max()
    print(f"{name}: worst difference {worst:.2e}")
    assert worst < 1e-5


def test_drift_is_seen_and_its_statistic_is_scipys(kubectl, models, gateway):
    random = numpy.random.default_rng(3)
    monitoring = {"method": "ks", "referenceRows": 200, "windowRows": 100}
    source = {"uri": f"file://{models / 'scaled'}"}
    apply(
        kubectl,
        resource("Model", "watched", {"format": {"name": "onnx"}, "source": source, "monitoring": monitoring}),
        resource("Route", "watched", {"backends": [{"model": "watched", "weight": 100}]}),
    )
    ready(kubectl, "watched")
    # The plugin that compares comes when a model asks for it; what is sent before is not seen.
    collecting = lambda: condition(kubectl, "models", "watched", "Drift").get("reason") == "Collecting"
    until("the requests are looked at", collecting, 60)

    def send(rows):
        url = f"http://{gateway}/serving/{kubectl.namespace}/watched/v2/models/watched/infer"
        metadata = requests.get(url.removesuffix("/infer"), timeout=10).json()
        tensor = {
            "name": metadata["inputs"][0]["name"],
            "datatype": "FP32",
            "shape": list(rows.shape),
            "data": rows.flatten().tolist(),
        }
        answer = requests.post(url, json={"inputs": [tensor]}, timeout=30)
        assert answer.status_code == 200, answer.text

    sample = lambda count, shift: random.normal(shift, 1, (count, 4)).astype(numpy.float32)
    reference, same = sample(200, 0), sample(100, 0)
    send(reference)
    send(same)

    def drift(status):
        found = condition(kubectl, "models", "watched", "Drift")
        return found if found.get("status") == status else None

    found = until("no drift is seen", lambda: drift("False"), 90)
    worst = worst_feature(reference, same)
    assert f"statistic {worst.statistic:.4f}" in found["message"], (worst, found)
    assert f"p {worst.pvalue:.3e}".replace("e-0", "e-").replace("e+00", "e0") in found["message"], (worst, found)

    shifted = sample(100, 1)
    send(shifted)
    found = until("drift is seen", lambda: drift("True"), 90)
    worst = worst_feature(reference, shifted)
    assert f"statistic {worst.statistic:.4f}" in found["message"], (worst, found)


def worst_feature(reference, current):
    """Of the features the one that is least likely to be the same, as SciPy says."""
    tests = [scipy.stats.ks_2samp(a, b, method="asymp") for a, b in zip(reference.T, current.T)]
    return min(tests, key=lambda test: test.pvalue)
