"""The supply chain from outside: keys, signatures both ways with cosign, policies on a running server, bills of
materials, bundles, and indexes; against the loopback registry and somebody else's."""

import base64
import json
import stat

import pytest
from conftest import PASSWORD
from harness.kubectl import Kubectl
from harness.registry import push_document, push_layout
from harness.server import REPOSITORY
from harness.wait import until

VERSION, NEWER = "0.2.0", "0.3.0"
TUNER = f"purlin/tuner-random:{VERSION}"
COSIGN = ["--allow-http-registry"]
VERIFY = ["--insecure-ignore-tlog", *COSIGN]
SIGN = ["--tlog-upload=false", "--yes", *COSIGN]


def policy(prefix, mode, **keys):
    sources = [{"name": name, "pem": pem} for name, pem in keys.items()]
    return {
        "apiVersion": "purlin.dev/v1alpha1",
        "kind": "PluginPolicy",
        "metadata": {"name": "test"},
        "spec": {"rules": [{"prefix": prefix, "mode": mode, "keys": sources}]},
    }


@pytest.fixture
def mine(purlin, registry, tmp_path):
    """A plugin of the test's own, pushed: nothing that another test signs is on it. Its bytes are the tuner's, so its
    name keeps it apart."""
    reference = f"{registry}/{tmp_path.name.replace('_', '-').lower()}/tuner:1.0.0"
    purlin("plugin", "pull", f"{registry}/{TUNER}", "--out", "tuner.wasm")
    purlin("plugin", "push", "tuner.wasm", reference)
    return reference


def test_a_key_pair_is_made_once_and_private(purlin, tmp_path):
    purlin("plugin", "keygen", "--out", "acme")
    assert stat.S_IMODE((tmp_path / "acme.key").stat().st_mode) == 0o600
    assert "ENCRYPTED SIGSTORE PRIVATE KEY" in (tmp_path / "acme.key").read_text()
    assert "there already" in purlin.fails("plugin", "keygen", "--out", "acme")


def test_cosign_accepts_what_purlin_signs_with_purlins_key(purlin, cosign, mine):
    purlin("plugin", "keygen")
    assert "SignatureMissing" in purlin.fails("plugin", "verify", mine, "--key", "cosign.pub")
    purlin("plugin", "sign", mine, "--key", "cosign.key")
    claims = json.loads(cosign("verify", "--key", "cosign.pub", *VERIFY, mine))
    assert claims[0]["critical"]["identity"]["docker-reference"] == mine.rpartition(":")[0]
    # And signs with that key itself.
    cosign("sign", "--key", "cosign.key", *SIGN, mine)
    assert purlin.json("plugin", "verify", mine, "--key", "cosign.pub")["reason"] == "SignatureValid"


@pytest.mark.parametrize("form", [[], ["--new-bundle-format"]], ids=["tag", "bundle"])
def test_purlin_accepts_what_cosign_signs_with_cosigns_key(purlin, cosign, mine, form):
    cosign("generate-key-pair")
    purlin("plugin", "keygen", "--out", "other")
    cosign("sign", "--key", "cosign.key", *SIGN, *form, mine)
    found = purlin.json("plugin", "verify", mine, "--key", "cosign.pub")
    assert (found["allowed"], found["key"]) == (True, "cosign.pub")
    assert "NoMatchingKey" in purlin.fails("plugin", "verify", mine, "--key", "other.pub")
    # Both on one plugin, by either tool's key.
    purlin("plugin", "sign", mine, "--key", "other.key")
    for key in ("cosign.pub", "other.pub"):
        purlin("plugin", "verify", mine, "--key", key)
    # Where there is a bundle, cosign looks at bundles alone, and for these it wants a file from the network.
    if not form:
        cosign("verify", "--key", "other.pub", *VERIFY, mine)


