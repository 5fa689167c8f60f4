"""The Python package `kubernetes` as its users use it: typed CRUD, patches, watch, paging, and the dynamic client."""

import base64
import threading
import time
import uuid

import pytest
from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException


@pytest.fixture(scope="module")
def api(server):
    return config.new_client_from_config(str(server.kubeconfig))


@pytest.fixture
def namespace(api):
    core = client.CoreV1Api(api)
    name = f"p-{uuid.uuid4().hex[:10]}"
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
    yield name
    core.delete_namespace(name)


@pytest.fixture
def core(api):
    return client.CoreV1Api(api)


def config_map(name, data=None, **metadata):
    return client.V1ConfigMap(
        metadata=client.V1ObjectMeta(name=name, **metadata), data=data or {"key": "value"}
    )


def test_create_read_replace_delete(core, namespace):
    made = core.create_namespaced_config_map(namespace, config_map("a"))
    assert made.metadata.uid and made.metadata.creation_timestamp
    read = core.read_namespaced_config_map("a", namespace)
    assert read.data == {"key": "value"} and read.metadata.uid == made.metadata.uid
    read.data["key"] = "other"
    replaced = core.replace_namespaced_config_map("a", namespace, read)
    assert replaced.data == {"key": "other"}
    assert int(replaced.metadata.resource_version) > int(made.metadata.resource_version)
    core.delete_namespaced_config_map("a", namespace)
    with pytest.raises(ApiException) as failure:
        core.read_namespaced_config_map("a", namespace)
    assert failure.value.status == 404 and '"reason":"NotFound"' in failure.value.body.replace(" ", "")


def test_a_stale_replace_is_a_conflict(core, namespace):
    first = core.create_namespaced_config_map(namespace, config_map("a"))
    core.patch_namespaced_config_map("a", namespace, {"data": {"key": "two"}})
    with pytest.raises(ApiException) as failure:
        core.replace_namespaced_config_map("a", namespace, first)
    assert failure.value.status == 409


def test_generated_names_differ(core, namespace):
    names = set()
    for _ in range(3):
        body = config_map(None, generate_name="made-")
        names.add(core.create_namespaced_config_map(namespace, body).metadata.name)
    assert len(names) == 3 and all(n.startswith("made-") and len(n) == 10 for n in names)


def test_patch_types(api, core, namespace):
    core.create_namespaced_config_map(namespace, config_map("a"))
    core.patch_namespaced_config_map("a", namespace, {"data": {"merged": "1"}})
    core.patch_namespaced_config_map("a", namespace, [{"op": "add", "path": "/data/json", "value": "2"}])
    # The client has no argument for the kind of patch: a default header replaces the one that it chose.
    applying = client.ApiClient(api.configuration)
    applying.set_default_header("Content-Type", "application/apply-patch+yaml")
    found = client.CoreV1Api(applying).patch_namespaced_config_map(
        "a",
        namespace,
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {"applied": "3"}},
        field_manager="tests",
    )
    assert found.data == {"key": "value", "merged": "1", "json": "2", "applied": "3"}
    assert any(m.manager == "tests" and m.operation == "Apply" for m in found.metadata.managed_fields)


def test_paging_lists_each_once_from_one_revision(core, namespace):
    for i in range(7):
        core.create_namespaced_config_map(namespace, config_map(f"page-{i}", labels={"paged": "yes"}))
    seen, token, versions = [], None, set()
    while True:
        page = core.list_namespaced_config_map(
            namespace, limit=3, _continue=token, label_selector="paged=yes"
        )
        seen += [item.metadata.name for item in page.items]
        versions.add(page.metadata.resource_version)
        token = page.metadata._continue
        if not token:
            break
        if len(seen) == 3:  # what comes later is not in the rest of this list
            core.create_namespaced_config_map(namespace, config_map("page-9", labels={"paged": "yes"}))
    assert seen == [f"page-{i}" for i in range(7)] and len(versions) == 1


def test_watch_from_a_list_sees_every_change_once_in_order(core, namespace):
    start = core.list_namespaced_config_map(namespace).metadata.resource_version

    def write():
        time.sleep(0.2)
        core.create_namespaced_config_map(namespace, config_map("a"))
        core.patch_namespaced_config_map("a", namespace, {"data": {"key": "new"}})
        core.delete_namespaced_config_map("a", namespace)

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    for event in watch.Watch().stream(
        core.list_namespaced_config_map,
        namespace,
        resource_version=start,
        timeout_seconds=20,
        field_selector="metadata.name=a",
    ):
        seen.append((event["type"], event["object"].data["key"]))
        if event["type"] == "DELETED":
            break
    writer.join()
    assert seen == [("ADDED", "value"), ("MODIFIED", "new"), ("DELETED", "new")]


