"""Deletion as the API server alone does it: preconditions, finalizers, propagation policies, dry runs."""

from ..case import case
from .objects import config_map, job


def options(**more):
    return {"apiVersion": "v1", "kind": "DeleteOptions", **more}


@case
def preconditions(s):
    path = s.path("configmaps")
    first = s.post(path, config_map("a"))
    s.delete(f"{path}/a", options(preconditions={"uid": "11111111-2222-3333-4444-555555555555"}))
    s.delete(f"{path}/a", options(preconditions={"resourceVersion": "1"}))
    s.delete(f"{path}/a", options(preconditions={"uid": first.uid, "resourceVersion": first.version}))


@case
def finalizers(s):
    path = s.path("configmaps")
    s.post(path, config_map("a", finalizers=["example.com/one", "example.com/two"]))
    s.delete(f"{path}/a")
    s.delete(f"{path}/a")
    s.patch(f"{path}/a", "merge", {"data": {"still": "writable"}})
    s.patch(f"{path}/a", "merge", {"metadata": {"finalizers": ["example.com/one", "example.com/three"]}})
    s.patch(f"{path}/a", "merge", {"metadata": {"finalizers": ["example.com/one"]}})
    s.patch(f"{path}/a", "merge", {"metadata": {"finalizers": []}})
    s.get(f"{path}/a")
    s.post(path, config_map("b", finalizers=["not qualified"]))
    s.post(path, config_map("b", finalizers=["unqualified"]))


@case
def propagation_policies(s):
    path = s.path("configmaps")
    for name, policy in (("b", "Background"), ("f", "Foreground"), ("o", "Orphan")):
        s.post(path, config_map(name, finalizers=["example.com/hold"]))
        s.delete(
            f"{path}/{name}",
            options(propagationPolicy=policy),
            only=lambda j: [j["kind"], sorted(j["metadata"]["finalizers"])],
        )
    s.post(path, config_map("w"))
    s.delete(f"{path}/w", options(propagationPolicy="Sideways"))
    s.delete(f"{path}/w", options(propagationPolicy="Orphan", orphanDependents=True))
    s.delete(f"{path}/w", propagationPolicy="Background")


@case
def owner_references(s):
    path = s.path("configmaps")
    uid = s.post(path, config_map("owner")).uid
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    s.post(
        path,
        config_map("child", ownerReferences=[{**reference, "controller": True, "blockOwnerDeletion": True}]),
    )
    s.post(
        path,
        config_map(
            "two",
            ownerReferences=[
                {**reference, "controller": True},
                {**reference, "uid": "11111111-2222-3333-4444-555555555555", "controller": True},
            ],
        ),
    )
    s.post(path, config_map("nameless", ownerReferences=[{**reference, "name": ""}]))
    s.post(path, config_map("uidless", ownerReferences=[{**reference, "uid": ""}]))
    s.post(path, config_map("versionless", ownerReferences=[{**reference, "apiVersion": ""}]))


@case
def a_deletion_on_trial(s):
    path = s.path("configmaps")
    s.post(path, config_map("a"))
    s.delete(f"{path}/a", dryRun="All")
    s.delete(f"{path}/a", options(dryRun=["All"]))
    s.delete(f"{path}/a", options(dryRun=["Some"]))
    s.get(f"{path}/a")


@case
def deletion_answers(s):
    path = s.path("configmaps")
    s.post(path, config_map("a"))
    s.delete(f"{path}/a", "{broken")
    s.delete(f"{path}/a", options(gracePeriodSeconds=-1))
    s.delete(f"{path}/a")
    s.delete(path, labelSelector="none=none")
    s.delete(path, labelSelector="a in (")


@case
def a_job_is_orphaned_by_default_only_in_old_clients(s):
    path = s.path("jobs", "batch/v1")
    s.post(path, job("j"))
    s.delete(
        f"{path}/j", only=lambda j: [j["kind"], j.get("metadata", {}).get("finalizers"), j.get("status")]
    )


@case
def an_object_being_deleted_takes_no_new_finalizer_and_keeps_its_name(s):
    path = s.path("configmaps")
    s.post(path, config_map("a", finalizers=["example.com/hold"]))
    s.delete(f"{path}/a")
    s.patch(f"{path}/a", "merge", {"metadata": {"finalizers": ["example.com/hold", "example.com/new"]}})
    s.post(path, config_map("a"))
