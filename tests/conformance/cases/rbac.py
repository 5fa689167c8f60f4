"""Who may do what: refusals word for word, rules of every shape, escalation, impersonation, and the questions about it.

The administrator acts as the users of a case: both servers have the same ones without knowing them.
"""

import json
import time

from ..case import case
from .objects import config_map

RBAC = "rbac.authorization.k8s.io/v1"
CLUSTER = f"/apis/{RBAC}"
AUTHORIZATION, AUTHENTICATION = "/apis/authorization.k8s.io/v1", "/apis/authentication.k8s.io/v1"


def acting(user, *groups, **more):
    """Headers. HTTP allows one of a name here, which is all that the cases need."""
    headers = {"Impersonate-User": user, **{f"Impersonate-{k}": v for k, v in more.items()}}
    if groups:
        (headers["Impersonate-Group"],) = groups
    return headers


def rule(verbs, resources, groups="", **more):
    return {
        "verbs": verbs.split(),
        "apiGroups": groups.split(",") if groups else [""],
        "resources": resources.split(),
        **more,
    }


def role(name, *rules, kind="Role", **more):
    return {"apiVersion": RBAC, "kind": kind, "metadata": {"name": name}, "rules": list(rules), **more}


def user(name, kind="User"):
    return {"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"}


def binding(name, role, *subjects, kind="RoleBinding", role_kind="Role"):
    return {
        "apiVersion": RBAC,
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        "subjects": list(subjects),
    }


def given(s, who, *rules):
    """Gives a user rules in the case's namespace, and waits until the server knows of it."""
    s.post(s.path("roles", RBAC), role(f"of-{who}", *rules))
    s.post(s.path("rolebindings", RBAC), binding(f"of-{who}", f"of-{who}", user(who)))
    settle(s, who, rules[0])


def settle(s, who, rule):
    """A real server's cache follows a moment later. Not recorded: how often one asks is not compared."""
    for _ in range(100):
        answer = s.send_unrecorded(
            "POST",
            f"{AUTHORIZATION}/subjectaccessreviews",
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": who,
                    "resourceAttributes": {
                        "namespace": s.namespace,
                        "verb": rule["verbs"][0],
                        "group": rule["apiGroups"][0],
                        "resource": rule["resources"][0].split("/")[0],
                        "subresource": "".join(rule["resources"][0].split("/")[1:]),
                        "name": rule.get("resourceNames", [""])[0],
                    },
                },
            },
        )
        if answer.json()["status"]["allowed"]:
            return
        time.sleep(0.05)
    raise AssertionError(f"{who} has not got {rule}")


@case
def who_has_no_role_is_refused(s):
    maps, as_bob = s.path("configmaps"), {"headers": acting("bob")}
    s.get(maps, **as_bob)
    s.get(f"{maps}/a", **as_bob)
    s.get(maps, watch="true", **as_bob)
    s.get("/api/v1/configmaps", **as_bob)
    s.post(maps, config_map("a"), **as_bob)
    s.put(f"{maps}/a", config_map("a"), **as_bob)
    s.patch(f"{maps}/a", "merge", {"data": {"k": "v"}}, **as_bob)
    s.apply(f"{maps}/a", config_map("a"), **as_bob)
    s.delete(f"{maps}/a", **as_bob)
    s.delete(maps, **as_bob)
    s.get(s.path("pods") + "/a/log", **as_bob)
    s.put(s.path("deployments", "apps/v1") + "/a/scale", {}, **as_bob)
    s.get(maps, fieldSelector="metadata.name=a", **as_bob)
    s.get(f"/api/v1/namespaces/{s.namespace}", **as_bob)
    s.get("/api/v1/nodes", **as_bob)
    s.get("/api/v1/nonsense", **as_bob)
    s.get("/apis/nonsense.example.com/v1/things/x", **as_bob)
    s.get("/nonsense", **as_bob)
    s.post("/metrics", {}, **as_bob)
    s.get("/version", only=lambda j: j["major"], **as_bob)
    s.get("/api", only=lambda j: j["kind"], **as_bob)
    s.get("/healthz", **as_bob)
    s.get("/healthz", token="nonsense")
    s.get("/api", token="")
    s.get("/nonsense", token="")


