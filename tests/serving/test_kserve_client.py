"""KServe's own Python client, unmodified: create, wait, ask, canary, delete."""

import asyncio
import shutil
import uuid

import joblib
import lightgbm
import numpy
import pytest
import requests
import xgboost
from harness.wait import until
from kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    KServeClient,
    RESTConfig,
    V1alpha1InferenceGraph,
    V1alpha1InferenceGraphSpec,
    V1alpha1InferenceRouter,
    V1alpha1InferenceStep,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1ModelFormat,
    V1beta1ModelSpec,
    V1beta1PredictorSpec,
    constants,
)
from kubernetes import client as kubernetes
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


@pytest.fixture
def kserve(server):
    return KServeClient(config_file=str(server.kubeconfig))


def service(name, namespace, folder, **predictor):
    model = V1beta1ModelSpec(
        model_format=V1beta1ModelFormat(name="onnx"), protocol_version="v2", storage_uri=f"file://{folder}"
    )
    return V1beta1InferenceService(
        api_version=constants.KSERVE_V1BETA1,
        kind=constants.KSERVE_KIND_INFERENCESERVICE,
        metadata=kubernetes.V1ObjectMeta(name=name, namespace=namespace),
        spec=V1beta1InferenceServiceSpec(predictor=V1beta1PredictorSpec(model=model, **predictor)),
    )


def traffic(kserve, name, namespace):
    status = kserve.get(name, namespace=namespace)["status"]
    return {part["revisionName"]: part["percent"] for part in status["components"]["predictor"]["traffic"]}


def gone(kserve, name, namespace):
    try:
        kserve.get(name, namespace=namespace)
    except RuntimeError:
        return True
    return False


def test_the_life_of_a_service(kserve, kubectl, models, gateway, expected):
    namespace, name = kubectl.namespace, f"digits-{uuid.uuid4().hex[:6]}"
    kserve.create(service(name, namespace, models / "digits"))
    kserve.wait_isvc_ready(name, namespace=namespace, timeout_seconds=60)
    host = kserve.get(name, namespace=namespace)["status"]["url"].removeprefix("http://")

    reference = expected("digits-logreg")
    rows, labels = reference["inputs"]["input"], reference["outputs"]["label"]["data"]
    tensor = InferInput(name="input", shape=rows["shape"], datatype="FP32", data=rows["data"])
    request = InferRequest(model_name=name, infer_inputs=[tensor])

    async def rest():
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        answer = await client.infer(f"http://{gateway}", request, model_name=name, headers={"host": host})
        return answer.outputs[0].as_numpy().tolist()

    async def grpc():
        client = InferenceGRPCClient(gateway, channel_args=[("grpc.default_authority", host)])
        answer = await client.infer(request)
        return answer.outputs[0].as_numpy().tolist()

    assert asyncio.run(rest()) == labels
    assert asyncio.run(grpc()) == labels

    # A canary of another model: a tenth of the traffic, and the rest stays where it was.
    kserve.patch(name, service(name, namespace, models / "digits2", canary_traffic_percent=10), namespace=namespace)
    kserve.wait_isvc_ready(name, namespace=namespace, timeout_seconds=60)
    for _ in range(60):
        split = traffic(kserve, name, namespace)
        if sorted(split.values()) == [10, 90]:
            break
        asyncio.run(asyncio.sleep(0.5))
    assert split == {f"{name}-predictor-00001": 90, f"{name}-predictor-00002": 10}

    kserve.delete(name, namespace=namespace)
    until("the service is gone", lambda: gone(kserve, name, namespace))


IRIS, SPECIES = load_iris(return_X_y=True)
ROWS = IRIS[::30].astype(numpy.float32)


def sklearn_model(folder):
    model = LogisticRegression(max_iter=500).fit(IRIS, SPECIES)
    joblib.dump(model, folder / "model.joblib")
    return model.predict(ROWS)


def xgboost_model(folder):
    booster = xgboost.train({"objective": "reg:squarederror"}, xgboost.DMatrix(IRIS, SPECIES), 10)
    booster.save_model(folder / "model.json")
    return booster.predict(xgboost.DMatrix(ROWS))


def lightgbm_model(folder):
    booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(IRIS, SPECIES), 10)
    booster.save_model(folder / "model.bst")
    return booster.predict(ROWS)


def onnx_model(folder):
    model = LogisticRegression(max_iter=500).fit(IRIS, SPECIES)
    graph = to_onnx(model, ROWS[:1], options={"zipmap": False}, target_opset=17)
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    return model.predict(ROWS)


def container(name, delay):
    """KServe's own server in a container of the user's."""
    return V1beta1PredictorSpec(
        containers=[
            kubernetes.V1Container(
                name="kserve-container",
                image="docker.io/example/predictor:1",
                command=["python", "/app/predictor.py"],
                args=[f"--model_name={name}", "--http_port=8080", "--grpc_port=8081", f"--delay={delay}"],
                ports=[
                    kubernetes.V1ContainerPort(container_port=8080),
                    kubernetes.V1ContainerPort(container_port=8081, name="h2c"),
                ],
            )
        ]
    )


