"""Models of Hugging Face's libraries behind an InferenceService, against what the libraries answer."""

import base64
import json
import pathlib

import numpy
import onnxruntime
import openai
import pytest
import requests
import tokenizers
import yaml
from harness.server import REPOSITORY
from harness.wait import until

from serving import huggingface
from serving.service import condition, ready

MANIFESTS = REPOSITORY / "tests/manifests"
NAMESPACE = "huggingface"
PROMPT = "Where is Eiffel Tower?"


def service(name, folder, *args):
    """An InferenceService that serves the model in a folder, as KServe's huggingfaceserver would."""
    model = {"modelFormat": {"name": "huggingface"}, "protocolVersion": "v2", "storageUri": f"file://{folder}"}
    model["args"] = [f"--model_name={name}", *args]
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"model": model}},
    }


@pytest.fixture(scope="module")
def folders(models):
    """The models of this module, in the folder that the server may read."""
    huggingface.minilm(models / "minilm")
    huggingface.llama(models / "llama")
    huggingface.gpt2(models / "gpt2")
    return models


@pytest.fixture(scope="module")
def services(cluster, folders, gateway):
    """The paths under which the models answer, by name."""
    cluster("create", "namespace", NAMESPACE)
    kubectl = cluster.within(NAMESPACE)
    wanted = {
        "minilm": service("minilm", folders / "minilm"),
        "llama": service("llama", folders / "llama", "--max_model_len=200", "--dtype=float32"),
        "gpt2": service("gpt2", folders / "gpt2"),
    }
    for manifest in wanted.values():
        kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    for name in wanted:
        ready(kubectl, name, limit=180)
    yield {name: f"http://{gateway}/serving/{NAMESPACE}/{name}" for name in wanted}
    cluster.run("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def vectors(folders):
    """What onnxruntime and tokenizers make of texts: the vectors, and how many tokens there are."""
    folder = folders / "minilm"
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    session = onnxruntime.InferenceSession(folder / "onnx/model.onnx", providers=["CPUExecutionProvider"])
    encodings = tokenizer.encode_batch(huggingface.TEXTS)
    mask = numpy.array([encoding.attention_mask for encoding in encodings], dtype=numpy.int64)
    ids = numpy.array([encoding.ids for encoding in encodings], dtype=numpy.int64)
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
    (hidden,) = session.run(None, given)
    pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    return pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True), int(mask.sum())


@pytest.fixture(scope="module")
def reference(folders):
    """A language model as transformers computes it, by name."""
    return lambda name: huggingface.Reference(pathlib.Path(folders / name))


def test_embeddings_by_tensors(services, vectors):
    texts = {"name": "input0", "shape": [-1], "datatype": "BYTES", "data": huggingface.TEXTS}
    answer = requests.post(f"{services['minilm']}/v2/models/minilm/infer", json={"inputs": [texts]}, timeout=60)
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("FP32", [len(huggingface.TEXTS), 384])
    found = numpy.array(output["data"]).reshape(output["shape"])
    assert numpy.abs(found - vectors[0]).max() < 1e-5


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_by_the_client_of_openai(services, vectors, encoding):
    client = openai.OpenAI(base_url=f"{services['minilm']}/openai/v1", api_key="none")
    answer = client.embeddings.create(model="minilm", input=huggingface.TEXTS, encoding_format=encoding)
    found = [entry.embedding for entry in answer.data]
    if isinstance(found[0], str):
        found = [numpy.frombuffer(base64.b64decode(text), dtype=numpy.float32) for text in found]
    assert numpy.abs(numpy.array(found) - vectors[0]).max() < 1e-5
    assert answer.usage.prompt_tokens == vectors[1]


def test_embeddings_by_v1(services, vectors):
    answer = requests.post(
        f"{services['minilm']}/v1/models/minilm:predict", json={"instances": huggingface.TEXTS[:2]}, timeout=60
    )
    assert answer.status_code == 200, answer.text
    found = numpy.array([list(one.values())[0] if isinstance(one, dict) else one for one in answer.json()["predictions"]])
    assert numpy.abs(found - vectors[0][:2]).max() < 1e-5


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_generate(services, reference, name):
    text, _, _ = reference(name).answer(PROMPT, 24)
    body = {"text_input": PROMPT, "parameters": {"max_tokens": 24, "temperature": 0}}
    answer = requests.post(f"{services[name]}/v2/models/{name}/generate", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["text_output"] == text


def test_generate_stream(services, reference):
    text, _, tokens = reference("llama").answer(PROMPT, 24)
    body = {"text_input": PROMPT, "parameters": {"max_tokens": 24, "temperature": 0}}
    url = f"{services['llama']}/v2/models/llama/generate_stream"
    with requests.post(url, json=body, stream=True, timeout=60) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines(decode_unicode=True) if line]
    pieces = [json.loads(line) for line in lines]
    assert "".join(piece["text_output"] for piece in pieces) == text
    assert [piece["done"] for piece in pieces[:-1]] == [False] * (len(pieces) - 1)
    assert pieces[-1]["done"] and len(pieces) >= tokens