@case
def rules_of_every_shape(s):
    maps, pods = s.path("configmaps"), s.path("pods")
    s.post(maps, config_map("mine"))
    s.post(maps, config_map("other"))
    given(
        s,
        "carol",
        rule("get update delete", "configmaps", resourceNames=["mine"]),
        rule("create", "configmaps"),
        rule("get", "pods/log */scale", ",apps"),
        rule("*", "jobs", "batch"),
    )
    as_carol = {"headers": acting("carol")}
    s.get(f"{maps}/mine", **as_carol)
    s.get(f"{maps}/other", **as_carol)
    s.get(maps, **as_carol)
    s.get(maps, fieldSelector="metadata.name=mine", **as_carol)
    s.post(maps, config_map("new"), **as_carol)
    s.patch(f"{maps}/mine", "merge", {"data": {"k": "x"}}, **as_carol)
    s.delete(f"{maps}/mine", **as_carol)
    s.get(f"{pods}/none", **as_carol)
    s.get(f"{pods}/none/log", **as_carol)
    s.get(s.path("deployments", "apps/v1") + "/none", **as_carol)
    s.get(s.path("deployments", "apps/v1") + "/none/scale", **as_carol)
    s.get(s.path("jobs", "batch/v1") + "/none", **as_carol)
    s.get(s.path("jobs", "batch/v1") + "/none/status", **as_carol)
    s.delete(s.path("jobs", "batch/v1"), only=lambda j: j["items"], **as_carol)
    s.get("/api/v1/namespaces/default/configmaps/mine", **as_carol)


@case
def what_is_allowed_is_what_is_done(s):
    """Ways to be allowed one thing and do another."""
    maps, secrets = s.path("configmaps"), s.path("secrets")
    s.post(maps, config_map("mine"))
    s.post(secrets, {"metadata": {"name": "own"}})
    s.post(secrets, {"metadata": {"name": "hidden"}})
    given(
        s,
        "nan",
        rule("watch patch", "configmaps"),
        rule("list", "secrets", resourceNames=["own"]),
    )
    as_nan = {"headers": acting("nan")}
    names = {"only": lambda j: [item["metadata"]["name"] for item in j["items"]], **as_nan}
    s.get(secrets, fieldSelector="metadata.name=own", **names)
    s.get(secrets, fieldSelector="metadata.name==own", **names)
    s.get(secrets, fieldSelector="metadata.name!=own", **names)
    s.get(f"{secrets}?fieldSelector=metadata.name%3Down&fieldSelector=", **names)
    s.get(f"{secrets}?fieldSelector=metadata.name%3Down&fieldSelector=metadata.name%3Dhidden", **names)
    s.get(f"{secrets}?fieldSelector=type%3Dx%5C,metadata.name%3Down", **names)
    s.get(f"{maps}?watch=false&watch=true&timeoutSeconds=1", **names)
    s.delete(maps.replace("/api/v1/", "/api/v1/watch/") + "/mine", **as_nan)
    s.put(maps.replace("/api/v1/", "/api/v1/watch/") + "/mine", config_map("mine"), **as_nan)
    s.delete(maps.replace("/api/v1/", "/api/v1/watch/"), **as_nan)
    s.apply(f"{maps}/mine", config_map("mine", {"a": "b"}), **as_nan)
    s.apply(f"{maps}/new", config_map("new"), **as_nan)
    s.put(f"{maps}/new", config_map("new"), **as_nan)


@case
def subjects(s):
    maps = s.path("configmaps")
    s.post(s.path("roles", RBAC), role("reader", rule("list", "configmaps")))
    group = f"group-{s.word}"
    s.post(
        s.path("rolebindings", RBAC),
        binding("b", "reader", user(group, "Group"), {"kind": "ServiceAccount", "name": "robot"}, user("dan")),
    )
    settle(s, "dan", rule("list", "configmaps"))
    only = lambda j: [item["metadata"]["name"] for item in j["items"]]
    s.get(maps, headers=acting("x", group), only=only)
    s.get(maps, headers=acting("x", "another"), only=only)
    s.get(maps, headers=acting(f"system:serviceaccount:{s.namespace}:robot"), only=only)
    s.get(maps, headers=acting("system:serviceaccount:default:robot"), only=only)
    s.get(maps, headers=acting("anybody", "system:masters"), only=only)
    s.delete(s.path("roles", RBAC) + "/reader")


