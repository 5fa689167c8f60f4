"""A real kube-apiserver with etcd, by tests/real: what the embedded API is compared with."""

import os
import signal
import subprocess
import time

from . import ports, processes
from .server import REPOSITORY

SCRIPTS = REPOSITORY / "tests/real"
STOP_LIMIT = 15.0


class Real:
    """One data directory and port; may be started again after a stop."""

    name = "kube-apiserver + etcd"

    def __init__(self, directory):
        self.directory, self.port = directory, ports.row()
        subprocess.run([SCRIPTS / "build.sh"], check=True)

    @property
    def kubeconfig(self):
        return self.directory / "kubeconfig"

    def start(self):
        """Returns the seconds until it was ready."""
        started = time.monotonic()
        subprocess.run([SCRIPTS / "start.sh", self.directory, str(self.port)], check=True)
        return time.monotonic() - started

    def pids(self):
        """kube-apiserver and etcd, those that still run."""
        try:
            found = [int(line) for line in (self.directory / "pids").read_text().split()]
        except FileNotFoundError:
            return []
        return [pid for pid in found if os.path.exists(f"/proc/{pid}")]

    def stop(self):
        """kube-apiserver first: without its etcd it does not stop by itself for a long time."""
        etcd_first = self.pids()
        for pid in reversed(etcd_first):
            os.kill(pid, signal.SIGTERM)
            limit = time.monotonic() + STOP_LIMIT
            while os.path.exists(f"/proc/{pid}") and time.monotonic() < limit:
                time.sleep(0.05)
        self.discard()

    def discard(self):
        """Ends what still runs."""
        processes.end(self.pids())
