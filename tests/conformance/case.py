"""Cases: named functions that send requests through a `Session`, collected by the `case` decorator."""

import dataclasses
from typing import Callable

REGISTERED = []


@dataclasses.dataclass(frozen=True)
class Case:
    """One replayed conversation. The function may use earlier answers in later requests."""

    name: str
    run: Callable


def case(function=None, *, name=None, over=None):
    """Registers a function as a case; with `over`, one case for each (label, value) of a dictionary."""

    def register(function):
        base = name or function.__name__.replace("_", "-")
        if over is None:
            REGISTERED.append(Case(base, function))
        else:
            for label, value in over.items():
                REGISTERED.append(
                    Case(f"{base}-{label}", lambda session, value=value: function(session, value))
                )
        # A case's namespace is named by the first forty characters of the case.
        assert len({c.name[:40] for c in REGISTERED}) == len(REGISTERED), (
            f"the name of {base} is too like another's"
        )
        return function

    return register(function) if function else register
