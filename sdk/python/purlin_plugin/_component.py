"""What stands between the classes of this package and the bindings that componentize-py makes. Imported by the entry
that ``purlin plugin build`` writes, inside the component and nowhere else."""

from __future__ import annotations

import importlib
import json
import traceback
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from componentize_py_types import Err  # type: ignore[import-not-found]

from . import _host, blobs, dialect, faults, http, kv, log
from . import tuner as t
from .plugin import Context, Plugin

types = importlib.import_module("wit_world.imports.types")

Answer = TypeVar("Answer")

RETRY_MS = 5000
"""When a call is made again that ended because the host could not do something now."""


def _field_error(error: faults.FieldError) -> Any:
    return types.FieldError(error.field, error.value, error.reason)


def _fault(error: BaseException) -> Any:
    match error:
        case faults.Invalid():
            return types.Fault_Invalid([_field_error(one) for one in error.errors])
        case faults.Retry():
            return types.Fault_Retry(types.Retry(error.after_ms, error.reason))
        case faults.Failed():
            return types.Fault_Failed(str(error))
        case faults.Unavailable():
            return types.Fault_Retry(types.Retry(RETRY_MS, str(error)))
        case faults.HostError():
            return types.Fault_Failed(str(error))
    log.error("".join(traceback.format_exception(error)))
    where = traceback.extract_tb(error.__traceback__)
    place = f" in {where[-1].name} (line {where[-1].lineno})" if where else ""
    return types.Fault_Failed(f"{type(error).__name__}: {error}{place}")


def _fault_in(fault: Any) -> faults.Fault:
    match type(fault).__name__:
        case "Fault_Invalid":
            return faults.Invalid(*(faults.FieldError(e.field, e.value, e.reason) for e in fault.value))
        case "Fault_Retry":
            return faults.Retry(fault.value.after_ms, fault.value.reason)
    return faults.Failed(fault.value)


def _answer(call: Callable[[], Answer]) -> Answer:
    try:
        return call()
    except Exception as error:
        raise Err(_fault(error)) from None


def _context(context: Any) -> Context:
    return Context(context.now_ms, context.seed, context.config)


class _Lifecycle:
    """The export that every plugin has."""

    plugin: Plugin

    def check(self, context: Any) -> None:
        _answer(lambda: self.plugin.check(_context(context)))


def lifecycle(plugin: Plugin) -> type:
    """The class ``Lifecycle`` of the bindings."""
    return type("Lifecycle", (_Lifecycle,), {"plugin": plugin})


# Tuners


def _domain_in(domain: Any) -> t.Domain:
    value = domain.value
    match type(domain).__name__:
        case "Domain_Float":
            return t.FloatRange(value.min, value.max, value.step, _enum_in(t.Scale, value.scale))
        case "Domain_Int":
            return t.IntRange(value.min, value.max, value.step, _enum_in(t.Scale, value.scale))
        case "Domain_Discrete":
            return t.Discrete(value)
    return t.Categorical(value)


def _enum_in(kind: Any, value: Any) -> Any:
    return kind[value.name]


def _search_in(search: Any) -> t.Search:
    objective = search.objective
    return t.Search(
        context=_context(search.context),
        algorithm=search.algorithm,
        settings=[t.Setting(one.name, one.value) for one in search.settings],
        parameters=[t.Parameter(one.name, _domain_in(one.domain)) for one in search.parameters],
        objective=t.Objective(
            objective.metric, _enum_in(t.Direction, objective.direction), objective.goal, objective.additional
        ),
        trials=[
            t.Trial(
                one.id,
                [t.Assignment(each.name, each.value) for each in one.assignments],
                _enum_in(t.Outcome, one.outcome),
                one.objective,
                [t.Measurement(each.metric, each.step, each.value) for each in one.measurements],
            )
            for one in search.trials
        ],
        max_trials=search.max_trials,
    )


