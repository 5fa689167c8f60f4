"""Creates a second with eight connections, and events a second delivered to watchers meanwhile.

The load comes from wrk and the watchers are curl: the generator must not be what is measured. Both share this machine's
cores with the server, which is the same for either peer.
"""

import os
import pathlib
import shutil
import subprocess
import threading
import time

from . import peers

CONNECTIONS, WATCHERS = 8, 4
NAMESPACE = "bench"


def measure(peer, seconds):
    """Durable creates a second, and delivery to watchers, of one started peer."""
    for tool in ("wrk", "curl"):
        if not shutil.which(tool):
            raise SystemExit(
                f"bench: '{tool}' is needed and was not found on the PATH (on Debian: apt-get install {tool})"
            )
    connection = peers.connect(peer)
    connection.send(
        "POST",
        "/api/v1/namespaces",
        f'{{"metadata":{{"name":"{NAMESPACE}"}}}}',
        {"Content-Type": "application/json"},
    )
    url = f"{connection.url}/api/v1/namespaces/{NAMESPACE}/configmaps"
    _create(url, connection.token, "warm", 2)
    alone = _create(url, connection.token, "alone", seconds)
    watchers = [Watcher(url, connection.token) for _ in range(WATCHERS)]
    try:
        time.sleep(1)  # each has received what was there already
        before = [watcher.settle() for watcher in watchers]
        started = time.monotonic()
        watched = _create(url, connection.token, "watched", seconds)
        wanted = int(watched["created"])
        while (
            any(w.events - b < wanted for w, b in zip(watchers, before))
            and time.monotonic() - started < seconds + 30
        ):
            time.sleep(0.01)
        took = time.monotonic() - started
        delivered = sum(w.events - b for w, b in zip(watchers, before))
    finally:
        for watcher in watchers:
            watcher.stop()
    return {
        "creates_per_s": alone["rate"],
        "create_p50_ms": alone["p50_ms"],
        "create_p99_ms": alone["p99_ms"],
        "create_errors": alone["errors"],
        "watched_creates_per_s": watched["rate"],
        "events_delivered_per_s": delivered / took,
        "events_missing": max(0, wanted * WATCHERS - delivered),
        "last_event_lag_s": max(0.0, took - watched["seconds"]),
    }


def _create(url, token, run, seconds):
    script = pathlib.Path(__file__).with_name("create.lua")
    result = subprocess.run(
        ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script), url],
        env={**os.environ, "TOKEN": token, "RUN": run},
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=True,
    )
    line = next(line for line in result.stdout.splitlines() if line.startswith("RESULT"))
    requests, errors, took, p50, p99 = (float(word) for word in line.split()[1:])
    created = requests - errors
    return {
        "created": created,
        "errors": errors,
        "seconds": took,
        "rate": created / took,
        "p50_ms": p50,
        "p99_ms": p99,
    }


class Watcher:
    """curl on a watch; counts the lines that come, one an event."""

    def __init__(self, url, token):
        self.events = 0
        self._curl = subprocess.Popen(
            ["curl", "-skN", "-H", f"Authorization: Bearer {token}", f"{url}?watch=true"],
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self):
        while chunk := os.read(self._curl.stdout.fileno(), 1 << 20):
            self.events += chunk.count(b"\n")

    def settle(self):
        """The count, once no more has come for a while."""
        while True:
            seen = self.events
            time.sleep(1)
            if seen == self.events:
                return seen

    def stop(self):
        self._curl.kill()
        self._curl.wait()
