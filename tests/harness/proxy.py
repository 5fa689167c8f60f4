"""A proxy between a Purlin process and an API server, that can do to it what networks and servers do.

It ends TLS, reads each request and passes the answer on as it comes, so faults can be about connections (cut, silent,
slow) or about requests (an answer of the proxy's own, half an answer).
"""

import json
import pathlib
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

import yaml


class Proxy:
    """Listens on a free port. `fault(method, path)` is asked for each request and gives None or an answer."""

    def __init__(self, directory, kubeconfig):
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        certificate, key = directory / "proxy.crt", directory / "proxy.key"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", "/CN=localhost", "-keyout", key, "-out", certificate),
            ],
            check=True,
            capture_output=True,
        )
        config = yaml.safe_load(pathlib.Path(kubeconfig).read_text())
        server = urllib.parse.urlparse(config["clusters"][0]["cluster"]["server"])
        self.upstream = (server.hostname, server.port)
        self._server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server_side.load_cert_chain(certificate, key)
        self._client_side = ssl._create_unverified_context()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.port}"
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(config))
        self.fault = None
        self.silent = False
        self.refusing = False
        self.delay = 0.0
        self.answered = 0
        self._open = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def heal(self):
        """Ends every fault. Connections that fell silent stay so: their packets are lost."""
        self.fault, self.silent, self.refusing, self.delay = None, False, False, 0.0

    def cut(self):
        """Closes every open connection, watches in their middle included."""
        with self._lock:
            victims, self._open = self._open, set()
        for victim in victims:
            try:
                victim.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self._listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _track(self, stream):
        with self._lock:
            self._open.add(stream)

    def _forget(self, *streams):
        with self._lock:
            self._open -= set(streams)
        for stream in streams:
            try:
                stream.close()
            except OSError:
                pass

    def _wait_out_silence(self):
        """Whoever falls silent loses what it had; the connection is dead for good."""
        if not self.silent:
            return False
        while self.silent:
            time.sleep(0.1)
        return True

    def _serve(self, raw):
        try:
            raw.settimeout(120)
            client = self._server_side.wrap_socket(raw, server_side=True)
        except OSError:
            raw.close()
            return
        self._track(client)
        try:
            reader = client.makefile("rb")
            while self._one(client, reader):
                pass
        except (OSError, ValueError):
            pass
        finally:
            self._forget(client)

    def _one(self, client, reader):
        head = reader.readline()
        if not head:
            return False
        method, path, _ = head.decode().split(" ", 2)
        headers, length = [], 0
        while (line := reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            if name.lower() == "content-length":
                length = int(value)
            if name.lower() != "connection":
                headers.append(line)
        body = reader.read(length) if length else b""
        if self._wait_out_silence():
            return False
        if self.delay:
            time.sleep(self.delay)
        fault = self.fault and self.fault(method, path)
        if fault is not None and not callable(fault):
            self.answered += 1
            client.sendall(fault)
            return True
        upstream = self._client_side.wrap_socket(socket.create_connection(self.upstream, timeout=60))
        self._track(upstream)
        try:
            upstream.sendall(head + b"".join(headers) + b"Connection: close\r\n\r\n" + body)
            upstream.settimeout(120)
            sent = 0
            while chunk := upstream.recv(65536):
                if self._wait_out_silence():
                    return False
                if callable(fault):
                    # Half of what came, in the middle of whatever it was.
                    kept = fault(chunk, sent)
                    if kept is not None:
                        self.answered += 1
                        client.sendall(kept)
                        return False
                client.sendall(chunk)
                sent += len(chunk)
        finally:
            self._forget(upstream)
        return True


def answer(code, reason, headers=(), status="Failure"):
    """An answer as an API server words it."""
    body = json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": status,
            "reason": reason,
            "code": code,
            "message": f"injected: {reason}",
        }
    ).encode()
    lines = [f"HTTP/1.1 {code} {reason}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
