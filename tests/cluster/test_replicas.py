"""Replicas share the work, take over from one another, and do nothing twice."""

import random
import signal
import threading
import time

import pytest
from harness import load
from harness.api import Recorder
from harness.proxy import Proxy
from harness.wait import until


def spread(replicas, shards, count):
    def probe():
        held = replicas.held()
        return sum(held) == shards and max(held) - min(held) <= 1 and len(held) == count and held

    return until("the shards to be shared out", probe, timeout=30)


def test_replicas_share_the_shards_and_one_leads(replicas):
    replicas.start(2, shards=4)
    assert spread(replicas, 4, 2) == [2, 2]
    assert replicas.leaders() == 1


def test_a_dead_replica_is_replaced_within_three_renewals(replicas, api):
    names = load.namespaces(api, "failover", 8)
    replicas.start(2, shards=4)
    spread(replicas, 4, 2)
    victim, heir = replicas.all
    victim.kill()
    died = time.monotonic()
    until("the other to have all", lambda: heir.metric("shards_held") == 4, timeout=20, interval=0.02)
    took = time.monotonic() - died
    load.create(api, names, 16)
    load.finish(api, names, 16, timeout=60)
    print(f"\nfailover after SIGKILL: {took:.2f} s (renewals every 2 s: at most 6 s)")
    assert took < 6
    assert load.count(api, names, 16) == (0, 0)


def test_a_replica_that_is_told_to_stop_hands_over_at_once(replicas, api):
    names = load.namespaces(api, "handover", 8)
    replicas.start(2, shards=4)
    spread(replicas, 4, 2)
    load.create(api, names, 40)
    leaver, heir = replicas.all
    asked = time.monotonic()
    leaver.signal(signal.SIGTERM)
    until("the other to have all", lambda: heir.metric("shards_held") == 4, timeout=20, interval=0.02)
    took = time.monotonic() - asked
    assert leaver.stop() == 0
    load.finish(api, names, 40, timeout=60)
    print(f"\nhandover after SIGTERM: {took:.2f} s")
    assert took < 3
    assert load.count(api, names, 40) == (0, 0)


@pytest.mark.long
def test_a_thousand_experiments_while_replicas_are_killed(replicas, api):
    """Three replicas, one killed every five seconds for two minutes and started again."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    names = load.namespaces(api, "killed", 24)
    replicas.start(3, shards=6)
    spread(replicas, 6, 3)
    trials = Recorder(api, f"{load.GROUP}/trials")
    objects = Recorder(api, "/api/v1/configmaps")
    creator_started = time.monotonic()
    # Slowly enough that there is work during all of the two minutes.
    creator = threading.Thread(target=load.create, args=(api, names, 1000), kwargs={"threads": 2, "pause": 0.2})
    creator.start()
    kills = 0
    while time.monotonic() - creator_started < 120:
        time.sleep(5)
        victim = chance.choice(replicas.all)
        victim.kill()
        kills += 1
        victim.start()
    creator.join()
    load.finish(api, names, 1000, timeout=300)
    took = time.monotonic() - creator_started
    trials.stop(), objects.stop()
    lost, doubled = load.count(api, names, 1000)
    again = trials.doubled() + [n for n in objects.doubled() if n[0] in set(names)]
    print(
        f"\n1000 experiments, {kills} kills (seed {seed}): all ended after {took:.0f} s, lost {lost}, doubled {doubled}, "
        f"made again {len(again)}"
    )
    assert (lost, doubled, again) == (0, 0, [])


@pytest.mark.long
@pytest.mark.parametrize("latency", [0.0, 0.1])
def test_throughput_from_one_to_four_shards(replicas, api, real, tmp_path, latency):
    """Four replicas; with one shard one of them works, with four each does. Replicas, API server and etcd share this
    machine: without latency its processors are what is measured. With the latency of a server that is far away, which is
    when a replica waits and others help, the slope is that of sharing the work."""
    figures = {}
    proxy = Proxy(tmp_path / "proxy", real.kubeconfig)
    kubeconfig = proxy.kubeconfig if latency else None
    for shards in (1, 2, 4):
        names = load.namespaces(api, f"scale-{shards}-{int(latency * 1000)}", 32)
        group = replicas.start(4, shards=shards, kubeconfig=kubeconfig, arguments=["--workers", "2"])
        until("all shards to be held", lambda: sum(replicas.held()) == shards, timeout=30)
        proxy.delay = latency
        done = lambda: sum(r.metric("reconcile_total") for r in replicas.all if r.running)  # noqa: E731
        before, started = done(), time.monotonic()
        load.create(api, names, 120, threads=4)
        load.finish(api, names, 120, timeout=200)
        took = time.monotonic() - started
        figures[shards] = (120 / took, (done() - before) / took)
        assert load.count(api, names, 120) == (0, 0)
        proxy.heal()
        for replica in group:
            replica.stop()
        replicas.all.clear()
    proxy.close()
    print(f"\nlatency {latency * 1000:.0f} ms")
    for shards, (experiments, reconciles) in figures.items():
        print(f"{shards} shards: {experiments:.1f} experiments/s, {reconciles:.0f} reconciles/s")
    print(f"slope from 1 to 4 shards: {figures[4][0] / figures[1][0]:.2f} times")
