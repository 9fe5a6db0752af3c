"""Ends what a test process has started, should it die before it could: killed, or out of time.

A small process of its own holds the other end of a pipe, and the list of what was started. The
pipe closes when the test process ends, however that happens; what still lives then is killed.
"""

import os
import subprocess
import sys

GUARD = """
import os, signal, sys
def born(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None
watched = []
for line in sys.stdin:
    pid = int(line)
    watched.append((pid, born(pid)))
for pid, birth in watched:
    if birth is not None and born(pid) == birth:
        os.kill(pid, signal.SIGKILL)
"""

_guard = None


def watch(process):
    """From now on `process` (a Popen) does not outlive this one."""
    global _guard
    if _guard is None or _guard[0] != os.getpid():
        # Its own session: a Ctrl-C that ends the tests must not end it first.
        running = subprocess.Popen(
            [sys.executable, "-c", GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        _guard = (os.getpid(), running)
    _guard[1].stdin.write(f"{process.pid}\n")
    _guard[1].stdin.flush()
