"""Models of scikit-learn, XGBoost and LightGBM, trained here and served unmodified: what the gateway answers is what the
library itself answers."""

import json
import pickle

import joblib
import lightgbm
import numpy
import pytest
import requests
import tritonclient.http
import xgboost
import yaml
from harness.wait import until
from serving.service import condition, ready
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

NAMESPACE = "formats"
IRIS, SPECIES = load_iris(return_X_y=True)
NAMES = load_iris().target_names[SPECIES]
DIABETES, PROGRESSION = load_diabetes(return_X_y=True)
CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)


def sklearn_case(model, features, target, file="model.joblib"):
    model.fit(features, target)

    def save(folder):
        if file.endswith(".joblib"):
            joblib.dump(model, folder / file)
        else:
            (folder / file).write_bytes(pickle.dumps(model))

    return "sklearn", save, features[::9], model.predict(features[::9])


def xgboost_case(features, target, file, **parameters):
    booster = xgboost.train(parameters, xgboost.DMatrix(features, target), 20)
    rows = features[::9].astype(numpy.float32)
    return (
        "xgboost",
        lambda folder: booster.save_model(folder / file),
        rows,
        booster.predict(xgboost.DMatrix(rows)),
    )


def lightgbm_case(features, target, file, **parameters):
    booster = lightgbm.train({"verbose": -1, **parameters}, lightgbm.Dataset(features, target), 20)
    return (
        "lightgbm",
        lambda folder: booster.save_model(folder / file),
        features[::9],
        booster.predict(features[::9]),
    )


CASES = {
    "logistic": lambda: sklearn_case(LogisticRegression(max_iter=500), IRIS, SPECIES),
    "names": lambda: sklearn_case(SVC(), IRIS, NAMES, "model.pkl"),
    "forest": lambda: sklearn_case(RandomForestClassifier(50), CANCER, MALIGNANT, "model.pickle"),
    "scaled": lambda: sklearn_case(make_pipeline(StandardScaler(), GradientBoostingClassifier()), IRIS, SPECIES),
    "regressor": lambda: sklearn_case(RandomForestRegressor(30), DIABETES, PROGRESSION),
    "xgb-binary": lambda: xgboost_case(CANCER, MALIGNANT, "model.bst", objective="binary:logistic"),
    "xgb-classes": lambda: xgboost_case(IRIS, SPECIES, "model.json", objective="multi:softprob", num_class=3),
    "xgb-number": lambda: xgboost_case(DIABETES, PROGRESSION, "model.ubj", objective="reg:squarederror"),
    "lgb-binary": lambda: lightgbm_case(CANCER, MALIGNANT, "model.bst", objective="binary"),
    "lgb-classes": lambda: lightgbm_case(IRIS, SPECIES, "model.txt", objective="multiclass", num_class=3),
    "lgb-number": lambda: lightgbm_case(DIABETES, PROGRESSION, "model.bst", objective="regression"),
}  # fmt: skip


@pytest.fixture(scope="module")
def kubectl(cluster):
    cluster("create", "namespace", NAMESPACE)
    yield cluster.within(NAMESPACE)
    cluster.run("delete", "namespace", NAMESPACE, "--wait=false")


def service(name, format_name, folder):
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {
            "predictor": {"model": {"modelFormat": {"name": format_name}, "storageUri": f"file://{folder}"}}
        },
    }


@pytest.fixture(scope="module")
def served(kubectl, models, gateway):
    """All cases, each served: the path of its route, rows and what the library answers for them."""
    found = {}
    for name, case in CASES.items():
        format_name, save, rows, expected = case()
        folder = models / f"formats-{name}"
        folder.mkdir()
        save(folder)
        kubectl("apply", "-f", "-", stdin=json.dumps(service(name, format_name, folder)))
        found[name] = (f"http://{gateway}/serving/{NAMESPACE}/{name}", rows, expected)
    for name in CASES:
        ready(kubectl, name)
    return found


