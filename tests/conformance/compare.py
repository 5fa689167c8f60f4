"""Finds every place at which two normalised answers differ."""

import dataclasses

MISSING = "<absent>"


@dataclasses.dataclass(frozen=True)
class Difference:
    """One place: which case and step (from 1), the path within the answer, and both values."""

    case: str
    step: int
    request: str
    path: str
    a: object
    b: object

    def as_explanation(self):
        """In the form of an entry of explained.yaml, less the reason."""
        return {"case": self.case, "step": self.step, "path": self.path, "a": self.a, "b": self.b}


def exchanges(case, a, b):
    """All differences between the recorded and normalised exchanges of one case."""
    found = []
    for step in range(max(len(a), len(b))):
        left = a[step] if step < len(a) else {"request": MISSING}
        right = b[step] if step < len(b) else {"request": MISSING}
        request = right["request"] if left["request"] == MISSING else left["request"]
        for path, x, y in _walk(left, right, ""):
            found.append(Difference(case, step + 1, request, path or ".", x, y))
    return found


def _walk(a, b, path):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(set(a) | set(b), key=str):
            yield from _walk(a.get(key, MISSING), b.get(key, MISSING), f"{path}.{key}")
    elif isinstance(a, list) and isinstance(b, list):
        for i in range(max(len(a), len(b))):
            yield from _walk(a[i] if i < len(a) else MISSING, b[i] if i < len(b) else MISSING, f"{path}[{i}]")
    elif type(a) is not type(b) or a != b:
        yield path, a, b
