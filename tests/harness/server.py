"""Starts, kills and restarts `purlin up` as a person or a service supervisor would. Suites share it; it never looks inside.

`Server` is one data directory and one port; it can be started many times. `Plain` stands for a server that somebody
else started (a real kube-apiserver, to try the tests themselves against): it has a kubeconfig and nothing more.
"""

import contextlib
import os
import pathlib
import queue
import signal
import subprocess
import threading
import time
import urllib.request

from . import ports, processes

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
START_LIMIT = float(os.environ.get("PURLIN_START_LIMIT", "120"))
STOP_LIMIT = 30.0


class NotReady(AssertionError):
    """`purlin up` ended, or printed no ready line in time. Carries the end of its log."""


def binary():
    """The `purlin` under test: $PURLIN_BIN, else the debug build."""
    return pathlib.Path(os.environ.get("PURLIN_BIN") or REPOSITORY / "target/debug/purlin")


@contextlib.contextmanager
def running(server):
    """Has a server run while the block lasts. It has to end well; what it leaves behind goes in any case."""
    try:
        server.start()
        yield server
        assert server.stop() == 0, f"it did not end with 0\n{server.log_tail()}"
    finally:
        server.discard()


class Plain:
    """A server behind an existing kubeconfig. Offers only the API: no node, no garbage collection, no plugins."""

    platform = False

    def __init__(self, kubeconfig):
        self.kubeconfig = pathlib.Path(kubeconfig)

    def log_tail(self, lines=80):
        return "(a server that the tests did not start)"


class Server:
    """One `purlin up`: data directory, ports, log file and, while it runs, the process."""

    platform = True

    def __init__(self, directory, image_map=None, port=None, arguments=()):
        self.directory = pathlib.Path(directory)
        self.data = self.directory / "data"
        self.log = self.directory / "up.log"
        self.image_map = image_map
        self.port = port or ports.row()
        self.arguments = list(arguments)
        self.process = None
        self.starts = 0

    @property
    def kubeconfig(self):
        return self.data / "kubeconfig"

    @property
    def health(self):
        return f"http://127.0.0.1:{self.port + 2}"

    @property
    def registry(self):
        return f"127.0.0.1:{self.port + 1}"

    @property
    def gateway(self):
        return f"127.0.0.1:{self.port + 3}"

    def start(self, wait=True):
        """Starts the process; with `wait`, returns the seconds until its ready line."""
        assert self.process is None, "already started"
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [str(binary()), "up", "--data-dir", str(self.data), "--port", str(self.port)]
        if self.image_map:
            command += ["--image-map", str(self.image_map)]
        self.starts += 1
        self._lines = queue.Queue()
        log = open(self.log, "ab", buffering=0)
        log.write(f"--- start {self.starts}\n".encode())
        started = time.monotonic()
        # A session of its own: a Ctrl-C typed at the tests must not reach it before the tests' own clean-up does.
        self.process = subprocess.Popen(
            command + self.arguments,
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        threading.Thread(target=self._copy, args=(self.process.stdout, log, self._lines), daemon=True).start()
        return self.wait_ready(started) if wait else None

    def wait_ready(self, started=None, limit=START_LIMIT):
        """Waits for the line that begins with `ready`; returns the seconds since `started`."""
        started = started or time.monotonic()
        while True:
            left = started + limit - time.monotonic()
            try:
                line = self._lines.get(timeout=max(left, 0.01))
            except queue.Empty:
                raise NotReady(f"`purlin up` was not ready in {limit:g} s\n{self.log_tail()}") from None
            if line is None:
                raise NotReady(
                    f"`purlin up` ended with {self.process.wait()} before it was ready\n{self.log_tail()}"
                )
            if line.startswith("ready"):
                return time.monotonic() - started

    def stop(self):
        """Asks it to stop as Ctrl-C does, and returns its exit status. Kills it, and fails, when it does not."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(
                f"`purlin up` did not stop in {STOP_LIMIT:g} s after SIGINT\n{self.log_tail()}"
            ) from None
        finally:
            self.process = None

    def kill(self):
        """SIGKILL to the server alone, as a power cut or the out-of-memory killer would."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def crash(self):
        """SIGKILL, and another start."""
        self.kill()
        self.start()

    def discard(self):
        """Ends everything, whatever state it is in: the server and any process that its data directory names."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        processes.end(processes.naming(str(self.data)))

    def log_tail(self, lines=80):
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "--- end of the server's log ---\n" + "\n".join(text.splitlines()[-lines:])

    def metrics(self):
        """The Prometheus page, as text."""
        with urllib.request.urlopen(f"{self.health}/metrics", timeout=10) as answer:
            return answer.read().decode()

    @staticmethod
    def _copy(stream, log, lines):
        for line in iter(stream.readline, b""):
            log.write(line)
            lines.put(line.decode(errors="replace").strip())
        lines.put(None)
        log.close()
