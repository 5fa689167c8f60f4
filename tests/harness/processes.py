"""Finding and ending processes by what their command line or environment names: for checks that nothing is leaked."""

import os
import signal


def naming(text):
    """The ids of this user's processes whose command line contains `text`, this process and its parents left out."""
    ours, pid = set(), os.getpid()
    while pid > 1:
        ours.add(pid)
        pid = _parent(pid)
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in ours:
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    command = file.read().replace(b"\0", b" ").decode(errors="replace")
                with open(f"/proc/{entry}/stat") as file:
                    state = file.read().rpartition(")")[2].split()[0]
            except OSError:
                continue  # it ended meanwhile
            if text in command and state != "Z":
                found.append(int(entry))
    return found


def end(pids):
    """Kills each, without asking. Only for processes that a test started."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def resident_bytes(pid):
    """Resident memory, as the kernel accounts it (VmRSS)."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def children(pid):
    """Every descendant of `pid`."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            parents.setdefault(_parent(int(entry)), []).append(int(entry))
    found, queue = [], [pid]
    while queue:
        for child in parents.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found


def _parent(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0