def plugin(kind, folder):
    """A model in a folder, of a format."""
    model = V1beta1ModelSpec(
        model_format=V1beta1ModelFormat(name=kind), protocol_version="v2", storage_uri=f"file://{folder}"
    )
    return V1beta1PredictorSpec(model=model)


KINDS = {"onnx": onnx_model, "sklearn": sklearn_model, "xgboost": xgboost_model, "lightgbm": lightgbm_model, "custom": None}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_by_the_client(kserve, kubectl, models, gateway, kind):
    """Create, wait, ask over REST and gRPC, change with a canary, delete: the same for whatever serves it."""
    namespace, name = kubectl.namespace, f"{kind}-{uuid.uuid4().hex[:6]}"
    if kind == "custom":
        predictor, expected = container(name, 0.0), 2 * ROWS
    else:
        folder = models / name
        folder.mkdir()
        expected = KINDS[kind](folder)
        predictor = plugin(kind, folder)
    made = V1beta1InferenceService(
        api_version=constants.KSERVE_V1BETA1,
        kind=constants.KSERVE_KIND_INFERENCESERVICE,
        metadata=kubernetes.V1ObjectMeta(name=name, namespace=namespace),
        spec=V1beta1InferenceServiceSpec(predictor=predictor),
    )
    kserve.create(made)
    kserve.wait_isvc_ready(name, namespace=namespace, timeout_seconds=120)
    host = kserve.get(name, namespace=namespace)["status"]["url"].removeprefix("http://")

    metadata = requests.get(f"http://{gateway}/serving/{namespace}/{name}/v2/models/{name}", timeout=30).json()
    inputs = metadata.get("inputs") or [{"name": "x"}]
    tensor = InferInput(name=inputs[0]["name"], shape=list(ROWS.shape), datatype="FP32", data=ROWS.flatten().tolist())
    request = InferRequest(model_name=name, infer_inputs=[tensor])

    async def rest():
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        answer = await client.infer(f"http://{gateway}", request, model_name=name, headers={"host": host})
        return answer.outputs[0].as_numpy()

    async def grpc():
        client = InferenceGRPCClient(gateway, channel_args=[("grpc.default_authority", host)])
        return (await client.infer(request)).outputs[0].as_numpy()

    for ask in (rest, grpc):
        found = numpy.asarray(asyncio.run(ask()), dtype=numpy.float64)
        assert numpy.allclose(found.flatten(), numpy.asarray(expected, dtype=numpy.float64).flatten(), atol=1e-5)

    # A canary, of a model that is the same but for what it is called in the spec.
    made.spec.predictor.canary_traffic_percent = 20
    if kind == "custom":
        made.spec.predictor.containers[0].args[-1] = "--delay=0.001"
    else:
        shutil.copytree(models / name, models / f"{name}-2")
        made.spec.predictor.model.storage_uri = f"file://{models / name}-2"
    kserve.patch(name, made, namespace=namespace)
    revisions = {f"{name}-predictor-00001": 80, f"{name}-predictor-00002": 20}
    until("the canary has its share", lambda: traffic(kserve, name, namespace) == revisions, 120)
    assert asyncio.run(rest()).shape == asyncio.run(grpc()).shape

    kserve.delete(name, namespace=namespace)
    until("the service is gone", lambda: gone(kserve, name, namespace), 60)


def test_a_graph_by_the_client(kserve, kubectl, models, gateway):
    """Create, wait, ask, delete."""
    namespace = kubectl.namespace
    kserve.create(service("digits", namespace, models / "digits"))
    kserve.wait_isvc_ready("digits", namespace=namespace, timeout_seconds=60)
    steps = [V1alpha1InferenceStep(service_name="digits", dependency="Hard"), V1alpha1InferenceStep(service_name="digits")]
    graph = V1alpha1InferenceGraph(
        api_version=constants.KSERVE_V1ALPHA1,
        kind=constants.KSERVE_KIND_INFERENCEGRAPH,
        metadata=kubernetes.V1ObjectMeta(name="chain", namespace=namespace),
        spec=V1alpha1InferenceGraphSpec(nodes={"root": V1alpha1InferenceRouter(router_type="Sequence", steps=steps)}),
    )
    kserve.create_inference_graph(graph)
    kserve.wait_ig_ready("chain", namespace=namespace, timeout_seconds=60, polling_interval=1)
    url = kserve.get_inference_graph("chain", namespace=namespace)["status"]["url"]

    async def ask():
        client = InferenceRESTClient(RESTConfig(protocol="v1"))
        headers = {"host": url.removeprefix("http://")}
        return await client.infer(
            f"http://{gateway}", {"instances": [[1.0] * 64]}, headers=headers, is_graph_endpoint=True
        )

    assert len(asyncio.run(ask())["predictions"]) == 1
    kserve.delete_inference_graph("chain", namespace)
    answer = lambda: requests.post(f"http://{gateway}/serving/{namespace}/chain", json={}, timeout=30)
    until("the graph no longer answers", lambda: answer().status_code == 404, 30)