def assert_same(found, expected):
    """Labels are equal; numbers differ in their last digits at most."""
    found = numpy.array(found)
    assert found.shape == expected.shape
    if expected.dtype.kind == "f":
        tolerance = 1e-6 if expected.dtype == numpy.float32 else 1e-12
        numpy.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    else:
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("name", CASES)
def test_v1(served, name):
    url, rows, expected = served[name]
    answer = requests.post(f"{url}/v1/models/{name}:predict", json={"instances": rows.tolist()}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert_same(answer.json()["predictions"], expected)


@pytest.mark.parametrize("name", CASES)
def test_v2(served, name):
    url, rows, expected = served[name]
    datatype = "FP32" if rows.dtype == numpy.float32 else "FP64"
    tensor = {"name": "rows", "shape": list(rows.shape), "datatype": datatype, "data": rows.ravel().tolist()}
    answer = requests.post(f"{url}/v2/models/{name}/infer", json={"inputs": [tensor]}, timeout=30)
    assert answer.status_code == 200, answer.text
    [output] = answer.json()["outputs"]
    assert output["name"] == "output-0"
    kinds = {"i": "INT64", "U": "BYTES"}
    assert output["datatype"] == kinds.get(
        expected.dtype.kind, "FP32" if expected.dtype == numpy.float32 else "FP64"
    )
    assert output["shape"] == list(expected.shape)
    assert_same(numpy.array(output["data"]).reshape(output["shape"]), expected)


@pytest.mark.parametrize("name", ["forest", "xgb-classes", "lgb-number"])
def test_tritons_client_with_binary_tensors(served, name):
    url, rows, expected = served[name]
    client = tritonclient.http.InferenceServerClient(url.removeprefix("http://"))
    given = tritonclient.http.InferInput(
        "input-0", list(rows.shape), "FP32" if rows.dtype == numpy.float32 else "FP64"
    )
    given.set_data_from_numpy(rows, binary_data=True)
    assert_same(client.infer(name, [given]).as_numpy("output-0"), expected)


def test_columns(served):
    url, rows, expected = served["logistic"]
    columns = [
        {"name": str(index), "shape": [len(rows)], "datatype": "FP64", "data": column.tolist()}
        for index, column in enumerate(rows.T)
    ]
    answer = requests.post(f"{url}/v2/models/logistic/infer", json={"inputs": columns}, timeout=30)
    assert answer.json()["outputs"][0]["data"] == expected.tolist()


def test_metadata(served):
    url, rows, _ = served["xgb-classes"]
    metadata = requests.get(f"{url}/v2/models/xgb-classes", timeout=30).json()
    assert metadata["platform"] == "xgboost"
    assert metadata["inputs"] == [{"name": "input-0", "datatype": "FP32", "shape": [-1, rows.shape[1]]}]
    assert metadata["outputs"] == [{"name": "output-0", "datatype": "FP32", "shape": [-1, 3]}]


def test_what_does_not_fit_is_named(served):
    url, _, _ = served["logistic"]
    tensor = {"name": "rows", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}
    answer = requests.post(f"{url}/v2/models/logistic/infer", json={"inputs": [tensor]}, timeout=30)
    assert answer.status_code == 400
    assert "rows" in answer.json()["error"]
    assert "[n, 4]" in answer.json()["error"]


def test_probabilities(kubectl, models, gateway, served):
    name = "probabilities"
    manifest = service(name, "sklearn", models / "formats-logistic")
    manifest["spec"]["predictor"]["model"]["env"] = [{"name": "PREDICT_PROBA", "value": "true"}]
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    ready(kubectl, name)
    _, rows, _ = served["logistic"]
    expected = joblib.load(models / "formats-logistic/model.joblib").predict_proba(rows)
    url = f"http://{gateway}/serving/{NAMESPACE}/{name}/v1/models/{name}:predict"
    assert_same(
        requests.post(url, json={"instances": rows.tolist()}, timeout=30).json()["predictions"], expected
    )


@pytest.mark.parametrize(("file", "case"), [("sklearn-v1", "logistic"), ("sklearn-v2", "forest"), ("xgboost", "xgb-binary"), ("lightgbm", "lgb-binary")])  # fmt: skip
def test_manifests_as_users_write_them(kubectl, manifests, models, gateway, served, file, case):
    """KServe's own examples, with nothing changed but where the model lies."""
    documents = yaml.safe_load_all((manifests / "kserve" / f"{file}.yaml").read_text())
    manifest = next(document for document in documents if document["kind"] == "InferenceService")
    predictor = manifest["spec"]["predictor"]
    predictor.pop("serviceAccountName", None)
    predictor.pop("logger", None)
    component = predictor.get("model") or predictor["xgboost"]
    component.pop("storage", None)
    component["storageUri"] = f"file://{models}/formats-{case}"
    name = manifest["metadata"]["name"]
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    ready(kubectl, name)
    _, rows, expected = served[case]
    url = f"http://{gateway}/serving/{NAMESPACE}/{name}/v1/models/{name}:predict"
    answer = requests.post(url, json={"instances": rows.tolist()}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert_same(answer.json()["predictions"], expected)


def test_an_estimator_that_is_not_known_is_named(kubectl, models):
    folder = models / "formats-unknown"
    folder.mkdir()
    joblib.dump(GaussianProcessClassifier().fit(IRIS, SPECIES), folder / "model.joblib")
    kubectl("apply", "-f", "-", stdin=json.dumps(service("unknown", "sklearn", folder)))
    models_say = lambda: json.dumps(kubectl.json("get", "models"))
    until("the Model says why", lambda: "GaussianProcessClassifier" in models_say(), 60)
    assert condition(kubectl, "inferenceservice", "unknown", "Ready").get("status") != "True"