def test_a_wrong_password_or_key_is_named(purlin, mine, tmp_path):
    purlin("plugin", "keygen")
    purlin.environment["COSIGN_PASSWORD"] = "wrong"
    assert "COSIGN_PASSWORD" in purlin.fails("plugin", "sign", mine, "--key", "cosign.key")
    assert "PUBLIC KEY" in purlin.fails("plugin", "verify", mine, "--key", "cosign.key")
    (tmp_path / "junk.pub").write_text("junk")
    assert "junk.pub" in purlin.fails("plugin", "verify", mine, "--key", "junk.pub")


def test_a_policy_file_is_kept_by_the_command_line(purlin, mine, tmp_path):
    purlin("plugin", "keygen")
    pem = (tmp_path / "cosign.pub").read_text()
    (tmp_path / "policy.yaml").write_text(json.dumps(policy(mine.rpartition("/")[0], "require", acme=pem)))
    refused = purlin.fails("plugin", "pull", mine, "--out", "x.wasm", "--policy", "policy.yaml")
    assert "SignatureMissing" in refused and "purlin plugin sign" in refused
    purlin("plugin", "sign", mine, "--key", "cosign.key")
    purlin("plugin", "pull", mine, "--out", "x.wasm", "--policy", "policy.yaml")
    (tmp_path / "policy.yaml").write_text('{"kind": "PluginPolicy", "spec": {"rules": [{"mode": "never"}]}}')
    assert "policy.yaml" in purlin.fails("plugin", "verify", mine, "--policy", "policy.yaml")


def test_a_lock_file_refuses_a_tag_that_moved(purlin, registry, mine):
    pull = ["plugin", "pull", mine, "--out", "x.wasm", "--lock", "plugins.lock"]
    purlin(*pull)
    purlin(*pull)
    purlin("plugin", "pull", f"{registry}/purlin/dialect-katib:{VERSION}", "--out", "other.wasm")
    purlin("plugin", "push", "other.wasm", mine)
    assert "now points to" in purlin.fails(*pull)


def condition(kubectl, name, kind):
    found = kubectl.json("get", "plugin", name).get("status", {}).get("conditions", [])
    return next(((c["status"], c["reason"]) for c in found if c["type"] == kind), None)


def test_a_policy_decides_over_running_plugins(purlin, server, registry, mine, tmp_path):
    kubectl = Kubectl(server.kubeconfig, home=tmp_path)
    purlin("plugin", "keygen")
    purlin("plugin", "keygen", "--out", "other")
    read = lambda name: (tmp_path / name).read_text()  # noqa: E731
    verified = lambda: condition(kubectl, "judged", "Verified")  # noqa: E731
    ready = lambda: condition(kubectl, "judged", "Ready")  # noqa: E731
    prefix = mine.rpartition("/")[0]
    purlin("plugin", "sign", mine, "--key", "cosign.key")
    purlin("plugin", "install", mine, "--name", "judged", "--yes")
    try:
        assert verified() == ("Unknown", "PolicyOff")
        kubectl.apply(policy(prefix, "require", acme=read("cosign.pub")))
        until("the condition", lambda: verified() == ("True", "SignatureValid"), 30)
        assert ready() == ("True", "Loaded")
        # The key is no longer trusted: what it signed does not go on running.
        kubectl.apply(policy(prefix, "require", other=read("other.pub")))
        until("the condition", lambda: ready() == ("False", "NoMatchingKey"), 30)
        events = kubectl("get", "events", "-A", "-o", "json")
        assert "NoMatchingKey" in events and "mode require" in events
        assert "NoMatchingKey" in purlin("plugin", "list")
        kubectl.apply(policy(prefix, "warn", other=read("other.pub")))
        until("the condition", lambda: ready() == ("True", "Loaded"), 30)
        assert verified() == ("False", "NoMatchingKey")
        # A neighbour whose name begins alike is not covered.
        kubectl.apply(policy(prefix[:-1], "require", other=read("other.pub")))
        until("the condition", lambda: verified() == ("Unknown", "PolicyOff"), 30)
    finally:
        kubectl("delete", "pluginpolicy", "test", "--ignore-not-found")
        kubectl("delete", "plugin", "judged", "--ignore-not-found")