@case
def a_binding_without_its_role(s):
    s.post(s.path("rolebindings", RBAC), binding("b", "none", user("eve")))
    s.post(s.path("rolebindings", RBAC), binding("c", f"none-{s.run}", user("eva"), role_kind="ClusterRole"))
    time.sleep(0.5)
    s.get(s.path("pods"), headers=acting("eve"))
    s.get(s.path("pods"), headers=acting("eva"))
    s.post(
        f"{AUTHORIZATION}/selfsubjectrulesreviews",
        {"kind": "SelfSubjectRulesReview", "spec": {"namespace": s.namespace}},
        headers=acting("eve"),
        only=lambda j: [j["status"]["incomplete"], j["status"]["evaluationError"]],
    )


@case
def nobody_gives_more_than_they_have(s):
    roles, bindings = s.path("roles", RBAC), s.path("rolebindings", RBAC)
    given(
        s,
        "fay",
        rule("create update patch delete get", "roles rolebindings", "rbac.authorization.k8s.io"),
        rule("get list", "configmaps pods"),
        rule("get", "secrets", resourceNames=["one"]),
    )
    as_fay = {"headers": acting("fay")}
    s.post(roles, role("held", rule("get", "configmaps")), **as_fay)
    s.post(roles, role("more", rule("get list watch", "configmaps pods")), **as_fay)
    s.post(roles, role("names", rule("get", "secrets", resourceNames=["one"])), **as_fay)
    s.post(roles, role("names", rule("get", "secrets", resourceNames=["one", "two"])), **as_fay)
    s.post(roles, role("all", rule("*", "*", "*")), **as_fay)
    s.post(roles, role("", rule("*", "*", "*")), **as_fay)
    s.patch(f"{roles}/held", "merge", {"rules": [rule("delete", "configmaps")]}, **as_fay)
    s.patch(f"{roles}/held", "merge", {"metadata": {"labels": {"a": "b"}}}, **as_fay)
    s.put(f"{roles}/held", role("held", rule("get", "nodes")), **as_fay)
    s.apply(f"{roles}/applied", role("applied", rule("get", "nodes")), **as_fay)
    s.post(roles, role("large", rule("get delete", "secrets")))
    s.patch(f"{roles}/large", "merge", {"metadata": {"labels": {"a": "b"}}}, **as_fay)
    s.patch(f"{roles}/large", "merge", {"metadata": {"finalizers": ["example.com/x"]}}, **as_fay)
    s.patch(f"{roles}/large", "merge", {"metadata": {"finalizers": None}}, **as_fay)
    s.post(bindings, binding("to-held", "held", user("fay")), **as_fay)
    s.post(bindings, binding("to-large", "large", user("fay")), **as_fay)
    s.post(bindings, binding("to-none", "none", user("fay")), **as_fay)
    s.post(bindings, binding("to-admin", "cluster-admin", user("fay"), role_kind="ClusterRole"), **as_fay)
    s.post(f"{CLUSTER}/clusterroles", role(f"x-{s.run}", rule("get", "pods"), kind="ClusterRole"), **as_fay)


@case
def the_verbs_bind_and_escalate(s):
    roles, bindings = s.path("roles", RBAC), s.path("rolebindings", RBAC)
    rbac = "rbac.authorization.k8s.io"
    given(
        s,
        "gus",
        rule("create patch", "roles rolebindings", rbac),
        rule("escalate", "roles", rbac, resourceNames=["own"]),
        rule("bind", "roles", rbac, resourceNames=["large"]),
    )
    as_gus = {"headers": acting("gus")}
    s.post(roles, role("own", rule("get", "secrets")))
    s.post(roles, role("large", rule("get", "secrets")))
    s.patch(f"{roles}/own", "merge", {"rules": [rule("*", "secrets")]}, **as_gus)
    s.patch(f"{roles}/large", "merge", {"rules": [rule("*", "secrets")]}, **as_gus)
    s.post(roles, role("another", rule("get", "secrets")), **as_gus)
    s.post(bindings, binding("a", "large", user("gus")), **as_gus)
    s.post(bindings, binding("b", "own", user("gus")), **as_gus)


