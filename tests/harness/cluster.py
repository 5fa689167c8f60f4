"""Purlin in a cluster: `purlin run` replicas, `purlin node` and `purlin registry` against a real kube-apiserver."""

import os
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.request

from . import ports, processes
from .metrics import total
from .real import SCRIPTS, Real
from .server import STOP_LIMIT, binary
from .wait import until


class Process:
    """One `purlin` that goes on until it is stopped. Its output is in a log file."""

    def __init__(self, directory, name, arguments):
        self.directory, self.name, self.arguments = directory, name, [str(a) for a in arguments]
        self.log = directory / f"{name}.log"
        self.process = None
        self.starts = 0

    def start(self):
        assert self.process is None, f"{self.name} was started already"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.starts += 1
        with open(self.log, "ab", buffering=0) as log:
            log.write(f"--- start {self.starts}\n".encode())
            self.process = subprocess.Popen(
                [str(binary()), "--log", os.environ.get("PURLIN_TEST_LOG", "info"), *self.arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def says(self, word, timeout=120):
        """Waits until the log has a line that begins with the word."""

        def probe():
            assert self.running, f"{self.name} ended before it said {word!r}\n{self.log_tail()}"
            text = self.log.read_text(errors="replace").rpartition("--- start")[2]
            return any(line.startswith(word) for line in text.splitlines())

        until(f"{self.name} to say {word!r}", probe, timeout=timeout)
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL, as a node's failure would."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        """SIGTERM, as Kubernetes ends a Pod. Returns the exit status."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_LIMIT)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process = None

    def discard(self):
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGCONT)
                self.process.kill()
            self.process.wait()
            self.process = None

    def log_tail(self, lines=60):
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return "(no log)"
        return f"--- end of {self.name}'s log ---\n" + "\n".join(text.splitlines()[-lines:])


class Registry(Process):
    """`purlin registry`."""

    def __init__(self, directory):
        self.port = ports.row(1)
        super().__init__(
            directory, "registry", ["registry", "--data-dir", directory / "registry", "--port", self.port]
        )

    def first_party(self):
        """The arguments of `purlin` that install each plugin that it was seeded with."""
        lines = self.log.read_text().rpartition("--- start")[2].splitlines()
        return [shlex.split(line)[2:] for line in lines if line.startswith("plugin ")]


class Replica(Process):
    """`purlin run`."""

    def __init__(self, directory, name, kubeconfig, shards=4, arguments=(), lease=("5s", "2s")):
        # The inference gateway's is the one after it.
        self.port = ports.row(2)
        self.identity = name
        super().__init__(
            directory,
            name,
            [
                *("run", "--kubeconfig", kubeconfig, "--shards", shards, "--identity", name),
                *("--port", self.port, "--cache-dir", directory / f"{name}-cache"),
                *("--push-url", f"http://127.0.0.1:{self.port}"),
                *("--lease-duration", lease[0], "--renew-interval", lease[1]),
                *arguments,
            ],
        )

    def get(self, path, timeout=5):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def ready(self, timeout=120):
        until(f"{self.name} to be ready", lambda: self.get("/readyz")[0] == 200, timeout=timeout)
        return self

    def metric(self, name, labels=""):
        """The sum of a metric's samples whose labels contain the text."""
        return total(self.get("/metrics")[1], f"purlin_kernel_{name}", labels)


class Node(Process):
    """`purlin node`."""

    def __init__(self, directory, kubeconfig, image_map=None, arguments=()):
        self.port = ports.row(1)
        given = ["--image-map", image_map] if image_map else []
        super().__init__(
            directory,
            "node",
            [
                *("node", "--kubeconfig", kubeconfig, "--data-dir", directory / "node-data"),
                *("--port", self.port),
                *given,
                *arguments,
            ],
        )


class ClusterServer:
    """What `Server` is for `purlin up`, in a cluster: a real kube-apiserver with the controllers of one, a registry, a
    replica of the kernel and a node."""

    platform = True

    def __init__(self, directory, image_map=None, arguments=()):
        self.real = Real(directory / "real")
        self.real.directory.mkdir(parents=True)
        self.registry_process = Registry(directory)
        self.kernel = Replica(directory, "kernel", self.real.kubeconfig, arguments=arguments)
        self.node = Node(directory, self.real.kubeconfig, image_map)

    @property
    def kubeconfig(self):
        return self.real.kubeconfig

    @property
    def health(self):
        return f"http://127.0.0.1:{self.kernel.port}"

    @property
    def registry(self):
        return f"127.0.0.1:{self.registry_process.port}"

    @property
    def gateway(self):
        return f"127.0.0.1:{self.kernel.port + 1}"

    def start(self):
        self.real.start()
        subprocess.run([SCRIPTS / "controllers.sh", self.real.directory], check=True)
        self.registry_process.start().says("ready")
        self.node.start().says("ready")
        self.kernel.start().ready()
        install(self.kubeconfig, self.registry_process)

    def crash(self):
        """SIGKILL to the replica of the kernel, and another start."""
        self.kernel.kill()
        self.kernel.start().ready()

    def metrics(self):
        return self.kernel.get("/metrics")[1]

    def stop(self):
        """The exit statuses, if all are 0, else the first that is not."""
        statuses = [process.stop() for process in (self.kernel, self.node, self.registry_process)]
        self.real.stop()
        return next((status for status in statuses if status), 0)

    def discard(self):
        for process in (self.kernel, self.node, self.registry_process):
            process.discard()
        self.real.discard()
        processes.end(processes.naming(str(self.node.directory)))

    def log_tail(self, lines=60):
        return self.kernel.log_tail(lines) + "\n" + self.node.log_tail(lines)


def install(kubeconfig, registry, wait=120):
    """Installs the registry's first-party plugins and waits until they are ready."""
    started = time.monotonic()
    for arguments in registry.first_party():
        subprocess.run(
            [
                *(str(binary()), *arguments),
                *("--kubeconfig", str(kubeconfig), "--wait", str(wait)),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
    return time.monotonic() - started
