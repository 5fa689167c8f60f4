"""A Chromium that a test drives, on a `purlin up` of its own, and an index of the tests' own beside the first-party one."""

import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest
from harness.kubectl import Kubectl
from harness.registry import push_document
from harness.server import Server, binary, running
from playwright.sync_api import expect, sync_playwright

KIND = "application/vnd.purlin.index.v1+json"
TOKENS = "reader-token,reader,1001\nstranger-token,stranger,1002\n"
READER = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "plugin-reader"},
    "rules": [{"apiGroups": ["purlin.dev"], "resources": ["plugins"], "verbs": ["get", "list", "watch"]}],
}
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "plugin-reader"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "plugin-reader"},
    "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "reader"}],
}

expect.set_options(timeout=20_000)


def chromium():
    """The browser's program: $CHROMIUM, else the one on the PATH."""
    named = os.environ.get("CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser")


class Purlin:
    """`purlin` on the command line, with the server's credentials and indexes."""

    def __init__(self, server, home):
        self.kubectl = Kubectl(server.kubeconfig, home=home)
        self.home = home

    def __call__(self, *arguments):
        result = subprocess.run(
            [str(binary()), *map(str, arguments)],
            cwd=self.home,
            env=self.kubectl.environment({"COSIGN_PASSWORD": "purlin-test"}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, f"{arguments}\n{result.stdout}{result.stderr}"
        return result.stdout


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("up")
    (folder / "tokens.csv").write_text(TOKENS)
    server = Server(folder)
    host = f"localhost:{server.port + 1}"
    server.index = f"{host}/tests/index:latest"
    server.arguments = ["--token-auth-file", str(folder / "tokens.csv")]
    for index in (f"{host}/purlin/index:latest", server.index):
        server.arguments += ["--index", index]
    with running(server) as server:
        push_document(server.registry, server.index, KIND, b'{"plugins": []}')
        yield server


@pytest.fixture(scope="session")
def kubectl(server, tmp_path_factory):
    kubectl = Kubectl(server.kubeconfig, home=tmp_path_factory.mktemp("home"))
    kubectl.apply(READER, BINDING)
    return kubectl


@pytest.fixture
def purlin(server, tmp_path):
    return Purlin(server, tmp_path)


@pytest.fixture
def publish(server):
    """Puts listings into the tests' own index, and takes them out again at the end."""

    def publish(*listings, text=None):
        text = text or json.dumps({"plugins": listings}).encode()
        push_document(server.registry, server.index, KIND, text)
        time.sleep(1.1)  # the console shows what it read a second ago

    publish()
    yield publish
    publish()


@pytest.fixture(scope="session")
def browser():
    program = chromium()
    if not program:
        pytest.skip(
            "there is no Chromium: install Debian's package `chromium`, or set CHROMIUM to the program"
        )
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


class Console:
    """Pages on the console, each of which must end without a word in the browser's console."""

    def __init__(self, browser, server):
        self.browser, self.server = browser, server
        self.url = f"https://127.0.0.1:{server.port}/console/"
        self.contexts, self.said, self.expected = [], [], []

    def open(self, token=None, url=None, **options):
        # The certificate is the server's own, as a person accepts it once.
        context = self.browser.new_context(ignore_https_errors=True, **options)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"uncaught: {error}"))
        page.on("dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(url or (f"{self.url}#token={token}" if token else self.url))
        return page

    def close(self):
        for context in self.contexts:
            context.close()
        unexpected = [text for text in self.said if not any(part in text for part in self.expected)]
        assert not unexpected, unexpected


@pytest.fixture
def console(browser, server, kubectl):
    console = Console(browser, server)
    yield console
    console.close()


@pytest.fixture(scope="session")
def admin(server, kubectl):
    """The administrator's token."""
    view = kubectl.json("config", "view", "--raw")
    return view["users"][0]["user"]["token"]


@pytest.fixture
def artifacts():
    """Where screenshots go, if somebody wants them."""
    folder = os.environ.get("PURLIN_SCREENSHOTS")
    return pathlib.Path(folder) if folder else None