def _suggestion(point: t.Suggestion) -> Any:
    tuning = importlib.import_module("wit_world.imports.tuning")
    return tuning.Suggestion(
        [tuning.Assignment(one.name, one.value) for one in point.assignments],
        [types.Setting(one.name, one.value) for one in point.labels],
    )


def tuner(plugin: t.Tuner) -> type:
    """The class ``Tuner`` of the bindings."""

    class Exported:
        def algorithms(self) -> list[str]:
            return list(plugin.algorithms)

        def validate(self, search: Any) -> list[Any]:
            # The contract has no fault here: an exception is a trap, with its text in the log.
            return [_field_error(error) for error in plugin.validate(_search_in(search))]

        def suggest(self, search: Any, count: int) -> list[Any]:
            return _answer(lambda: [_suggestion(one) for one in plugin.suggest(_search_in(search), count)])

        def stop(self, search: Any) -> list[str]:
            return _answer(lambda: list(plugin.stop(_search_in(search))))

    return Exported


# Dialects


def _sync_in(request: Any) -> dialect.SyncRequest:
    return dialect.SyncRequest(
        _context(request.context),
        json.loads(request.parent),
        [json.loads(child) for child in request.children],
        [json.loads(one) for one in request.related],
    )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def controller(plugin: dialect.Dialect) -> type:
    """The class ``Controller`` of the bindings."""
    wit = importlib.import_module("wit_world.exports.controller")

    def selector(one: dialect.Selector) -> Any:
        return wit.Selector(one.api_version, one.kind, one.namespace, list(one.names), one.labels)

    def response(answer: dialect.SyncResponse) -> Any:
        return wit.SyncResponse(
            [_json(child) for child in answer.children],
            None if answer.status is None else _json(answer.status),
            answer.requeue_after_ms,
            [
                wit.Event(wit.Severity.WARNING if one.warning else wit.Severity.NORMAL, one.reason, one.message)
                for one in answer.events
            ],
        )

    class Exported:
        def related(self, context: Any, parent: str) -> list[Any]:
            return _answer(
                lambda: [selector(one) for one in plugin.related(_context(context), json.loads(parent))]
            )

        def sync(self, request: Any) -> Any:
            return _answer(lambda: response(plugin.sync(_sync_in(request))))

        def finalize(self, request: Any) -> Any:
            return _answer(lambda: response(plugin.finalize(_sync_in(request))))

    return Exported


# Capabilities


def _host_error(error: Any) -> faults.HostError:
    kind = {
        "HostError_Denied": faults.Denied,
        "HostError_Invalid": faults.InvalidRequest,
        "HostError_Conflict": faults.Conflict,
        "HostError_TooLarge": faults.TooLarge,
        "HostError_Unavailable": faults.Unavailable,
    }[type(error).__name__]
    return kind(error.value)