def test_completions_by_the_client_of_openai(services, reference):
    text, prompt, tokens = reference("llama").answer(PROMPT, 16)
    client = openai.OpenAI(base_url=f"{services['llama']}/openai/v1", api_key="none")
    answer = client.completions.create(model="llama", prompt=PROMPT, max_tokens=16, temperature=0)
    assert answer.choices[0].text == text
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (prompt, tokens)
    assert answer.choices[0].finish_reason == ("length" if tokens == 16 else "stop")
    # A stop text ends the answer where it occurs first, and is not part of it.
    stop = text[len(text) // 2 :][:2]
    answer = client.completions.create(model="llama", prompt=PROMPT, max_tokens=16, temperature=0, stop=[stop])
    assert answer.choices[0].text == text[: text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_chat_by_the_client_of_openai(services, reference):
    messages = [{"role": "system", "content": "Be brief. "}, {"role": "user", "content": PROMPT}]
    text, prompt, tokens = reference("llama").chat(messages, 20)
    client = openai.OpenAI(base_url=f"{services['llama']}/openai/v1", api_key="none")
    answer = client.chat.completions.create(model="llama", messages=messages, max_tokens=20, temperature=0)
    assert answer.choices[0].message.content == text
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (prompt, tokens)
    stream = client.chat.completions.create(model="llama", messages=messages, max_tokens=20, temperature=0, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == text


def test_the_same_seed_gives_the_same_text(services):
    client = openai.OpenAI(base_url=f"{services['llama']}/openai/v1", api_key="none")

    def drawn(seed):
        answer = client.completions.create(
            model="llama", prompt=PROMPT, max_tokens=16, temperature=1.5, top_p=0.9, seed=seed
        )
        return answer.choices[0].text

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(5)}) > 1


def test_a_prompt_that_is_too_long_is_the_clients_error(services):
    answer = requests.post(
        f"{services['llama']}/v2/models/llama/generate", json={"text_input": "word " * 400}, timeout=60
    )
    assert answer.status_code == 400
    assert "200 tokens" in answer.json()["error"], answer.text


def test_the_manifest_of_the_documentation(cluster, folders, gateway, reference):
    """The InferenceService and the request that KServe's users have, with a folder in place of the gated repository and
    without the GPU that this machine may not have."""
    manifest = yaml.safe_load((MANIFESTS / "kserve-huggingface.yaml").read_text())
    model = manifest["spec"]["predictor"]["model"]
    model["args"] = [argument.replace("meta-llama/Llama-2-7b-chat-hf", str(folders / "llama")) for argument in model["args"]]
    for amounts in model["resources"].values():
        amounts.pop("nvidia.com/gpu")
    namespace, name = "huggingface-manifest", manifest["metadata"]["name"]
    cluster("create", "namespace", namespace)
    kubectl = cluster.within(namespace)
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    ready(kubectl, name, limit=120)
    request = json.loads((MANIFESTS / "v2-generate-request.json").read_text())
    url = f"http://{gateway}/serving/{namespace}/{name}/v2/models/llama2/infer"
    answer = requests.post(url, json={**request, "parameters": {"max_tokens": 12}}, timeout=120)
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    assert answer.json()["id"] == "42" and output["datatype"] == "BYTES" and output["shape"] == [1]
    assert output["data"] == [reference("llama").answer(PROMPT, 12)[0]]
    # As given, without parameters: as many tokens as the context has room for.
    assert requests.post(url, json=request, timeout=300).status_code == 200
    cluster.run("delete", "namespace", namespace, "--wait=false")


def test_what_is_missing_is_said(cluster, services, folders):
    kubectl = cluster.within(NAMESPACE)
    (folders / "no-tokenizer").mkdir()
    (folders / "no-tokenizer/config.json").write_text((folders / "llama/config.json").read_text())
    kubectl("apply", "-f", "-", stdin=json.dumps(service("no-tokenizer", folders / "no-tokenizer")))

    def message():
        return condition(kubectl, "model", "no-tokenizer-predictor-00001", "Loaded").get("message", "")

    until("the missing tokenizer is named", lambda: "tokenizer.json" in message(), 60)
