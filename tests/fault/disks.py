"""Small file systems that fill up and fail, for tests that run as root."""

import os
import resource
import subprocess
from pathlib import Path

import pytest

MIB = 1 << 20


def _run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()


class Disk:
    def __init__(self, folder, kind, mib, at=None):
        """Mounted in a folder of its own, or `at` a path."""
        if os.geteuid() != 0:
            pytest.skip("mounting a file system takes root")
        self.kind = kind
        self.folder = at or folder / f"disk-{kind}"
        self.image = folder / f"disk-{kind}.img"
        self.folder.mkdir(parents=True)
        if kind == "ext4":
            with self.image.open("wb") as image:
                image.truncate(mib * MIB)
            code, words = _run("mkfs.ext4", "-q", "-m", "0", self.image)
            if code != 0:
                pytest.skip(f"no ext4 file system can be made here: {words}")
            self._mount = ["-o", "loop,errors=remount-ro", self.image, self.folder]
        else:
            self._mount = ["-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", self.folder]
        self.mounted = False
        self.mount()

    def mount(self):
        code, words = _run("mount", *self._mount)
        if code != 0:
            pytest.skip(f"no file system can be mounted here: {words}")
        self.mounted = True

    def unmount(self):
        code, words = _run("umount", self.folder)
        assert code == 0, words
        self.mounted = False

    def remove(self):
        if self.mounted and _run("umount", self.folder)[0] != 0:
            _run("umount", "--lazy", self.folder)

    def set_writable(self, on):
        code, words = _run("mount", "-o", f"remount,{'rw' if on else 'ro'}", self.folder)
        assert code == 0, words

    # -- faults

    @property
    def filler(self):
        return self.folder / "filler"

    def fill(self, chunk=64 * 1024):
        """Takes all the room that is left, but for less than a chunk."""
        with self.filler.open("ab") as filler:
            while True:
                try:
                    os.write(filler.fileno(), bytes(chunk))
                except OSError:
                    return

    def fill_up(self):
        """Takes all the room that is left, to the last byte."""
        for chunk in (64 * 1024, 1024, 1):
            self.fill(chunk)

    def take(self, mib):
        """Takes this much room."""
        with self.filler.open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, mib * MIB)

    def make_room(self):
        self.filler.unlink()

    def fail(self):
        """ext4 finds a fault and turns itself read-only, under all that is open."""
        device = _run("findmnt", "-no", "SOURCE", self.folder)[1].rsplit("/", 1)[1]
        try:
            Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")
        except OSError as fault:
            pytest.skip(f"the kernel takes no order to fail: {fault}")

    def repair(self):
        """What an operator does after that: unmount, check, mount."""
        self.unmount()
        code, words = _run("e2fsck", "-f", "-y", self.image)
        assert code in (0, 1), words
        self.mount()


def set_immutable(path, on):
    """`chattr +i`: nothing in this folder may be made, renamed or deleted. False: not here."""
    return _run("chattr", "+i" if on else "-i", path)[0] == 0


def limit_descriptors(process, count):
    """RLIMIT_NOFILE of a process that runs; gives what it was."""

    soft, hard = resource.prlimit(process, resource.RLIMIT_NOFILE)
    resource.prlimit(process, resource.RLIMIT_NOFILE, (count, hard))
    return soft
