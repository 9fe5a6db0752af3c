"""Free ports that stay ours while a server is down: below the range the kernel hands out,
and locked against other test processes for as long as this process lives.

All locks are in one file, a byte for each port, so nothing piles up. Its place can be guessed,
and others may write beside it: what stands there and is not ours alone is refused.
"""

import fcntl
import os
import random
import socket
import stat
import tempfile
from pathlib import Path

FIRST, LAST = 20000, 32000
_taken = set()  # such a lock is the process's: it would be granted its own once more
_open = None


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _own_folder():
    folder = Path(tempfile.gettempdir(), f"labs-analytics-ports-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode != stat.S_IFDIR | 0o700:
        raise RuntimeError(f"{folder} is not a folder of this user's alone: remove it")
    return folder


def _locks():
    """The file's descriptor, which stays open: to close it would give all locks back."""
    global _open
    if _open is None:
        _open = os.open(_own_folder() / "locks", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    return _open


def take():
    """A port that nobody listens on and no other test will be given."""
    locks = _locks()
    for port in random.sample(range(FIRST, LAST), LAST - FIRST):
        if port in _taken:
            continue
        try:
            fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except BlockingIOError:
            continue
        if _is_free(port):
            _taken.add(port)
            return port
        fcntl.lockf(locks, fcntl.LOCK_UN, 1, port)
    raise RuntimeError(f"no free port between {FIRST} and {LAST}")
