"""A small store of the plugin's own, for what is no object: a cursor, a token. Capability: ``kv``. 512 KiB in all."""

from __future__ import annotations

from dataclasses import dataclass

from . import _host


@dataclass(frozen=True)
class Item:
    """A value, and its version, which changes with each write."""

    value: bytes
    version: int


def get(key: str) -> Item | None:
    """``None`` where there is no such key."""
    return _host.interface("kv").get(key)


def set(key: str, value: bytes, expected: int | None = None) -> int:
    """Writes a value and gives its version.

    With ``expected`` it is written only where the present version is that one (0: only where there is none), and
    otherwise raises Conflict. Keys are 1 to 253 bytes of ``A-Z a-z 0-9 - _ . /``.
    """
    return _host.interface("kv").set(key, value, expected)


def delete(key: str) -> None:
    """Deletes a key; one that is not there is deleted already."""
    _host.interface("kv").delete(key)


def keys(prefix: str = "") -> list[str]:
    """Keys that begin with ``prefix``, in order."""
    return _host.interface("kv").keys(prefix)
