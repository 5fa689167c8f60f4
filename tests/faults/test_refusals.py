"""Starts that must be refused, with a message that says why: a folder in use, a taken port, a newer layout.

The expected words are in the error that the harness raises: it carries the end of the server's log.
"""

import pytest
from harness.server import Server


@pytest.fixture
def server(tmp_path):
    running = Server(tmp_path / "up")
    try:
        running.start()
        yield running
    finally:
        running.discard()


def test_a_data_directory_is_used_by_one_server(server):
    other = Server(server.directory, port=None)
    try:
        with pytest.raises(AssertionError, match="(?i)lock|in use|another"):
            other.start()
    finally:
        if other.process and other.process.poll() is None:
            other.kill()


def test_a_taken_port_is_explained(server, tmp_path):
    other = Server(tmp_path / "other", port=server.port)
    try:
        with pytest.raises(AssertionError, match=str(server.port)):
            other.start()
    finally:
        other.discard()


def test_a_newer_data_directory_is_refused(server, tmp_path):
    other = Server(tmp_path / "newer")
    other.data.mkdir(parents=True)
    (other.data / "version").write_text("999999\n")
    try:
        with pytest.raises(AssertionError, match="(?i)newer|999999"):
            other.start()
    finally:
        other.discard()
