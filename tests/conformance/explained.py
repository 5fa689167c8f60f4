"""Differences that are accepted, one by one, each with a reason. Reads `explained.yaml`.

An entry names case, step, path and both values exactly; or, for a difference that one decision makes in many places, it
has a `where`: a regular expression that the whole path must match, and, where given, one for the whole of either value's
JSON. An exact entry that matches no difference any more is stale: the list may only describe what is. A wide one is not
judged: a filtered replay need not meet it.
"""

import json
import pathlib
import re

import yaml

FILE = pathlib.Path(__file__).with_name("explained.yaml")
KEYS = {"case", "step", "path", "a", "b", "reason"}
WIDE_KEYS = {"where", "a", "b", "reason"}


class Malformed(ValueError):
    """An entry of explained.yaml lacks something or says too much."""


class Explanations:
    """The accepted differences, and which of them were met."""

    def __init__(self, entries):
        self._reasons, self._met, self._wide = {}, set(), []
        for number, entry in enumerate(entries or [], 1):
            if "where" in entry and set(entry) <= WIDE_KEYS and str(entry.get("reason", "")).strip():
                self._wide.append(entry)
                continue
            if set(entry) != KEYS or not str(entry["reason"]).strip():
                raise Malformed(
                    f"explained.yaml, entry {number}: needs exactly {', '.join(sorted(KEYS))}, with a reason"
                )
            self._reasons[_key(entry)] = entry["reason"]

    @classmethod
    def load(cls, path=FILE):
        return cls(yaml.safe_load(path.read_text()))

    def reason(self, difference):
        """Why the difference is accepted, or None."""
        key = _key(difference.as_explanation())
        if key in self._reasons:
            self._met.add(key)
            return self._reasons[key]
        for entry in self._wide:
            if _matches(entry, difference):
                self._met.add(entry["where"])
                return entry["reason"]
        return None

    def stale(self, cases):
        """Entries about these cases that no difference matched; cases that were not replayed are not judged."""
        return [
            dict(zip(("case", "step", "path"), key))
            for key in self._reasons
            if key not in self._met and key[0] in cases
        ]

    def __len__(self):
        return len(self._reasons) + len(self._wide)


def _matches(entry, difference):
    values = (("a", difference.a), ("b", difference.b))
    return re.fullmatch(entry["where"], difference.path) is not None and all(
        re.fullmatch(entry[side], json.dumps(value), re.DOTALL) for side, value in values if side in entry
    )


def _key(entry):
    return (entry["case"], entry["step"], entry["path"], repr(entry["a"]), repr(entry["b"]))
