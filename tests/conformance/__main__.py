"""`python -m conformance --a KUBECONFIG --b KUBECONFIG --report out.md`: see the package's own description.

Ends with 0 when no difference is unexplained, no explanation is stale and at least one case was replayed.
"""

import argparse
import fnmatch
import pathlib
import secrets
import sys

from . import cases, report
from .case import REGISTERED
from .explained import Explanations
from .replay import replay
from .session import Server


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="conformance", description="replay requests against two API servers"
    )
    parser.add_argument("--a", required=True, metavar="KUBECONFIG", help="the server under test")
    parser.add_argument("--b", required=True, metavar="KUBECONFIG", help="the server to compare with")
    parser.add_argument(
        "--report",
        type=pathlib.Path,
        default=pathlib.Path("conformance.md"),
        help="Markdown; JSON is written beside it",
    )
    parser.add_argument("--filter", default="*", metavar="GLOB", help="only cases whose name matches")
    parser.add_argument(
        "--no-explanations", action="store_true", help="every difference counts: for two servers of a kind"
    )
    flags = parser.parse_args(arguments)

    cases.load()
    explanations = Explanations([]) if flags.no_explanations else Explanations.load()
    a, b = Server(flags.a), Server(flags.b)
    run = "r" + secrets.token_hex(4)
    chosen = [c for c in REGISTERED if fnmatch.fnmatch(c.name, flags.filter)]
    outcomes = []
    for case in chosen:
        outcome = replay(case, a, b, run, explanations)
        outcomes.append(outcome)
        if not outcome.passed:
            print(f"FAIL {case.name}: {len(outcome.unexplained)} unexplained")
            for difference in outcome.unexplained[:3]:
                print(
                    f"     step {difference.step} {difference.request} {difference.path}: {difference.a!r:.200} | {difference.b!r:.200}"
                )
    stale = explanations.stale({c.name for c in chosen})
    report.write(flags.report, outcomes, stale, (flags.a, flags.b))
    for entry in stale:
        print(f"STALE explanation: {entry['case']} step {entry['step']} {entry['path']}")
    failed = sum(not o.passed for o in outcomes)
    requests = sum(o.requests for o in outcomes)
    print(f"{requests} requests to each server, {len(explanations)} explanations, report in {flags.report}")
    print(f"{len(outcomes) - failed} passed, {failed} failed, {len(REGISTERED) - len(chosen)} skipped")
    return 0 if outcomes and not failed and not stale else 1


if __name__ == "__main__":
    sys.exit(main())
