"""Calls kubectl, the one on the PATH, as a person does. Raises with kubectl's own words when it fails."""

import json
import os
import subprocess


class Failed(AssertionError):
    """kubectl ended with another status than expected."""

    def __init__(self, arguments, result):
        self.result = result
        words = " ".join(str(a) for a in arguments)
        super().__init__(f"kubectl {words}\nexit {result.returncode}\n{result.stdout}{result.stderr}")


class Kubectl:
    """kubectl with one kubeconfig. `namespace` is put before the arguments when given."""

    def __init__(self, kubeconfig, namespace=None, home=None):
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        # Discovery is cached under HOME by host and port: a cache of another test's server must not be read.
        self.home = str(home or os.path.dirname(str(kubeconfig)))

    def within(self, namespace):
        return Kubectl(self.kubeconfig, namespace, self.home)

    def environment(self, extra=None):
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": self.home, **(extra or {})}

    def command(self, *arguments):
        return ["kubectl", *(["-n", self.namespace] if self.namespace else []), *(str(a) for a in arguments)]

    def run(self, *arguments, stdin=None, timeout=60, env=None):
        """The finished process, whatever its status."""
        if isinstance(stdin, (dict, list)):
            stdin = json.dumps(stdin)
        return subprocess.run(
            self.command(*arguments),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment(env),
        )

    def __call__(self, *arguments, stdin=None, timeout=60, env=None):
        """What kubectl printed to stdout; fails when it did not end well."""
        result = self.run(*arguments, stdin=stdin, timeout=timeout, env=env)
        if result.returncode != 0:
            raise Failed(arguments, result)
        return result.stdout

    def fails(self, *arguments, stdin=None, timeout=60, env=None):
        """What kubectl printed to stderr; fails when it ended well."""
        result = self.run(*arguments, stdin=stdin, timeout=timeout, env=env)
        if result.returncode == 0:
            raise Failed(arguments, result)
        return result.stderr

    def json(self, *arguments, **keywords):
        return json.loads(self(*arguments, "-o", "json", **keywords))

    def apply(self, *objects, arguments=()):
        """Applies objects given as values."""
        return self(
            "apply", *arguments, "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": list(objects)}
        )

    def start(self, *arguments):
        """A kubectl that goes on (`get -w`, `logs -f`); the caller ends it."""
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self.environment(),
        )
