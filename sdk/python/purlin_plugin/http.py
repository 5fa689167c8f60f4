"""Requests to servers. Capability: ``http(METHODS [SCHEME://]HOST[:PORT] [in RANGES])``."""

from __future__ import annotations

import json as _json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import _host


@dataclass(frozen=True)
class Response:
    """An answer."""

    status: int
    headers: Sequence[tuple[str, str]]
    """Names in lower case, in the order in which they came."""
    body: bytes
    url: str
    """Where the answer came from, after redirects."""

    def json(self) -> Any:
        """The body, parsed."""
        return _json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The first header of this name."""
        return next((value for key, value in self.headers if key == name.lower()), None)


def send(
    method: str,
    url: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    timeout_ms: int | None = None,
    redirects: int = 0,
) -> Response:
    """Sends a request and waits for the answer, whatever its status. Raises a HostError where there is none.

    ``method`` is ``GET``, ``HEAD``, ``POST``, ``PUT``, ``PATCH``, ``DELETE`` or ``OPTIONS``. A redirect (at most 10 are
    followed) is a new request and must be granted too.
    """
    return _host.interface("http").send(method, url, list(headers), body, timeout_ms, redirects)


def get(url: str, **options: Any) -> Response:
    """``send("GET", ...)``."""
    return send("GET", url, **options)


def post(url: str, **options: Any) -> Response:
    """``send("POST", ...)``."""
    return send("POST", url, **options)
