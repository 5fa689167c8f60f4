#!/usr/bin/env python3
"""Writes src/policy/defaults.json: the default cluster roles and bindings of a real kube-apiserver that a user can rely on.
Usage: tests/real/with.sh host/apiserver/scripts/policy-facts.py"""

import json
import os
import pathlib
import subprocess

FILE = pathlib.Path(__file__).parent.parent / "src/policy/defaults.json"
# Of components that run in a cluster and not here.
LEFT_OUT = ("system:controller:", "system:certificates.k8s.io:", "system:kube", "system:node", "system:volume-", "system:heapster",
            "system:persistent-volume-provisioner", "system:cluster-trust-bundle-discovery")


def main():
    kubeconfig = os.environ["PURLIN_TEST_KUBECONFIG"]
    command = ["kubectl", "--kubeconfig", kubeconfig, "get", "clusterroles,clusterrolebindings", "-o", "json"]
    wanted = []
    for found in json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["items"]:
        labels = found["metadata"].get("labels", {})
        name = found["metadata"]["name"]
        if labels.pop("kubernetes.io/bootstrapping", None) != "rbac-defaults" or name.startswith(LEFT_OUT):
            continue
        metadata = {"name": name, **({"labels": labels} if labels else {})}
        rest = {key: found[key] for key in ("aggregationRule", "roleRef", "rules", "subjects") if found.get(key)}
        wanted.append({"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": metadata, **rest})
    FILE.write_text("[\n" + ",\n".join(map(written, wanted)) + "\n]\n")


def written(found):
    """One object, a line a rule."""
    fields = []
    for key, value in found.items():
        if isinstance(value, list):
            lines = ",\n".join("  " + json.dumps(one) for one in value)
            fields.append(f" {json.dumps(key)}: [\n{lines}\n ]")
        else:
            fields.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(fields) + "\n}"


if __name__ == "__main__":
    main()
