"""`python -m conformance.run REPORTS`: starts `purlin up` and a real kube-apiserver, and replays against both."""

import pathlib
import subprocess
import sys
import tempfile

from harness import ports
from harness.server import REPOSITORY, Server

from .__main__ import main as replay_all


def main(reports, arguments):
    real_scripts = REPOSITORY / "tests/real"
    with tempfile.TemporaryDirectory(prefix="purlin-conformance-", ignore_cleanup_errors=True) as directory:
        real = pathlib.Path(directory) / "real"
        embedded = Server(pathlib.Path(directory) / "up")
        try:
            subprocess.run([real_scripts / "start.sh", real, str(ports.row())], check=True)
            embedded.start()
            flags = [
                "--a",
                str(embedded.kubeconfig),
                "--b",
                str(real / "kubeconfig"),
                "--report",
                str(reports / "conformance.md"),
            ]
            status = replay_all([*flags, *arguments])
            if status:
                print(embedded.log_tail(30))
            return status
        finally:
            embedded.discard()
            subprocess.run([real_scripts / "stop.sh", real], check=False)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2:]))
