"""Replaces what two servers cannot have in common: uids, resource versions, times, random suffixes, their own address and
opaque continue tokens; and puts what has no order of its own into one. Nothing else may be taken out here; an accepted difference belongs in `explained.yaml`.

Within a case each uid and each object's resource version becomes a numbered mark in the order of its appearance, so that
two values that are equal on one server and differ on the other are still a difference.
"""

import datetime
import re

UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
TIME = re.compile(r"\b(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z")
AGE = re.compile(r"^(<invalid>|(\d+[smhdy])+)$")
# A resource version inside a text: a query, an object quoted in a message, a failed precondition.
QUOTED_VERSION = re.compile(r"(resourceVersion\W{1,6}|in record \()(\d+)")
CONTINUE = re.compile(r"(continue=)[^& ]+")
# The alphabet of generated suffixes, and how much of a prefix is kept before one.
SUFFIX, LONGEST_PREFIX = "[bcdfghjklmnpqrstvwxz2456789]{5}", 58
# Server-made times are of today; a time that a request brought along is of another year and stays.
RECENT = datetime.timedelta(days=1)


class Normaliser:
    """One case on one server: the marks given so far."""

    def __init__(self, address):
        # A server may call itself by another of its host's names; the port tells that it means itself.
        # The look-behind keeps the search linear in a long text without a colon.
        self.address = re.compile(r"(?<![\w.-])[\w.-]+:" + re.escape(address.rpartition(":")[2]) + r"\b")
        self.uids, self.versions, self.names, self.generated = {}, {}, {}, []
        self.ages = []  # which cells of the last table's rows are ages

    def exchange(self, exchange):
        """The comparable form: request line, status, headers and body."""
        if exchange.prefix:
            prefix = exchange.prefix[:LONGEST_PREFIX]
            self.generated.append((prefix, re.compile(r"(?<![\w.-])" + re.escape(prefix) + SUFFIX + r"\b")))
        return {
            "request": self._text(exchange.request),
            "status": exchange.status,
            "headers": {k: self._text(v) for k, v in exchange.headers.items()},
            "body": self._value(exchange.body, ()),
        }

    def _value(self, value, path):
        if isinstance(value, dict):
            if value.get("kind") == "Table":
                value = self._without_ages(value)
            if value.get("kind") == "Status":
                value = _with_causes_in_order(value)
            if "items" in value or value.get("kind") in ("Table", "Status"):
                path = (*path, "<collection>")
            return {self._text(k): self._value(v, (*path, k)) for k, v in value.items()}
        if isinstance(value, list):
            if path[-2:] == ("metadata", "managedFields"):
                value = _with_managers_in_order(value)
            return [self._value(v, (*path, i)) for i, v in enumerate(value)]
        if isinstance(value, str):
            if path and path[-1] == "resourceVersion":
                return self._version(value, path)
            if path and path[-1] == "continue" and value:
                return "<continue>"
            return self._text(value)
        return value

    def _version(self, value, path):
        if not value.isdigit() or value == "0":
            return value
        if path[-3:-1] == ("<collection>", "metadata"):
            return "<version>"  # of the whole store: moves with anybody's writes
        return self.versions.setdefault(value, f"<version {len(self.versions) + 1}>")

    def _without_ages(self, table):
        columns = table.get("columnDefinitions")
        if isinstance(columns, list):  # a watch says them once, with its first event
            ages = ("Age", "Last Seen", "First Seen", "Duration")
            # A definition's own columns have names of their own.
            aged = lambda column: column.get("name") in ages or column.get("type") == "date"
            self.ages = [i for i, column in enumerate(columns) if aged(column)]
        rows = []
        for row in table.get("rows") or []:
            cells = list(row["cells"])
            for i in self.ages:
                if i < len(cells) and isinstance(cells[i], str) and AGE.match(cells[i]):
                    cells[i] = "<age>"
            rows.append({**row, "cells": cells})
        return {**table, "rows": rows} if "rows" in table else table

    def _text(self, text):
        for prefix, pattern in self.generated:
            for name in pattern.findall(text):
                text = text.replace(
                    name, self.names.setdefault(name, f"{prefix}<random {len(self.names) + 1}>")
                )
        text = CONTINUE.sub(r"\1<continue>", text)
        text = QUOTED_VERSION.sub(self._quoted_version, text)
        text = UID.sub(lambda m: self.uids.setdefault(m[0], f"<uid {len(self.uids) + 1}>"), text)
        text = TIME.sub(_time, text)
        return self.address.sub("<address>", text)

    def _quoted_version(self, match):
        return match[1] + (self.versions.get(match[2]) or match[2])


def _with_causes_in_order(status):
    """Several causes come from fields that a real server keeps in a map, and walks through in no order of its own."""
    causes = (status.get("details") or {}).get("causes") or []
    texts = [f"{cause.get('field')}: {cause.get('message')}" for cause in causes]
    listed = f"[{', '.join(texts)}]"
    if len(causes) < 2 or listed not in status.get("message", ""):
        return status
    ordered = sorted(causes, key=lambda cause: (cause.get("field", ""), cause.get("message", "")))
    return {
        **status,
        "message": status["message"].replace(listed, f"[{', '.join(sorted(texts))}]"),
        "details": {**status["details"], "causes": ordered},
    }


def _with_managers_in_order(entries):
    """A server sorts them by the second of the write before the name of the writer. Whether two writes fall into one second
    is chance, so each server's order is checked against its own times, and what is compared is sorted without them."""
    if not all(isinstance(entry, dict) for entry in entries):
        return entries
    names = lambda entry: tuple(entry.get(key, "") for key in ("manager", "apiVersion", "subresource"))
    updates = lambda entry: entry.get("operation") != "Apply"
    if entries != sorted(entries, key=lambda entry: (updates(entry), entry.get("time", ""), names(entry))):
        return [*entries, "<not sorted by operation, time and name>"]
    return sorted(entries, key=lambda entry: (updates(entry), names(entry)))


def _time(match):
    at = datetime.datetime.fromisoformat(match[1]).replace(tzinfo=datetime.timezone.utc)
    if abs(datetime.datetime.now(datetime.timezone.utc) - at) > RECENT:
        return match[0]
    return "<time with a fraction>" if match[2] else "<time>"
