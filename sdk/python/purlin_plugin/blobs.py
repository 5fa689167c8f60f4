"""Larger content of the plugin's own, as files without folders. Capability: ``blob``."""

from __future__ import annotations

from dataclasses import dataclass

from . import _host


@dataclass(frozen=True)
class Info:
    """A blob's name, and its size in bytes."""

    name: str
    size: int


def read(name: str, offset: int = 0, length: int = 1 << 20) -> bytes | None:
    """At most ``length`` bytes from ``offset``; ``None`` where there is no such blob, empty behind its end."""
    return _host.interface("blobs").read(name, offset, length)


def write(name: str, content: bytes) -> None:
    """Replaces a blob as a whole: a reader sees the old content or the new."""
    _host.interface("blobs").write(name, content)


def delete(name: str) -> None:
    """Deletes a blob; one that is not there is deleted already."""
    _host.interface("blobs").delete(name)


def list(prefix: str = "") -> list[Info]:
    """Blobs whose names begin with ``prefix``, in order."""
    return _host.interface("blobs").list(prefix)
