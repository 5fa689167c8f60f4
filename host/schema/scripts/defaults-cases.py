#!/usr/bin/env python3
"""Writes tests/real/defaults.json: minimal objects, and what a real kube-apiserver makes of each in a dry run.

Usage: defaults-cases.py KUBECONFIG > tests/real/defaults.json
"""
import json
import subprocess
import sys

POD = {"containers": [{"name": "main", "image": "busybox"}]}
RICH = {
    "serviceAccountName": "robot",
    "initContainers": [{"name": "init", "image": "busybox:1.36", "restartPolicy": "Always"}],
    "containers": [{
        "name": "main", "image": "registry.example:5000/a/b@sha256:" + "0" * 64,
        "ports": [{"containerPort": 80}],
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
        "livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"exec": {"command": ["true"]}},
        "startupProbe": {"grpc": {"port": 9}},
        "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
    }],
    "volumes": [
        {"name": "a"}, {"name": "b", "secret": {"secretName": "s"}}, {"name": "c", "configMap": {"name": "c"}},
        {"name": "d", "hostPath": {"path": "/x"}},
        {"name": "e", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        {"name": "f", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "g", "ephemeral": {"volumeClaimTemplate": {"spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}},
    ],
}
LABELS = {"app": "a"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": POD}
NEVER = {"spec": {**POD, "restartPolicy": "Never"}}
SELECTOR = {"matchLabels": LABELS}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
CASES = [
    ("v1", "Pod", {"spec": POD}), ("v1", "Pod", {"spec": RICH}),
    ("v1", "Pod", {"spec": {**POD, "hostNetwork": True, "containers": [
        {"name": "m", "image": "a:latest", "ports": [{"containerPort": 1}]}]}}),
    ("v1", "Service", {"spec": {"selector": LABELS, "clusterIP": "None", "ports": [{"port": 80}]}}),
    ("v1", "ConfigMap", {"data": {"a": "b"}}), ("v1", "Secret", {"stringData": {"a": "b"}}),
    ("v1", "ServiceAccount", {}), ("v1", "Namespace", {}), ("v1", "Node", {}),
    ("v1", "PersistentVolumeClaim", {"spec": CLAIM}),
    ("v1", "PersistentVolume", {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                                         "hostPath": {"path": "/x"}}}),
    ("v1", "ReplicationController", {"spec": {"template": TEMPLATE}}),
    ("v1", "LimitRange", {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}}),
    ("v1", "ResourceQuota", {"spec": {"hard": {"pods": "1"}}}),
    ("v1", "Endpoints", {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}),
    ("v1", "PodTemplate", {"template": TEMPLATE}),
    ("batch/v1", "Job", {"spec": {"template": NEVER}}),
    ("batch/v1", "Job", {"spec": {"template": NEVER, "completions": 3, "parallelism": 2, "suspend": True,
                                  "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [
                                      {"type": "DisruptionTarget"}]}]}}}),
    ("batch/v1", "CronJob", {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": NEVER}}}}),
    ("apps/v1", "Deployment", {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    ("apps/v1", "Deployment", {"spec": {"selector": SELECTOR, "template": TEMPLATE, "strategy": {"type": "Recreate"}}}),
    ("apps/v1", "ReplicaSet", {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    ("apps/v1", "StatefulSet", {"spec": {"selector": SELECTOR, "template": TEMPLATE, "serviceName": "x",
                                         "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": CLAIM}]}}),
    ("apps/v1", "DaemonSet", {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    ("coordination.k8s.io/v1", "Lease", {"spec": {"holderIdentity": "x"}}),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", {
        "roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "default"}]}),
    ("discovery.k8s.io/v1", "EndpointSlice", {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}],
                                              "ports": [{"port": 80}]}),
    ("policy/v1", "PodDisruptionBudget", {"spec": {"minAvailable": 1, "selector": SELECTOR}}),
    ("networking.k8s.io/v1", "NetworkPolicy", {"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}}),
    ("networking.k8s.io/v1", "Ingress", {"spec": {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}}),
    ("scheduling.k8s.io/v1", "PriorityClass", {"value": 5}),
    ("storage.k8s.io/v1", "StorageClass", {"provisioner": "x.example/y"}),
    ("autoscaling/v2", "HorizontalPodAutoscaler", {"spec": {
        "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"}}}),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", {"webhooks": [{
        "name": "a.b.c", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": {"service": {"name": "s", "namespace": "n"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}]}),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", {"metadata": {"name": "things.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}},
                      "additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": ".spec.a"}]}]}}),
]


def main():
    found = []
    for api_version, kind, rest in CASES:
        given = {"apiVersion": api_version, "kind": kind, **rest}
        given.setdefault("metadata", {"name": "case"})
        command = ["kubectl", "--kubeconfig", sys.argv[1], "create", "--dry-run=server", "-o", "json", "-f", "-"]
        made = subprocess.run(command, input=json.dumps(given).encode(), capture_output=True)
        if made.returncode:
            sys.exit(f"{kind}: {made.stderr.decode()}")
        found.append({"given": given, "made": json.loads(made.stdout)})
    json.dump(found, sys.stdout, sort_keys=True, separators=(",", ":"))
    print()


main()
