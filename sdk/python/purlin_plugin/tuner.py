"""The stage of hyperparameter search: where to look next, and what to give up."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from .faults import FieldError
from .plugin import Context, Plugin


@dataclass(frozen=True)
class Setting:
    """A name, and a value as the user wrote it: a setting of an algorithm, or a label."""

    name: str
    value: str


class Scale(Enum):
    """How probability, or a step, is spread over a range."""

    LINEAR = "linear"
    LOG = "log"
    NORMAL = "normal"
    LOG_NORMAL = "log-normal"


@dataclass(frozen=True)
class FloatRange:
    """Real numbers from ``min`` to ``max``, both included; ``min + k * step`` where there is a step."""

    min: float
    max: float
    step: float | None = None
    scale: Scale = Scale.LINEAR


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from ``min`` to ``max``, both included; ``min + k * step`` where there is a step."""

    min: int
    max: int
    step: int | None = None
    scale: Scale = Scale.LINEAR


@dataclass(frozen=True)
class Discrete:
    """Numbers in an order that has meaning, as the user wrote them. Never empty."""

    values: Sequence[str]


@dataclass(frozen=True)
class Categorical:
    """Words without an order. Never empty."""

    values: Sequence[str]


Domain = FloatRange | IntRange | Discrete | Categorical
"""The values that one parameter can take."""


@dataclass(frozen=True)
class Parameter:
    """One dimension of a search."""

    name: str
    domain: Domain


class Direction(Enum):
    """Whether less or more is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True)
class Objective:
    """What is searched for."""

    metric: str
    direction: Direction = Direction.MAXIMIZE
    goal: float | None = None
    """A value of the metric at which the search may end."""
    additional: Sequence[str] = ()


@dataclass(frozen=True)
class Assignment:
    """The value of one parameter in one trial, as the text that is put into the trial's template."""

    name: str
    value: str


@dataclass(frozen=True)
class Measurement:
    """One reading of a metric while a trial ran; ``step`` counts the readings from 0."""

    metric: str
    step: int
    value: float


class Outcome(Enum):
    """How a trial stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    STOPPED_EARLY = "stopped-early"
    FAILED = "failed"


@dataclass(frozen=True)
class Trial:
    """A trial that was asked for earlier."""

    id: str
    assignments: Sequence[Assignment]
    outcome: Outcome
    objective: float | None = None
    """The objective's final value; ``None`` until it is known."""
    measurements: Sequence[Measurement] = ()


@dataclass(frozen=True)
class Search:
    """The state of one search."""

    context: Context
    algorithm: str
    settings: Sequence[Setting]
    parameters: Sequence[Parameter]
    objective: Objective
    trials: Sequence[Trial] = ()
    """Oldest first; the position of a trial never changes."""
    max_trials: int | None = None

    def setting(self, name: str) -> tuple[int, Setting] | None:
        """The setting of this name and its position, which names it in errors: ``spec.algorithm.settings[2]``."""
        return next(((index, one) for index, one in enumerate(self.settings) if one.name == name), None)


@dataclass(frozen=True)
class Suggestion:
    """A point to try: one assignment for each parameter, in the order of the parameters."""

    assignments: Sequence[Assignment]
    labels: Sequence[Setting] = field(default=())


class Tuner(Plugin):
    """A plugin that says where a search should look next."""

    algorithms: Sequence[str] = ()
    """The algorithms that it answers to, in lower case; the manifest lists the same."""

    def validate(self, search: Search) -> Iterable[FieldError]:
        """All that keeps this search from being run; nothing when it can be. Unless said otherwise, settings."""
        return unknown_settings(search, ())

    @abstractmethod
    def suggest(self, search: Search, count: int) -> Iterable[Suggestion]:
        """Up to ``count`` new points, the same for the same search. Raise a fault when no answer is possible."""

    def stop(self, search: Search) -> Iterable[str]:
        """Ids of running trials that are not worth finishing. None, unless said otherwise."""
        return ()


def unknown_settings(search: Search, known: Sequence[str]) -> list[FieldError]:
    """One error for each setting that is not in ``known``, or is given twice."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, setting in enumerate(search.settings):
        if setting.name not in known:
            if known:
                reason = f"{search.algorithm} has no setting {setting.name}; it has {', '.join(known)}"
            else:
                reason = f"{search.algorithm} has no settings; remove {setting.name}"
        elif setting.name in seen:
            reason = f"{setting.name} is set twice; keep one"
        else:
            seen.add(setting.name)
            continue
        errors.append(FieldError(f"spec.algorithm.settings[{index}]", setting.value, reason))
    return errors
