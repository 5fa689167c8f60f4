"""Write a Purlin plugin in Python.

A plugin is a WebAssembly component that serves one stage: a *tuner* says which points a search should try next, a
*dialect* translates somebody's Kubernetes kinds into others. Subclass :class:`Tuner` or :class:`Dialect` in
``plugin.py`` and assign an instance to the name ``plugin``::

    from purlin_plugin import Assignment, Suggestion, Tuner

    class Midpoint(Tuner):
        algorithms = ["midpoint"]

        def suggest(self, search, count):
            ...

    plugin = Midpoint()

Rules that a plugin lives by: it is *pure* (time is ``context.now_ms``, randomness is :class:`Random` from
``context.seed``, the same request gives the same answer), it is *stateless* (each call gets a fresh instance), and it
reports what the user must correct by raising :class:`Invalid`.

Nothing here needs WebAssembly: test a plugin with pytest, by calling its methods. ``purlin_plugin.testing`` reads case
files and stands in for the host.
"""

from .dialect import Dialect, Event, Selector, SyncRequest, SyncResponse
from .faults import (
    Conflict,
    Denied,
    Failed,
    Fault,
    FieldError,
    HostError,
    Invalid,
    InvalidRequest,
    Retry,
    TooLarge,
    Unavailable,
)
from .plugin import Context, Plugin
from .random import Random
from .text import number, on_step
from .tuner import (
    Assignment,
    Categorical,
    Direction,
    Discrete,
    Domain,
    FloatRange,
    IntRange,
    Measurement,
    Objective,
    Outcome,
    Parameter,
    Scale,
    Search,
    Setting,
    Suggestion,
    Trial,
    Tuner,
    unknown_settings,
)

__all__ = [
    "Assignment",
    "Categorical",
    "Conflict",
    "Context",
    "Denied",
    "Dialect",
    "Direction",
    "Discrete",
    "Domain",
    "Event",
    "Failed",
    "Fault",
    "FieldError",
    "FloatRange",
    "HostError",
    "IntRange",
    "Invalid",
    "InvalidRequest",
    "Measurement",
    "Objective",
    "Outcome",
    "Parameter",
    "Plugin",
    "Random",
    "Retry",
    "Scale",
    "Search",
    "Selector",
    "Setting",
    "Suggestion",
    "SyncRequest",
    "SyncResponse",
    "TooLarge",
    "Trial",
    "Tuner",
    "Unavailable",
    "number",
    "on_step",
    "unknown_settings",
]
