"""Secrets of the cluster. Capability: ``secret(NAME)`` or ``secret(NAMESPACE/NAME)``."""

from __future__ import annotations

from . import _host


def get(name: str) -> dict[str, bytes] | None:
    """All entries of a Secret; ``None`` where it does not exist. The name is as in the grant."""
    return _host.interface("secrets").get(name)
