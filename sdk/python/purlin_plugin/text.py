"""Numbers as text, the same in every SDK: what is put into a trial's template."""

from __future__ import annotations

from decimal import Decimal


def number(value: float) -> str:
    """The shortest decimal that reads back as this number, as ECMAScript writes it: ``0.5``, ``64``, ``1e-7``."""
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    exponent += len(digits) - len(text)
    point = len(text) + exponent
    minus = "-" if sign else ""
    if 0 < point <= 21:
        whole = text[:point].ljust(point, "0")
        return minus + whole + ("." + text[point:] if len(text) > point else "")
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    fraction = "." + text[1:] if len(text) > 1 else ""
    return f"{minus}{text[0]}{fraction}e{point - 1:+d}"


def _places(value: float) -> int:
    return max(0, -int(Decimal(repr(value)).normalize().as_tuple().exponent))


def on_step(minimum: float, step: float, position: int) -> str:
    """``minimum + position * step`` as text, without the dust of binary arithmetic (0.30000000000000004)."""
    value = minimum + position * step
    places = max(_places(minimum), _places(step))
    return number(float(f"{value:.{places}f}"))
