"""Tenants: a person with a token of their own and a Role in one namespace, and a service account, by kubectl."""

import json
import subprocess

import pytest
import yaml
from harness import katib
from harness.kubectl import Kubectl
from harness.server import Server, running
from harness.wait import until

pytestmark = [pytest.mark.platform, pytest.mark.embedded]

USERS = 'alice-token,alice,1001,"team-a"\nbob-token,bob,1002\n'
ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "experimenter"},
    "rules": [
        {"apiGroups": ["kubeflow.org"], "resources": ["experiments"], "verbs": ["*"]},
        {"apiGroups": ["kubeflow.org"], "resources": ["trials", "suggestions"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list"]},
    ],
}
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "RoleBinding",
    "metadata": {"name": "team-a"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "experimenter"},
    "subjects": [{"kind": "Group", "name": "team-a", "apiGroup": "rbac.authorization.k8s.io"}],
}


@pytest.fixture(scope="module")
def tenancy(tmp_path_factory):
    """A server with two users beside the administrator."""
    from conftest import IMAGE_MAP, REPOSITORY

    subprocess.run([REPOSITORY / "examples/digits/setup.sh"], check=True)
    directory = tmp_path_factory.mktemp("tenancy")
    users = directory / "users.csv"
    users.write_text(USERS)
    arguments = ["--token-auth-file", str(users)]
    with running(Server(directory / "up", image_map=IMAGE_MAP, arguments=arguments)) as server:
        yield server


@pytest.fixture(scope="module")
def admin(tenancy, home):
    kubectl = Kubectl(tenancy.kubeconfig, home=home)
    for namespace in ("team-a", "team-b"):
        kubectl("create", "namespace", namespace)
    kubectl.within("team-a").apply(ROLE, BINDING)
    return kubectl


def bearing(server, home, token, name):
    """kubectl with somebody's token, as they would put it into their kubeconfig."""
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = server.directory / f"{name}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return Kubectl(path, home=home)


@pytest.fixture(scope="module")
def alice(tenancy, admin, home):
    return bearing(tenancy, home, "alice-token", "alice")


@pytest.fixture(scope="module")
def bob(tenancy, admin, home):
    return bearing(tenancy, home, "bob-token", "bob")


def test_a_tenant_is_who_the_file_says(alice, bob):
    info = json.loads(alice("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert (info["username"], info["uid"]) == ("alice", "1001")
    assert info["groups"] == ["team-a", "system:authenticated"]
    assert "bob" in bob("auth", "whoami")


def test_a_tenant_runs_an_experiment_in_their_namespace(alice, manifests):
    found = yaml.safe_load((manifests / "katib-random.yaml").read_text())
    found["metadata"] = {"name": "tenants", "namespace": "team-a"}
    found["spec"] |= {"maxTrialCount": 2, "parallelTrialCount": 2, "maxFailedTrialCount": 1}
    team = alice.within("team-a")
    team.apply(found)

    def probe():
        seen = team.json("get", katib.EXPERIMENTS, "tenants")
        return seen if katib.ended(seen) else None

    ended = until("the tenant's experiment to end", probe, timeout=120, interval=0.5)
    assert "Succeeded" in katib.conditions(ended), ended["status"]
    for trial in katib.trials(team, "tenants"):
        assert "Validation-accuracy" in team("logs", f"job/{trial['metadata']['name']}")
    elsewhere = {**found, "metadata": {"name": "tenants", "namespace": "team-b"}}
    text = alice.within("team-b").fails("create", "-f", "-", stdin=elsewhere)
    assert 'User "alice" cannot create resource "experiments" in API group "kubeflow.org" in the namespace "team-b"' in text
    team("delete", katib.EXPERIMENTS, "tenants", "--wait=false")


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "secrets", "-n", "team-a"),
        ("get", "secrets", "-A"),
        ("get", "secrets", "-n", "purlin-system"),
        ("get", "plugins"),
        ("delete", "plugin", "dialect-katib"),
        ("get", "pods", "-n", "team-b"),
        ("get", "namespaces"),
        ("create", "configmap", "x", "-n", "team-a"),
        ("create", "role", "x", "-n", "team-a", "--verb=get", "--resource=secrets"),
        ("create", "clusterrolebinding", "x", "--clusterrole=cluster-admin", "--user=alice"),
        ("get", "pods", "-n", "team-a", "--as=admin"),
        ("get", "pods", "-n", "team-a", "--as=alice", "--as-group=system:masters"),
    ],
    ids=" ".join,
)
def test_a_tenant_is_refused_everything_else(alice, arguments):
    text = alice.fails(*arguments)
    assert 'forbidden: User "alice" cannot' in text, text


def test_somebody_without_a_role_sees_what_is_public(bob):
    assert "Server Version" in bob("version")
    assert "experiments" in bob("api-resources", "--api-group=kubeflow.org")
    assert "Forbidden" in bob.fails("get", "pods", "-n", "team-a")


def test_can_i(alice, bob, admin):
    can = lambda who, *arguments: who.run("auth", "can-i", *arguments).stdout.strip().splitlines()[-1]
    assert can(alice, "create", "experiments.kubeflow.org", "-n", "team-a") == "yes"
    assert can(alice, "get", "pods", "--subresource=log", "-n", "team-a") == "yes"
    assert can(alice, "create", "experiments.kubeflow.org", "-n", "team-b") == "no"
    assert can(alice, "get", "/version") == "yes"
    assert can(alice, "get", "/metrics") == "no"
    assert can(bob, "get", "pods", "-n", "team-a") == "no"
    assert can(admin, "*", "*") == "yes"
    assert can(admin, "list", "secrets", "-n", "team-a", "--as=alice", "--as-group=team-a") == "no"
    assert "experiments.kubeflow.org" in alice("auth", "can-i", "--list", "-n", "team-a")


