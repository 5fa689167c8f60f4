"""Objects that several subjects send. Pods name a scheduler that is not there and Jobs are suspended, so that nobody acts
on them while the answers are compared. Registers no case."""

import json
import time


def meta(name, **more):
    return {"name": name, **more}


def config_map(name="a", data=None, **metadata):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta(name, **metadata),
        "data": {"k": "v"} if data is None else data,
    }


def secret(name="a", **metadata):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta(name, **metadata),
        "stringData": {"word": "hush"},
        "data": {"bin": "AAEC"},
    }


def service_account(name="a", **metadata):
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(name, **metadata)}


def lease(name="a", **metadata):
    spec = {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-02T03:04:05.678901Z",
        "leaseTransitions": 1,
    }
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": meta(name, **metadata),
        "spec": spec,
    }


def event(name="a", namespace=None, **metadata):
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": meta(name, **metadata),
        "involvedObject": {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "namespace": namespace},
        "reason": "Tried",
        "message": "it was tried",
        "type": "Normal",
        "count": 1,
        "firstTimestamp": "2025-01-02T03:04:05Z",
        "lastTimestamp": "2025-01-02T03:04:05Z",
        "source": {"component": "tests"},
    }


def pod_spec(**more):
    return {
        "schedulerName": "nobody",
        "containers": [{"name": "main", "image": "example.invalid/x:1"}],
        **more,
    }


def pod(name="a", spec=None, **metadata):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta(name, **metadata), "spec": spec or pod_spec()}


def job(name="a", spec=None, **metadata):
    spec = {"suspend": True, "template": {"spec": pod_spec(restartPolicy="Never")}, **(spec or {})}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta(name, **metadata), "spec": spec}


def deployment(name="a", spec=None, **metadata):
    template = {"metadata": {"labels": {"app": "x"}}, "spec": pod_spec()}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template, **(spec or {})}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(name, **metadata), "spec": spec}


KINDS = {
    "configmaps": ("v1", config_map),
    "secrets": ("v1", secret),
    "serviceaccounts": ("v1", service_account),
    "leases": ("coordination.k8s.io/v1", lease),
    "events": ("v1", event),
    "pods": ("v1", pod),
    "jobs": ("batch/v1", job),
    "deployments": ("apps/v1", deployment),
}


def made(session, resource, name="x"):
    """The object as sent to `resource`; an Event's must name the namespace that it is in."""
    group, factory = KINDS[resource]
    extra = {"labels": {"set": "mine"}}
    return (
        factory(name, namespace=session.namespace, **extra)
        if resource == "events"
        else factory(name, **extra)
    )


def definition(
    session, plural="widgets", kind="Widget", group=None, scope="Namespaced", versions=None, **version
):
    """A CustomResourceDefinition in a group of this replay's own; returns (object, group)."""
    group = group or f"{plural}-{session.run}.example.com"
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1, "maximum": 10},
                    "colour": {"type": "string", "enum": ["red", "green"], "default": "red"},
                    "name": {"type": "string", "maxLength": 5, "pattern": "^[a-z]+$"},
                    "tags": {
                        "type": "array",
                        "items": {"type": "string"},
                        "x-kubernetes-list-type": "set",
                        "maxItems": 3,
                    },
                    "ports": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["port"],
                        "items": {
                            "type": "object",
                            "required": ["port"],
                            "properties": {
                                "port": {"type": "integer"},
                                "protocol": {"type": "string", "default": "TCP"},
                            },
                        },
                    },
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "either": {"x-kubernetes-int-or-string": True},
                    "map": {"type": "object", "additionalProperties": {"type": "number"}},
                    "maybe": {"type": "string", "nullable": True},
                    "replicas": {"type": "integer"},
                },
                "x-kubernetes-validations": [{"rule": "self.size != 7", "message": "seven is unlucky"}],
            },
            "status": {
                "type": "object",
                "properties": {
                    "phase": {"type": "string"},
                    "replicas": {"type": "integer"},
                    "at": {"type": "string", "format": "date-time"},
                },
            },
        },
    }
    one = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
            {"name": "Wide", "type": "string", "jsonPath": ".spec.colour", "priority": 1},
            {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
        **version,
    }
    names = {
        "plural": plural,
        "singular": kind.lower(),
        "kind": kind,
        "shortNames": [kind[:3].lower()],
        "categories": ["things"],
    }
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": scope, "names": names, "versions": versions or [one]},
    }
    return body, group


DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def establish(session, body):
    """Registers a definition, unrecorded, and waits until its kind is served; its own answers are a case of their own."""
    session.send_unrecorded("POST", DEFINITIONS, body)
    spec = body["spec"]
    served = [v["name"] for v in spec["versions"] if v["served"]]
    for _ in range(100):
        found = json.loads(session.send_unrecorded("GET", f"{DEFINITIONS}/{body['metadata']['name']}").data)
        conditions = {c["type"]: c["status"] for c in (found.get("status") or {}).get("conditions") or []}
        if conditions.get("Established") == "True":
            answers = [
                session.send_unrecorded("GET", f"/apis/{spec['group']}/{v}/{spec['names']['plural']}").status
                for v in served
            ]
            if all(a == 200 for a in answers):
                return
        time.sleep(0.1)
    raise TimeoutError(f"{body['metadata']['name']} was not established in 10 s")
