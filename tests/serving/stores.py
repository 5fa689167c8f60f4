"""Places that models are fetched from, as the tests start them: an S3 server, a registry, a hub's mirror, a web server."""

import contextlib
import hashlib
import http.server
import io
import json
import os
import pathlib
import socket
import subprocess
import tarfile
import threading
import time

from harness import ports, registry
from harness.wait import until

CACHE = pathlib.Path(os.environ.get("PURLIN_CACHE") or pathlib.Path.home() / ".cache/purlin") / "bin"
KEY, SECRET = "tester", "not-so-secret"


@contextlib.contextmanager
def program(name, log, *arguments, port, **variables):
    """One of the programs of build.sh, while the block lasts."""
    path = CACHE / name
    assert path.exists(), f"{path} is not there; run tests/serving/build.sh"
    with open(log, "w") as output:
        process = subprocess.Popen([path, *arguments], stdout=output, stderr=output, env={**os.environ, **variables})
        try:
            until(f"{name} answers", lambda: _answers(port), 30)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def s3(folder):
    """An S3 server whose buckets are the folders below `folder/buckets`."""
    port = ports.row(1)
    (folder / "buckets").mkdir(exist_ok=True)
    arguments = ["--port", f"127.0.0.1:{port}", "--quiet", "posix", folder / "buckets"]
    return program("versitygw", folder / "s3.log", *arguments, port=port, ROOT_ACCESS_KEY=KEY, ROOT_SECRET_KEY=SECRET)


def images(folder):
    """A registry without a password."""
    port = ports.row(1)
    config = folder / "registry.yml"
    storage = f"storage: {{filesystem: {{rootdirectory: {folder / 'registry'}}}}}"
    config.write_text(f"version: 0.1\nlog: {{level: error}}\n{storage}\nhttp: {{addr: '127.0.0.1:{port}'}}\n")
    arguments = ["serve", config]
    return program("registry", folder / "registry.log", *arguments, port=port, OTEL_TRACES_EXPORTER="none")


def push_modelcar(address, name, files):
    """Pushes an image that has files below /models, with a layer of a system below it; returns its reference."""
    layers = [_layer({"bin/sh": b"a shell"}), _layer({f"models/{path}": content for path, content in files.items()})]
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    kinds = ["application/vnd.oci.image.config.v1+json"] + ["application/vnd.oci.image.layer.v1.tar+gzip"] * 2
    parts = []
    for kind, content in zip(kinds, [config, *layers]):
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        registry.push_blob(address, name, digest, content)
        parts.append({"mediaType": kind, "digest": digest, "size": len(content)})
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": parts[0], "layers": parts[1:]}
    registry.send("PUT", f"http://{address}/v2/{name}/manifests/1", json.dumps(manifest).encode(), kind)
    return f"{address}/{name}:1"


def _layer(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


class Web:
    """A web server with files, which can cut answers off, send slowly, and stand for a hub's mirror."""

    def __init__(self):
        self.files = {}
        self.cuts = 0
        self.pause = 0.0
        self.asked = []
        self.token = None
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                web._answer(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()

    def put_repository(self, name, files):
        """A repository of a hub, at one commit."""
        commit = hashlib.sha1(name.encode()).hexdigest()
        siblings = []
        for path, content in files.items():
            self.files[f"/{name}/resolve/{commit}/{path}"] = content
            lfs = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            siblings.append({"rfilename": path, "size": len(content), "lfs": lfs})
        listing = json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode()
        self.files[f"/api/models/{name}/revision/main"] = listing

    def _answer(self, request):
        path = request.path.partition("?")[0]
        content = self.files.get(path)
        begin = request.headers.get("Range")
        self.asked.append((path, begin))
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return self._short(request, 401)
        if content is None:
            return self._short(request, 404)
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        if request.headers.get("If-None-Match") == tag:
            return self._short(request, 304)
        offset = int(begin.removeprefix("bytes=").rstrip("-")) if begin else 0
        request.send_response(206 if begin else 200)
        request.send_header("ETag", tag)
        request.send_header("Content-Length", str(len(content) - offset))
        if begin:
            request.send_header("Content-Range", f"bytes {offset}-{len(content) - 1}/{len(content)}")
        request.end_headers()
        rest = content[offset:]
        if self.cuts > 0:
            self.cuts -= 1
            request.wfile.write(rest[: len(rest) // 2])
            request.wfile.flush()
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
            return None
        step = max(1, len(rest) // 8)
        for at in range(0, len(rest), step):
            request.wfile.write(rest[at : at + step])
            request.wfile.flush()
            time.sleep(self.pause)
        return None

    @staticmethod
    def _short(request, status):
        request.send_response(status)
        request.send_header("Content-Length", "0")
        request.end_headers()
