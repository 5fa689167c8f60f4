"""The two servers that are compared, started one after the other so that neither disturbs the other."""

import contextlib
import os
import pathlib
import subprocess
import tempfile
import time

from conformance.session import Server as Connection
from harness import ports, processes
from harness.server import REPOSITORY, Server

SCRIPTS = REPOSITORY / "tests/real"


class Embedded:
    """`purlin up` in a fresh data directory."""

    name = "purlin up"

    def __init__(self, directory):
        self.server = Server(directory / "up")

    def start(self):
        return self.server.start()

    def stop(self):
        self.server.stop()

    @property
    def kubeconfig(self):
        return self.server.kubeconfig

    def pids(self):
        return [self.server.process.pid, *processes.children(self.server.process.pid)]

    def discard(self):
        self.server.discard()


class Real:
    """kube-apiserver and etcd, by tests/real."""

    name = "kube-apiserver + etcd"

    def __init__(self, directory):
        self.directory, self.port = directory / "real", ports.row()
        subprocess.run([SCRIPTS / "build.sh"], check=True)

    def start(self):
        started = time.monotonic()
        subprocess.run([SCRIPTS / "start.sh", self.directory, str(self.port)], check=True)
        return time.monotonic() - started

    def stop(self):
        pids = self.pids()
        subprocess.run([SCRIPTS / "stop.sh", self.directory], check=True)
        for _ in range(200):
            if not any(os.path.exists(f"/proc/{pid}") for pid in pids):
                return
            time.sleep(0.1)

    @property
    def kubeconfig(self):
        return self.directory / "kubeconfig"

    def pids(self):
        return [int(line) for line in (self.directory / "pids").read_text().split()]

    def discard(self):
        if (self.directory / "pids").exists():
            processes.end(pid for pid in self.pids() if os.path.exists(f"/proc/{pid}"))


@contextlib.contextmanager
def running(kind):
    """A started peer and the seconds that its start took."""
    with tempfile.TemporaryDirectory(prefix="purlin-bench-", ignore_cleanup_errors=True) as directory:
        peer = kind(pathlib.Path(directory))
        try:
            yield peer, peer.start()
        finally:
            peer.discard()


def resident(peer):
    """Bytes, of all its processes together."""
    return sum(processes.resident_bytes(pid) for pid in peer.pids())


def connect(peer):
    return Connection(peer.kubeconfig)
