"""KServe's own Python client, unmodified: create, wait, ask, canary, delete."""

import asyncio
import uuid

import pytest
from harness.wait import until
from kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    KServeClient,
    RESTConfig,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1ModelFormat,
    V1beta1ModelSpec,
    V1beta1PredictorSpec,
    constants,
)
from kubernetes import client as kubernetes


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