@case
def aggregated_roles_need_every_right(s):
    name = f"gathers-{s.word}-{s.run}"
    rules = role(
        f"maker-{s.word}-{s.run}",
        rule("create update get", "clusterroles", "rbac.authorization.k8s.io"),
        kind="ClusterRole",
    )
    s.post(f"{CLUSTER}/clusterroles", rules)
    s.post(
        f"{CLUSTER}/clusterrolebindings",
        binding(name, rules["metadata"]["name"], user("hal"), kind="ClusterRoleBinding", role_kind="ClusterRole"),
    )
    settle(s, "hal", rules["rules"][0])
    gathers = role(
        name, kind="ClusterRole", aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": s.run}}]}
    )
    s.post(f"{CLUSTER}/clusterroles", gathers, headers=acting("hal"))
    s.post(f"{CLUSTER}/clusterroles", gathers)
    for kind, made in ("clusterroles", name), ("clusterrolebindings", name):
        s.delete(f"{CLUSTER}/{kind}/{made}")
    s.delete(f"{CLUSTER}/clusterroles/{rules['metadata']['name']}")


@case
def acting_as_somebody(s):
    maps = s.path("configmaps")
    given(s, "ida", rule("impersonate", "serviceaccounts"), rule("list", "configmaps"))
    account = f"system:serviceaccount:{s.namespace}:robot"
    s.get(maps, headers={"Impersonate-Group": "x"})
    s.get(maps, headers={"Impersonate-Uid": "1"})
    s.get(maps, headers={"Impersonate-Extra-Scopes": "a"})
    who = lambda j: {**j["status"]["userInfo"], "groups": sorted(j["status"]["userInfo"]["groups"])}
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    for headers in [
        acting("ida"),
        acting("ida", "x"),
        acting("ida", "system:unauthenticated"),
        acting("ida", Uid="7"),
        acting("ida", **{"Extra-Example.com%2fScopes": "a"}),
        acting(account),
        acting(account, "x"),
    ]:
        s.post(f"{AUTHENTICATION}/selfsubjectreviews", review, headers=headers, only=who)
    s.post(f"{AUTHENTICATION}/selfsubjectreviews", review, headers=acting("system:anonymous"))


@case
def who_may_act_as_somebody(s):
    """The one who asks is a service account with a token of its own: the administrator may act as anybody."""
    maps, accounts = s.path("configmaps"), s.path("serviceaccounts")
    made = s.send_unrecorded("POST", accounts, {"metadata": {"name": "robot"}})
    assert made.status == 201, made.data
    robot = f"system:serviceaccount:{s.namespace}:robot"
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": s.namespace}
    s.post(s.path("roles", RBAC), role("r", rule("impersonate", "serviceaccounts", resourceNames=["other"])))
    s.post(s.path("rolebindings", RBAC), binding("r", "r", subject))
    name = f"actor-{s.word}-{s.run}"
    rules = [
        rule("impersonate", "users", resourceNames=["jan"]),
        rule("impersonate", "groups", resourceNames=["crew"]),
        rule("impersonate", "userextras/scopes", "authentication.k8s.io", resourceNames=["a"]),
        rule("impersonate:user-info", "users", "authentication.k8s.io", resourceNames=["kim"]),
        rule("impersonate-on:user-info:list", "configmaps"),
        rule("impersonate:arbitrary-node", "nodes", "authentication.k8s.io", resourceNames=["n"]),
        rule("impersonate-on:arbitrary-node:list", "configmaps"),
        rule("impersonate-on:arbitrary-node:create", "selfsubjectreviews", "authentication.k8s.io"),
    ]
    s.post(f"{CLUSTER}/clusterroles", role(name, *rules, kind="ClusterRole"))
    s.post(
        f"{CLUSTER}/clusterrolebindings",
        binding(name, name, subject, kind="ClusterRoleBinding", role_kind="ClusterRole"),
    )
    settle(s, robot, rules[0])
    settle(s, robot, rule("impersonate", "serviceaccounts", resourceNames=["other"]))
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = s.send_unrecorded("POST", f"{accounts}/robot/token", asked).json()["status"]["token"]
    # A real server begins with the way that last was good for the caller, and answers in the words of the first that
    # was not: what is refused comes before what is not.
    s.get(s.path("pods"), headers=acting("kim"), token=token)
    for headers in [
        {},
        acting("jan", "system:masters"),
        acting("jan", **{"Extra-Scopes": "b"}),
        acting("jan", Uid="1"),
        acting("lee"),
        acting(f"system:serviceaccount:{s.namespace}:another"),
        acting("system:node:another"),
        acting("kim"),
        acting("jan"),
        acting("jan", "crew"),
        acting("jan", **{"Extra-Scopes": "a"}),
        acting(f"system:serviceaccount:{s.namespace}:other"),
        acting("system:node:n"),
    ]:
        s.get(maps, headers=headers, token=token)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = f"{AUTHENTICATION}/selfsubjectreviews"
    s.post(path, review, headers=acting("system:node:n"), token=token, only=lambda j: j["status"])
    s.send_unrecorded("DELETE", f"{CLUSTER}/clusterroles/{name}")
    s.send_unrecorded("DELETE", f"{CLUSTER}/clusterrolebindings/{name}")