def test_what_was_signed_meanwhile_is_installed_at_once(purlin, server, mine, tmp_path):
    kubectl = Kubectl(server.kubeconfig, home=tmp_path)
    purlin("plugin", "keygen")
    try:
        kubectl.apply(policy(mine.rpartition("/")[0], "require", acme=(tmp_path / "cosign.pub").read_text()))
        assert "SignatureMissing" in purlin.fails("plugin", "install", mine, "--name", "late", "--yes")
        purlin("plugin", "sign", mine, "--key", "cosign.key")
        # The object is as it was; the person asks for it to be looked at again.
        assert purlin.json("plugin", "install", mine, "--name", "late", "--yes")["ready"] is True
    finally:
        kubectl("delete", "pluginpolicy", "test", "--ignore-not-found")
        kubectl("delete", "plugin", "late", "--ignore-not-found")


def test_a_key_in_a_secret_and_one_that_is_not_there(purlin, server, mine, tmp_path):
    kubectl = Kubectl(server.kubeconfig, home=tmp_path)
    purlin("plugin", "keygen")
    purlin("plugin", "sign", mine, "--key", "cosign.key")
    rules = policy(mine.rpartition("/")[0], "require")
    reference = {"namespace": "default", "name": "cosign-key", "key": "cosign.pub"}
    rules["spec"]["rules"][0]["keys"] = [{"name": "kept", "secretRef": reference}]

    def state():
        conditions = kubectl.json("get", "pluginpolicy", "test").get("status", {}).get("conditions", [{}])
        return {"status": None, "message": "", **conditions[0]}

    try:
        kubectl.apply(rules)
        until("the condition", lambda: state()["status"] == "False", 30)
        assert "cosign-key" in state()["message"]
        purlin("plugin", "install", mine, "--name", "kept", "--yes", "--wait", "0")
        until("the condition", lambda: condition(kubectl, "kept", "Verified") == ("False", "KeyUnusable"), 30)
        kubectl("create", "secret", "generic", "cosign-key", f"--from-file=cosign.pub={tmp_path / 'cosign.pub'}")
        kubectl("delete", "pluginpolicy", "test")
        kubectl.apply(rules)
        until("the condition", lambda: condition(kubectl, "kept", "Verified") == ("True", "SignatureValid"), 60)
    finally:
        kubectl("delete", "pluginpolicy", "test", "--ignore-not-found")
        kubectl("delete", "plugin", "kept", "--ignore-not-found")
        kubectl("delete", "secret", "cosign-key", "--ignore-not-found")


def test_a_bill_of_materials_is_made_attached_and_shown(purlin, mine, tmp_path):
    (tmp_path / "requirements.txt").write_text("numpy==2.0.0\n")
    assert purlin.json("plugin", "sbom", "attach", mine, "--source", ".")["components"] == 1
    (document,) = purlin.json("plugin", "sbom", "show", mine)
    assert (document["specVersion"], document["components"][0]["purl"]) == ("1.6", "pkg:pypi/numpy@2.0.0")
    assert "numpy" in purlin("plugin", "sbom", "show", mine)
    (tmp_path / "requirements.txt").write_text("numpy>=1\n")
    assert "names no exact version" in purlin.fails("plugin", "sbom", "attach", mine, "--source", ".")


def login(home, registry):
    token = base64.b64encode(f"tester:{PASSWORD}".encode()).decode()
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker/config.json").write_text(json.dumps({"auths": {registry: {"auth": token}}}))


