"""The host's interfaces, by name. Filled in by the component's entry with those that the manifest asks for, and by
``purlin_plugin.testing`` with stand-ins; what is in neither is denied."""

from __future__ import annotations

from typing import Any

from .faults import Denied

interfaces: dict[str, Any] = {}

_FORMS = {
    "tuners": "call(tuner)",
    "http": "http(METHODS HOST)",
    "secrets": "secret(NAME)",
    "kv": "kv",
    "blobs": "blob",
    "events": "events(TYPE)",
}


def interface(name: str) -> Any:
    """The interface, as functions over this SDK's types; see ``_component`` for what is behind it."""
    found = interfaces.get(name)
    if found is None:
        raise Denied(f"this plugin does not ask for {_FORMS[name]}; add it to `capabilities` in plugin.yaml")
    return found
