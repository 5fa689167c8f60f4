"""`python -m conformance.run REPORTS`: starts `purlin up` and a real kube-apiserver, and replays against both."""

import pathlib
import sys
import tempfile

from harness.real import Real
from harness.server import Server

from .__main__ import main as replay_all


def main(reports, arguments):
    prefix = "purlin-conformance-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as directory:
        real = Real(pathlib.Path(directory) / "real")
        # As bare as the other: a kube-apiserver has no controllers beside it here.
        embedded = Server(pathlib.Path(directory) / "up", arguments=["--api-only"])
        try:
            real.start()
            embedded.start()
            report = str(reports / "conformance.md")
            servers = ["--a", str(embedded.kubeconfig), "--b", str(real.kubeconfig)]
            status = replay_all([*servers, "--report", report, *arguments])
            if status:
                print(embedded.log_tail(30))
            return status
        finally:
            embedded.discard()
            real.discard()


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2:]))