def test_somebody_elses_registry_with_a_password_and_a_bundle(purlin, cosign, mine, distribution, tmp_path):
    purlin("plugin", "keygen")
    purlin("plugin", "sign", mine, "--key", "cosign.key")
    (tmp_path / "requirements.txt").write_text("numpy==2.0.0\n")
    purlin("plugin", "sbom", "attach", mine, "--source", ".")
    packed = purlin.json("plugin", "bundle", mine, "--out", "bundle.tar")
    assert (packed["plugins"][0]["signatures"], packed["plugins"][0]["documents"]) == (1, 1)
    assert "docker login" in purlin.fails("plugin", "load", "bundle.tar", "--to", f"{distribution}/mirror")
    login(tmp_path, distribution)
    loaded = purlin.json("plugin", "load", "bundle.tar", "--to", f"{distribution}/mirror")["loaded"]
    assert len(loaded) == 3 and all(part["sent"] for part in loaded)
    again = purlin.json("plugin", "load", "bundle.tar", "--to", f"{distribution}/mirror")["loaded"]
    assert not any(part["sent"] for part in again)
    there = f"{distribution}/mirror/{mine.partition('/')[2]}"
    signer = mine.rpartition(":")[0]
    purlin("plugin", "verify", there, "--key", "cosign.pub", "--signed-as", signer)
    assert "SignatureInvalid" in purlin.fails("plugin", "verify", there, "--key", "cosign.pub", "--signed-as", "x.io")
    cosign("verify", "--key", "cosign.pub", *VERIFY, there)
    assert "numpy" in purlin("plugin", "sbom", "show", there)
    damaged = bytearray((tmp_path / "bundle.tar").read_bytes())
    damaged[20_000] ^= 1
    (tmp_path / "damaged.tar").write_bytes(damaged)
    assert "damaged.tar" in purlin.fails("plugin", "load", "damaged.tar", "--to", f"{distribution}/other")
    (tmp_path / "cut.tar").write_bytes(damaged[:30_000])
    assert "no whole bundle" in purlin.fails("plugin", "load", "cut.tar", "--to", f"{distribution}/other")


def test_a_pull_secret_and_a_credential_helper(purlin, server, mine, distribution, tmp_path):
    kubectl = Kubectl(server.kubeconfig, home=tmp_path)
    purlin("plugin", "pull", mine, "--out", "tuner.wasm")
    there = f"{distribution}/{tmp_path.name.replace('_', '-').lower()}/tuner:1.0.0"
    helper = tmp_path / "docker-credential-test"
    helper.write_text(f'#!/bin/sh\ncat > asked\necho \'{{"Username": "tester", "Secret": "{PASSWORD}"}}\'\n')
    helper.chmod(0o700)
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps({"credHelpers": {distribution: "test"}}))
    purlin.environment["PATH"] = f"{tmp_path}:{purlin.environment['PATH']}"
    purlin("plugin", "push", "tuner.wasm", there)
    assert (tmp_path / "asked").read_text().strip() == distribution
    secret = json.dumps({"auths": {distribution: {"username": "tester", "password": PASSWORD}}})
    (tmp_path / "secret.json").write_text(secret)
    pulled = policy(distribution, "off")
    pulled["spec"] = {"pullSecrets": [{"namespace": "default", "name": "pull"}]}
    plugin = {"apiVersion": "purlin.dev/v1alpha1", "kind": "Plugin", "metadata": {"name": "pulled"}}
    try:
        # The server's own environment knows no password for that registry.
        kubectl.apply({**plugin, "spec": {"image": there}})
        ready = lambda: condition(kubectl, "pulled", "Ready")  # noqa: E731
        until("the refusal", lambda: (ready() or ("",))[0] == "False", 30)
        assert "a pull secret in a PluginPolicy" in kubectl("describe", "plugin", "pulled")
        kubectl("create", "secret", "docker-registry", "pull", f"--from-file=.dockerconfigjson={tmp_path}/secret.json")
        kubectl.apply(pulled)
        until("the plugin to be pulled", lambda: ready() == ("True", "Loaded"), 60)
    finally:
        kubectl("delete", "plugin", "pulled", "--ignore-not-found")
        kubectl("delete", "pluginpolicy", "test", "--ignore-not-found")
        kubectl("delete", "secret", "pull", "--ignore-not-found")


