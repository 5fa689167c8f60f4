"""Halton: points that fill a space evenly, in the order of a low-discrepancy sequence.

What is drawn is defined in docs/halton.md, to the last bit: the four SDKs' examples pass the same vectors.
"""

import math

from purlin_plugin import (
    Assignment,
    Categorical,
    Discrete,
    Domain,
    FieldError,
    FloatRange,
    IntRange,
    Invalid,
    Random,
    Scale,
    Search,
    Suggestion,
    Tuner,
    number,
    on_step,
    unknown_settings,
)

BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53)
SETTINGS = ("random_state", "skip")
MOST = 2**53


class Halton(Tuner):
    """The plugin."""

    algorithms = ("halton",)

    def validate(self, search):
        errors = unknown_settings(search, SETTINGS)
        for name in SETTINGS:
            if (found := search.setting(name)) and whole(found[1].value) is None:
                where = f"spec.algorithm.settings[{found[0]}]"
                errors.append(FieldError(where, found[1].value, f"{name} must be a whole number of 32 bits"))
        if not 1 <= len(search.parameters) <= len(BASES):
            reason = f"halton searches 1 to {len(BASES)} parameters"
            errors.append(FieldError("spec.parameters", str(len(search.parameters)), reason))
        for index, parameter in enumerate(search.parameters):
            errors += domain_errors(f"spec.parameters[{index}]", parameter.domain)
        return errors

    def suggest(self, search, count):
        if errors := self.validate(search):
            raise Invalid(*errors)
        seed = setting(search, "random_state", search.context.seed)
        skip = setting(search, "skip", 0)
        first = len(search.trials)
        last = first + count
        if search.max_trials is not None:
            last = min(last, search.max_trials)
        shifts = [Random(seed, index).unit() for index in range(len(search.parameters))]
        for index in range(first, last):
            assignments = []
            for parameter, base, shift in zip(search.parameters, BASES, shifts):
                unit = inverse(skip + index + 1, base) + shift
                value = pick(parameter.domain, unit - 1 if unit >= 1 else unit)
                assignments.append(Assignment(parameter.name, value))
            yield Suggestion(assignments)


def setting(search: Search, name: str, default: int) -> int:
    found = search.setting(name)
    value = whole(found[1].value) if found else None
    return default if value is None else value


def whole(text: str) -> int | None:
    """A whole number of 32 bits, in decimal digits."""
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 2**32:
        return int(text)
    return None


def inverse(index: int, base: int) -> float:
    """The digits of ``index``, mirrored behind the point."""
    numerator, denominator = 0, 1
    while index > 0:
        index, digit = divmod(index, base)
        numerator = numerator * base + digit
        denominator *= base
    return numerator / denominator


def pick(domain: Domain, unit: float) -> str:
    """The value at a place of [0, 1)."""
    match domain:
        case FloatRange(low, high, None, scale):
            return number(between(low, high, scale, unit))
        case FloatRange(low, high, step, scale):
            steps = (high - low) / step
            last = math.floor(steps + 1e-9 * max(steps, 1.0))
            return on_step(low, step, position(low, high, step, last, scale, unit))
        case IntRange(low, high, step, scale):
            step = step or 1
            at = position(float(low), float(high), float(step), (high - low) // step, scale, unit)
            return str(low + at * step)
        case Discrete(values) | Categorical(values):
            return values[min(math.floor(unit * len(values)), len(values) - 1)]


def position(low: float, high: float, step: float, last: int, scale: Scale, unit: float) -> int:
    if scale is Scale.LINEAR:
        return min(math.floor(unit * (last + 1)), last)
    value = between(low, high, scale, unit)
    return min(math.floor((value - low) / step + 0.5), last)


def between(low: float, high: float, scale: Scale, unit: float) -> float:
    if scale is Scale.LINEAR:
        return min(max(low * (1.0 - unit) + high * unit, low), high)
    # low * (high / low) ** unit, by roots alone: they are exact to the last bit everywhere, powers are not.
    value, root = low, high / low
    for _ in range(32):
        root = math.sqrt(root)
        unit *= 2.0
        if unit >= 1.0:
            unit -= 1.0
            value *= root
    return min(max(value, low), high)


def domain_errors(path: str, domain: Domain) -> list[FieldError]:
    errors = []
    match domain:
        case FloatRange() | IntRange():
            for name in ("min", "max"):
                value = getattr(domain, name)
                if not math.isfinite(value) or abs(value) > MOST:
                    errors.append(FieldError(f"{path}.{name}", text(value), "must lie within 2^53 of 0"))
            if domain.min > domain.max:
                reason = f"must be at most max, which is {text(domain.max)}"
                errors.append(FieldError(f"{path}.min", text(domain.min), reason))
            if domain.step is not None and not 0 < domain.step <= MOST:
                errors.append(FieldError(f"{path}.step", text(domain.step), "must be above 0"))
            if domain.scale in (Scale.NORMAL, Scale.LOG_NORMAL):
                reason = "halton has no normal scales; use linear or log"
                errors.append(FieldError(f"{path}.scale", domain.scale.value, reason))
            if domain.scale is Scale.LOG and domain.min <= 0:
                errors.append(FieldError(f"{path}.min", text(domain.min), "must be above 0 on the scale log"))
        case Discrete(values) | Categorical(values) if not values:
            errors.append(FieldError(f"{path}.list", "", "must have at least one value"))
    return errors


def text(value: float | int) -> str:
    if isinstance(value, int):
        return str(value)
    return number(value) if math.isfinite(value) else str(value)


plugin = Halton()
