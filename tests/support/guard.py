"""Ends what a test process has started, should it die before it could: killed, or out of time.

A small process of its own holds the other end of a pipe, and the list of what was started. The
pipe closes when the test process ends, however that happens; what still lives then is killed, and
what is left of the folders that were to go is removed.
"""

import os
import subprocess
import sys

GUARD = """
import os, shutil, signal, sys, time
def born(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None
watched, folders = [], []
for line in sys.stdin:
    what, name = line.rstrip("\\n").split(" ", 1)
    if what == "folder":
        folders.append(name)
    else:
        watched.append((int(name), born(name)))
for pid, birth in watched:
    if birth is not None and born(pid) == birth:
        os.kill(pid, signal.SIGKILL)
# The children of what was killed may go on writing for a moment.
deadline = time.monotonic() + 30
while any(map(os.path.lexists, folders)) and time.monotonic() < deadline:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    time.sleep(0.1)
"""

_guard = None


def watch(process):
    """From now on `process` (a Popen) does not outlive this one."""
    _tell(f"process {process.pid}")


def watch_folder(folder):
    """From now on `folder` does not outlive this process; it may be removed before."""
    _tell(f"folder {folder}")


def _tell(line):
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
    _guard[1].stdin.write(f"{line}\n")
    _guard[1].stdin.flush()
