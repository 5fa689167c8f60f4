"""Runs cases against both servers and judges the outcome."""

import contextlib
import dataclasses

import urllib3

from . import compare
from .normalise import Normaliser
from .session import Exchange, Session

BROKE_OFF = "(the case could not go on)"


@dataclasses.dataclass
class Outcome:
    """One case: how many requests each server answered, and what differed."""

    name: str
    requests: int
    explained: list
    unexplained: list

    @property
    def passed(self):
        return not self.unexplained


def replay(case, a, b, run, explanations):
    """Plays `case` on servers `a` and `b` and compares."""
    left, right = _play(case, a, run), _play(case, b, run)
    outcome = Outcome(case.name, len(left), [], [])
    for difference in compare.exchanges(case.name, left, right):
        reason = explanations.reason(difference)
        if reason is None:
            outcome.unexplained.append(difference)
        else:
            outcome.explained.append((difference, reason))
    # Two servers at which a case breaks off in the same way do not differ, but what it would have compared is untested.
    outcome.unexplained += [
        compare.Difference(case.name, step, BROKE_OFF, ".body", a["body"], b["body"])
        for step, (a, b) in enumerate(zip(left, right), 1)
        if a["request"] == b["request"] == BROKE_OFF
    ]
    return outcome


def _play(case, server, run):
    session = Session(server, case.name, run)
    try:
        case.run(session)
    except Exception as error:  # an unexpected answer stops the case; that itself is compared
        session.exchanges.append(
            Exchange(BROKE_OFF, 0, {}, f"{type(error).__name__}: {error}")
        )
    finally:
        with contextlib.suppress(urllib3.exceptions.HTTPError):  # a connection that the case broke
            session.send_unrecorded("DELETE", f"/api/v1/namespaces/{session.namespace}")
    normaliser = Normaliser(server.address)
    normalised = [normaliser.exchange(exchange) for exchange in session.exchanges]
    return [_without_run(value, run) for value in normalised]


def _without_run(value, run):
    """The name of this replay, which both servers were given, as a constant: reports of two replays can be compared."""
    if isinstance(value, dict):
        return {_without_run(k, run): _without_run(v, run) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_run(v, run) for v in value]
    return value.replace(run, "RUN") if isinstance(value, str) else value