@case
def questions(s):
    given(s, "mia", rule("list", "configmaps"), rule("*", "pods", resourceNames=["p"]))
    status = lambda j: j["status"]

    def ask(plural, kind, spec, path=AUTHORIZATION, only=status, **more):
        s.post(f"{path}/{plural}", {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}, only=only, **more)

    objects = lambda verb, resource, **more: {
        "resourceAttributes": {"verb": verb, "resource": resource, "namespace": s.namespace, **more}
    }
    for spec in [objects("list", "configmaps"), objects("get", "configmaps"), objects("get", "pods", name="p")]:
        ask("subjectaccessreviews", "SubjectAccessReview", {"user": "mia", **spec})
        ask("selfsubjectaccessreviews", "SelfSubjectAccessReview", spec)
        ask("selfsubjectaccessreviews", "SelfSubjectAccessReview", spec, headers=acting("mia"))
        local = f"{AUTHORIZATION}/namespaces/{s.namespace}"
        ask("localsubjectaccessreviews", "LocalSubjectAccessReview", {"user": "mia", **spec}, path=local)
    path = {"nonResourceAttributes": {"verb": "get", "path": "/apis"}}
    ask("subjectaccessreviews", "SubjectAccessReview", {"groups": ["system:authenticated"], **path})
    ask("subjectaccessreviews", "SubjectAccessReview", {"user": "x", **path})
    ask("subjectaccessreviews", "SubjectAccessReview", path)
    ask("subjectaccessreviews", "SubjectAccessReview", {"user": "x"})
    ask("subjectaccessreviews", "SubjectAccessReview", {"user": "x", **objects("get", "pods"), **path})
    ask("selfsubjectaccessreviews", "SelfSubjectAccessReview", {})
    ask("subjectaccessreviews", "SubjectAccessReview", objects("get", "pods"), headers=acting("mia"))
    local = f"{AUTHORIZATION}/namespaces/{s.namespace}"
    other = {"user": "mia", **objects("get", "pods"), "resourceAttributes": {"verb": "get", "namespace": "other"}}
    ask("localsubjectaccessreviews", "LocalSubjectAccessReview", other, path=local)
    written = lambda rule: json.dumps(rule, sort_keys=True)
    rules = lambda j: {
        "objects": sorted(j["status"]["resourceRules"], key=written),
        "paths": sorted(j["status"]["nonResourceRules"], key=written),
        "rest": {k: v for k, v in j.items() if k != "status"},
    }
    ask("selfsubjectrulesreviews", "SelfSubjectRulesReview", {"namespace": s.namespace}, only=rules)
    ask("selfsubjectrulesreviews", "SelfSubjectRulesReview", {"namespace": s.namespace}, only=rules, headers=acting("mia"))
    ask("selfsubjectrulesreviews", "SelfSubjectRulesReview", {})
    ask("selfsubjectrulesreviews", "SelfSubjectRulesReview", {"namespace": "x"}, headers=acting("system:anonymous"))


