"""The console as a person uses it, in Chromium, against `purlin up`: what it lists, what it installs, and what it does
not let happen."""

import json
import re
import ssl
import urllib.error
import urllib.request

import pytest
from components import with_manifest
from harness.kubectl import Kubectl
from harness.server import REPOSITORY, Server, running
from harness.wait import until
from playwright.sync_api import expect

# The version of the first-party tuner.
FIRST = next(
    entry["annotations"]["org.opencontainers.image.ref.name"].rpartition(":")[2]
    for entry in json.loads((REPOSITORY / "plugins/dist/index.json").read_text())["manifests"]
    if "/tuner-random:" in entry["annotations"]["org.opencontainers.image.ref.name"]
)
KV = {"name": "kv", "reason": "remembers what it has seen"}
SECRET = {"name": "secret(api-key)", "reason": "signs in at a price service"}
EVENTS = {"name": "events(com.example.*)", "reason": "tells others", "optional": True}
HOSTILE = (
    "<img src=x onerror=\"document.title='owned';fetch('/owned')\"><script>document.title='owned'</script>"
)


def listing(page, name):
    return page.locator(f'[data-listing="{name}"]')


def signature(page, name):
    """What the console says of a version's signatures, which it looks at once a person has scrolled to it."""
    card = listing(page, name)
    expect(card).to_be_visible()
    # In one step: Playwright's own waits for an element that stays, and the list may be drawn anew meanwhile.
    card.evaluate("card => card.scrollIntoView()")
    return card.locator(".signature")


def item(page, name):
    return page.locator(f'[data-plugin="{name}"]')


def ready(kubectl, name, version):
    found = kubectl.json("get", "plugins.purlin.dev", name)
    conditions = {one["type"]: one for one in found.get("status", {}).get("conditions", [])}
    one = conditions.get("Ready", {})
    current = one.get("observedGeneration") == found["metadata"]["generation"]
    return current and one.get("status") == "True" and found["status"].get("version") == version and found


@pytest.fixture
def shop(server, kubectl, purlin, publish):
    """A tuner in two versions, of which the newer one asks for more; only the older one is listed at first."""
    host = f"localhost:{server.port + 1}"
    purlin("plugin", "pull", f"{host}/purlin/tuner-random:{FIRST}", "--out", "base.wasm")
    base = (purlin.home / "base.wasm").read_bytes()
    versions = {"1.0.0": [KV], "1.1.0": [KV, SECRET, EVENTS]}
    for version, capabilities in versions.items():
        component = with_manifest(
            base, name="shop", version=version, capabilities=capabilities, description="A tuner of the shop"
        )
        (purlin.home / f"{version}.wasm").write_bytes(component)
        purlin("plugin", "push", f"{version}.wasm", f"{host}/tests/shop:{version}")

    def offer(*wanted):
        text = purlin.home / "index.json"
        purlin(
            "plugin", "index", "build", "--out", text, *(f"{host}/tests/shop:{version}" for version in wanted)
        )
        publish(*json.loads(text.read_text())["plugins"])

    offer("1.0.0")
    yield offer
    kubectl("delete", "plugins.purlin.dev", "shop", "--ignore-not-found")


