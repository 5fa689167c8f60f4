"""The dialect stage: somebody's kinds, translated into kinds that the cluster already reconciles."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .plugin import Context, Plugin

Object = dict[str, Any]
"""One Kubernetes object, parsed."""


@dataclass(frozen=True)
class Selector:
    """Objects that a parent's sync must see although the parent does not own them."""

    api_version: str
    kind: str
    namespace: str | None = None
    """``None`` is all namespaces for a cluster-scoped parent, and the parent's own otherwise."""
    names: Sequence[str] = ()
    """Empty selects every name."""
    labels: str = ""
    """In kubectl's syntax (``app=web,tier!=cache``); empty selects every label."""


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event about the parent."""

    reason: str
    """UpperCamelCase."""
    message: str
    """One sentence for a person, at most 1024 bytes."""
    warning: bool = False
    """Whether a person may have to act."""


@dataclass(frozen=True)
class SyncRequest:
    """What was observed."""

    context: Context
    parent: Object
    """The object to translate, with its current status."""
    children: Sequence[Object] = ()
    """The objects that it owns, of the manifest's child kinds."""
    related: Sequence[Object] = ()
    """What ``related`` asked for."""

    def child(self, api_version: str, kind: str, name: str) -> Object | None:
        """The child of this kind and name, if it was observed."""
        for child in self.children:
            if (child.get("apiVersion"), child.get("kind")) == (api_version, kind):
                if child.get("metadata", {}).get("name") == name:
                    return child
        return None


@dataclass
class SyncResponse:
    """What should be."""

    children: list[Object] = field(default_factory=list)
    """Every child that should exist, with the fields that the plugin decides and no others."""
    status: Object | None = None
    """The parent's whole new status; ``None`` leaves it as it is."""
    requeue_after_ms: int | None = None
    """Call again after so many milliseconds even if nothing changes."""
    events: list[Event] = field(default_factory=list)


class Dialect(Plugin):
    """A plugin that owns kinds and translates their objects."""

    def related(self, context: Context, parent: Object) -> Iterable[Selector]:
        """What ``sync`` must see beside the parent and its children. Nothing, unless said otherwise."""
        return ()

    @abstractmethod
    def sync(self, request: SyncRequest) -> SyncResponse:
        """The desired state, from the observed state. Raise a fault when no answer is possible."""

    def finalize(self, request: SyncRequest) -> SyncResponse:
        """The same while the parent is being deleted. Unless said otherwise every child goes."""
        return SyncResponse()
