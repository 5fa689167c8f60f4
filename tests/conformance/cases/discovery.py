"""Discovery and schemas. The embedded API serves fewer kinds than a cluster's: each answer is cut to those named here."""

import time

from ..case import case
from .objects import definition, establish

CORE = {
    "configmaps",
    "secrets",
    "serviceaccounts",
    "pods",
    "pods/log",
    "pods/status",
    "namespaces",
    "namespaces/status",
    "events",
}
GROUPS = {
    "apps/v1": {"deployments", "deployments/status", "deployments/scale"},
    "batch/v1": {"jobs", "jobs/status"},
    "coordination.k8s.io/v1": {"leases"},
    "apiextensions.k8s.io/v1": {"customresourcedefinitions", "customresourcedefinitions/status"},
}
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def resources(names):
    return lambda j: {
        **j,
        "resources": sorted((r for r in j["resources"] if r["name"] in names), key=lambda r: r["name"]),
    }


@case
def versions_and_groups(s):
    s.get("/version", only=lambda j: [j["major"], j["minor"], sorted(j)])
    s.get("/api")
    s.get(
        "/apis",
        only=lambda j: {
            **j,
            "groups": sorted(
                (
                    g
                    for g in j["groups"]
                    if g["name"] in ("apps", "batch", "coordination.k8s.io", "apiextensions.k8s.io")
                ),
                key=lambda g: g["name"],
            ),
        },
    )
    for group in ("apps", "batch", "coordination.k8s.io", "apiextensions.k8s.io"):
        s.get(f"/apis/{group}")


@case
def resources_of_groups(s):
    s.get("/api/v1", only=resources(CORE))
    for group, names in GROUPS.items():
        s.get(f"/apis/{group}", only=resources(names))


def aggregated(names_by_group):
    def only(j):
        items = []
        for group in j["items"]:
            name = group["metadata"].get("name", "")
            if name in names_by_group:
                versions = [
                    {
                        **v,
                        "resources": sorted(
                            (r for r in v["resources"] if r["resource"] in names_by_group[name]),
                            key=lambda r: r["resource"],
                        ),
                    }
                    for v in group["versions"]
                    if v["version"] == "v1"
                ]
                for version in versions:
                    for resource in version["resources"]:
                        resource["subresources"] = [
                            r
                            for r in resource.get("subresources", [])
                            if r["subresource"] in ("status", "scale", "log")
                        ]
                items.append({"metadata": {"name": name}, "versions": versions})
        return {**j, "items": sorted(items, key=lambda g: g["metadata"]["name"])}

    return only


@case
def aggregated_discovery(s):
    s.get("/api", accept=AGGREGATED, only=aggregated({"": {"configmaps", "secrets", "pods", "namespaces"}}))
    s.get(
        "/apis",
        accept=AGGREGATED,
        only=aggregated({"apps": {"deployments"}, "batch": {"jobs"}, "coordination.k8s.io": {"leases"}}),
    )
    s.get("/apis", accept=f"{AGGREGATED},application/json", only=lambda j: j["kind"])


@case
def openapi_index(s):
    s.get(
        "/openapi/v3",
        only=lambda j: sorted(
            p
            for p in j["paths"]
            if p in ("api/v1", "apis/apps/v1", "apis/batch/v1", "apis/coordination.k8s.io/v1")
        ),
    )


def schemas(*names):
    """Of each schema: which properties, of what type, what is required, and the extensions that clients use."""

    def shape(schema):
        properties = {
            k: v.get("type") or v.get("$ref") or [x.get("$ref") for x in v.get("allOf", [])]
            for k, v in schema.get("properties", {}).items()
        }
        extensions = {k: v for k, v in schema.items() if k.startswith("x-kubernetes")}
        return {
            "required": sorted(schema.get("required", [])),
            "properties": properties,
            "extensions": extensions,
        }

    return lambda j: {name: shape(j["components"]["schemas"].get(name, {})) for name in names}


@case
def openapi_documents(s):
    s.get(
        "/openapi/v3/api/v1",
        only=schemas(
            "io.k8s.api.core.v1.ConfigMap",
            "io.k8s.api.core.v1.Container",
            "io.k8s.api.core.v1.PodSpec",
            "io.k8s.api.core.v1.Secret",
        ),
    )
    s.get("/openapi/v3/apis/batch/v1", only=schemas("io.k8s.api.batch.v1.Job", "io.k8s.api.batch.v1.JobSpec"))
    s.get(
        "/openapi/v3/apis/apps/v1",
        only=schemas("io.k8s.api.apps.v1.Deployment", "io.k8s.api.apps.v1.DeploymentSpec"),
    )
    s.get("/openapi/v3/apis/coordination.k8s.io/v1", only=schemas("io.k8s.api.coordination.v1.LeaseSpec"))
    s.get("/openapi/v3/apis/nonsense/v1")


@case
def openapi_merge_keys(s):
    def keys(j):
        found = {}
        for name in ("io.k8s.api.core.v1.PodSpec", "io.k8s.api.core.v1.Container"):
            for field, schema in j["components"]["schemas"][name]["properties"].items():
                found.update(
                    {f"{name}.{field} {k}": v for k, v in schema.items() if k.startswith("x-kubernetes")}
                )
        return found

    s.get("/openapi/v3/api/v1", only=keys)


@case
def openapi_of_a_custom_kind(s):
    body, group = definition(s, "described", "Described")
    establish(s, body)
    for _ in range(50):  # published a little after the kind is served
        if s.send_unrecorded("GET", f"/openapi/v3/apis/{group}/v1").status == 200:
            break
        time.sleep(0.2)
    s.get(
        f"/openapi/v3/apis/{group}/v1",
        only=lambda j: {k: v for k, v in j["components"]["schemas"].items() if k.endswith("Described")},
    )
