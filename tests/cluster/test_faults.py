"""What goes wrong in a cluster, one fault a test. Each runs experiments through the fault, waits until all of them ended,
and prints how long that took once the fault was over. Nothing may be lost and nothing made twice.

`docs/faults.md` has the figures of one run.
"""

import datetime
import os
import pathlib
import re
import signal
import threading
import time

import pytest
from harness import load
from harness.api import Recorder
from harness.proxy import Proxy, answer
from harness.wait import until

EXPERIMENTS, NAMESPACES = 24, 8
LEASES = "/apis/coordination.k8s.io/v1/namespaces/purlin-system/leases"


class Run:
    """Experiments that are created before and during a fault."""

    def __init__(self, api, name):
        self.api, self.name = api, name
        self.names = load.namespaces(api, name, NAMESPACES)
        self.trials = Recorder(api, f"{load.GROUP}/trials")
        self.total = 0

    def add(self, count=EXPERIMENTS):
        load.create(self.api, self.names, count, first=self.total)
        self.total += count

    def check(self, since, limit=90):
        """Waits for the end; prints the figures and fails if anything was lost or doubled."""
        load.finish(self.api, self.names, self.total, timeout=limit)
        took = time.monotonic() - since
        lost, doubled = load.count(self.api, self.names, self.total)
        self.trials.stop()
        doubled += len([n for n in self.trials.doubled() if n[0] in set(self.names)])
        print(f"\nfault {self.name}: all {self.total} ended {took:.1f} s after it, lost {lost}, doubled {doubled}")
        assert (lost, doubled) == (0, 0)


@pytest.fixture
def proxy(tmp_path, real):
    between = Proxy(tmp_path / "proxy", real.kubeconfig)
    yield between
    between.close()


@pytest.fixture
def behind(proxy, replicas):
    """One replica that reaches the server through the proxy."""
    return replicas.start(1, kubeconfig=proxy.kubeconfig)[0]


def ready_and_holding(replica, shards=4):
    until("the replica to hold all", lambda: replica.metric("shards_held") == shards, timeout=60)


def through(proxy, behind, api, name, fault, seconds):
    """A fault of the proxy that lasts a while."""
    ready_and_holding(behind)
    run = Run(api, name)
    run.add()
    fault()
    run.add()
    time.sleep(seconds)
    proxy.heal()
    run.check(time.monotonic())


def test_server_unreachable_10_s(proxy, behind, api):
    def fault():
        proxy.refusing = True
        proxy.cut()

    through(proxy, behind, api, "unreachable", fault, 10)


def test_connections_cut_in_the_middle_of_watches(proxy, behind, api):
    def fault():
        for _ in range(10):
            proxy.cut()
            time.sleep(0.2)

    through(proxy, behind, api, "cut", fault, 0)


@pytest.mark.long
def test_partition_without_a_word(proxy, behind, api):
    def fault():
        proxy.silent = True

    through(proxy, behind, api, "silent", fault, 10)


@pytest.mark.long
def test_every_request_slow(proxy, behind, api):
    def fault():
        proxy.delay = 0.4

    through(proxy, behind, api, "slow", fault, 10)


@pytest.mark.long
def test_too_many_requests(proxy, behind, api):
    def fault():
        proxy.fault = lambda method, path: (
            answer(429, "TooManyRequests", ["Retry-After: 1"]) if "/leases" not in path else None
        )

    through(proxy, behind, api, "429", fault, 5)


@pytest.mark.long
def test_watches_too_old(proxy, behind, api):
    def fault():
        proxy.fault = lambda method, path: answer(410, "Expired") if "watch=true" in path else None
        proxy.cut()

    through(proxy, behind, api, "410", fault, 5)


