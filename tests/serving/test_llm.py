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


LONG = "Once upon a time there was a tower, and nobody knew who had built it. "


def test_a_part_for_prompts_reads_them(kubectl, gateway, client, reference):
    prefill = {"replicas": 2, "template": main(args=["--reads"])}
    kubectl.apply(service("split", replicas=2, template=main(**VLLM), prefill=prefill))
    ready(kubectl, "split", 120, KIND)
    found = conditions(kubectl, KIND, "split")
    assert found["MainWorkloadReady"] == found["PrefillWorkloadReady"] == "True"
    workloads = kubectl.json("get", KIND, "split")["status"]["workloads"]
    assert [workloads[part]["name"] for part in ("primary", "prefill")] == ["split-kserve", "split-kserve-prefill"]
    pods = kubectl.json("get", "pods")["items"]
    readers = {pod["metadata"]["name"]: pod for pod in pods if "--reads" in pod["spec"]["containers"][0]["args"]}
    assert (len(pods), set(readers)) == (4, {"split-kserve-prefill-0", "split-kserve-prefill-1"})
    ports = {pod["metadata"]["annotations"]["purlin.dev/model-ports"] for pod in readers.values()}

    def ask(prompt, **headers):
        answer = client("split").completions.create(model="tiny/llama", prompt=prompt, extra_headers=headers)
        _, _, reader = answer.choices[0].text.partition("read by ")
        return answer.system_fingerprint, reader

    asked = [ask(LONG + str(number)) for number in range(8)]
    assert len({writer for writer, _ in asked}) == 2, "those who write take turns"
    assert len({reader for _, reader in asked}) == 1, "what begins alike is read by the same"
    others = {ask(f"{number} {LONG}")[1] for number in range(8)}
    assert asked[0][1] in ports and others <= ports and len(others) == 2, (asked, others)
    # Too short to be worth it; and nobody but the gateway says who reads.
    assert ask("Once", **{"x-prefiller-host-port": "127.0.0.1:1"})[1] == ""
    assert ask(LONG, **{"x-prefiller-host-port": "127.0.0.1:1"})[1] in ports
    answer = client("split").completions.create(model="tiny/llama", prompt=LONG, max_tokens=7)
    assert answer.usage.completion_tokens == 1
    assert not [event for event in events(kubectl, "LLMInferenceService", "split") if event[1] == "NoEffect"]
    # Who writes answers reads prompts as well while nobody else can.
    kubectl("patch", KIND, "split", "--type=merge", "-p", '{"spec":{"prefill":null}}')
    # Its Pods still have the one that would ask a reader: no client names one.
    assert ask(LONG, **{"x-prefiller-host-port": "127.0.0.1:1"})[0]
    until("nobody reads for others", lambda: len(kubectl.json("get", "pods")["items"]) == 2, 60)
    until("answers go on", lambda: ask(LONG)[1] == "", 60)
    kubectl("delete", KIND, "split")
    until("nothing is left", lambda: gone(kubectl, "pods", "models.purlin.dev", "routes.purlin.dev"), 60)


def test_a_prompt_goes_where_its_beginning_is_known(kubectl, client, reference):
    kubectl.apply(service("many", replicas=3, template=main(**VLLM)))
    ready(kubectl, "many", 120, KIND)
    until("all answer", lambda: kubectl.json("get", "model.purlin.dev", "many-kserve")["status"]["replicas"] == 3, 60)

    def ask(prompt):
        messages = [{"role": "system", "content": LONG}, {"role": "user", "content": prompt}]
        return client("many").chat.completions.create(model="tiny/llama", messages=messages).system_fingerprint

    first = [ask(f"{number} {LONG}") for number in range(4)]
    assert len(set(first)) == 1, first
    messages = [[{"role": "user", "content": f"{number} {LONG}"}] for number in range(6)]
    once = [client("many").chat.completions.create(model="tiny/llama", messages=m).system_fingerprint for m in messages]
    again = [client("many").chat.completions.create(model="tiny/llama", messages=m).system_fingerprint for m in messages]
    assert once == again and len(set(once)) == 3, (once, again)
    # Without a scheduler they take turns.
    kubectl("patch", KIND, "many", "--type=merge", "-p", '{"spec":{"router":{"scheduler":null}}}')
    until("they take turns", lambda: len({ask("Once more.") for _ in range(3)}) == 3, 60)
    pods = kubectl.json("get", "pods")["items"]
    assert {pod["metadata"]["name"] for pod in pods} == {f"many-kserve-{number}" for number in range(3)}, "nothing is made anew"
    kubectl("delete", KIND, "many")
    until("nothing is left", lambda: gone(kubectl, "pods", "models.purlin.dev", "routes.purlin.dev"), 60)


def test_what_has_no_effect_is_said(kubectl, client, reference):
    adapter = {"name": "sql", "uri": "hf://example/sql-lora"}
    manifest = service("settings", worker=main(image="vllm/vllm-openai-cpu:v0.23.0"))
    manifest["spec"]["model"]["lora"] = {"adapters": [adapter]}
    plugins = [{"type": "kv-cache-utilization-scorer"}]
    manifest["spec"]["router"] = {**ROUTER, "scheduler": {"config": {"inline": {"plugins": plugins}}}}
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
    "prefill": (
        {"prefill": {"scaling": {"minReplicas": 5, "maxReplicas": 2}}},
        ["spec.prefill.scaling.minReplicas", '"5"', "maxReplicas"],
    ),
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
