"""A server for the steps of graphs and for what it costs to be asked: it says who it is, what it was given and at which path,
with the status that it was told. Nothing but the standard library, so that it starts at once."""

import argparse
import http.server
import json
import os

parser = argparse.ArgumentParser()
parser.add_argument("--model_name", default="step")
parser.add_argument("--status", type=int, default=200)
parser.add_argument("--http_port", type=int, default=int(os.environ.get("PORT", "8080")))
arguments, others = parser.parse_known_args()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, {"name": arguments.model_name, "ready": True})

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        given = json.loads(text)
        told = {"step": arguments.model_name, "path": self.path, "given": given, "arguments": others}
        if arguments.status != 200:
            told["detail"] = f"Intentional {arguments.status}"
        self.answer(arguments.status, told)

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", arguments.http_port), Handler).serve_forever()