@case
def tokens_of_service_accounts(s):
    accounts, pods = s.path("serviceaccounts"), s.path("pods")
    s.send_unrecorded("POST", accounts, {"metadata": {"name": "robot"}})
    container = {"name": "c", "image": "example.invalid/x"}
    pod = {"metadata": {"name": "p"}, "spec": {"serviceAccountName": "robot", "containers": [container]}}
    s.send_unrecorded("POST", pods, pod)
    pod = {"metadata": {"name": "q"}, "spec": {"serviceAccountName": "other", "containers": [container]}}
    s.send_unrecorded("POST", pods, pod)

    def request(only=lambda j: j["spec"].get("boundObjectRef", {}).get("name"), **spec):
        return s.post(
            f"{accounts}/robot/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
            only=only,
        )

    bound = lambda name, **more: {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name, **more}}
    request(**bound("none"))
    request(**bound("q"))
    request(**bound("p", uid="00000000-0000-0000-0000-000000000000"))
    request(**bound("p"))
    kept = {}

    def keep(name):
        def only(j):
            kept[name] = j["status"]["token"]
            return sorted(j["status"])

        return only

    request(only=keep("plain"))
    request(only=keep("bound"), **bound("p"))
    request(only=keep("vault"), audiences=["vault"])
    who = lambda j: {k: sorted(v) for k, v in j["status"]["userInfo"].items() if k in ("groups", "extra")} | {
        "user": j["status"]["userInfo"]["username"]
    }
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    for name in kept:
        s.post(f"{AUTHENTICATION}/selfsubjectreviews", review, token=kept[name], only=who)
    s.get(pods, token=kept["plain"])

    def check(token, only=lambda j: {k: v for k, v in j["status"].items() if k != "user"}, **spec):
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, **spec}}
        s.post(f"{AUTHENTICATION}/tokenreviews", body, only=only)

    check(kept["vault"], audiences=["vault", "more"])
    check(kept["plain"], audiences=["vault"], only=lambda j: sorted(j["status"]))
    check("nonsense")
    check("")


@case
def roles_and_bindings_are_checked(s):
    roles, bindings = s.path("roles", RBAC), s.path("rolebindings", RBAC)
    s.post(roles, role("a", {"apiGroups": [""], "resources": ["pods"]}))
    s.post(roles, role("a", {"verbs": ["get"]}))
    s.post(roles, role("a", {"verbs": ["get"], "nonResourceURLs": ["/x"]}))
    s.post(roles, role("a", {"verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"]}))
    s.post(roles, role("with:colon", rule("get", "pods")), only=lambda j: j["metadata"]["name"])
    s.post(f"{CLUSTER}/clusterroles", role(f"a-{s.run}", kind="ClusterRole", aggregationRule={}))
    s.post(bindings, binding("a", ""))
    s.post(bindings, binding("a", "x/y"))
    s.post(bindings, binding("a", "r", role_kind="Nonsense"))
    s.post(bindings, {**binding("a", "r"), "roleRef": {"kind": "Role", "name": "r", "apiGroup": "x"}})
    s.post(bindings, binding("a", "r", {"kind": "User", "name": ""}))
    s.post(bindings, binding("a", "r", {"kind": "Nonsense", "name": "x"}))
    s.post(bindings, binding("a", "r", {"kind": "ServiceAccount", "name": "Not A Name"}))
    s.post(bindings, {**binding("a", "r", user("x")), "roleRef": {"kind": "Role", "name": "r"}})
    s.patch(f"{bindings}/a", "merge", {"roleRef": {"name": "another"}})
    s.patch(f"{bindings}/a", "merge", {"subjects": None})
    lone = binding(f"a-{s.run}", "r", {"kind": "ServiceAccount", "name": "x"}, kind="ClusterRoleBinding")
    s.post(f"{CLUSTER}/clusterrolebindings", lone)


@case(
    over={
        name.replace(":", "-"): name
        for name in (
            "cluster-admin edit view admin system:aggregate-to-admin system:aggregate-to-edit"
            " system:aggregate-to-view system:auth-delegator system:basic-user system:discovery system:monitoring"
            " system:public-info-viewer system:service-account-issuer-discovery"
        ).split()
    }
)
def default_roles(s, name):
    shown = lambda j: {
        **{k: v for k, v in j.items() if k != "metadata"},
        **{k: j["metadata"].get(k) for k in ("labels", "annotations")},
    }
    s.get(f"{CLUSTER}/clusterroles/{name}", only=shown)
    s.get(f"{CLUSTER}/clusterrolebindings/{name}", only=shown)
