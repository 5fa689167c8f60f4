"""CloudEvents (version 1.0) to whoever listens. Capability: ``events(TYPE)``."""

from __future__ import annotations

from collections.abc import Mapping

from . import _host


def publish(
    id: str,
    type: str,
    data: bytes = b"",
    *,
    subject: str | None = None,
    datacontenttype: str | None = None,
    extensions: Mapping[str, str] = {},
) -> None:
    """Gives an event to the host, which adds ``source`` (the plugin) and ``time``.

    ``id`` is unique for this plugin; the same id is the same event, sent again. Once this returns, the event was
    accepted by the receiver.
    """
    _host.interface("events").publish(id, type, subject, datacontenttype, data, dict(extensions))
