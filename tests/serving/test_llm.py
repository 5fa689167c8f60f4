"""LLMInferenceServices of both versions: a checkpoint that a plugin serves, and vLLM's command in a container."""

import json
import pathlib

import openai
import pytest
from harness.wait import until
from serving import huggingface
from serving.service import condition, conditions, events, gone, host, ready

KIND = "llminferenceservice"
PROMPT = "Where is Eiffel Tower?"
ROUTER = {"route": {}, "gateway": {}, "scheduler": {}}


def service(name, version="v1alpha2", **spec):
    """As in KServe's examples, with the model on a volume."""
    model = {"uri": "pvc://llm", "name": "tiny/llama"}
    return {
        "apiVersion": f"serving.kserve.io/{version}",
        "kind": "LLMInferenceService",
        "metadata": {"name": name},
        "spec": {"model": model, "replicas": 1, "router": ROUTER, **spec},
    }


def main(**container):
    """A Pod's description, with the container that serves."""
    return {"containers": [{"name": "main", **container}]}


VLLM = {"image": "vllm/vllm-openai-cpu:v0.23.0", "securityContext": {"runAsNonRoot": False}}


@pytest.fixture(scope="module")
def reference(models):
    """What transformers would answer."""
    huggingface.llama(models / "llm")
    return huggingface.Reference(pathlib.Path(models / "llm"))


@pytest.fixture
def client(kubectl, gateway):
    """OpenAI's client, at the paths that KServe's users know: the address in the status, and /v1 behind it."""

    def made(name):
        url = kubectl.json("get", KIND, name)["status"]["url"]
        path = f"http://{gateway}/serving/{kubectl.namespace}/{name}/v1"
        assert host(kubectl, name, KIND).startswith(f"{name}.{kubectl.namespace}."), url
        return openai.OpenAI(base_url=path, api_key="none", max_retries=0, timeout=120)

    return made


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2"])
def test_a_checkpoint_is_served_without_an_image(kubectl, gateway, client, reference, version):
    kubectl.apply(service("tiny", version))
    ready(kubectl, "tiny", 120, KIND)
    text, prompt, tokens = reference.answer(PROMPT, 16)
    asked = {"model": "tiny/llama", "prompt": PROMPT, "max_tokens": 16, "temperature": 0}
    answer = client("tiny").completions.create(**asked)
    assert (answer.choices[0].text, answer.model) == (text, "tiny/llama")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (prompt, tokens)
    stream = client("tiny").completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == text
    messages = [{"role": "user", "content": PROMPT}]
    answer = client("tiny").chat.completions.create(model="tiny/llama", messages=messages, max_tokens=12, temperature=0)
    assert answer.choices[0].message.content == reference.chat(messages, 12)[0]
    assert [model.id for model in client("tiny").models.list()] == ["tiny/llama"]
    with pytest.raises(openai.NotFoundError):
        client("tiny").completions.create(**{**asked, "model": "other"})
    # By the host in the status, as from outside.
    by_host = {"base_url": f"http://{gateway}/v1", "default_headers": {"Host": host(kubectl, "tiny", KIND)}}
    answer = openai.OpenAI(api_key="none", **by_host).completions.create(**asked)
    assert answer.choices[0].text == text

    status = kubectl.json("get", KIND, "tiny")["status"]
    local = f"http://tiny.{kubectl.namespace}.svc.cluster.local"
    assert [(one["name"], one["url"]) for one in status["addresses"]] == [
        ("gateway-external", status["url"]),
        ("gateway-internal", local),
    ]
    found = conditions(kubectl, KIND, "tiny")
    kinds = ("Ready", "PresetsCombined", "WorkloadsReady", "RouterReady", "MainWorkloadReady", "HTTPRoutesReady")
    assert all(found[kind] == "True" for kind in kinds), found
    header, row = kubectl("get", "llmisvc", "tiny").splitlines()
    assert header.split() == ["NAME", "URL", "READY", "REASON", "AGE"]
    assert row.split()[:3] == ["tiny", status["url"], "True"]
    # The plugin for the format may still be on its way when it is first asked for.
    told = {event[:2] for event in events(kubectl, "LLMInferenceService", "tiny")} - {("Warning", "NoRuntime")}
    assert told == {("Normal", "LLMInferenceServiceReady")}

    kubectl("delete", KIND, "tiny")
    until("nothing is left", lambda: gone(kubectl, "pods", "models.purlin.dev", "routes.purlin.dev"), 30)
    with pytest.raises(openai.NotFoundError):
        openai.OpenAI(api_key="none", **by_host).completions.create(**asked)