def test_an_index_is_searched_and_installed_from(purlin, registry, mine, server, tmp_path):
    kubectl = Kubectl(server.kubeconfig, home=tmp_path)
    assert "tuner-random" in purlin("plugin", "search", "tuner")
    purlin("plugin", "keygen", "--out", "acme")
    purlin("plugin", "sign", mine, "--key", "acme.key")
    index = f"{registry}/{tmp_path.name.replace('_', '-').lower()}/index:latest"
    purlin("plugin", "index", "build", "--push", index, "--out", "index.json", "--key", "acme.pub", mine)
    (found,) = purlin.json("plugin", "search", "--index", index)
    assert found["plugin"]["versions"][0]["signedBy"] == ["acme"]
    assert "not in" in purlin.fails("plugin", "install", "nothing", "--index", index)
    assert purlin.json("plugin", "outdated", "--index", index) == []
    try:
        purlin("plugin", "install", f"tuner-random@{VERSION}", "--index", index, "--name", "from-index", "--yes")
        assert kubectl.json("get", "plugin", "from-index")["spec"]["image"] == mine
    finally:
        kubectl("delete", "plugin", "from-index", "--ignore-not-found")


def test_what_a_plugin_asks_for_waits_for_a_person(purlin, registry, server, tmp_path):
    kubectl = Kubectl(server.kubeconfig, home=tmp_path)
    relay = push_layout(REPOSITORY / "plugins/testing/dist", registry)["tuner-relay"]
    refused = purlin.fails("plugin", "install", relay)
    assert "--grant 'call(tuner)' (passes every search on to another tuner)" in refused
    assert kubectl.run("get", "plugin", "tuner-relay").returncode == 1
    try:
        purlin("plugin", "install", relay, "--yes")
        assert kubectl.json("get", "plugin", "tuner-relay")["status"]["granted"] == ["call(tuner)"]
    finally:
        kubectl("delete", "plugin", "tuner-relay", "--ignore-not-found")


def test_an_installed_plugin_is_upgraded_from_an_index(purlin, registry, mine, server, tmp_path):
    kubectl = Kubectl(server.kubeconfig, home=tmp_path)
    # The same component with another version in its manifest, of the same length.
    component = (tmp_path / "tuner.wasm").read_bytes()
    old, new = (f'"version":"{version}"'.encode() for version in (VERSION, NEWER))
    assert component.count(old) == 1
    (tmp_path / "newer.wasm").write_bytes(component.replace(old, new))
    newer, index = f"{mine.rpartition(':')[0]}:2.0.0", f"{mine.rpartition('/')[0]}/index:latest"
    purlin("plugin", "push", "newer.wasm", newer)
    purlin("plugin", "index", "build", "--push", index, "--out", "index.json", mine)
    assert purlin.json("plugin", "outdated", "--index", index) == []
    purlin("plugin", "index", "build", "--from", index, "--push", index, "--out", "index.json", newer)
    (behind,) = purlin.json("plugin", "outdated", "--index", index)
    assert (behind["name"], behind["installed"], behind["newest"]) == ("tuner-random", VERSION, NEWER)
    purlin("plugin", "upgrade", "tuner-random", "--index", index)
    assert kubectl.json("get", "plugin", "tuner-random")["status"]["version"] == NEWER
    assert purlin.json("plugin", "outdated", "--index", index) == []
    # A version is never changed: other bytes under the same one are refused.
    (tmp_path / "changed.wasm").write_bytes(component.replace(b"replayable", b"Replayable"))
    purlin("plugin", "push", "changed.wasm", mine)
    assert "never changed" in purlin.fails("plugin", "index", "build", "--from", index, "--out", "x.json", mine)


def test_an_index_that_lies_about_a_version_is_not_followed(purlin, mine, registry, tmp_path):
    index = f"{mine.rpartition('/')[0]}/index:latest"
    purlin("plugin", "index", "build", "--push", index, "--out", "index.json", mine)
    listed = json.loads((tmp_path / "index.json").read_text())
    listed["plugins"][0]["versions"][0]["version"] = "9.0.0"
    push_document(registry, index, "application/vnd.purlin.index.v1+json", json.dumps(listed).encode())
    refused = purlin.fails("plugin", "upgrade", "tuner-random", "--index", index)
    assert "do not trust this index" in refused
    push_document(registry, index, "application/vnd.purlin.index.v1+json", b'{"plugins": [{"name": "../x"}]}')
    assert "no index of plugins" in purlin.fails("plugin", "search", "--index", index)
