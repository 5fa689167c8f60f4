"""kubectl's verbs on stored objects: what a person types at any cluster. Nothing here needs a node."""

import json
import stat
import time

import pytest
import yaml
from harness.wait import until


def config_map(name, data=None, **metadata):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": data or {"key": "value"},
    }


def deployment(name, replicas=1):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "containers": [
                        {"name": "main", "image": "example.invalid/none:1", "ports": [{"containerPort": 80}]}
                    ]
                },
            },
        },
    }


def test_apply_says_created_then_unchanged_then_configured(kubectl):
    assert kubectl.apply(config_map("a")) == "configmap/a created\n"
    assert kubectl.apply(config_map("a")) == "configmap/a unchanged\n"
    assert kubectl.apply(config_map("a", {"key": "other"})) == "configmap/a configured\n"
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.data.key}") == "other"


def test_apply_removes_what_the_manifest_no_longer_has(kubectl):
    kubectl.apply(config_map("a", {"kept": "1", "gone": "2"}))
    kubectl("patch", "cm", "a", "--type=merge", "-p", '{"data": {"foreign": "3"}}')
    kubectl.apply(config_map("a", {"kept": "1"}))
    assert kubectl.json("get", "cm", "a")["data"] == {"kept": "1", "foreign": "3"}


def test_apply_of_a_deployment_merges_lists_by_key(kubectl):
    kubectl.apply(deployment("web"))
    changed = deployment("web")
    changed["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
    kubectl.apply(changed)
    kubectl("set", "env", "deployment/web", "B=2")
    changed["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "3"}]
    kubectl.apply(changed)
    env = kubectl.json("get", "deployment", "web")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {e["name"]: e["value"] for e in env} == {"A": "3", "B": "2"}


def test_server_side_apply_reports_a_conflict_and_takes_over_by_force(kubectl):
    kubectl.apply(config_map("a", {"key": "one"}), arguments=["--server-side", "--field-manager=first"])
    text = kubectl.fails(
        "apply", "--server-side", "--field-manager=second", "-f", "-", stdin=config_map("a", {"key": "two"})
    )
    assert 'conflict with "first"' in text and ".data.key" in text
    kubectl(
        "apply",
        "--server-side",
        "--field-manager=second",
        "--force-conflicts",
        "-f",
        "-",
        stdin=config_map("a", {"key": "two"}),
    )
    found = kubectl.json("get", "cm", "a", "--show-managed-fields")
    assert found["data"] == {"key": "two"}
    owners = {m["manager"]: m for m in found["metadata"]["managedFields"]}
    assert "f:key" in owners["second"]["fieldsV1"]["f:data"]
    assert owners["second"]["operation"] == "Apply"


def test_diff_shows_a_change_and_changes_nothing(kubectl):
    kubectl.apply(config_map("a", {"key": "one"}))
    result = kubectl.run("diff", "-f", "-", stdin=config_map("a", {"key": "two"}))
    assert result.returncode == 1, result.stderr
    assert "-  key: one" in result.stdout and "+  key: two" in result.stdout
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.data.key}") == "one"
    assert kubectl.run("diff", "-f", "-", stdin=config_map("a", {"key": "one"})).returncode == 0


def test_dry_run_on_the_server_stores_nothing(kubectl):
    out = kubectl("create", "configmap", "a", "--from-literal=k=v", "--dry-run=server", "-o", "json")
    assert json.loads(out)["metadata"]["uid"]
    assert "not found" in kubectl.fails("get", "cm", "a")


def test_get_in_each_form(kubectl):
    kubectl.apply(config_map("a", {"one": "1", "two": "2"}))
    wide = kubectl("get", "cm", "a", "-o", "wide").splitlines()
    assert wide[0].split() == ["NAME", "DATA", "AGE"] and wide[1].split()[:2] == ["a", "2"]
    assert kubectl("get", "cm", "a", "-o", "name") == "configmap/a\n"
    assert yaml.safe_load(kubectl("get", "cm", "a", "-o", "yaml"))["data"] == {"one": "1", "two": "2"}
    assert kubectl.json("get", "cm", "a")["data"]["two"] == "2"
    columns = kubectl("get", "cm", "a", "-o", "custom-columns=N:.metadata.name,V:.data.one").split()
    assert columns == ["N", "V", "a", "1"]
    assert kubectl("get", "cm", "a", "-o", "go-template={{.data.two}}") == "2"
    assert "cm/a" not in kubectl("get", "cm", "--no-headers", "--show-labels")


def test_get_by_label_and_field_and_across_namespaces(kubectl):
    kubectl.apply(config_map("a", labels={"tier": "front"}), config_map("b", labels={"tier": "back"}))
    names = lambda *arguments: kubectl("get", "cm", "-o", "name", *arguments).split()
    assert names("-l", "tier=front") == ["configmap/a"]
    assert names("-l", "tier in (front, back),tier!=front") == ["configmap/b"]
    assert names("--field-selector", "metadata.name=b") == ["configmap/b"]
    assert {"configmap/a", "configmap/b"} <= set(names("-A"))
    assert names("--sort-by=.metadata.name", "-l", "tier") == ["configmap/a", "configmap/b"]
    assert names("--chunk-size=1", "-l", "tier") == ["configmap/a", "configmap/b"]


def test_get_watch_shows_later_changes(kubectl):
    kubectl.apply(config_map("a"))
    watch = kubectl.start("get", "cm", "a", "-w", "-o", "jsonpath={.data.key}{'\\n'}")
    try:
        assert watch.stdout.readline() == "value\n"
        kubectl.apply(config_map("a", {"key": "later"}))
        assert watch.stdout.readline() == "later\n"
    finally:
        watch.kill()
        watch.wait()


def test_describe(kubectl):
    kubectl.apply(config_map("a", {"greeting": "hello"}, labels={"tier": "front"}))
    text = kubectl("describe", "cm", "a")
    assert "tier=front" in text and "greeting:" in text and "hello" in text
    text = kubectl("describe", "namespace", kubectl.namespace)
    assert "Active" in text


def test_explain_built_ins(kubectl):
    text = kubectl("explain", "pod.spec.containers")
    assert "KIND:" in text and "image" in text and "required" in text
    text = kubectl("explain", "deployment", "--recursive")
    assert "progressDeadlineSeconds" in text and "template" in text
    assert "does not exist" in kubectl.fails("explain", "pod.spec.nonsense")


def test_edit_runs_the_editor_and_sends_a_patch(kubectl, tmp_path):
    kubectl.apply(config_map("a", {"key": "before"}))
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nsed -i s/before/after/ "$1"\n')
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    assert "edited" in kubectl("edit", "cm", "a", env={"KUBE_EDITOR": str(editor)})
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.data.key}") == "after"


