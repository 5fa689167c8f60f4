"""The main job in a cluster: Katib's manifest, unmodified, on a real kube-apiserver. The kernel runs as a ServiceAccount
that may do what `deploy/base/rbac.yaml` says and nothing else; Pods run on `purlin node`, and their logs are read through
the API server."""

import os
import subprocess

import pytest
import yaml
from harness import katib
from harness.cluster import Node, Replica, install
from harness.kubectl import Kubectl
from harness.real import SCRIPTS
from harness.server import REPOSITORY, binary
from harness.wait import until

BASE = REPOSITORY / "deploy/base"


@pytest.fixture(scope="module")
def kubectl(real, tmp_path_factory):
    return Kubectl(real.kubeconfig, home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def controllers(real):
    subprocess.run([SCRIPTS / "controllers.sh", real.directory], check=True)


@pytest.fixture(scope="module")
def account(real, kubectl, tmp_path_factory):
    """The kubeconfig of the kernel's ServiceAccount."""
    for file in ("namespace.yaml", "rbac.yaml"):
        kubectl("apply", "-f", BASE / file)
    token = kubectl("create", "token", "purlin-kernel", "-n", "purlin-system", "--duration=2h").strip()
    config = yaml.safe_load(real.kubeconfig.read_text())
    config["users"] = [{"name": "admin", "user": {"token": token}}]
    path = tmp_path_factory.mktemp("account") / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def platform(real, registry, controllers, account, tmp_path_factory):
    subprocess.run([REPOSITORY / "examples/digits/setup.sh"], check=True)
    directory = tmp_path_factory.mktemp("platform")
    kernel = Replica(directory, "kernel", account).start()
    image_map = REPOSITORY / "examples/digits/image-map.yaml"
    node = Node(directory, real.kubeconfig, image_map, arguments=["--name", "worker"]).start()
    try:
        node.says("ready")
        kernel.ready()
        install(real.kubeconfig, registry)
        yield kernel
    finally:
        kernel.discard()
        node.discard()


def test_the_katib_experiment_ends_with_minimal_rights(platform, kubectl, manifests):
    if kubectl.run("get", "namespace", "kubeflow").returncode != 0:
        kubectl("create", "namespace", "kubeflow")
    kubeflow = kubectl.within("kubeflow")
    kubeflow("apply", "-f", manifests / "katib-random.yaml")

    def probe():
        found = kubeflow.json("get", katib.EXPERIMENTS, "random")
        return found if katib.ended(found) else None

    found = until("the experiment to end", probe, timeout=200, interval=0.5)
    assert "Succeeded" in katib.conditions(found), found["status"]
    trials = katib.trials(kubeflow, "random")
    best = found["status"]["currentOptimalTrial"]["bestTrialName"]
    assert len(trials) == found["status"]["trials"]
    # Through the API server, from the node's own TLS endpoint.
    assert katib.best_logged(kubeflow, best) > 0
    refused = [line for line in platform.log.read_text().splitlines() if "orbidden" in line]
    assert not refused, refused[:3]
    kubeflow("delete", katib.EXPERIMENTS, "random")
    # By the real garbage collector.
    until("the Jobs to go", lambda: not kubeflow.json("get", "jobs")["items"], timeout=60)


def test_logs_are_for_those_who_may_read_them(platform, real):
    node_port = subprocess.run(
        ["kubectl", "--kubeconfig", real.kubeconfig, "get", "node", "worker", "-o",
         "jsonpath={.status.daemonEndpoints.kubeletEndpoint.Port}"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    bare = subprocess.run(
        ["curl", "-sk", "-o", os.devnull, "-w", "%{http_code}", f"https://127.0.0.1:{node_port}/healthz"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert bare.returncode != 0 or bare.stdout == "000", "let in without a certificate"


@pytest.mark.parametrize("folder", ["base", "overlays/small", "overlays/registry"])
def test_the_server_takes_what_is_deployed(folder, kubectl, real):
    kubectl("apply", "-f", BASE / "namespace.yaml")
    kubectl("apply", "--server-side", "-f", BASE / "crds.yaml", "--force-conflicts")
    said = kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", BASE.parent / folder)
    assert "deployment.apps/purlin" in said


def test_what_is_generated_is_up_to_date():
    subprocess.run(
        [REPOSITORY / "scripts/deploy.sh", "check"], check=True, env={**os.environ, "PURLIN_BIN": str(binary())}
    )


def test_the_server_takes_the_chart(kubectl, tmp_path):
    subprocess.run([SCRIPTS / "build.sh", "helm"], check=True)
    cache = os.environ.get("PURLIN_CACHE") or os.path.expanduser("~/.cache/purlin")
    helm = os.path.join(cache, "bin/helm")
    chart = BASE.parent / "chart"
    subprocess.run([helm, "lint", "--strict", chart], check=True)
    kubectl("apply", "-f", BASE / "namespace.yaml")
    rendered = subprocess.run(
        [helm, "template", "purlin", chart, "--namespace", "purlin-system", "--include-crds"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    said = kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", stdin=rendered)
    assert "deployment.apps/purlin" in said and "clusterrole.rbac.authorization.k8s.io/purlin-kernel" in said