def test_a_right_holds_at_once_and_ends_at_once(admin, bob):
    team = admin.within("team-b")
    for _ in range(5):
        team("create", "rolebinding", "bob", "--clusterrole=view", "--user=bob")
        bob("get", "pods", "-n", "team-b")
        assert "Forbidden" in bob.fails("get", "secrets", "-n", "team-b")
        team("delete", "rolebinding", "bob")
        assert "Forbidden" in bob.fails("get", "pods", "-n", "team-b")


def test_a_role_that_gathers_others_follows_them(admin, bob):
    """`edit` has the rules of every cluster role that says so, such as one for a plugin's kinds."""
    label = "rbac.authorization.k8s.io/aggregate-to-edit=true"
    admin("create", "clusterrole", "katib", "--verb=create,get", "--resource=experiments.kubeflow.org")
    admin("label", "clusterrole", "katib", label)
    admin("create", "rolebinding", "bob", "-n", "team-b", "--clusterrole=edit", "--user=bob")
    can = lambda: bob.run("auth", "can-i", "create", "experiments.kubeflow.org", "-n", "team-b").stdout.strip()
    until("bob to have the rule", lambda: can() == "yes", 5)
    admin("delete", "clusterrole", "katib")
    until("bob to lose the rule", lambda: can() == "no", 5)
    admin("delete", "rolebinding", "bob", "-n", "team-b")


def test_nobody_gives_more_than_they_have(admin, bob):
    admin("create", "rolebinding", "bob", "-n", "team-b", "--clusterrole=admin", "--user=bob")
    bob("create", "role", "readers", "-n", "team-b", "--verb=get", "--resource=pods")
    bob("create", "rolebinding", "readers", "-n", "team-b", "--role=readers", "--user=carol")
    text = bob.fails("create", "role", "more", "-n", "team-b", "--verb=get", "--resource=plugins.purlin.dev")
    assert "attempting to grant RBAC permissions not currently held" in text
    assert '{APIGroups:["purlin.dev"], Resources:["plugins"], Verbs:["get"]}' in text
    text = bob.fails("create", "rolebinding", "up", "-n", "team-b", "--clusterrole=cluster-admin", "--user=bob")
    assert "not currently held" in text
    admin("delete", "rolebinding", "bob", "-n", "team-b")


def test_a_service_account_has_a_token_and_the_rights_of_its_role(tenancy, admin, home):
    team = admin.within("team-b")
    team("create", "serviceaccount", "robot")
    token = team("create", "token", "robot", "--duration=10m").strip()
    robot = bearing(tenancy, home, token, "robot").within("team-b")
    assert "system:serviceaccount:team-b:robot" in robot("auth", "whoami")
    assert "Forbidden" in robot.fails("get", "pods")
    team("create", "role", "pods", "--verb=list", "--resource=pods")
    team("create", "rolebinding", "robot", "--role=pods", "--serviceaccount=team-b:robot")
    robot("get", "pods")
    other = bearing(tenancy, home, team("create", "token", "robot", "--audience=vault").strip(), "other")
    assert "Unauthorized" in other.fails("get", "pods") or "logged in" in other.fails("get", "pods")
    team("create", "secret", "generic", "lease")
    bound = team("create", "token", "robot", "--bound-object-kind=Secret", "--bound-object-name=lease").strip()
    leased = bearing(tenancy, home, bound, "leased").within("team-b")
    leased("get", "pods")
    team("delete", "secret", "lease")
    assert "logged in" in leased.fails("get", "pods")
    team("delete", "serviceaccount", "robot")
    assert "logged in" in robot.fails("get", "pods")


def test_nobody_is_a_part_of_purlin(admin):
    for arguments in (("--as=system:purlin:kernel",), ("--as=x", "--as-group=system:purlin:components")):
        assert "nobody can act as a part of Purlin" in admin.fails("get", "pods", *arguments)


def test_the_audit_log_says_who_acted_as_whom_and_for_which_plugin(tenancy, admin, alice):
    admin("create", "configmap", "by-another", "-n", "team-b", "--as=dora", "--as-group=system:masters")
    alice.fails("create", "configmap", "refused", "-n", "team-b")
    records = [json.loads(line) for line in (tenancy.data / "audit.log").read_text().splitlines()]
    of = lambda user, **reference: [
        r
        for r in records
        if r["user"]["username"] == user and reference.items() <= r["objectRef"].items()
    ]
    made = of("admin", resource="configmaps", namespace="team-b")[-1]
    assert made["impersonatedUser"]["username"] == "dora"
    refused = of("alice", resource="configmaps", namespace="team-b")[-1]
    assert refused["responseStatus"]["code"] == 403
    assert refused["annotations"]["authorization.k8s.io/decision"] == "forbid"
    by_plugin = of("system:purlin:kernel", apiGroup="purlin.dev", resource="experiments", namespace="team-a")
    assert {r["annotations"].get("purlin.dev/plugin") for r in by_plugin} >= {"dialect-katib"}
    created = of("alice", apiGroup="kubeflow.org", resource="experiments", namespace="team-a")
    assert "RBAC: allowed by RoleBinding" in created[0]["annotations"]["authorization.k8s.io/reason"]


def test_a_wrong_file_of_users_is_explained(tmp_path):
    users = tmp_path / "users.csv"
    users.write_text("secret-token,mallory,1,system:purlin:components\n")
    server = Server(tmp_path / "up", arguments=["--api-only", "--token-auth-file", str(users)])
    try:
        server.start(wait=False)
        assert server.process.wait(30) == 1
        log = server.log_tail()
        assert "line 1" in log and "kept for Purlin's own parts" in log and "secret-token" not in log
    finally:
        server.process = None
        server.discard()
