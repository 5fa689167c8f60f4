#!/usr/bin/env python3
"""Writes src/builtin/facts.json: the types of the built-in kinds as a real kube-apiserver publishes them, without prose.

Usage: builtin-facts.py KUBECONFIG > src/builtin/facts.json

The table holds, for each definition that the served kinds reach, what JSON schema says of it (types, formats, required
fields, defaults) and what Kubernetes adds (list types and keys, patch strategies, group, version and kind). A field that
an object always has, because the server keeps it as a struct, is marked `x-always`. Descriptions
are left out: the OpenAPI documents take those from the k8s-openapi crate.
"""
import json
import subprocess
import sys

GROUPS = [
    "api/v1", "apis/admissionregistration.k8s.io/v1", "apis/apiextensions.k8s.io/v1", "apis/apps/v1",
    "apis/authentication.k8s.io/v1", "apis/authorization.k8s.io/v1", "apis/autoscaling/v2", "apis/autoscaling/v1",
    "apis/batch/v1", "apis/coordination.k8s.io/v1", "apis/discovery.k8s.io/v1", "apis/events.k8s.io/v1",
    "apis/networking.k8s.io/v1", "apis/node.k8s.io/v1",
    "apis/policy/v1", "apis/apiregistration.k8s.io/v1", "apis/rbac.authorization.k8s.io/v1", "apis/scheduling.k8s.io/v1",
    "apis/storage.k8s.io/v1",
]
PREFIX = "#/components/schemas/"
KEPT = {
    "type", "format", "required", "enum", "default", "nullable", "oneOf", "anyOf", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-patch-merge-key",
    "x-kubernetes-patch-strategy", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields",
}


def reduce(schema, refs):
    """One schema without prose; an `allOf` of one reference becomes the reference."""
    out = {key: value for key, value in schema.items() if key in KEPT}
    if schema.get("default") in ({}, "", 0, None):
        out.pop("default", None)
    if schema.get("default") == {} and "allOf" in schema:
        out["x-always"] = True
    for wrapped in schema.get("allOf", [])[:1]:
        schema = {**schema, **wrapped}
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(PREFIX)
        refs.add(name)
        out["$ref"] = name
    if "properties" in schema:
        out["properties"] = {name: reduce(value, refs) for name, value in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        out["items"] = reduce(schema["items"], refs)
    if isinstance(schema.get("additionalProperties"), dict):
        out["additionalProperties"] = reduce(schema["additionalProperties"], refs)
    free = not out.keys() & {"properties", "additionalProperties", "$ref", "items", "oneOf"}
    if free and out.get("type", "object") == "object":
        # A type without a shape, such as a raw extension, holds anything.
        out["x-kubernetes-preserve-unknown-fields"] = True
    if out.get("enum"):
        out["enum"] = sorted(set(out["enum"]) - {""}) or out["enum"]
    return out


def main():
    kubeconfig = sys.argv[1]
    published = {}
    for group in GROUPS:
        command = ["kubectl", "--kubeconfig", kubeconfig, "get", "--raw", f"/openapi/v3/{group}"]
        document = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        published.update(document["components"]["schemas"])
    kinds, wanted = {}, set()
    for name, schema in published.items():
        gvks = schema.get("x-kubernetes-group-version-kind", [])
        if len(gvks) == 1 and not gvks[0]["kind"].endswith("List"):
            gvk = gvks[0]
            kinds[f'{gvk["group"]}/{gvk["version"]}/{gvk["kind"]}'] = name
            wanted.add(name)
    definitions = {}
    while wanted:
        name = wanted.pop()
        refs = set()
        definitions[name] = reduce(published[name], refs)
        wanted |= refs - definitions.keys()
    json.dump({"kinds": kinds, "definitions": definitions}, sys.stdout, sort_keys=True, separators=(",", ":"))
    print()


main()
