"""The REST surface of the gateway as a fuzzer sees it: whatever the description allows or forbids is sent, no answer is the
server's fault, and every answer is one that the description has.

The requests are the same each time. $PURLIN_SCHEMATHESIS_EXAMPLES asks for more of them, for each operation.
"""

import collections
import json
import os
import pathlib

import joblib
import jsonschema_rs
import pytest
import requests
import schemathesis
import yaml
from harness.wait import until
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from serving import huggingface
from serving.service import condition
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

NAMESPACE = "openapi"
EXAMPLES = int(os.environ.get("PURLIN_SCHEMATHESIS_EXAMPLES", "8"))
SEED = 20
# A request that takes longer hangs.
LIMIT = 30

DESCRIPTION = yaml.safe_load((pathlib.Path(__file__).parent / "openapi/inference.yaml").read_text())
SETTINGS = {
    "seed": SEED,
    "max-stream-events": 1000,
    "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none", "no-shrink": True},
    # What an answer has is not sent again: the requests would depend on it.
    "phases": {phase: {"extra-data-sources": {"responses": False}} for phase in ("examples", "coverage", "fuzzing")},
}
schema = schemathesis.openapi.from_dict(DESCRIPTION, config=schemathesis.Config.from_dict(SETTINGS))


def resource(kind, name, **spec):
    return {"apiVersion": "purlin.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def flowers(folder):
    """A classifier of scikit-learn, and rows of what it was trained with."""
    rows, species = load_iris(return_X_y=True)
    folder.mkdir()
    joblib.dump(LogisticRegression(max_iter=500).fit(rows, species), folder / "model.joblib")
    return rows


@pytest.fixture(scope="module")
def base(cluster, models, gateway):
    """The path of a route that has a model of each kind, and an explainer."""
    rows = flowers(models / "openapi-iris")
    huggingface.encoder(models / "openapi-vectors")
    huggingface.llama(models / "openapi-story")

    def model(name, format_name, folder, *settings):
        named = [{"name": key, "value": value} for key, value in settings]
        source = {"uri": f"file://{models / folder}"}
        return resource("Model", name, version="1", format={"name": format_name}, source=source, settings=named)

    background = json.dumps(rows[::50].tolist())
    why = [{"name": "background", "value": background}, {"name": "nsamples", "value": "16"}]
    wanted = [
        model("digits", "onnx", "digits"),
        model("iris", "sklearn", "openapi-iris", ("PREDICT_PROBA", "true")),
        model("vectors", "huggingface", "openapi-vectors"),
        # Short, so that what is not asked to end ends soon.
        model("story", "huggingface", "openapi-story", ("--max_model_len", "40")),
        resource("Model", "why", format={"name": "shap"}, explains="iris", settings=why),
    ]
    names = [one["metadata"]["name"] for one in wanted]
    route = resource("Route", "all", models=names[:4], explainer="why")
    cluster("create", "namespace", NAMESPACE)
    kubectl = cluster.within(NAMESPACE)
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [*wanted, route]}))
    ready = lambda kind, name: condition(kubectl, kind, name, "Ready").get("status") == "True"
    for kind, name in [*(("models", name) for name in names), ("routes", "all")]:
        until(f"{kind} {name} is ready", lambda kind=kind, name=name: ready(kind, name), 120)
    yield f"http://{gateway}/serving/{NAMESPACE}/all"
    cluster.run("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def session():
    with requests.Session() as session:
        yield session


@pytest.fixture(scope="module")
def answers():
    """How often each operation was answered with each status."""
    return collections.defaultdict(collections.Counter)


def validator(name):
    return jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": DESCRIPTION["components"]})


CHUNKS = {"chat.completion.chunk": validator("ChatChunk"), "text_completion": validator("CompletionAnswer")}


def pieces_conform(_, response, case):
    """The events of OpenAI's streams are pieces of one answer, and then `[DONE]`."""
    if "/completions" not in case.path or not response.headers.get("content-type", [""])[0].startswith("text/event-stream"):
        return
    lines = [line.removeprefix("data: ") for line in response.content.decode().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    pieces = [json.loads(line) for line in lines[:-1]]
    assert len({piece["id"] for piece in pieces}) == 1
    for piece in pieces:
        CHUNKS[piece["object"]].validate(piece)


def events_conform(_, response, case):
    """The events of `generate_stream` are what the description has, and the last one alone is done."""
    if "generate_stream" not in case.path or not response.headers.get("content-type", [""])[0].startswith("text/event-stream"):
        return
    pieces = [json.loads(line.removeprefix("data: ")) for line in response.content.decode().split("\n\n") if line]
    assert [piece["done"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def identifier_is_returned(_, response, case):
    """What a client names its request is in the answer."""
    sent = case.body.get("id") if isinstance(case.body, dict) else None
    if case.path.endswith("/infer") and response.status_code == 200 and isinstance(sent, str) and sent:
        said = response.headers.get("inference-header-content-length")
        text = response.content[: int(said[0])] if said else response.content
        assert json.loads(text)["id"] == sent


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    allow_header_conformance,
    pieces_conform,
    events_conform,
    identifier_is_returned,
]


@schema.parametrize()
def test_answers_are_as_described(case, base, session, answers):
    response = case.call(base_url=base, session=session, timeout=LIMIT)
    answers[case.operation.label][response.status_code] += 1
    case.validate_response(response, checks=CHECKS)


def test_every_operation_was_answered(answers):
    """What is said of answers was tried: each operation gave the success that it describes."""
    wanted = {
        f"{method.upper()} {path}": item[method]["responses"]
        for path, item in DESCRIPTION["paths"].items()
        for method in sorted({"get", "post"} & set(item))
    }
    if set(answers) != set(wanted):
        pytest.skip("only some operations were asked")
    print()
    for label, counts in answers.items():
        print(f"{label}: {', '.join(f'{count} times {status}' for status, count in sorted(counts.items()))}")
    print(f"{len(answers)} operations, {sum(sum(counts.values()) for counts in answers.values())} requests")
    never = [label for label, responses in wanted.items() if "200" in responses and not answers[label][200]]
    assert not never, f"never answered with 200: {', '.join(never)}"


def test_the_server_is_as_well_as_before(base, session):
    """Each model still answers."""
    for name in ("digits", "iris", "vectors", "story"):
        ready = session.get(f"{base}/v2/models/{name}/ready", timeout=LIMIT)
        assert ready.status_code == 200, ready.text
