"""`python -m bench [--json FILE] [--only NAME]`: runs the benchmarks, prints a table, writes JSON. Always ends with 0 when
the measurements could be made."""

import argparse
import json
import pathlib
import subprocess
import time

from harness.server import binary

from . import experiments, peers, rates

# Seconds after which a started server counts as idle.
IDLE = 30


def start(_):
    """Start to ready, and memory then and when idle; the second start finds its data and its compiled plugins."""
    found = {}
    for kind in (peers.Embedded, peers.Real):
        with peers.running(kind) as (peer, first):
            ready = peers.resident(peer) / 2**20
            time.sleep(IDLE)
            idle = peers.resident(peer) / 2**20
            peer.stop()
            again = peer.start()
            found[kind.name] = {
                "first_start_s": first,
                "second_start_s": again,
                "ready_resident_mib": ready,
                "idle_resident_mib": idle,
            }
    a, b = found[peers.Embedded.name], found[peers.Real.name]
    return {
        **found,
        "ratios": {key: b[key] / a[key] for key in a},
        "better": "ratio above 1: purlin is smaller",
    }


def api_rates(flags):
    found = {}
    for kind in (peers.Embedded, peers.Real):
        with peers.running(kind) as (peer, _):
            found[kind.name] = rates.measure(peer, flags.seconds)
    a, b = found[peers.Embedded.name], found[peers.Real.name]
    keys = ("creates_per_s", "watched_creates_per_s", "events_delivered_per_s")
    return {
        **found,
        "ratios": {key: a[key] / b[key] for key in keys},
        "better": "ratio above 1: purlin is faster",
    }


def noop_experiments(flags):
    found = {}
    for count in (flags.experiments, 2 * flags.experiments):
        with peers.running(peers.Embedded) as (peer, _):
            found[f"{count} experiments"] = experiments.measure(peer, count)
    a, b = found.values()
    grown = lambda x: max(x["resident_peak_mib"] - x["resident_before_mib"], 0.1)
    return {
        **found,
        "ratios": {"total_s": b["total_s"] / a["total_s"], "memory_growth": grown(b) / grown(a)},
        "better": "ratio of 2: linear when doubled",
    }


def plugin_calls(_):
    """One call of a dialect, as a plugin, as a native function and as webhooks: tests/bench/plugin-call."""
    program = binary().with_name("purlin-bench-plugin-call")
    if not program.exists():
        raise SystemExit(f"bench: {program} is not there; run 'make bench', which builds it")
    ran = subprocess.run([program, "--json"], check=True, capture_output=True, text=True, timeout=600)
    measured = json.loads(ran.stdout)
    found = {}
    for payload, timed in measured.items():
        for way in timed["ways"]:
            for key in ("p50_us", "p99_us"):
                found.setdefault(way["way"], {})[f"{key}, {payload}"] = way[key]
    ratios = {
        f"{way['way']} over plugin, {payload}": way["over_plugin"]
        for payload, timed in measured.items()
        for way in timed["ways"]
        if way["way"] != "plugin"
    }
    return {**found, "ratios": ratios, "better": "ratios are of p50; the ways take turns"}


def serving_requests(flags):
    from .serving import requests_per_second

    return requests_per_second.measure(flags)


def serving_embedding(flags):
    from .serving import embedding

    return embedding.measure(flags)


def serving_wake(flags):
    from .serving import wake

    return wake.measure(flags)


def serving_density(flags):
    from .serving import density

    return density.measure(flags)


BENCHMARKS = {
    "start": start,
    "plugin-call": plugin_calls,
    "rates": api_rates,
    "experiments": noop_experiments,
    "serving-requests": serving_requests,
    "serving-embedding": serving_embedding,
    "serving-wake": serving_wake,
    "serving-density": serving_density,
}


def main():
    parser = argparse.ArgumentParser(
        prog="bench", description="ratios of purlin up against kube-apiserver with etcd"
    )
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here")
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="this benchmark; may be repeated")
    parser.add_argument("--seconds", type=int, default=10, help="length of each load")
    parser.add_argument("--experiments", type=int, default=1000, help="how many, and then twice as many")
    parser.add_argument("--rounds", type=int, default=13, help="how often each model is woken")
    flags = parser.parse_args()
    found = {"binary": binary().parent.name}
    for name in flags.only or BENCHMARKS:
        found[name] = BENCHMARKS[name](flags)
        show(name, found[name])
    if flags.json:
        flags.json.write_text(json.dumps(found, indent=1))


def show(name, result):
    columns = [key for key in result if isinstance(result[key], dict) and key != "ratios"]
    rows = sorted({row for column in columns for row in result[column]} | set(result["ratios"]))
    print(f"\n{name} ({result['better']})")
    print(f"{'':36}" + "".join(f"{column:>26}" for column in [*columns, "ratio"]))
    for row in rows:
        cells = [result[column].get(row) for column in columns] + [result["ratios"].get(row)]
        print(
            f"{row:36}" + "".join(f"{'' if cell is None else f'{cell:,.2f}':>26}" for cell in cells),
            flush=True,
        )


if __name__ == "__main__":
    main()
