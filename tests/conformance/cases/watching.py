"""Watches: from a version, from now, with selectors, as Tables, and with bookmarks.

A version that is too old (410) is not here: which one is depends on when each server last compacted its log."""

from ..case import case
from ..session import PARTIAL, TABLE
from .objects import config_map, definition, establish, job


def history(s):
    """Writes a few changes; returns the collection and the version before them."""
    path = s.path("configmaps")
    start = s.post(path, config_map("first", labels={"w": "1"})).version
    s.post(path, config_map("a", labels={"w": "1"}))
    s.patch(f"{path}/a", "merge", {"data": {"k": "w"}})
    s.patch(f"{path}/a", "merge", {"metadata": {"labels": {"w": "2"}}})
    s.patch(f"{path}/a", "merge", {"metadata": {"labels": {"w": "1"}}})
    s.delete(f"{path}/a")
    return path, start


@case
def watch_from_a_version(s):
    path, start = history(s)
    s.watch(path, 5, resourceVersion=start)


@case
def watch_with_a_label_selector_sees_objects_enter_and_leave(s):
    path, start = history(s)
    s.watch(path, 5, resourceVersion=start, labelSelector="w=1")


@case
def watch_with_a_field_selector(s):
    path, start = history(s)
    s.watch(path, 5, resourceVersion=start, fieldSelector="metadata.name=a")
    s.watch(path, 1, resourceVersion=start, fieldSelector="metadata.name=first", timeoutSeconds=1)


@case
def watch_without_a_version_starts_with_what_is_there(s):
    path = s.path("configmaps")
    for name in ("a", "b"):
        s.post(path, config_map(name, labels={"w": "1"}))
    s.watch(path, 2, labelSelector="w")
    s.watch(path, 2, labelSelector="w", resourceVersion="0")


@case
def watch_of_one_object_by_the_old_path(s):
    s.post(s.path("configmaps"), config_map("a"))
    s.watch(f"/api/v1/watch/namespaces/{s.namespace}/configmaps/a", 1)
    s.watch(f"/api/v1/watch/namespaces/{s.namespace}/configmaps", 1, fieldSelector="metadata.name=a")


@case
def watch_as_tables(s):
    s.post(s.path("jobs", "batch/v1"), job("a"))
    s.post(s.path("jobs", "batch/v1"), job("b"))
    s.watch(s.path("jobs", "batch/v1"), 2, accept=TABLE)


@case
def watch_as_partial_metadata(s):
    s.post(s.path("configmaps"), config_map("a"))
    s.watch(s.path("configmaps"), 1, accept=PARTIAL, fieldSelector="metadata.name=a")


@case
def watch_list_ends_its_first_events_with_a_bookmark(s):
    path = s.path("configmaps")
    s.post(path, config_map("a", labels={"w": "1"}))
    s.watch(
        path,
        2,
        labelSelector="w",
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
        only=bookmarked,
    )
    s.get(path, watch="true", sendInitialEvents="true")
    s.get(path, watch="true", sendInitialEvents="true", resourceVersionMatch="Exact")


def bookmarked(events):
    """Bookmarks without their version, which is the store's."""
    for event in events:
        if event["type"] == "BOOKMARK":
            event["object"]["metadata"]["resourceVersion"] = "<version>"
    return events


@case
def wrong_watch_parameters(s):
    path = s.path("configmaps")
    s.get(path, watch="true", resourceVersion="nonsense")
    s.get(path, watch="true", labelSelector="a in (")
    s.get(path, watch="true", timeoutSeconds="1", fieldSelector="data.k=v")
    s.get(path, watch="true", resourceVersionMatch="NotOlderThan")


@case
def a_watch_with_nothing_to_say_ends_empty(s):
    s.watch(s.path("configmaps"), 1, timeoutSeconds=1, fieldSelector="metadata.name=none")


@case
def watch_of_a_custom_kind(s):
    body, group = definition(s, "seen", "Seen")
    establish(s, body)
    path = s.path("seen", f"{group}/v1")
    first = s.post(
        path, {"apiVersion": f"{group}/v1", "kind": "Seen", "metadata": {"name": "a"}, "spec": {"size": 1}}
    )
    s.patch(f"{path}/a", "merge", {"spec": {"size": 2}})
    s.patch(f"{path}/a/status", "merge", {"status": {"phase": "Done"}})
    s.delete(f"{path}/a")
    s.watch(path, 3, resourceVersion=first.version)
