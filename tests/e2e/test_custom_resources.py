"""CustomResourceDefinitions through kubectl: registered, explained, validated, defaulted, pruned, shown, deleted."""

import uuid

import pytest
from harness.wait import until


@pytest.fixture
def widgets(cluster):
    """A CRD of a group of the test's own; yields the plural name with the group."""
    group = f"g{uuid.uuid4().hex[:8]}.example.com"
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": 10,
                        "description": "How big the widget is.",
                    },
                    "colour": {"type": "string", "enum": ["red", "green"], "default": "red"},
                    "replicas": {"type": "integer"},
                },
                "x-kubernetes-validations": [{"rule": "self.size != 7", "message": "seven is unlucky"}],
            },
            "status": {
                "type": "object",
                "properties": {"replicas": {"type": "integer"}, "phase": {"type": "string"}},
            },
        },
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": "widgets",
                "singular": "widget",
                "kind": "Widget",
                "shortNames": ["wdg"],
                "categories": ["gadgets"],
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                        },
                    },
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
                        {"name": "Colour", "type": "string", "jsonPath": ".spec.colour", "priority": 1},
                    ],
                }
            ],
        },
    }
    cluster.apply(definition)
    cluster("wait", f"crd/widgets.{group}", "--for=condition=Established", "--timeout=30s")
    # kubectl forgets its cached discovery only when it meets an unknown kind.
    until("the kind to be served", lambda: cluster.run("get", f"widgets.{group}").returncode == 0)
    yield f"widgets.{group}"
    cluster.run("delete", "crd", f"widgets.{group}", "--wait=false")


def widget(plural, name="w", **spec):
    return {
        "apiVersion": plural.partition(".")[2] + "/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": 3, **spec},
    }


def test_defaults_and_pruning(kubectl, widgets):
    kubectl("create", "--validate=false", "-f", "-", stdin=widget(widgets, unknown="field"))
    assert kubectl.json("get", widgets, "w")["spec"] == {"size": 3, "colour": "red"}


def test_unknown_fields_are_refused_when_asked(kubectl, widgets):
    assert 'unknown field "spec.unknown"' in kubectl.fails(
        "create", "--validate=strict", "-f", "-", stdin=widget(widgets, unknown=1)
    )


@pytest.mark.parametrize(
    "spec, words",
    [
        ({"size": 11}, "spec.size: Invalid value"),
        ({"size": "big"}, "spec.size"),
        ({"colour": "blue"}, 'supported values: "red", "green"'),
        ({"size": 7}, "seven is unlucky"),
    ],
)
def test_validation(kubectl, widgets, spec, words):
    assert words in kubectl.fails("create", "-f", "-", stdin=widget(widgets, **spec))


def test_columns(kubectl, widgets):
    kubectl.apply(widget(widgets))
    kubectl(
        "patch", widgets, "w", "--subresource=status", "--type=merge", "-p", '{"status": {"phase": "Ready"}}'
    )
    header, row = kubectl("get", widgets).splitlines()
    assert header.split() == ["NAME", "SIZE", "PHASE"] and row.split() == ["w", "3", "Ready"]
    header, row = kubectl("get", widgets, "-o", "wide").splitlines()
    assert header.split() == ["NAME", "SIZE", "PHASE", "COLOUR"] and row.split() == ["w", "3", "Ready", "red"]


def test_short_names_and_categories(kubectl, widgets):
    kubectl.apply(widget(widgets))
    group = widgets.partition(".")[2]
    assert kubectl("get", f"wdg.{group}", "-o", "name").strip() == f"widget.{group}/w"
    assert f"widget.{group}/w" in kubectl("get", "gadgets", "-o", "name").split()


def test_status_is_apart_from_spec(kubectl, widgets):
    kubectl.apply(widget(widgets))
    kubectl("patch", widgets, "w", "--type=merge", "-p", '{"status": {"phase": "Ready"}}')
    assert "status" not in kubectl.json("get", widgets, "w")
    kubectl(
        "patch",
        widgets,
        "w",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status": {"phase": "Ready"}, "spec": {"size": 5}}',
    )
    found = kubectl.json("get", widgets, "w")
    assert (
        found["status"] == {"phase": "Ready"}
        and found["spec"]["size"] == 3
        and found["metadata"]["generation"] == 1
    )


def test_scale(kubectl, widgets):
    kubectl.apply(widget(widgets, replicas=1))
    kubectl("scale", widgets, "w", "--replicas=4")
    assert kubectl.json("get", widgets, "w")["spec"]["replicas"] == 4


def test_explain(cluster, widgets):
    until(
        "the schema to be published",
        lambda: "How big" in cluster.run("explain", f"{widgets}.spec.size").stdout,
    )
    assert "colour" in cluster("explain", widgets, "--recursive")


def test_deleting_the_definition_deletes_the_objects(kubectl, widgets):
    kubectl.apply(widget(widgets))
    kubectl("delete", "crd", widgets, "--timeout=30s")
    until("the kind to go", lambda: kubectl.run("get", widgets).returncode != 0)