def test_the_first_party_plugins_are_listed(console, admin):
    page = console.open(admin)
    assert page.url == console.url, "the token stays in the address"
    card = listing(page, "tuner-random")
    expect(card).to_contain_text(FIRST)
    expect(card).to_contain_text("tuner")
    expect(signature(page, "tuner-random")).to_have_text("Not checked")
    expect(listing(page, "dialect-katib")).to_contain_text("kube(write purlin.dev/Experiment)")
    row = item(page, "dialect-katib")
    expect(row).to_contain_text("Ready")
    expect(row).to_contain_text("dialect")
    row.get_by_text("Details").click()
    expect(row).to_contain_text("kube(write purlin.dev/Experiment)")
    expect(row).to_contain_text("Verified")
    expect(row).to_contain_text("sha256:")
    expect(page.get_by_text("admin", exact=True)).to_be_visible()
    page.get_by_label("Search").fill("katib")
    expect(listing(page, "tuner-random")).to_have_count(0)
    expect(item(page, "dialect-katib")).to_be_visible()
    page.get_by_label("Search").fill("")
    page.get_by_label("Stage").select_option("tuner")
    expect(item(page, "dialect-katib")).to_have_count(0)
    # A reload of the tab keeps the session; its end forgets it.
    page.reload()
    expect(item(page, "tuner-random")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Bearer token")).to_be_focused()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_plugin_is_installed_upgraded_and_removed_by_clicks(console, admin, kubectl, server, shop):
    page = console.open(admin)
    listing(page, "shop").get_by_role("button", name="Install shop").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("remembers what it has seen")
    install = dialog.get_by_role("button", name="Install")
    # Nothing is ticked for the person, and what is required keeps the button off.
    expect(dialog.get_by_role("checkbox")).not_to_be_checked()
    expect(install).to_be_disabled()
    dialog.get_by_label("kv").check()
    install.click()
    expect(dialog).to_have_count(0)
    found = until("the plugin", lambda: ready(kubectl, "shop", "1.0.0"), 60)
    assert found["spec"]["grants"] == ["kv"]
    assert found["status"]["granted"] == ["kv"]
    assert found["spec"]["digest"] == found["status"]["digest"]
    managers = {
        entry["manager"]
        for entry in kubectl.json("get", "plugins.purlin.dev", "shop", "--show-managed-fields")["metadata"][
            "managedFields"
        ]
    }
    assert "purlin-console" in managers
    records = [json.loads(line) for line in (server.data / "audit.log").read_text().splitlines()]
    by_page = [r for r in records if r["annotations"].get("purlin.dev/field-manager") == "purlin-console"]
    made = [r for r in by_page if (r["objectRef"]["resource"], r["verb"]) == ("plugins", "create")][-1]
    assert made["user"]["username"] == "admin" and made["userAgent"].startswith("Mozilla")
    expect(item(page, "shop")).to_contain_text("Ready")
    expect(item(page, "shop")).to_contain_text("1.0.0")

    # A version that asks for more waits for a tick.
    shop("1.0.0", "1.1.0")
    page.get_by_role("button", name="Read again").click()
    item(page, "shop").get_by_role("button", name="Upgrade to 1.1.0").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Not granted yet")
    expect(dialog).to_contain_text("Granted already")
    assert dialog.get_by_role("checkbox").count() == 2
    upgrade = dialog.get_by_role("button", name="Upgrade")
    expect(upgrade).to_be_disabled()
    assert kubectl.json("get", "plugins.purlin.dev", "shop")["status"]["version"] == "1.0.0"
    dialog.get_by_label(re.compile(r"^secret\(api-key\)")).check()
    upgrade.click()
    found = until("the new version", lambda: ready(kubectl, "shop", "1.1.0"), 60)
    assert found["spec"]["grants"] == ["kv", "secret(api-key)"]
    assert found["status"]["refused"] == ["events(com.example.*)"]
    expect(item(page, "shop")).to_contain_text("1 not granted")
    expect(item(page, "shop").get_by_role("button", name="Upgrade")).to_have_count(0)

    item(page, "shop").get_by_role("button", name="Remove shop").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(item(page, "shop")).to_have_count(0)
    assert kubectl.run("get", "plugins.purlin.dev", "shop").returncode == 1


def test_a_change_from_elsewhere_is_seen(console, admin, kubectl):
    page = console.open(admin)
    expect(item(page, "tuner-random")).to_be_visible()
    spec = kubectl.json("get", "plugins.purlin.dev", "tuner-random")["spec"]
    plugin = {
        "apiVersion": "purlin.dev/v1alpha1",
        "kind": "Plugin",
        "metadata": {"name": "elsewhere"},
        "spec": spec,
    }
    kubectl.apply(plugin)
    try:
        expect(item(page, "elsewhere")).to_contain_text("Ready")
    finally:
        kubectl("delete", "plugins.purlin.dev", "elsewhere")
    expect(item(page, "elsewhere")).to_have_count(0)


def test_what_somebody_else_changed_is_not_overwritten(console, admin, kubectl, shop):
    page = console.open(admin)
    listing(page, "shop").get_by_role("button", name="Install shop").click()
    page.get_by_role("dialog").get_by_label("kv").check()
    page.get_by_role("dialog").get_by_role("button", name="Install").click()
    until("the plugin", lambda: ready(kubectl, "shop", "1.0.0"), 60)
    shop("1.0.0", "1.1.0")
    page.get_by_role("button", name="Read again").click()
    item(page, "shop").get_by_role("button", name="Upgrade to 1.1.0").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label(re.compile(r"^secret\(api-key\)")).check()
    kubectl("patch", "plugins.purlin.dev", "shop", "--type=merge", "-p", '{"spec": {"grants": []}}')
    expect(item(page, "shop")).to_contain_text("1 not granted")
    dialog.get_by_role("button", name="Upgrade").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Somebody changed it meanwhile")
    assert kubectl.json("get", "plugins.purlin.dev", "shop")["spec"].get("grants", []) == []


def test_who_may_only_read_is_told_which_right_is_missing(console, kubectl, shop):
    page = console.open("reader-token")
    expect(page.locator("#rights")).to_contain_text("reader lacks the right to create, patch, delete")
    button = listing(page, "shop").get_by_role("button", name="Install shop")
    expect(button).to_be_disabled()
    expect(button).to_have_attribute("title", "You lack the right to create plugins.purlin.dev")
    expect(item(page, "tuner-random").get_by_role("button", name="Remove")).to_be_disabled()


def test_who_may_see_nothing_is_told_so(console):
    page = console.open("stranger-token")
    expect(page.locator("#rights")).to_contain_text(
        "You may not see the plugins: stranger lacks the right to list"
    )
    expect(page.locator("[data-plugin], [data-listing]")).to_have_count(0)


def test_a_token_that_is_not_good_is_asked_for_again(console):
    console.expected.append("401")
    page = console.open("wrong")
    expect(page.get_by_role("alert")).to_contain_text("purlin console")
    page.get_by_label("Bearer token").fill("reader-token")
    page.get_by_role("button", name="Sign in").click()
    expect(item(page, "tuner-random")).to_be_visible()


def test_text_from_outside_stays_text(console, admin, server, purlin, publish):
    host = f"localhost:{server.port + 1}"
    purlin("plugin", "pull", f"{host}/purlin/tuner-random:{FIRST}", "--out", "base.wasm")
    asks = [{"name": "kv", "reason": HOSTILE}]
    component = with_manifest(
        (purlin.home / "base.wasm").read_bytes(),
        name="hostile",
        version="0.1.0",
        description=HOSTILE,
        capabilities=asks,
    )
    (purlin.home / "hostile.wasm").write_bytes(component)
    pushed = json.loads(
        purlin("plugin", "push", "hostile.wasm", f"{host}/tests/hostile:0.1.0", "--output", "json")
    )
    release = {
        "version": "0.1.0",
        "reference": f"{host}/tests/hostile:0.1.0",
        "digest": pushed["digest"],
        "wit": "0.2.0",
    }
    release |= {"stages": [HOSTILE], "capabilities": asks, "signedBy": [HOSTILE], "deprecated": HOSTILE}
    lie = {**release, "version": "9.9.9"}
    publish(
        {"name": "hostile", "description": HOSTILE, "versions": [release]},
        {"name": "liar", "description": "", "versions": [lie]},
    )
    requests = []
    page = console.open()
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"{console.url}#token={admin}")
    card = listing(page, "hostile")
    expect(card.locator(".description")).to_have_text(HOSTILE)
    card.get_by_role("button", name="Install hostile").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("fieldset")).to_contain_text(HOSTILE)
    dialog.get_by_role("button", name="Cancel").click()
    # A plugin that is not what the index says is not offered.
    console.expected.append("502")
    listing(page, "liar").get_by_role("button", name="Install liar").click()
    expect(page.get_by_role("dialog")).to_contain_text("do not trust this index")
    expect(page.get_by_role("dialog").get_by_role("button", name="Install")).to_be_disabled()
    assert page.title() == "Plugins - Purlin"
    assert page.locator("main img, main script, dialog img, dialog script").count() == 0
    assert not [
        url for url in requests if "owned" in url or not url.startswith(console.url.rpartition("console/")[0])
    ]