def test_another_name_and_a_stop(kubectl, client, reference):
    manifest = service("renamed")
    kubectl.apply(manifest)
    ready(kubectl, "renamed", 120, KIND)
    manifest["spec"]["model"]["name"] = "other/llama"
    kubectl.apply(manifest)
    asked = {"model": "other/llama", "prompt": PROMPT, "max_tokens": 8, "temperature": 0}

    def answer():
        try:
            return client("renamed").completions.create(**asked).choices[0].text
        except openai.NotFoundError:
            return None

    assert until("the new name counts", answer, 60) == reference.answer(PROMPT, 8)[0]
    ready(kubectl, "renamed", 60, KIND)
    kubectl("annotate", KIND, "renamed", "serving.kserve.io/stop=true")
    until("it says that it is stopped", lambda: condition(kubectl, KIND, "renamed", "Ready").get("reason") == "Stopped", 30)
    until("nothing runs", lambda: gone(kubectl, "models.purlin.dev", "routes.purlin.dev"), 30)
    kubectl("annotate", KIND, "renamed", "serving.kserve.io/stop-")
    ready(kubectl, "renamed", 120, KIND)
    assert until("it answers again", answer, 30)


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2"])
def test_a_container_gets_the_command_of_vllm(kubectl, client, reference, version):
    template = main(**VLLM, args=["--max-model-len=64"])
    kubectl.apply(service("contained", version, template=template, parallelism={"tensor": 2}))
    ready(kubectl, "contained", 120, KIND)
    asked = client("contained")
    answer = asked.completions.create(model="tiny/llama", prompt=PROMPT)
    # The kind of the model is from the volume, and the arguments are those that a user and KServe give.
    kind, *given = answer.choices[0].text.split()
    assert kind == "llama" and given == ["--tensor-parallel-size", "2", "--max-model-len=64"]
    messages = [{"role": "user", "content": PROMPT}]
    assert asked.chat.completions.create(model="tiny/llama", messages=messages).choices[0].message.content
    assert [model.id for model in asked.models.list()] == ["tiny/llama"]
    status = kubectl.json("get", KIND, "contained")["status"]
    assert status["workloads"]["primary"]["name"] == "contained-kserve"
    (pod,) = kubectl.json("get", "pods")["items"]
    assert [container["name"] for container in pod["spec"]["containers"]] == ["main"]
    kubectl("delete", KIND, "contained")
    until("nothing is left", lambda: gone(kubectl, "pods", "models.purlin.dev", "routes.purlin.dev"), 60)


def test_a_configuration_is_what_a_service_builds_on(kubectl, client, reference):
    kubectl.apply(service("built", baseRefs=[{"name": "vllm-base"}]))

    def said():
        found = condition(kubectl, KIND, "built", "PresetsCombined")
        return found.get("status") == "False" and found["message"]

    message = until("the missing configuration is said", said, 30)
    assert all(part in message for part in ("spec.baseRefs", "vllm-base", kubectl.namespace, "create")), message
    assert conditions(kubectl, KIND, "built")["Ready"] == "False"
    told = events(kubectl, "LLMInferenceService", "built")
    assert any(event[0] == "Warning" and "vllm-base" in event[2] for event in told), told

    config = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "LLMInferenceServiceConfig",
        "metadata": {"name": "vllm-base"},
        "spec": {
            "template": main(
                **VLLM,
                command=["vllm", "serve", "/mnt/models"],
                args=["--served-model-name={{ .Spec.Model.Name }}", "--port=8000", "--of-config"],
                ports=[{"containerPort": 8000, "protocol": "TCP"}],
            )
        },
    }
    kubectl.apply(config)
    ready(kubectl, "built", 120, KIND)
    answer = client("built").completions.create(model="tiny/llama", prompt=PROMPT)
    assert answer.choices[0].text.split() == ["llama", "--of-config"]
    (applied,) = kubectl.json("get", KIND, "built")["status"]["appliedConfigs"]
    assert (applied["name"], applied["namespace"]) == ("vllm-base", kubectl.namespace)


