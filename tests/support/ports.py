"""Free ports that stay ours while a server is down: below the range the kernel hands out,
and locked against other test processes for as long as this process lives."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

FIRST, LAST = 20000, 32000
_locks = {}


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def take():
    """A port that nobody listens on and no other test will be given."""
    folder = Path(tempfile.gettempdir(), f"labs-analytics-ports-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    for port in random.sample(range(FIRST, LAST), LAST - FIRST):
        lock = open(folder / str(port), "w")  # noqa: SIM115 (kept open: it is the lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        if _is_free(port):
            _locks[port] = lock
            return port
        lock.close()
    raise RuntimeError(f"no free port between {FIRST} and {LAST}")
