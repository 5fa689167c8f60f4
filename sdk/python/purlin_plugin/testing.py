"""Tests of a plugin without WebAssembly: case files, and a stand-in for the host.

The case files are those that ``purlin plugin test`` runs in the sandbox (see ``docs/plugin-authors.md``)::

    @pytest.mark.parametrize("case", testing.cases("cases"), ids=str)
    def test_case(case):
        case.run(plugin)
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import _host, faults
from . import tuner as t
from .dialect import Dialect, SyncRequest
from .plugin import Context


@contextmanager
def host(**interfaces: Any) -> Iterator[None]:
    """Stands in for host interfaces, by name (``http``, ``kv``, ...), within a ``with`` block.

    An interface is any object with the functions that the module of that name calls: ``host(http=Fake())`` where
    ``Fake`` has ``send(method, url, headers, body, timeout_ms, redirects)``.
    """
    before = dict(_host.interfaces)
    _host.interfaces.update(interfaces)
    try:
        yield
    finally:
        _host.interfaces.clear()
        _host.interfaces.update(before)


class Case:
    """One request and the answer that is expected."""

    def __init__(self, name: str, content: dict[str, Any]):
        self.name = name
        self.content = content

    def __str__(self) -> str:
        return self.name

    def run(self, plugin: t.Tuner | Dialect) -> None:
        """Makes the call twice and asserts that both answers are the expected one."""
        first, second = self.answer(plugin), self.answer(plugin)
        assert first == second, f"{self.name}: the same request gave another answer"
        expected = self.content.get("expect")
        assert first == expected, f"{self.name}: expected {json.dumps(expected)}, got {json.dumps(first)}"

    def answer(self, plugin: t.Tuner | Dialect) -> Any:
        """The plugin's answer, in the form of case files."""
        content = self.content
        context = Context(
            content.get("nowMs", 0), int(content.get("seed", 0)), json.dumps(content.get("config", {}))
        )
        try:
            return self._call(plugin, content["call"], context)
        except faults.Invalid as fault:
            return {"fault": {"invalid": [_field_error(error) for error in fault.errors]}}
        except faults.Retry as fault:
            return {"fault": {"retry": {"afterMs": fault.after_ms, "reason": fault.reason}}}
        except faults.Failed as fault:
            return {"fault": {"failed": str(fault)}}

    def _call(self, plugin: Any, call: str, context: Context) -> Any:
        if call == "check":
            plugin.check(context)
            return {}
        if call == "algorithms":
            return {"algorithms": list(plugin.algorithms)}
        if call in ("validate", "suggest", "stop"):
            search = _search(self.content["search"], context)
            if call == "validate":
                return {"errors": [_field_error(error) for error in plugin.validate(search)]}
            if call == "stop":
                return {"stop": list(plugin.stop(search))}
            points = plugin.suggest(search, self.content["count"])
            return {"suggestions": [_suggestion(point) for point in points]}
        if call == "related":
            selectors = plugin.related(context, self.content["parent"])
            return {"selectors": [_selector(one) for one in selectors]}
        request = SyncRequest(
            context,
            self.content["parent"],
            self.content.get("children", []),
            self.content.get("related", []),
        )
        return _response(plugin.finalize(request) if call == "finalize" else plugin.sync(request))


def cases(path: str | pathlib.Path) -> list[Case]:
    """The cases of a file, or of all files of a folder. ``.json`` needs nothing; ``.yaml`` needs PyYAML."""
    path = pathlib.Path(path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found: list[Case] = []
    for file in files:
        if file.suffix == ".json":
            content = json.loads(file.read_text())
        elif file.suffix in (".yaml", ".yml"):
            import yaml

            content = yaml.safe_load(file.read_text())
        else:
            continue
        items = content if isinstance(content, list) else [content]
        found += [Case(item.get("name") or file.stem, item) for item in items]
    assert found, f"no case (a .json or .yaml file) in {path}"
    return found


def _search(content: dict[str, Any], context: Context) -> t.Search:
    objective = content.get("objective", {})
    return t.Search(
        context=context,
        algorithm=content.get("algorithm", ""),
        settings=[t.Setting(one["name"], one["value"]) for one in content.get("settings", [])],
        parameters=[t.Parameter(one["name"], _domain(one)) for one in content.get("parameters", [])],
        objective=t.Objective(
            objective.get("metric", "objective"),
            t.Direction(objective.get("direction", "maximize")),
            objective.get("goal"),
            objective.get("additional", []),
        ),
        trials=[_trial(one) for one in content.get("trials", [])],
        max_trials=content.get("maxTrials"),
    )


def _domain(content: dict[str, Any]) -> t.Domain:
    if range_ := content.get("float"):
        step = range_.get("step")
        return t.FloatRange(
            float(range_["min"]),
            float(range_["max"]),
            None if step is None else float(step),
            t.Scale(range_.get("scale", "linear")),
        )
    if range_ := content.get("int"):
        scale = t.Scale(range_.get("scale", "linear"))
        return t.IntRange(range_["min"], range_["max"], range_.get("step"), scale)
    if (values := content.get("discrete")) is not None:
        return t.Discrete(values)
    return t.Categorical(content["categorical"])


def _trial(content: dict[str, Any]) -> t.Trial:
    return t.Trial(
        content["id"],
        [t.Assignment(one["name"], one["value"]) for one in content.get("assignments", [])],
        t.Outcome(content.get("outcome", "succeeded")),
        content.get("objective"),
        [
            t.Measurement(one["metric"], one["step"], one["value"])
            for one in content.get("measurements", [])
        ],
    )


def _field_error(error: faults.FieldError) -> dict[str, str]:
    return {"field": error.field, "value": error.value, "reason": error.reason}


def _suggestion(point: t.Suggestion) -> dict[str, Any]:
    found: dict[str, Any] = {
        "assignments": [{"name": one.name, "value": one.value} for one in point.assignments]
    }
    if point.labels:
        found["labels"] = [{"name": one.name, "value": one.value} for one in point.labels]
    return found


def _selector(one: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"apiVersion": one.api_version, "kind": one.kind}
    if one.namespace is not None:
        found["namespace"] = one.namespace
    if one.names:
        found["names"] = list(one.names)
    if one.labels:
        found["labels"] = one.labels
    return found


def _response(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"children": answer.children}
    if answer.status is not None:
        found["status"] = answer.status
    if answer.requeue_after_ms is not None:
        found["requeueAfterMs"] = answer.requeue_after_ms
    if answer.events:
        found["events"] = [
            {
                "severity": "warning" if one.warning else "normal",
                "reason": one.reason,
                "message": one.message,
            }
            for one in answer.events
        ]
    return found