def _asked(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except Err as error:
        raise _host_error(error.value) from None


class _Log:
    def __init__(self, wit: Any):
        self.wit = wit

    def write(self, level: int, message: str) -> None:
        self.wit.write(list(self.wit.Level)[level], message)


class _Http:
    def __init__(self, wit: Any):
        self.wit = wit

    def send(self, method, url, headers, body, timeout_ms, redirects):
        try:
            method = self.wit.Method[method.upper()]
        except KeyError:
            raise faults.InvalidRequest(f"{method} is no method; use GET, POST or another of the seven") from None
        headers = [self.wit.Header(name, value) for name, value in headers]
        answer = _asked(self.wit.send, self.wit.Request(method, url, headers, body, timeout_ms, redirects))
        found = [(one.name, one.value) for one in answer.headers]
        return http.Response(answer.status, found, answer.body, answer.url)


class _Secrets:
    def __init__(self, wit: Any):
        self.wit = wit

    def get(self, name):
        entries = _asked(self.wit.get, name)
        return None if entries is None else {one.key: one.value for one in entries}


class _Kv:
    def __init__(self, wit: Any):
        self.wit = wit

    def get(self, key):
        item = _asked(self.wit.get, key)
        return None if item is None else kv.Item(item.value, item.version)

    def set(self, key, value, expected):
        return _asked(self.wit.set, key, value, expected)

    def delete(self, key):
        _asked(self.wit.delete, key)

    def keys(self, prefix):
        return _asked(self.wit.keys, prefix)


class _Blobs:
    def __init__(self, wit: Any):
        self.wit = wit

    def read(self, name, offset, length):
        return _asked(self.wit.read, name, offset, length)

    def write(self, name, content):
        _asked(self.wit.write, name, content)

    def delete(self, name):
        _asked(self.wit.delete, name)

    def list(self, prefix):
        return [blobs.Info(one.name, one.size) for one in _asked(self.wit.list, prefix)]


class _Events:
    def __init__(self, wit: Any):
        self.wit = wit

    def publish(self, id, type, subject, datacontenttype, data, extensions):
        extensions = [types.Setting(name, value) for name, value in extensions.items()]
        _asked(self.wit.publish, self.wit.Event(id, type, subject, datacontenttype, data, extensions))


class _Tuners:
    def __init__(self, wit: Any):
        self.wit = wit

    def _call(self, call, *arguments):
        try:
            return call(*arguments)
        except Err as error:
            raise _fault_in(error.value) from None

    def validate(self, search):
        errors = self._call(self.wit.validate, _search(search))
        return [faults.FieldError(one.field, one.value, one.reason) for one in errors]

    def suggest(self, search, count):
        points = self._call(self.wit.suggest, _search(search), count)
        return [
            t.Suggestion(
                [t.Assignment(one.name, one.value) for one in point.assignments],
                [t.Setting(one.name, one.value) for one in point.labels],
            )
            for point in points
        ]


def _search(search: t.Search) -> Any:
    tuning = importlib.import_module("wit_world.imports.tuning")

    def domain(value: t.Domain) -> Any:
        match value:
            case t.FloatRange():
                range_ = tuning.FloatRange(value.min, value.max, value.step, tuning.Scale[value.scale.name])
                return tuning.Domain_Float(range_)
            case t.IntRange():
                range_ = tuning.IntRange(value.min, value.max, value.step, tuning.Scale[value.scale.name])
                return tuning.Domain_Int(range_)
            case t.Discrete():
                return tuning.Domain_Discrete(list(value.values))
        return tuning.Domain_Categorical(list(value.values))

    def assignments(list_: Iterable[t.Assignment]) -> list[Any]:
        return [tuning.Assignment(one.name, one.value) for one in list_]

    context, objective = search.context, search.objective
    return tuning.Search(
        types.Context(context.now_ms, context.seed, context.config_json),
        search.algorithm,
        [types.Setting(one.name, one.value) for one in search.settings],
        [tuning.Parameter(one.name, domain(one.domain)) for one in search.parameters],
        tuning.Objective(
            objective.metric,
            tuning.Direction[objective.direction.name],
            objective.goal,
            list(objective.additional),
        ),
        [
            tuning.Trial(
                one.id,
                assignments(one.assignments),
                tuning.Outcome[one.outcome.name],
                one.objective,
                [tuning.Measurement(each.metric, each.step, each.value) for each in one.measurements],
            )
            for one in search.trials
        ],
        search.max_trials,
    )


_INTERFACES = {
    "log": _Log,
    "http": _Http,
    "secrets": _Secrets,
    "kv": _Kv,
    "blobs": _Blobs,
    "events": _Events,
    "tuners": _Tuners,
}


def connect() -> None:
    """Makes the interfaces that the component imports reachable from the modules of this package."""
    for name, wrap in _INTERFACES.items():
        try:
            wit = importlib.import_module(f"wit_world.imports.{name}")
        except ModuleNotFoundError:
            continue
        _host.interfaces[name] = wrap(wit)
