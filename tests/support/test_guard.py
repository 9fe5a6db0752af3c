"""A test process that is killed leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from support.paths import ROOT
from support.wait import wait_until

CHILD = """
import subprocess, sys, time
from support import guard
guard.watch_folder(sys.argv[1])
child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
guard.watch(child)
print(child.pid, flush=True)
time.sleep(600)
"""


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def killed(folder):
    """The pid of what a process has started that was then killed, as it was told to remove
    `folder`."""
    owner = subprocess.Popen(
        [sys.executable, "-c", CHILD, folder],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(owner.stdout.readline())
    assert lives(child)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    return child


def test_what_a_killed_process_has_started_is_ended(tmp_path):
    child = killed(tmp_path / "none")
    wait_until(lambda: not lives(child), what="the child's end")


def test_what_a_killed_process_would_have_removed_is_removed(tmp_path):
    folder = tmp_path / "a folder"
    (folder / "data").mkdir(parents=True)
    (folder / "data/file").write_text("x")
    killed(folder)
    wait_until(lambda: not folder.exists(), what="the folder's removal")
    assert tmp_path.exists()
