"""Deletion with each cascade, and of a namespace with what is in it. Needs the garbage collector."""

import json

import pytest
from harness.wait import until

pytestmark = pytest.mark.platform


def config_map(name, **metadata):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


@pytest.fixture
def family(kubectl):
    """An owner, two dependents (one blocks a foreground deletion) and a dependent's dependent."""
    kubectl.apply(config_map("owner"))
    uid = kubectl.json("get", "cm", "owner")["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    kubectl.apply(
        config_map("blocking", ownerReferences=[{**reference, "blockOwnerDeletion": True}]),
        config_map("plain", ownerReferences=[reference]),
    )
    uid = kubectl.json("get", "cm", "plain")["metadata"]["uid"]
    kubectl.apply(config_map("grandchild", ownerReferences=[{**reference, "name": "plain", "uid": uid}]))
    return kubectl


def present(kubectl):
    # Every namespace of a real cluster gets this one from a controller.
    return {name.removeprefix("configmap/") for name in kubectl("get", "cm", "-o", "name").split()} - {
        "kube-root-ca.crt"
    }


def test_background_deletes_the_owner_at_once_and_the_rest_soon(family):
    family("delete", "cm", "owner", "--cascade=background")
    assert "owner" not in present(family)
    until("dependents to go", lambda: not present(family))


def test_foreground_keeps_the_owner_until_blocking_dependents_are_gone(family):
    family(
        "patch",
        "cm",
        "blocking",
        "--type=merge",
        "-p",
        json.dumps({"metadata": {"finalizers": ["example.com/hold"]}}),
    )
    family("delete", "cm", "owner", "--cascade=foreground", "--wait=false")
    until("the rest to go", lambda: present(family) == {"owner", "blocking"})
    metadata = family.json("get", "cm", "owner")["metadata"]
    assert metadata["finalizers"] == ["foregroundDeletion"] and metadata["deletionTimestamp"]
    family("patch", "cm", "blocking", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    until("all to go", lambda: not present(family))


def test_orphan_leaves_the_dependents_without_an_owner(family):
    family("delete", "cm", "owner", "--cascade=orphan")
    until("the owner to go", lambda: "owner" not in present(family))
    assert present(family) == {"blocking", "plain", "grandchild"}
    assert "ownerReferences" not in family.json("get", "cm", "blocking")["metadata"]
    assert family.json("get", "cm", "grandchild")["metadata"]["ownerReferences"]


def test_a_dependent_of_an_owner_that_never_was_is_collected(kubectl):
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "never",
        "uid": "0b3f2c52-0000-4000-8000-000000000000",
    }
    kubectl.apply(config_map("orphan", ownerReferences=[reference]))
    until("the orphan to go", lambda: not present(kubectl))


def test_one_of_two_owners_is_not_enough_to_delete(kubectl):
    kubectl.apply(config_map("first"), config_map("second"))
    uid = lambda name: kubectl.json("get", "cm", name)["metadata"]["uid"]
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": n, "uid": uid(n)} for n in ("first", "second")
    ]
    kubectl.apply(config_map("shared", ownerReferences=references))
    kubectl("delete", "cm", "first")
    until(
        "the reference to the first owner to go",
        lambda: (
            [r["name"] for r in kubectl.json("get", "cm", "shared")["metadata"]["ownerReferences"]]
            == ["second"]
        ),
    )
    kubectl("delete", "cm", "second")
    until("the dependent to go", lambda: "shared" not in present(kubectl))


def test_a_deleted_namespace_takes_its_objects(cluster):
    cluster("create", "namespace", "emptied")
    inside = cluster.within("emptied")
    inside.apply(config_map("a"), config_map("held", finalizers=["example.com/hold"]))
    inside("create", "secret", "generic", "s")
    cluster("delete", "namespace", "emptied", "--wait=false")
    until("the free objects to go", lambda: present(inside) == {"held"})
    assert cluster.json("get", "namespace", "emptied")["status"]["phase"] == "Terminating"
    assert "being terminated" in inside.fails("create", "configmap", "late")
    inside("patch", "cm", "held", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    until("the namespace to go", lambda: cluster.run("get", "namespace", "emptied").returncode != 0)


def test_a_deleted_job_takes_its_pods(kubectl):
    kubectl(
        "create",
        "job",
        "work",
        "--image=docker.io/tensorflow/tensorflow:latest",
        "--",
        "sh",
        "-c",
        "sleep 60",
    )
    until("a pod", lambda: kubectl("get", "pods", "-o", "name"))
    kubectl("delete", "job", "work", "--cascade=foreground", "--timeout=60s", timeout=90)
    assert kubectl("get", "pods", "-o", "name") == ""