def test_a_watch_ends_when_asked_to(core, namespace):
    started = time.monotonic()
    assert (
        list(
            watch.Watch().stream(
                core.list_namespaced_config_map,
                namespace,
                timeout_seconds=1,
                field_selector="metadata.name=none",
            )
        )
        == []
    )
    assert 0.5 < time.monotonic() - started < 10


def test_secret_string_data_is_encoded(core, namespace):
    body = client.V1Secret(metadata=client.V1ObjectMeta(name="s"), string_data={"word": "hush"})
    made = core.create_namespaced_secret(namespace, body)
    assert base64.b64decode(made.data["word"]) == b"hush" and made.type == "Opaque"


def test_leases(api, namespace):
    leases = client.CoordinationV1Api(api)
    body = client.V1Lease(
        metadata=client.V1ObjectMeta(name="l"),
        spec=client.V1LeaseSpec(holder_identity="me", lease_duration_seconds=15),
    )
    made = leases.create_namespaced_lease(namespace, body)
    made.spec.holder_identity = "you"
    assert leases.replace_namespaced_lease("l", namespace, made).spec.holder_identity == "you"


def test_jobs_are_defaulted(api, namespace):
    job = client.V1Job(
        metadata=client.V1ObjectMeta(name="j"),
        spec=client.V1JobSpec(
            suspend=True,
            template=client.V1PodTemplateSpec(
                spec=client.V1PodSpec(
                    restart_policy="Never",
                    containers=[client.V1Container(name="c", image="example.invalid/x:1")],
                )
            ),
        ),
    )
    made = client.BatchV1Api(api).create_namespaced_job(namespace, job)
    assert made.spec.parallelism == 1 and made.spec.completions == 1 and made.spec.backoff_limit == 6
    assert made.spec.selector.match_labels["batch.kubernetes.io/controller-uid"] == made.metadata.uid


def test_dynamic_client(api, namespace):
    finder = dynamic.DynamicClient(api)
    resource = finder.resources.get(api_version="v1", kind="ConfigMap")
    body = {"metadata": {"name": "d", "labels": {"by": "dynamic"}}, "data": {"a": "1"}}
    resource.create(body=body, namespace=namespace)
    assert resource.get(name="d", namespace=namespace).data.a == "1"
    resource.patch(
        body={"data": {"a": "2"}}, name="d", namespace=namespace, content_type="application/merge-patch+json"
    )
    assert [i.data.a for i in resource.get(namespace=namespace, label_selector="by=dynamic").items] == ["2"]
    applied = resource.server_side_apply(
        body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "d"}, "data": {"b": "3"}},
        namespace=namespace,
        field_manager="dyn",
    )
    assert applied.data.to_dict() == {"a": "2", "b": "3"}
    resource.delete(name="d", namespace=namespace)
    with pytest.raises(dynamic.exceptions.NotFoundError):
        resource.get(name="d", namespace=namespace)


def test_wrong_credentials_are_refused(server, api):
    wrong = client.Configuration()
    wrong.host = api.configuration.host
    wrong.verify_ssl = False
    wrong.api_key = {"authorization": "Bearer nonsense"}
    with pytest.raises(ApiException) as failure:
        client.CoreV1Api(client.ApiClient(wrong)).list_namespace()
    assert failure.value.status == 401


def test_version_and_discovery(api):
    assert client.VersionApi(api).get_code().major == "1"
    assert "batch" in [g.name for g in client.ApisApi(api).get_api_versions().groups]


@pytest.mark.platform
def test_pod_logs(core, namespace):
    container = client.V1Container(
        name="main",
        image="docker.io/tensorflow/tensorflow:latest",
        command=["sh", "-c", "for i in 1 2 3; do echo line $i; done"],
    )
    pod = client.V1Pod(
        metadata=client.V1ObjectMeta(name="talker"),
        spec=client.V1PodSpec(restart_policy="Never", containers=[container]),
    )
    core.create_namespaced_pod(namespace, pod)
    for event in watch.Watch().stream(core.list_namespaced_pod, namespace, timeout_seconds=60):
        if event["object"].status.phase in ("Succeeded", "Failed"):
            break
    assert core.read_namespaced_pod("talker", namespace).status.phase == "Succeeded"
    assert core.read_namespaced_pod_log("talker", namespace) == "line 1\nline 2\nline 3\n"
    assert core.read_namespaced_pod_log("talker", namespace, tail_lines=1) == "line 3\n"
    followed = list(watch.Watch().stream(core.read_namespaced_pod_log, "talker", namespace, follow=True))
    assert followed == ["line 1", "line 2", "line 3"]
