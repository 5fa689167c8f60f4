"""InferenceServices for the benchmarks, and the servers that have them."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import urllib.parse

import requests
from harness import processes
from harness.kubectl import Kubectl
from harness.server import REPOSITORY, Server, binary
from harness.wait import until
from serving.service import condition, ready

LUA = pathlib.Path(__file__).parent.parent / "infer.lua"
NAMESPACE = "default"


def service(name, model_format, folder, **predictor):
    """An InferenceService of a format whose model lies in a folder."""
    model = {"modelFormat": {"name": model_format}, "protocolVersion": "v2", "storageUri": f"file://{folder}"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"predictor": {"model": model, **predictor}},
    }


class Purlin:
    """`purlin up` that may read a folder of models, on some of the machine's cores or all."""

    def __init__(self, directory, models, arguments=(), cores=None):
        self.server = Server(directory / "up", arguments=["--model-dir", str(models), *arguments])
        self.directory, self.cores = directory, cores

    def start(self):
        own = os.sched_getaffinity(0)
        # A child has its parent's.
        os.sched_setaffinity(0, self.cores or own)
        try:
            self.server.start()
        finally:
            os.sched_setaffinity(0, own)
        self.kubectl = Kubectl(self.server.kubeconfig, home=self.directory)
        self.kubectl = self.kubectl.within(NAMESPACE)
        until("dialect-kserve is ready", lambda: self.plugin_ready("dialect-kserve"), 60)
        return self

    def plugin_ready(self, name):
        return condition(self.kubectl, "plugins.purlin.dev", name, "Ready").get("status") == "True"

    def apply(self, *services):
        listed = {"apiVersion": "v1", "kind": "List", "items": list(services)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def ready(self, name, limit=120):
        ready(self.kubectl, name, limit)

    def url(self, name, verb="infer"):
        return f"http://{self.server.gateway}/serving/{NAMESPACE}/{name}/v2/models/{name}/{verb}"

    def resident(self):
        """Bytes of the process; the model is in it."""
        return processes.resident_bytes(self.server.process.pid)


@contextlib.contextmanager
def purlin(models, arguments=(), cores=None):
    with tempfile.TemporaryDirectory(prefix="purlin-bench-", ignore_cleanup_errors=True) as directory:
        server = Purlin(pathlib.Path(directory), models, arguments, cores)
        try:
            yield server.start()
        finally:
            server.server.discard()


class MlServer:
    """MLServer, installed from its wheels, with one model and one worker, as its documentation starts it."""

    def __init__(self, directory, implementation, file):
        self.directory = directory
        self.python = pathlib.Path(
            subprocess.run(
                [REPOSITORY / "scripts/venv.sh", pathlib.Path(__file__).parent / "mlserver.txt"],
                check=True,
                capture_output=True,
                text=True,
            ).stdout.strip()
        )
        self.port = 28900
        directory.mkdir(parents=True)
        settings = {"debug": False, "http_port": self.port, "grpc_port": self.port + 1, "metrics_port": self.port + 2}
        (directory / "settings.json").write_text(json.dumps(settings))
        model = {"name": "digits", "implementation": implementation, "parameters": {"uri": str(file)}}
        (directory / "model-settings.json").write_text(json.dumps(model))

    def __enter__(self):
        began = time.monotonic()
        log = open(self.directory / "log", "wb")
        self.process = subprocess.Popen(
            [self.python / "bin/mlserver", "start", str(self.directory)], stdout=log, stderr=log, start_new_session=True
        )

        def answers():
            with contextlib.suppress(requests.ConnectionError):
                return requests.get(f"http://127.0.0.1:{self.port}/v2/models/digits/ready", timeout=5).ok

        until("MLServer is ready", answers, 60, interval=0.02)
        self.ready_s = time.monotonic() - began
        return self

    def url(self):
        return f"http://127.0.0.1:{self.port}/v2/models/digits/infer"

    def resident(self):
        pids = [self.process.pid, *processes.children(self.process.pid)]
        return sum(processes.resident_bytes(pid) for pid in pids)

    def __exit__(self, *_):
        # It does not always end by itself, and nothing of it is needed any more.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def wrk(url, body, seconds, connections=8, threads=2, content_type="application/json", json_length=""):
    """Requests a second, failures, and latency in microseconds, as wrk measures them."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        environment = {**os.environ, "BODY": file.name, "TYPE": content_type, "JSON_LENGTH": str(json_length)}
        ran = subprocess.run(
            ["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{seconds}s", "--latency", "-s", LUA, url],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
    line = next(line for line in ran.stdout.splitlines() if line.startswith("RESULT "))
    requests_, failed, duration, p50, p99 = line.split()[1:]
    return {
        "requests_per_s": int(requests_) / float(duration),
        "failed": int(failed),
        "p50_us": float(p50),
        "p99_us": float(p99),
    }


def paced(url, body, rate, seconds, connections=8):
    """What `wrk` says, of a client that sends so many requests a second and no more; and latency from when each was due."""
    program = binary().with_name("purlin-bench-paced")
    if not program.exists():
        raise SystemExit(f"bench: {program} is not there; run 'make bench', which builds it")
    parts = urllib.parse.urlsplit(url)
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        arguments = {"address": parts.netloc, "host": parts.netloc, "path": parts.path, "body": file.name}
        arguments |= {"connections": connections, "rate": rate, "seconds": seconds}
        command = [program, *(part for name, value in arguments.items() for part in (f"--{name}", str(value)))]
        ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
    return json.loads(ran.stdout)