@pytest.mark.parametrize(
    "kind, patch",
    [
        (
            "json",
            [
                {"op": "test", "path": "/data/key", "value": "value"},
                {"op": "replace", "path": "/data/key", "value": "new"},
            ],
        ),
        ("merge", {"data": {"key": "new"}}),
        ("strategic", {"data": {"key": "new"}}),
    ],
)
def test_patch_of_each_type(kubectl, kind, patch):
    kubectl.apply(config_map("a"))
    kubectl("patch", "cm", "a", f"--type={kind}", "-p", json.dumps(patch))
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.data.key}") == "new"


def test_a_json_patch_whose_test_fails_changes_nothing(kubectl):
    kubectl.apply(config_map("a"))
    patch = [{"op": "test", "path": "/data/key", "value": "wrong"}, {"op": "remove", "path": "/data/key"}]
    kubectl.fails("patch", "cm", "a", "--type=json", "-p", json.dumps(patch))
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.data.key}") == "value"


def test_label_and_annotate(kubectl):
    kubectl.apply(config_map("a"))
    kubectl("label", "cm", "a", "x=1")
    assert "--overwrite" in kubectl.fails("label", "cm", "a", "x=2")
    kubectl("label", "cm", "a", "x=2", "--overwrite")
    kubectl("annotate", "cm", "a", "note=hello")
    metadata = kubectl.json("get", "cm", "a")["metadata"]
    assert metadata["labels"] == {"x": "2"} and metadata["annotations"]["note"] == "hello"
    kubectl("label", "cm", "a", "x-")
    assert "labels" not in kubectl.json("get", "cm", "a")["metadata"]


def test_replace_with_an_old_version_is_a_conflict(kubectl):
    kubectl.apply(config_map("a"))
    old = kubectl.json("get", "cm", "a")
    kubectl("label", "cm", "a", "x=1")
    assert "the object has been modified" in kubectl.fails("replace", "-f", "-", stdin=old)


