"""Sends one case's requests to one server and records each answer. Never judges an answer."""

import dataclasses
import json
import pathlib
import urllib.parse
import zlib

import urllib3
import yaml

PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"


class Server:
    """A server as its kubeconfig describes it. Certificates are not checked: only loopback is ever compared."""

    def __init__(self, kubeconfig):
        config = yaml.safe_load(pathlib.Path(kubeconfig).read_text())
        by_name = lambda key, name: next(e for e in config[key] if e["name"] == name)[key[:-1]]
        context = by_name("contexts", config["current-context"])
        self.url = by_name("clusters", context["cluster"])["server"].rstrip("/")
        self.address = urllib.parse.urlsplit(self.url).netloc
        self.token = by_name("users", context["user"])["token"]
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self.pool = urllib3.PoolManager(
            cert_reqs="CERT_NONE", maxsize=4, retries=False, timeout=urllib3.Timeout(30)
        )

    def send(self, method, path, body=None, headers=None, token=None, stream=False):
        """One request; `token` replaces the administrator's, and an empty one sends none."""
        token = self.token if token is None else token
        headers = {
            "Accept": "application/json",
            **({"Authorization": f"Bearer {token}"} if token else {}),
            **(headers or {}),
        }
        return self.pool.request(
            method, self.url + path, body=body, headers=headers, preload_content=not stream
        )


@dataclasses.dataclass
class Exchange:
    """One request and what came back, before normalisation. `body` is JSON where it parses as that, else text."""

    request: str
    status: int
    headers: dict
    body: object
    prefix: str = ""  # the generateName that was sent

    def __getitem__(self, key):
        return self.body[key]

    @property
    def version(self):
        return self.body["metadata"]["resourceVersion"]

    @property
    def uid(self):
        return self.body["metadata"]["uid"]


class Session:
    """What a case function gets. `namespace` is the case's own; `run` makes cluster-wide names unique to this replay."""

    KEPT_HEADERS = ("content-type", "warning", "location", "allow", "www-authenticate")

    def __init__(self, server, case_name, run):
        self.server = server
        self.run = run
        self.namespace = f"{case_name[:40].strip('-')}-{run}"
        self.word = f"w{zlib.crc32(case_name.encode()):08x}"  # the case's own, fit for a resource name
        self.exchanges = []
        self.send_unrecorded("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    def path(self, resource, group="v1"):
        """`path("jobs", "batch/v1")`: the collection in the case's namespace."""
        root = "/api/v1" if group == "v1" else f"/apis/{group}"
        return f"{root}/namespaces/{self.namespace}/{resource}"

    def send_unrecorded(self, method, path, body=None):
        """For preparation and clean-up that are not compared."""
        return self.server.send(
            method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"}
        )

    def request(
        self,
        method,
        path,
        body=None,
        *,
        type="application/json",
        accept=None,
        token=None,
        only=None,
        headers=None,
        **params,
    ):
        """Sends and records. `only` picks the part of a JSON answer to compare; `params` go into the query."""
        path = _with_query(path, params)
        sent = {"Content-Type": type} if body is not None else {}
        if accept:
            sent["Accept"] = accept
        sent.update(headers or {})
        prefix = ""
        if isinstance(body, dict):
            metadata = body.get("metadata")
            prefix = metadata.get("generateName", "") if isinstance(metadata, dict) else ""
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        answer = self.server.send(method, path, body, sent, token)
        text = answer.data.decode(errors="replace")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if only and answer.status < 300:
            value = only(value)
        kept = {k.lower(): v for k, v in answer.headers.items() if k.lower() in self.KEPT_HEADERS}
        exchange = Exchange(f"{method} {path}", answer.status, kept, value, prefix)
        self.exchanges.append(exchange)
        return exchange

    def get(self, path, **keywords):
        return self.request("GET", path, **keywords)

    def post(self, path, body, **keywords):
        return self.request("POST", path, body, **keywords)

    def put(self, path, body, **keywords):
        return self.request("PUT", path, body, **keywords)

    def delete(self, path, body=None, **keywords):
        return self.request("DELETE", path, body, **keywords)

    def patch(self, path, kind, body, **keywords):
        return self.request("PATCH", path, body, type=PATCHES[kind], **keywords)

    def apply(self, path, body, manager="tests", **keywords):
        return self.patch(path, "apply", body, fieldManager=manager, **keywords)

    def watch(self, path, events, *, accept=None, only=None, **params):
        """Reads `events` events, or to the end of the watch (`timeoutSeconds`, 5 here) if fewer come."""
        path = _with_query(path, {"watch": "true", "timeoutSeconds": 5, **params})
        answer = self.server.send("GET", path, headers={"Accept": accept} if accept else None, stream=True)
        seen, rest = [], b""
        try:
            for chunk in answer.stream(65536, decode_content=True):
                rest += chunk
                *lines, rest = rest.split(b"\n")
                seen += [json.loads(line) for line in lines if line.strip()]
                if len(seen) >= events:
                    break
            if rest.strip() and len(seen) < events:
                seen.append(json.loads(rest))
        finally:
            answer.close()
        seen = seen[:events]
        kept = {k.lower(): v for k, v in answer.headers.items() if k.lower() in self.KEPT_HEADERS}
        exchange = Exchange(f"GET {path}", answer.status, kept, only(seen) if only else seen)
        self.exchanges.append(exchange)
        return exchange


def _with_query(path, params):
    """Python's keywords cannot spell `continue`; a trailing underscore is dropped."""
    params = {k.rstrip("_"): v for k, v in params.items() if v is not None}
    if not params:
        return path
    return path + ("&" if "?" in path else "?") + urllib.parse.urlencode(params)
