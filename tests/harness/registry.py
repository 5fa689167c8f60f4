"""Pushes artifacts from an OCI layout on disk to a registry over plain HTTP, by the distribution specification alone."""

import hashlib
import json
import urllib.error
import urllib.parse
import urllib.request

REFERENCE = "org.opencontainers.image.ref.name"


def push_layout(layout, registry):
    """Pushes everything that the layout's index names; returns name without version -> full reference."""
    pushed = {}
    for entry in json.loads((layout / "index.json").read_text())["manifests"]:
        repository, _, tag = entry["annotations"][REFERENCE].rpartition(":")
        manifest = _blob(layout, entry["digest"])
        parsed = json.loads(manifest)
        for part in (parsed["config"], *parsed["layers"]):
            push_blob(registry, repository, part["digest"], _blob(layout, part["digest"]))
        send("PUT", f"http://{registry}/v2/{repository}/manifests/{tag}", manifest, entry["mediaType"])
        pushed[repository.rpartition("/")[2]] = f"{registry}/{repository}:{tag}"
    return pushed


def push_document(registry, reference, kind, content):
    """Pushes an artifact that is one document of a kind, whatever is in it."""
    name, _, tag = reference.partition("/")[2].rpartition(":")
    parts = []
    for body, media_type in ((b"{}", "application/vnd.oci.empty.v1+json"), (content, kind)):
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        push_blob(registry, name, digest, body)
        parts.append({"mediaType": media_type, "digest": digest, "size": len(body)})
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": media_type, "config": parts[0], "layers": parts[1:]}
    send("PUT", f"http://{registry}/v2/{name}/manifests/{tag}", json.dumps(manifest).encode(), media_type)


def _blob(layout, digest):
    algorithm, _, value = digest.partition(":")
    return (layout / "blobs" / algorithm / value).read_bytes()


def push_blob(registry, repository, digest, content):
    root = f"http://{registry}/v2/{repository}/blobs"
    try:
        send("HEAD", f"{root}/{digest}")
        return
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
    location = send("POST", f"{root}/uploads/").headers["Location"]
    target = urllib.parse.urljoin(f"http://{registry}/", location)
    separator = "&" if "?" in target else "?"
    send(
        "PUT", f"{target}{separator}digest={urllib.parse.quote(digest)}", content, "application/octet-stream"
    )


def send(method, url, body=None, kind=None):
    headers = {"Content-Type": kind} if kind else {}
    if body is None and method == "POST":
        body = b""
    return urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=30)