def test_wait_for_a_value_and_for_deletion(kubectl):
    kubectl.apply(config_map("a"))
    waiting = kubectl.start("wait", "cm/a", "--for=jsonpath={.data.key}=done", "--timeout=30s")
    time.sleep(0.3)
    kubectl("patch", "cm", "a", "--type=merge", "-p", '{"data": {"key": "done"}}')
    assert "condition met" in waiting.communicate(timeout=35)[0] and waiting.returncode == 0
    waiting = kubectl.start("wait", "cm/a", "--for=delete", "--timeout=30s")
    time.sleep(0.3)
    kubectl("delete", "cm", "a")
    waiting.communicate(timeout=35)
    assert waiting.returncode == 0
    kubectl.apply(config_map("b"))
    assert "timed out" in kubectl.fails("wait", "cm/b", "--for=delete", "--timeout=1s")


def test_a_finalizer_holds_a_deleted_object(kubectl):
    kubectl.apply(config_map("a", finalizers=["example.com/hold"]))
    kubectl("delete", "cm", "a", "--wait=false")
    assert kubectl.json("get", "cm", "a")["metadata"]["deletionTimestamp"]
    kubectl("patch", "cm", "a", "--type=json", "-p", '[{"op": "remove", "path": "/metadata/finalizers"}]')
    until("the object to go", lambda: kubectl.run("get", "cm", "a").returncode != 0)


def test_scale_and_generation(kubectl):
    kubectl.apply(deployment("web"))
    assert "scaled" in kubectl("scale", "deployment/web", "--replicas=3")
    found = kubectl.json("get", "deployment", "web")
    assert found["spec"]["replicas"] == 3 and found["metadata"]["generation"] == 2
    kubectl.fails("scale", "deployment/web", "--replicas=5", "--current-replicas=1")
    assert (
        kubectl("get", "deployment", "web", "--subresource=scale", "-o", "jsonpath={.spec.replicas}") == "3"
    )


def test_api_resources_and_versions(cluster):
    wide = cluster("api-resources", "-o", "wide").splitlines()
    rows = {line.split()[0]: line for line in wide[1:]}
    for name in [
        "configmaps",
        "pods",
        "secrets",
        "events",
        "jobs",
        "deployments",
        "leases",
        "customresourcedefinitions",
    ]:
        assert name in rows, f"{name} is not among the API resources"
    assert "watch" in rows["configmaps"] and " cm " in rows["configmaps"]
    assert "namespaces" in cluster("api-resources", "--namespaced=false", "-o", "name").split()
    assert {"v1", "apps/v1", "batch/v1"} <= set(cluster("api-versions").split())


def test_create_of_common_kinds(kubectl):
    kubectl("create", "secret", "generic", "password", "--from-literal=word=hush")
    assert kubectl.json("get", "secret", "password")["data"] == {"word": "aHVzaA=="}
    kubectl("create", "serviceaccount", "robot")
    kubectl("create", "job", "work", "--image=example.invalid/none:1", "--", "true")
    assert kubectl.json("get", "job", "work")["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    kubectl("create", "deployment", "web", "--image=example.invalid/none:1", "--replicas=0")
    assert (
        kubectl("get", "secret,serviceaccount,job,deployment", "-o", "name")
        .split()
        .count("deployment.apps/web")
        == 1
    )
    assert "already exists" in kubectl.fails("create", "serviceaccount", "robot")


def test_events_are_listed_and_sorted(kubectl):
    kubectl.apply(config_map("a"))
    uid = kubectl.json("get", "cm", "a")["metadata"]["uid"]
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "a.1", "namespace": kubectl.namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": "a",
                "namespace": kubectl.namespace,
                "uid": uid,
            },
            "reason": "Tried",
            "message": "it was tried",
            "type": "Normal",
            "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:00:00Z",
            "count": 1,
            "source": {"component": "tests"},
        }
    )
    assert "it was tried" in kubectl("events", "--for", "configmap/a")
    assert "it was tried" in kubectl("get", "events", "--field-selector", f"involvedObject.uid={uid}")


def test_wrong_names_and_kinds_are_explained(cluster):
    assert "a lowercase RFC 1123" in cluster.fails("create", "namespace", "Not_A_Name")
    assert "not found" in cluster.fails("get", "cm", "-n", "default", "never-made")
    assert "the server doesn't have a resource type" in cluster.fails("get", "nonsense")


def test_validation_errors_name_the_field(kubectl):
    broken = deployment("web")
    broken["spec"]["replicas"] = "three"
    assert "replicas" in kubectl.fails("apply", "--validate=false", "-f", "-", stdin=broken)
    unknown = config_map("a")
    unknown["datum"] = {}
    assert 'unknown field "datum"' in kubectl.fails("apply", "-f", "-", stdin=unknown)
    unmatched = deployment("web")
    unmatched["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    assert "selector" in kubectl.fails("apply", "-f", "-", stdin=unmatched)
