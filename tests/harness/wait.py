"""Waiting for something with a limit. Every suite uses it; nothing here knows what is waited for."""

import time


class Timeout(AssertionError):
    """Something did not happen in time; says what, and what was seen last."""


def until(what, probe, timeout=30.0, interval=0.1):
    """Calls `probe` until it returns something true, and returns that. The last false answer is put into the error."""
    limit = time.monotonic() + timeout
    while True:
        seen = probe()
        if seen:
            return seen
        if time.monotonic() > limit:
            raise Timeout(f"waited {timeout:g} s for {what}; last seen: {seen!r}")
        time.sleep(interval)
