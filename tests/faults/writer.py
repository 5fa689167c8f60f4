"""Writes ConfigMaps as fast as the server answers and remembers which writes were acknowledged, across its deaths."""

import threading
import time

import urllib3
from conformance.session import Server as Connection


class Writer:
    """A thread that creates and updates ConfigMaps in one namespace until stopped.

    `acknowledged` maps a name to the highest value whose write was answered with 2xx; `sent` to the highest value sent. What is
    stored afterwards must lie between the two. `writes` counts the acknowledged ones.
    """

    def __init__(self, kubeconfig, namespace):
        self.kubeconfig, self.namespace = kubeconfig, namespace
        self.acknowledged, self.sent, self.writes = {}, {}, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure = None

    def start(self):
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join(60)
        if self._failure:
            raise self._failure

    def _run(self):
        path = f"/api/v1/namespaces/{self.namespace}/configmaps"
        connection, number = None, 0
        try:
            while not self._stop.is_set():
                connection = connection or Connection(self.kubeconfig)
                name, value = f"w{number % 500}", number // 500
                body = f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"value":"{value}"}}}}'
                self.sent[name] = value
                kind = "application/apply-patch+yaml"
                try:
                    answer = connection.send(
                        "PATCH", f"{path}/{name}?fieldManager=writer&force=true", body, {"Content-Type": kind}
                    )
                except (urllib3.exceptions.HTTPError, OSError):
                    connection = None  # the server is dead or dying; the write may or may not have happened
                    time.sleep(0.05)
                    continue
                if answer.status in (200, 201):
                    self.acknowledged[name] = value
                    self.writes += 1
                elif answer.status not in (429, 503):
                    raise AssertionError(f"a write was answered with {answer.status}: {answer.data[:300]!r}")
                number += 1
                time.sleep(0.005)
        except Exception as error:
            self._failure = error
