"""Lists: selectors, pages, versions, and the answers to wrong parameters."""

from ..case import case
from ..session import TABLE
from .objects import config_map, pod

names = lambda j: [i["metadata"]["name"] for i in j["items"]]


def fill(s):
    path = s.path("configmaps")
    for i in range(5):
        labels = {"all": "1", "parity": "odd" if i % 2 else "even", "n": str(i)}
        if i == 4:
            labels["extra"] = ""
        s.send_unrecorded("POST", path, config_map(f"c{i}", labels=labels))
    return path


@case
def label_selectors(s):
    path = fill(s)
    for selector in [
        "all=1", "all==1,parity=odd", "parity!=odd,all", "n in (1,3)", "n notin (1,3),all", "extra", "!extra,all",
        "n>2", "n<2", "all=1, n in (0, 4)", "none=x",
    ]:  # fmt: skip
        s.get(path, labelSelector=selector, only=names)


@case
def malformed_label_selectors(s):
    path = s.path("configmaps")
    for selector in [
        "a=b=c",
        "in (a)",
        "a in ()",
        "a in (b",
        "a b",
        "=x",
        "a=,b!",
        "-bad-=x",
        "a=" + "x" * 64,
    ]:
        s.get(path, labelSelector=selector)


@case
def field_selectors(s):
    path = fill(s)
    for selector in [
        "metadata.name=c1",
        "metadata.name!=c1",
        f"metadata.namespace={s.namespace}",
        "metadata.namespace=other",
    ]:
        s.get(path, fieldSelector=selector, labelSelector="all", only=names)
    s.get(path, fieldSelector="data.k=v")
    s.get(path, fieldSelector="nonsense")
    s.get(
        "/api/v1/configmaps", fieldSelector="metadata.name=c1", labelSelector="all", only=lambda j: j["kind"]
    )


@case
def pod_field_selectors(s):
    path = s.path("pods")
    s.post(path, pod("a"))
    for selector in [
        "status.phase=Pending",
        "status.phase!=Pending",
        "spec.nodeName=",
        "spec.restartPolicy=Always",
        "spec.schedulerName=nobody",
        "metadata.name=a,status.phase=Running",
    ]:
        s.get(path, fieldSelector=selector, only=names)
    s.get(path, fieldSelector="spec.containers=x")


@case
def pages(s):
    path = fill(s)
    first = s.get(path, labelSelector="all", limit=2, only=lambda j: {**j, "items": names(j)})
    token = first["metadata"]["continue"]
    second = s.get(
        path, labelSelector="all", limit=2, continue_=token, only=lambda j: {**j, "items": names(j)}
    )
    s.get(
        path,
        labelSelector="all",
        limit=2,
        continue_=second["metadata"]["continue"],
        only=lambda j: {**j, "items": names(j)},
    )
    s.get(path, labelSelector="all", limit=500, only=lambda j: {**j, "items": names(j)})


@case
def pages_without_a_selector_count_what_is_left(s):
    path = s.path("leases", "coordination.k8s.io/v1")
    for i in range(3):
        s.send_unrecorded(
            "POST",
            path,
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": f"l{i}"},
                "spec": {},
            },
        )
    s.get(path, limit=1, only=lambda j: [j["metadata"].get("remainingItemCount"), names(j)])


@case
def a_page_is_of_the_first_pages_version(s):
    path = fill(s)
    first = s.get(path, labelSelector="all", limit=2, only=lambda j: {**j, "items": names(j)})
    s.delete(f"{path}/c3")
    s.post(path, config_map("c9", labels={"all": "1"}))
    s.get(
        path,
        labelSelector="all",
        limit=9,
        continue_=first["metadata"]["continue"],
        only=lambda j: {**j, "items": names(j)},
    )


@case
def wrong_list_parameters(s):
    path = s.path("configmaps")
    s.get(path, continue_="nonsense", limit=1)
    s.get(path, limit="many")
    s.get(path, resourceVersion="nonsense")
    s.get(path, resourceVersionMatch="Exact")
    s.get(path, resourceVersion="0", resourceVersionMatch="Exact")
    s.get(path, resourceVersion="5", resourceVersionMatch="Sometimes")
    s.get(path, timeoutSeconds="x", only=lambda j: j["kind"])


@case
def list_at_a_version(s):
    path = s.path("configmaps")
    first = s.post(path, config_map("a", labels={"all": "1"}))
    s.post(path, config_map("b", labels={"all": "1"}))
    s.get(path, labelSelector="all", resourceVersion="0", only=lambda j: j["kind"])
    s.get(path, labelSelector="all", resourceVersion=first.version, resourceVersionMatch="Exact", only=names)
    s.get(
        path,
        labelSelector="all",
        resourceVersion=first.version,
        resourceVersionMatch="NotOlderThan",
        only=names,
    )
    s.get(path, labelSelector="all", resourceVersion=first.version, only=names)


@case
def a_version_from_the_future(s):
    answer = s.get(s.path("configmaps"), resourceVersion="999999999", only=lambda j: j["kind"])
    # The message names the current version, which is the store's.
    answer.body = {k: v for k, v in answer.body.items() if k not in ("message", "details")}


@case
def unknown_query_parameters_are_ignored(s):
    s.post(s.path("configmaps"), config_map("a"))
    s.get(s.path("configmaps") + "/a", pretty="false", nonsense="1")
    s.get(s.path("configmaps") + "/a", resourceVersion="0", only=lambda j: j["kind"])


@case
def lists_across_namespaces(s):
    s.post(s.path("configmaps"), config_map("a", labels={"only": s.run}))
    s.get("/api/v1/configmaps", labelSelector=f"only={s.run}")
    s.get("/api/v1/configmaps", labelSelector=f"only={s.run}", accept=TABLE)
    s.get("/api/v1/namespaces/never-made/configmaps")