@pytest.mark.long
def test_half_an_event(proxy, behind, api):
    def half(chunk, sent):
        return chunk[: len(chunk) // 2] if sent else None

    def fault():
        proxy.fault = lambda method, path: half if "watch=true" in path else None
        proxy.cut()

    through(proxy, behind, api, "half", fault, 5)


@pytest.mark.long
@pytest.mark.parametrize("code,reason", [(500, "InternalError"), (422, "Invalid"), (409, "Conflict"), (503, "ServiceUnavailable")])
def test_writes_refused(proxy, behind, api, code, reason):
    """As by an admission webhook. A trial whose object is refused for good fails, so that only other writes are."""

    def fault():
        proxy.fault = lambda method, path: (
            answer(code, reason)
            if method in ("PATCH", "PUT") and "/leases" not in path and "purlin.dev" in path
            else None
        )

    through(proxy, behind, api, f"refused-{code}", fault, 5)


@pytest.mark.long
def test_requests_forbidden_for_a_while(proxy, behind, api):
    def fault():
        proxy.fault = lambda method, path: (
            answer(403, "Forbidden") if method != "GET" and "/leases" not in path else None
        )

    through(proxy, behind, api, "403", fault, 3)


def test_leases_cannot_be_written(proxy, behind, api):
    """The replica stops before its Leases end, and goes on when it has them again."""
    ready_and_holding(behind)
    run = Run(api, "noleases")
    run.add()
    proxy.fault = lambda method, path: (
        answer(500, "InternalError") if method != "GET" and "/leases" in path else None
    )
    until("the replica to let go", lambda: behind.metric("shards_held") == 0, timeout=10)
    run.add()
    time.sleep(2)
    here = {"noleases-%d" % n for n in range(NAMESPACES)}
    now = load.listed(api, f"{load.GROUP}/trials", here)
    time.sleep(2)
    assert len(load.listed(api, f"{load.GROUP}/trials", here)) == len(now), "a replica without Leases wrote"
    proxy.heal()
    run.check(time.monotonic())


def test_paused_longer_than_its_lease(replicas, api):
    """SIGSTOP, longer than a Lease lasts; what it was about to write when it goes on is kept back."""
    replicas.start(2)
    until("both to work", lambda: min(replicas.held()) == 2, timeout=30)
    victim, heir = replicas.all
    run = Run(api, "paused")
    creator = threading.Thread(target=run.add, args=(80,))
    creator.start()
    time.sleep(0.3)
    victim.signal(signal.SIGSTOP)
    until("the other to have all", lambda: heir.metric("shards_held") == 4, timeout=20)
    time.sleep(2)
    victim.signal(signal.SIGCONT)
    creator.join()
    run.check(time.monotonic())
    print(f"writes kept back: {replicas.fenced()}")


@pytest.mark.long
def test_one_of_two_cut_off(proxy, replicas, api):
    replicas.start(1)
    replicas.start(1, kubeconfig=proxy.kubeconfig)
    until("both to work", lambda: min(replicas.held()) == 2, timeout=30)
    run = Run(api, "cutoff")
    run.add()
    proxy.silent = True
    began = time.monotonic()
    until("the other to have all", lambda: replicas.all[0].metric("shards_held") == 4, timeout=20)
    print(f"\ntaken over from a replica that was cut off: {time.monotonic() - began:.1f} s")
    run.add()
    run.check(time.monotonic())
    proxy.heal()
    until("it to come back", lambda: min(replicas.held()) == 2, timeout=60)


def lease(api, name):
    return api.get(f"{LEASES}/{name}")


def steal(api, name, holder, renewed=None, seconds=5):
    stolen = lease(api, name)
    stolen["spec"].update(holderIdentity=holder, leaseDurationSeconds=seconds)
    if renewed:
        stolen["spec"]["renewTime"] = renewed
    status, body = api.send("PUT", f"{LEASES}/{name}", stolen)
    return status == 200, body


def test_a_lease_stolen(replicas, api):
    replica = replicas.start(1)[0]
    ready_and_holding(replica)
    run = Run(api, "stolen")
    run.add()
    until("the theft", lambda: steal(api, "purlin-shard-0-of-4", "thief")[0], timeout=5)
    until("the replica to let go", lambda: replica.metric("shards_held") == 3, timeout=5, interval=0.02)
    run.add()
    run.check(time.monotonic())


@pytest.mark.long
def test_another_leader_claims_to_lead(replicas, api):
    replica = replicas.start(1)[0]
    ready_and_holding(replica)
    run = Run(api, "leaders")
    until("the theft", lambda: steal(api, "purlin-leader", "another")[0], timeout=5)
    until("the replica not to lead", lambda: replica.metric("leader") == 0, timeout=5, interval=0.02)
    run.add()
    until("it to lead again", lambda: replica.metric("leader") == 1, timeout=20)
    run.check(time.monotonic())


@pytest.mark.long
@pytest.mark.parametrize("years", [-30, 30])
def test_clocks_far_apart(replicas, api, years):
    """A dead holder whose clock was wrong: its Lease ends as any other's does."""
    replica = replicas.start(1)[0]
    ready_and_holding(replica)
    run = Run(api, f"clock{years}")
    when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=365 * years)
    stamp = when.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    until("the theft", lambda: steal(api, "purlin-shard-1-of-4", "skewed", renewed=stamp)[0], timeout=5)
    until("the replica to let go", lambda: replica.metric("shards_held") == 3, timeout=5, interval=0.02)
    began = time.monotonic()
    ready_and_holding(replica)
    took = time.monotonic() - began
    print(f"\na Lease with a clock {years} years off: taken after {took:.1f} s")
    assert 3 < took < 8
    run.add()
    run.check(time.monotonic())


