"""Lines in the kernel's log. The host adds the plugin's and the object's identity, and limits rate and length.

``print`` works too: standard output is ``info``, standard error ``warn``.
"""

from __future__ import annotations

import sys

from . import _host

_LEVELS = ("trace", "debug", "info", "warn", "error")


def _write(level: str, message: str) -> None:
    host = _host.interfaces.get("log")
    if host is None:
        print(f"{level}: {message}", file=sys.stderr)
    else:
        host.write(_LEVELS.index(level), message)


def trace(message: str) -> None:
    """A line for whoever debugs the plugin itself."""
    _write("trace", message)


def debug(message: str) -> None:
    """A line for whoever asks why a decision was made."""
    _write("debug", message)


def info(message: str) -> None:
    """A line that an operator may want to see."""
    _write("info", message)


def warn(message: str) -> None:
    """Something is odd and was handled."""
    _write("warn", message)


def error(message: str) -> None:
    """Something is wrong. Tell the user as well, with a fault or an event."""
    _write("error", message)
