"""The two servers that are compared, started one after the other so that neither disturbs the other."""

import contextlib
import pathlib
import tempfile

from conformance.session import Server as Connection
from harness import processes
from harness.real import Real
from harness.server import Server

__all__ = ["Embedded", "Real", "connect", "resident", "running"]


class Embedded:
    """`purlin up` in a fresh data directory."""

    name = "purlin up"

    def __init__(self, directory):
        self.server = Server(directory)

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


@contextlib.contextmanager
def running(kind):
    """A started peer and the seconds that its start took."""
    with tempfile.TemporaryDirectory(prefix="purlin-bench-", ignore_cleanup_errors=True) as directory:
        peer = kind(pathlib.Path(directory) / "server")
        try:
            yield peer, peer.start()
        finally:
            peer.discard()


def resident(peer):
    """Bytes, of all its processes together."""
    return sum(processes.resident_bytes(pid) for pid in peer.pids())


def connect(peer):
    return Connection(peer.kubeconfig)
