"""Free TCP ports on loopback, in a row, as `purlin up --port` takes them: the API, the registry, health, the gateway."""

import random
import socket

# What this process gave out: it is free until its taker binds it, and must not be given to a second one meanwhile.
_given = set()


def row(length=4):
    """The first of `length` consecutive free ports. Somebody may take one before it is used; the caller then fails."""
    generator = random.SystemRandom()
    for _ in range(200):
        # Below the range that the kernel hands out to clients, so that no outgoing connection takes one meanwhile.
        first = generator.randrange(20000, 32000)
        ports = range(first, first + length)
        if _given.isdisjoint(ports) and all(_free(port) for port in ports):
            _given.update(ports)
            return first
    raise OSError(f"found no {length} consecutive free ports on 127.0.0.1")


def _free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
