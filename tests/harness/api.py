"""The Kubernetes API over HTTP, for tests that make thousands of requests: kubectl would cost a process each."""

import http.client
import json
import ssl
import threading
import time
import urllib.parse

import yaml


class Failed(AssertionError):
    """The server answered with an error, or not at all."""


class Api:
    """One server by a kubeconfig with a token. Each call has a connection of its own: any thread may call."""

    def __init__(self, kubeconfig):
        config = yaml.safe_load(open(kubeconfig))
        self.server = config["clusters"][0]["cluster"]["server"]
        self.token = config["users"][0]["user"]["token"]
        self._local = threading.local()

    def _connection(self, timeout):
        address = urllib.parse.urlparse(self.server).netloc
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection(address, timeout=timeout, context=context)

    def send(self, method, path, body=None, kind="application/json", timeout=30):
        """Status and parsed body."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        text = None if body is None else json.dumps(body)
        for attempt in (0, 1):
            connection = getattr(self._local, "connection", None) or self._connection(timeout)
            self._local.connection = connection
            try:
                connection.request(method, path, text, headers)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())
            except (http.client.HTTPException, OSError):
                # The server closes connections that it has not heard of for a while.
                connection.close()
                self._local.connection = None
                if attempt:
                    raise

    def get(self, path):
        status, found = self.send("GET", path)
        if status != 200:
            raise Failed(f"GET {path}: {status} {found.get('message')}")
        return found

    def create(self, path, body):
        status, made = self.send("POST", path, body)
        if status not in (200, 201):
            raise Failed(f"POST {path}: {status} {made.get('message')}")
        return made


class Recorder:
    """Writes down every object of a kind that was ever there: what was made twice shows, even if one is gone."""

    def __init__(self, api, path):
        self.api, self.path = api, path
        self.seen = {}
        self.changes = 0
        self.stopped = False
        self.version = api.get(path)["metadata"]["resourceVersion"]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopped:
            try:
                self._watch()
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                time.sleep(0.2)

    def _watch(self):
        connection = self.api._connection(10)
        query = f"watch=1&allowWatchBookmarks=true&timeoutSeconds=20&resourceVersion={self.version}"
        connection.request(
            "GET", f"{self.path}?{query}", headers={"Authorization": f"Bearer {self.api.token}"}
        )
        answer = connection.getresponse()
        try:
            if answer.status == 410:
                return self._list()
            if answer.status != 200:
                # A server that is starting or stopping; it is asked again.
                raise http.client.HTTPException(f"{answer.status} for a watch of {self.path}")
            while not self.stopped:
                line = answer.readline()
                if not line:
                    return
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return self._list()
                self.version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._note(event["object"])
        except TimeoutError:
            return
        finally:
            connection.close()

    def _list(self):
        """What was known is too old: what is there now is all that can be known."""
        listed = self.api.get(self.path)
        self.version = listed["metadata"]["resourceVersion"]
        for item in listed["items"]:
            self._note(item)

    def _note(self, item):
        self.changes += 1
        meta = item["metadata"]
        self.seen.setdefault((meta.get("namespace"), meta["name"]), set()).add(meta["uid"])

    def doubled(self):
        """Names under which more than one object was made."""
        return [name for name, uids in self.seen.items() if len(uids) > 1]

    def stop(self):
        self.stopped = True
        self.thread.join(15)
