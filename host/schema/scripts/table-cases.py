#!/usr/bin/env python3
"""Writes tests/real/tables.json: objects in various states, and the table cells that a real kube-apiserver gives them.

Usage: table-cases.py KUBECONFIG > tests/real/tables.json
"""
import json
import re
import subprocess
import sys
import urllib.request
import ssl

ONE = [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]
THEN = "2026-01-01T00:00:00Z"
LABELS = {"app": "a"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": ONE}}
SELECTOR = {"matchLabels": LABELS, "matchExpressions": [{"key": "app", "operator": "In", "values": ["b", "a"]},
                                                         {"key": "z", "operator": "DoesNotExist"}]}
READY = [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]


def state(name, ready=False, **rest):
    return {"name": name, "ready": ready, "image": "x", "imageID": "", "restartCount": rest.pop("restarts", 0), **rest}


RUNS = {"state": {"running": {"startedAt": THEN}}, "started": True}
ENDED = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": THEN}}
STATES = [
    {"phase": "Running", "conditions": READY, "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
     "containerStatuses": [state("a", True, **RUNS), state("b", True, **RUNS)]},
    {"phase": "Running", "containerStatuses": [state("a", True, **RUNS), state("b", state=ENDED)]},
    {"phase": "Succeeded", "containerStatuses": [state("a", state=ENDED), state("b", state=ENDED)]},
    {"phase": "Failed", "containerStatuses": [state("a", state={"terminated": {"exitCode": 3}}),
                                              state("b", state={"terminated": {"exitCode": 137, "signal": 9}})]},
    {"phase": "Failed", "reason": "Evicted"},
    {"phase": "Pending", "containerStatuses": [state("a", state={"waiting": {"reason": "ErrImagePull"}})]},
    {"phase": "Running", "containerStatuses": [state("a", restarts=4, state={"waiting": {"reason": "CrashLoopBackOff"}},
                                                     lastState={"terminated": {"exitCode": 1, "finishedAt": THEN}})]},
    {"phase": "Pending", "initContainerStatuses": [state("i", state={"running": {}})]},
    {"phase": "Pending", "initContainerStatuses": [state("i", restarts=2, state={"waiting": {"reason": "CrashLoopBackOff"}})]},
    {"phase": "Pending", "initContainerStatuses": [state("i", state={"terminated": {"exitCode": 2, "reason": "Error"}})]},
    {"phase": "Running", "conditions": READY, "initContainerStatuses": [state("i", restarts=5, state=ENDED), state("s", True, restarts=1, **RUNS)],
     "containerStatuses": [state("a", True, **RUNS)]},
    {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
]
POD = {"containers": ONE, "readinessGates": [{"conditionType": "Ready"}],
       "initContainers": [{"name": "i", "image": "x"}, {"name": "s", "image": "x", "restartPolicy": "Always"}]}
JOB = {"template": {"spec": {"restartPolicy": "Never", "containers": ONE}}}
CASES = [("api/v1", "pods", "v1", "Pod", {"spec": POD, "status": one}) for one in STATES] + [
    ("apis/apps/v1", "deployments", "apps/v1", "Deployment", {
        "spec": {"selector": SELECTOR, "replicas": 3, "template": TEMPLATE},
        "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}}),
    ("apis/apps/v1", "replicasets", "apps/v1", "ReplicaSet", {
        "spec": {"selector": SELECTOR, "template": TEMPLATE}, "status": {"replicas": 1, "readyReplicas": 1}}),
    ("apis/apps/v1", "statefulsets", "apps/v1", "StatefulSet", {
        "spec": {"selector": SELECTOR, "template": TEMPLATE, "serviceName": "x"}, "status": {"replicas": 1, "readyReplicas": 1}}),
    ("apis/apps/v1", "daemonsets", "apps/v1", "DaemonSet", {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    ("apis/batch/v1", "jobs", "batch/v1", "Job", {"spec": JOB}),
    ("apis/batch/v1", "jobs", "batch/v1", "Job", {"spec": {**JOB, "parallelism": 3}, "status": {"startTime": THEN, "active": 1}}),
    ("apis/batch/v1", "jobs", "batch/v1", "Job", {"spec": {**JOB, "completions": 2}, "status": {
        "startTime": THEN, "completionTime": "2026-01-01T00:01:05Z", "succeeded": 2, "conditions": [
            {"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]}}),
    ("apis/batch/v1", "cronjobs", "batch/v1", "CronJob", {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": JOB}}}),
    ("api/v1", "services", "v1", "Service", {"spec": {"selector": LABELS, "clusterIP": "None", "ports": [
        {"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"}]}}),
    ("api/v1", "services", "v1", "Service", {"spec": {"type": "ExternalName", "externalName": "x.example"}}),
    ("api/v1", "services", "v1", "Service", {"spec": {"type": "LoadBalancer", "externalIPs": ["1.2.3.4"], "ports": [
        {"port": 80, "nodePort": 30080}]}}),
    ("api/v1", "configmaps", "v1", "ConfigMap", {"data": {"a": "b"}, "binaryData": {"c": "YQ=="}}),
    ("api/v1", "secrets", "v1", "Secret", {"data": {"a": "YQ=="}}), ("api/v1", "secrets", "v1", "Secret", {}),
    ("api/v1", "serviceaccounts", "v1", "ServiceAccount", {}),
    ("api/v1", "nodes", "v1", "Node", {
        "metadata": {"labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True}, "status": {
            "conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.37.0", "osImage": "os"}}}),
    ("api/v1", "nodes", "v1", "Node", {}),
    ("api/v1", "persistentvolumeclaims", "v1", "PersistentVolumeClaim", {"spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
    ("api/v1", "persistentvolumeclaims", "v1", "PersistentVolumeClaim", {"spec": {
        "accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "x",
        "storageClassName": "y"}, "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}}),
    ("api/v1", "persistentvolumes", "v1", "PersistentVolume", {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": [
        "ReadWriteMany"], "hostPath": {"path": "/x"}, "claimRef": {"namespace": "default", "name": "c"}}}),
    ("api/v1", "replicationcontrollers", "v1", "ReplicationController", {"spec": {"template": TEMPLATE}}),
    ("api/v1", "limitranges", "v1", "LimitRange", {"spec": {"limits": []}}),
    ("api/v1", "endpoints", "v1", "Endpoints", {"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}],
                                                            "ports": [{"port": 80}]}]}),
    ("api/v1", "endpoints", "v1", "Endpoints", {}),
    ("api/v1", "resourcequotas", "v1", "ResourceQuota", {"spec": {"hard": {"pods": "1", "limits.cpu": "2"}}}),
    ("api/v1", "events", "v1", "Event", {"involvedObject": {"kind": "Pod", "name": "p", "namespace": "default", "fieldPath": "f"},
        "reason": "R", "message": " m ", "type": "Normal", "source": {"component": "c", "host": "h"}, "count": 3,
        "firstTimestamp": THEN, "lastTimestamp": THEN}),
    ("apis/events.k8s.io/v1", "events", "events.k8s.io/v1", "Event", {"regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "R", "note": "n", "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z", "action": "A",
        "reportingController": "example.com/c", "reportingInstance": "i"}),
    ("apis/coordination.k8s.io/v1", "leases", "coordination.k8s.io/v1", "Lease", {"spec": {"holderIdentity": "h"}}),
    ("apis/rbac.authorization.k8s.io/v1", "roles", "rbac.authorization.k8s.io/v1", "Role", {"rules": []}),
    ("apis/rbac.authorization.k8s.io/v1", "rolebindings", "rbac.authorization.k8s.io/v1", "RoleBinding", {
        "roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "User", "name": "v"}, {"kind": "Group", "name": "g"},
                     {"kind": "ServiceAccount", "name": "s", "namespace": "default"}]}),
    ("apis/policy/v1", "poddisruptionbudgets", "policy/v1", "PodDisruptionBudget", {"spec": {"minAvailable": 1, "selector": SELECTOR}}),
    ("apis/networking.k8s.io/v1", "networkpolicies", "networking.k8s.io/v1", "NetworkPolicy", {"spec": {"podSelector": SELECTOR}}),
    ("apis/networking.k8s.io/v1", "ingresses", "networking.k8s.io/v1", "Ingress", {"spec": {
        "ingressClassName": "c", "tls": [{"hosts": ["h"]}], "rules": [{"host": "h"}, {"host": "i"}]}}),
    ("apis/scheduling.k8s.io/v1", "priorityclasses", "scheduling.k8s.io/v1", "PriorityClass", {"value": 5}),
    ("apis/storage.k8s.io/v1", "storageclasses", "storage.k8s.io/v1", "StorageClass", {"provisioner": "x.example/y"}),
    ("apis/autoscaling/v2", "horizontalpodautoscalers", "autoscaling/v2", "HorizontalPodAutoscaler", {"spec": {
        "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"}}}),
    ("apis/discovery.k8s.io/v1", "endpointslices", "discovery.k8s.io/v1", "EndpointSlice", {
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}], "ports": [{"port": 80}, {"port": 81, "name": "x"}]}),
    ("apis/apps/v1", "controllerrevisions", "apps/v1", "ControllerRevision", {"revision": 3, "data": {}}),
]
CLUSTER = {"nodes", "persistentvolumes", "priorityclasses", "storageclasses"}
CONFIG = open(sys.argv[1]).read()
SERVER, TOKEN = re.search(r'server: "([^"]+)"', CONFIG)[1], re.search(r"token: ([^}\s]+)", CONFIG)[1]


def call(method, path, body=None, accept="application/json"):
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept, "Content-Type": "application/json"}
    if method == "PATCH":
        headers["Content-Type"] = "application/merge-patch+json"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(SERVER + path, data, headers, method=method)
    with urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=10) as answer:
        return json.load(answer)


def main():
    found = []
    for at, (prefix, plural, api_version, kind, rest) in enumerate(CASES):
        name = f"case-{at}"
        base = f"/{prefix}/{plural}" if plural in CLUSTER else f"/{prefix}/namespaces/default/{plural}"
        given = {"apiVersion": api_version, "kind": kind, **rest}
        given["metadata"] = {"name": name, "namespace": "default", **rest.get("metadata", {})}
        if plural in CLUSTER:
            del given["metadata"]["namespace"]
        try:
            call("POST", base, given)
            if "status" in rest:
                call("PATCH", f"{base}/{name}/status", {"status": rest["status"]})
            table = call("GET", f"{base}/{name}?includeObject=Object", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
            found.append({"object": {"apiVersion": api_version, "kind": kind, **table["rows"][0]["object"]}, "cells": table["rows"][0]["cells"],
                          "columns": [[c["name"], c["type"], c["format"], c["priority"]] for c in table["columnDefinitions"]]})
        except urllib.error.HTTPError as error:
            sys.exit(f"{kind}: {error.read().decode()}")
        finally:
            try:
                call("DELETE", f"{base}/{name}?gracePeriodSeconds=0&propagationPolicy=Background")
            except urllib.error.HTTPError:
                pass
    for case in found:
        case["object"]["metadata"].pop("managedFields", None)
    json.dump(found, sys.stdout, sort_keys=True, separators=(",", ":"))
    print()


main()