def test_an_index_that_cannot_be_read_is_named_and_the_others_are_shown(console, admin, publish):
    publish(text=b'{"plugins": [{}]}')
    page = console.open(admin)
    expect(page.locator("#available .notice.bad")).to_contain_text("An index cannot be read")
    expect(page.locator("#available .notice.bad")).to_contain_text("tests/index:latest")
    expect(listing(page, "tuner-random")).to_be_visible()


def test_a_policy_that_demands_signatures_is_shown_and_kept(console, admin, kubectl, purlin, server, shop):
    prefix = f"localhost:{server.port + 1}/tests/shop"
    purlin("plugin", "keygen", "--out", "acme")
    keys = [{"name": "acme", "pem": (purlin.home / "acme.pub").read_text()}]
    rules = [{"prefix": prefix, "mode": "require", "keys": keys}]
    policy = {"apiVersion": "purlin.dev/v1alpha1", "kind": "PluginPolicy", "metadata": {"name": "shop"}}
    kubectl.apply({**policy, "spec": {"rules": rules}})
    try:
        seen = lambda: kubectl.json("get", "pluginpolicy", "shop").get("status")
        until("the policy to be read", seen, 30)
        page = console.open(admin)
        card = listing(page, "shop")
        expect(signature(page, "shop")).to_have_text("Not signed")
        card.get_by_role("button", name="Install shop").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("The policy refuses it")
        dialog.get_by_label("kv").check()
        expect(dialog.get_by_role("button", name="Install")).to_be_disabled()
        dialog.get_by_role("button", name="Cancel").click()
        purlin("plugin", "sign", f"{prefix}:1.0.0", "--key", "acme.key")
        page.get_by_role("button", name="Read again").click()
        expect(signature(page, "shop")).to_have_text("Signed by acme")
        card.get_by_role("button", name="Install shop").click()
        dialog.get_by_label("kv").check()
        dialog.get_by_role("button", name="Install").click()
        until("the plugin", lambda: ready(kubectl, "shop", "1.0.0"), 60)
        expect(item(page, "shop")).to_contain_text("Signed")
    finally:
        kubectl("delete", "pluginpolicy", "shop", "--ignore-not-found")


