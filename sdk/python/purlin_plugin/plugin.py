"""What every plugin has: a context, a configuration, and a check."""

from __future__ import annotations

import json
from abc import ABC
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Context:
    """What a pure function cannot know by itself."""

    now_ms: int = 0
    """Unix time in milliseconds. Take the time from here and nowhere else."""
    seed: int = 0
    """The same for every call about the same object."""
    config_json: str = "{}"
    """``Plugin.spec.config`` as JSON."""

    @property
    def config(self) -> dict[str, Any]:
        """``Plugin.spec.config``, parsed. It fits the manifest's ``configSchema``."""
        return json.loads(self.config_json)


class Plugin(ABC):
    """The base of :class:`~purlin_plugin.Tuner` and :class:`~purlin_plugin.Dialect`."""

    def check(self, context: Context) -> None:
        """Whether the configuration can be used and what the plugin depends on can be reached.

        Asked when the plugin is loaded, and now and then while it runs. Raise :class:`~purlin_plugin.Invalid` with
        fields such as ``spec.config.url``, or another fault. A version whose check fails does not take the place of the
        one before it. Unless said otherwise all is well.
        """