@pytest.mark.long
def test_leases_deleted(replicas, api):
    replica = replicas.start(1)[0]
    ready_and_holding(replica)
    run = Run(api, "deleted")
    run.add()
    for item in api.get(LEASES)["items"]:
        api.send("DELETE", f"{LEASES}/{item['metadata']['name']}")
    run.add()
    run.check(time.monotonic())
    ready_and_holding(replica)


@pytest.mark.long
def test_another_number_of_shards_waits(replicas, api):
    replica = replicas.start(1, shards=4)[0]
    ready_and_holding(replica)
    other = replicas.start(1, shards=6, wait=False)[0]
    until("it to say why it waits", lambda: "--shards 4" in other.log.read_text(), timeout=30)
    assert other.metric("shards_held") == 0 and other.get("/readyz")[0] == 503
    run = Run(api, "shards")
    run.add()
    run.check(time.monotonic())


@pytest.mark.long
def test_server_stopped_by_a_signal(replicas, api, real):
    """SIGSTOP to the kube-apiserver: connections stay open and nothing answers."""
    replica = replicas.start(1)[0]
    ready_and_holding(replica)
    run = Run(api, "frozen")
    run.add()
    server = real.pids()[1]
    os.kill(server, signal.SIGSTOP)
    time.sleep(10)
    os.kill(server, signal.SIGCONT)
    run.check(time.monotonic())


@pytest.mark.long
def test_a_plugin_that_loses_its_registry(tmp_path, real, api, replicas, registry):
    """What is loaded goes on; a replica that starts anew waits for the registry and says so."""
    replica = replicas.start(1)[0]
    ready_and_holding(replica)
    run = Run(api, "registry")
    registry.stop()
    try:
        run.add()
        run.check(time.monotonic())
    finally:
        registry.start().says("ready")


@pytest.mark.long
def test_the_code_cache_cannot_be_written(replicas, api):
    """A folder that takes nothing, as a full disk: plugins are compiled and run all the same."""
    replica = replicas.start(1, wait=False)[0]
    replica.ready()
    replica.kill()
    cache = replicas.directory / f"{replica.identity}-cache"
    for path in sorted(cache.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    cache.rmdir() if cache.exists() else None
    cache.symlink_to("/dev/full")
    replica.start()
    until("the replica to hold all", lambda: replica.metric("shards_held") == 4, timeout=90)
    run = Run(api, "fulldisk")
    run.add()
    run.check(time.monotonic())


@pytest.mark.long
def test_the_push_key_deleted(replicas, api):
    replica = replicas.start(1)[0]
    ready_and_holding(replica)
    run = Run(api, "secret")
    status, _ = api.send("DELETE", "/api/v1/namespaces/purlin-system/secrets/purlin-metrics-key")
    assert status == 200
    run.add()
    run.check(time.monotonic())
    replica.kill()
    replica.start().ready()
    assert api.get("/api/v1/namespaces/purlin-system/secrets/purlin-metrics-key")["data"]["key"]


@pytest.mark.long
def test_a_restart_of_everything(replicas, api):
    replicas.start(2)
    run = Run(api, "restart")
    run.add(60)
    for replica in replicas.all:
        replica.kill()
    for replica in replicas.all:
        replica.start()
    run.check(time.monotonic())


def test_etcd_killed(replicas, api, real):
    """The last of the module: the server is started anew on what etcd had synced."""
    replica = replicas.start(1)[0]
    ready_and_holding(replica)
    run = Run(api, "etcd")
    run.add()
    etcd, server = real.pids()
    os.kill(etcd, signal.SIGKILL)
    time.sleep(2)
    os.kill(server, signal.SIGKILL)
    time.sleep(1)
    real.start()
    run.check(time.monotonic())


def test_every_fault_is_in_the_table():
    """The table in the documentation has a row for each fault here."""
    text = pathlib.Path(__file__).read_text()
    names = set(re.findall(r"^def (test_\w+)", text, re.M)) - {"test_every_fault_is_in_the_table"}
    table = (pathlib.Path(__file__).parents[2] / "docs/faults.md").read_text()
    missing = [name for name in names if f"`{name}`" not in table]
    assert not missing, missing