def test_a_part_for_prompts_is_served_by_one_model_which_is_said(kubectl, client, reference):
    kubectl.apply(service("split", template=main(**VLLM), prefill={"replicas": 1, "template": main(**VLLM)}))
    ready(kubectl, "split", 120, KIND)
    assert client("split").completions.create(model="tiny/llama", prompt=PROMPT).choices[0].text == "llama"
    found = conditions(kubectl, KIND, "split")
    assert found["MainWorkloadReady"] == found["PrefillWorkloadReady"] == "True"
    (told,) = [event[2] for event in events(kubectl, "LLMInferenceService", "split") if event[1] == "NoEffect"]
    assert "spec.prefill" in told, told


def test_what_has_no_effect_is_said(kubectl, client, reference):
    adapter = {"name": "sql", "uri": "hf://example/sql-lora"}
    manifest = service("settings", worker=main(image="vllm/vllm-openai-cpu:v0.23.0"))
    manifest["spec"]["model"]["lora"] = {"adapters": [adapter]}
    manifest["spec"]["router"] = {**ROUTER, "scheduler": {"config": {"inline": {"plugins": []}}}}
    kubectl.apply(manifest)
    ready(kubectl, "settings", 120, KIND)
    told = [event[2] for event in events(kubectl, "LLMInferenceService", "settings") if event[1] == "NoEffect"]
    for field in ("spec.worker", "spec.model.lora", "spec.router.scheduler"):
        assert any(message.startswith(field) for message in told), told
    assert client("settings").completions.create(model="tiny/llama", prompt=PROMPT, max_tokens=2).choices[0].text


def said(kubectl, name, *parts):
    """Waits for a condition with these parts; an Event has them, too."""

    def probe():
        found = kubectl.json("get", KIND, name).get("status", {}).get("conditions", [])
        return any(one["status"] == "False" and all(part in one.get("message", "") for part in parts) for one in found)

    until(f"a condition says {parts}", probe, 30)
    told = [event[2] for event in events(kubectl, "LLMInferenceService", name) if event[0] == "Warning"]
    assert any(all(part in message for part in parts) for message in told), json.dumps(told)


MISTAKES = {
    "both": ({"scaling": {"minReplicas": 1, "maxReplicas": 2}}, ["spec.replicas", "scaling", "leave one"]),
    "order": (
        {"replicas": None, "scaling": {"minReplicas": 3, "maxReplicas": 2}},
        ["spec.scaling.minReplicas", '"3"', "maxReplicas"],
    ),
    "runtime": ({"runtime": "lost"}, ["spec.runtime", "lost", "ServingRuntime"]),
    "source": ({"model": {"uri": "pvc://nowhere/at-all"}}, ["spec.model.uri", "pvc://nowhere/at-all"]),
    "scheme": ({"model": {"uri": "ftp://example/model"}}, ["spec.model.uri", "ftp://example/model"]),
    "image": ({"template": main(image="docker.io/example/nothing:1")}, ["example/nothing:1"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_a_condition_and_an_event(kubectl, reference, mistake):
    change, parts = MISTAKES[mistake]
    manifest = service(mistake)
    manifest["spec"] = {key: value for key, value in {**manifest["spec"], **change}.items() if value is not None}
    kubectl.apply(manifest)
    said(kubectl, mistake, *parts)
