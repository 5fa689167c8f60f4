"""Calls to the tuner of whichever installed plugin serves an algorithm. Capability: ``call(tuner)``."""

from __future__ import annotations

from . import _host
from .faults import FieldError
from .tuner import Search, Suggestion


def validate(search: Search) -> list[FieldError]:
    """What ``Tuner.validate`` of the plugin that serves ``search.algorithm`` says. Raises its fault."""
    return _host.interface("tuners").validate(search)


def suggest(search: Search, count: int) -> list[Suggestion]:
    """What ``Tuner.suggest`` of the plugin that serves ``search.algorithm`` says. Raises its fault."""
    return _host.interface("tuners").suggest(search, count)