def test_the_keyboard_is_enough(console, admin, kubectl, shop):
    page = console.open(admin)
    button = listing(page, "shop").get_by_role("button", name="Install shop")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("kv").focus()
    page.keyboard.press("Space")
    expect(dialog.get_by_label("kv")).to_be_checked()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    assert kubectl.run("get", "plugins.purlin.dev", "shop").returncode == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_fits_the_screen(console, admin, artifacts, shop, scheme, width):
    page = console.open(admin, color_scheme=scheme, viewport={"width": width, "height": 800})
    listing(page, "shop").scroll_into_view_if_needed()
    expect(signature(page, "shop")).to_have_text("Not checked")
    expect(item(page, "tuner-random")).to_contain_text("Ready")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    if artifacts:
        page.screenshot(path=artifacts / f"page-{scheme}-{width}.png", full_page=True)
    listing(page, "shop").get_by_role("button", name="Install shop").click()
    expect(page.get_by_role("dialog").locator("fieldset")).to_be_visible()
    assert page.evaluate(overflow) == 0
    if artifacts:
        page.screenshot(path=artifacts / f"dialog-{scheme}-{width}.png")


def answer(server, path, token=None, body=None):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(f"https://127.0.0.1:{server.port}{path}", body, headers)
    try:
        return urllib.request.urlopen(request, timeout=30, context=context)
    except urllib.error.HTTPError as error:
        return error


def test_its_api_is_for_who_may_list_plugins_and_reads_no_other_index(server, kubectl, admin):
    assert answer(server, "/console/").status == 200
    for path in ("catalogue", "release", "signature"):
        assert answer(server, f"/console/api/{path}").status == 401
    assert answer(server, "/console/api/catalogue", "wrong").status == 401
    assert answer(server, "/console/api/catalogue", "stranger-token").status == 403
    assert answer(server, "/console/api/catalogue", "reader-token").status == 200
    wanted = {"index": "registry.example.com/x/index:latest", "name": "x", "version": "1.0.0"}
    refused = answer(server, "/console/api/release", "reader-token", json.dumps(wanted).encode())
    assert refused.status == 404 and "none of the indexes" in json.load(refused)["message"]


def test_the_command_prints_a_link_that_signs_in(console, purlin, admin):
    url = purlin("console").strip()
    assert url == f"{console.url}#token={admin}"
    page = console.open(url=url)
    expect(item(page, "tuner-random")).to_be_visible()


def test_a_server_that_went_away_is_named_and_found_again(browser, console, tmp_path):
    with running(Server(tmp_path, arguments=["--no-plugins"])) as own:
        kubectl = Kubectl(own.kubeconfig, home=tmp_path)
        token = kubectl.json("config", "view", "--raw")["users"][0]["user"]["token"]
        console.expected += ["ERR_", "net::"]
        page = console.open(url=f"https://127.0.0.1:{own.port}/console/#token={token}")
        expect(page.get_by_text("No plugin is installed.")).to_be_visible()
        expect(listing(page, "tuner-random")).to_be_visible()
        own.stop()
        expect(page.get_by_role("alert")).to_contain_text("Is `purlin up` still running?")
        own.start()
        expect(page.get_by_text("The server does not answer")).to_have_count(0)
        # The watch goes on where it was.
        spec = {"image": f"localhost:{own.port + 1}/purlin/tuner-random:{FIRST}"}
        plugin = {"apiVersion": "purlin.dev/v1alpha1", "kind": "Plugin", "metadata": {"name": "late"}}
        kubectl.apply({**plugin, "spec": spec})
        expect(item(page, "late")).to_contain_text("Ready")
