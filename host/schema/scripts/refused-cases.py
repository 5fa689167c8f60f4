#!/usr/bin/env python3
"""Writes tests/real/refused.json: faulty objects, and what a real kube-apiserver says of each.

Usage: refused-cases.py KUBECONFIG > tests/real/refused.json
"""
import json
import subprocess
import sys

LONG = "a" * 70
ONE = [{"name": "a", "image": "x"}]


def thing(api_version, kind, name="a", **rest):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **rest}


def pod(**spec):
    return thing("v1", "Pod", spec={"containers": ONE, **spec})


def job(**spec):
    return thing("batch/v1", "Job", spec={"template": {"spec": {"restartPolicy": "Never", "containers": ONE}}, **spec})


def deployment(selected="b", labelled="b", **spec):
    template = {"metadata": {"labels": {"a": labelled}}, "spec": {"containers": ONE, **spec}}
    return thing("apps/v1", "Deployment", spec={"selector": {"matchLabels": {"a": selected}}, "template": template})


CREATED = [
    pod(containers=[]),
    pod(containers=[
            {"name": "b", "image": "x"},
            {"name": "b", "volumeMounts": [{"name": "n", "mountPath": "/a"}, {"mountPath": "/a"}, {"name": "v"}]},
            {"name": "A_", "image": "y"}, {"image": "y"}],
        initContainers=[{"name": "b"}], volumes=[{"name": "v"}, {}, {"name": "v"}], restartPolicy="x", dnsPolicy="y"),
    thing("v1", "ConfigMap", "A_b"), thing("v1", "ConfigMap", "a" * 254), thing("v1", "Namespace", "A.b"),
    thing("v1", "Namespace", LONG), thing("v1", "Service", "A", spec={"ports": [{"port": 80}]}),
    thing("v1", "Service", "a.b", spec={"ports": [{"port": 80}]}),
    thing("v1", "Service", LONG, spec={"ports": [{"port": 80}]}),
    thing("rbac.authorization.k8s.io/v1", "Role", "a/%b"), thing("rbac.authorization.k8s.io/v1", "Role", ".."),
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "a", "labels": {"a": LONG, LONG: "x", "A_/b": "", "/c": "", "-a": "_b", "a/b/c": "", "d/": ""},
        "annotations": {"a b": "x"}}},
    thing("v1", "ConfigMap", data={"": "", ".": "", "..": "", "..x": "", "a b": ""}),
    thing("v1", "Secret", data={"a b": ""}),
    job(parallelism=-1, completions=-1, backoffLimit=-1, ttlSecondsAfterFinished=-1),
    thing("batch/v1", "Job", spec={"template": {"spec": {"containers": ONE}}}),
    thing("batch/v1", "Job", spec={"template": {"spec": {"restartPolicy": "Always", "containers": ONE}}}),
    deployment("b", "c"), deployment(restartPolicy="Never"), deployment(containers=[]),
]
SECRET = thing("v1", "Secret", type="Opaque", immutable=True)
MAP = thing("v1", "ConfigMap", immutable=True, data={"a": "b"})
UPDATED = [
    (SECRET, {**SECRET, "type": "x"}), (SECRET, {**SECRET, "immutable": False, "data": {"a": "YQ=="}}),
    (MAP, {**MAP, "data": {}}), (pod(), pod(hostNetwork=True)),
    (job(), job(completions=4, completionMode="Indexed")), (job(), job(completions=4)),
    (deployment(), deployment("c", "c")),
]


def kubectl(verb, given, *flags):
    flags += () if verb == "delete" else ("--validate=false",)
    command = ["kubectl", "--kubeconfig", sys.argv[1], verb, *flags, "-f", "-"]
    return subprocess.run(command, input=json.dumps(given).encode(), capture_output=True)


def complaints(made):
    """The field errors that kubectl printed, one a line where there are several; a pod's difference is left out."""
    if made.returncode == 0:
        sys.exit(f"accepted: {made.stdout.decode()}")
    lines = made.stderr.decode().rstrip().split("\n")
    first = lines[0].split(" is invalid: ", 1)[1]
    return [first] if first else [line[2:] for line in lines[1:] if line.startswith("* ")]


def main():
    found = [{"new": new, "errors": complaints(kubectl("create", new, "--dry-run=server"))} for new in CREATED]
    for old, new in UPDATED:
        kubectl("delete", old, "--ignore-not-found", "--grace-period=0", "--force", "--cascade=background", "--wait=false")
        made = kubectl("create", old, "-o", "json")
        if made.returncode:
            sys.exit(made.stderr.decode())
        stored = json.loads(made.stdout)
        changed = json.loads(made.stdout)
        merge(changed, old, new)
        found.append({"old": stored, "new": changed, "errors": complaints(kubectl("replace", changed, "--dry-run=server"))})
        kubectl("delete", old, "--grace-period=0", "--force", "--cascade=background", "--wait=false")
    json.dump(found, sys.stdout, sort_keys=True, separators=(",", ":"))
    print()


def merge(stored, old, new):
    """Carries the differences of `new` from `old` into `stored`."""
    for key in old.keys() | new.keys():
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict) and isinstance(stored.get(key), dict):
            merge(stored[key], before, after)
        elif before != after:
            stored[key] = after
            if after is None:
                del stored[key]


main()
