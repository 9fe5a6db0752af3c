"""Batches that could not be sent, on disk, for whoever sends next: this process or another.

A batch is a file of one encoded transaction a line. It is written under another name, synced and
renamed, so a file with the name of a batch is whole. Who wants to send one locks it (flock), and
removes it once all in it is settled; a lock ends with its process, and a batch that was sent but
not removed is sent again, to be stored once by its ids. So any number of processes may share a
folder, and any of them may die at any time. Of a batch that the disk has damaged whole lines are
sent, and the file is renamed to `.damaged`, for who can make something of it; it stays until the
bound needs its room.

    <spool_dir>/<16 hex of address and product>/<time>-<unique>-<number>-<size>.batch

Clients with the same address and default product share what is in the folder: what one could not
send, the other may, with its own token. Files are readable by their owner only: they name users.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import time
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple

from labs_analytics.tally import tell

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

SUPPORTED = fcntl is not None
# What a file takes on disk at least; counted so that many small files are bounded too.
BLOCK = 4096
# Writing a batch takes less than this, unless its process has died.
LEFT_BEHIND_S = 3600.0

# Not of a batch itself: others have settled it, or the system lacks something just now.
_PASSING = (errno.ENOENT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_SOMEBODY_SENDS_IT = (errno.EWOULDBLOCK, errno.EAGAIN)
_NAME = re.compile(r"^[0-9A-Za-z_-]+-(\d{1,18})\.batch(\.damaged)?$")


class Claim:
    """A batch that nobody else sends meanwhile."""

    def __init__(self, path: str, descriptor: int, keep: Callable[[str, OSError], None]) -> None:
        self.lines: List[bytes] = []
        self.damaged = False  # not all of it are lines
        self._path = path
        self._descriptor = descriptor
        self._keep = keep  # told of what cannot be removed

    def remove(self) -> None:
        """All in it is settled. One that is damaged stays under another name, for who can make
        something of it."""
        try:
            if self.damaged:
                os.rename(self._path, self._path + ".damaged")
                tell(logging.ERROR, "a batch of the spool is damaged: %s.damaged", self._path)
            else:
                os.unlink(self._path)
        except OSError as fault:
            self._keep(os.path.basename(self._path), fault)
        self.release()

    def release(self) -> None:
        """For another try, by anybody."""
        if self._descriptor >= 0:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            finally:
                self.abandon()

    def abandon(self) -> None:
        """For a forked child: the lock stays its parent's."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Spool:
    """`unique`: a text that no other process and no other spool of this one uses."""

    def __init__(self, folder: str, address: str, product: str, most_bytes: int, unique: str):
        digest = hashlib.sha256(f"{address}\0{product}".encode()).hexdigest()[:16]
        self._folder = os.path.join(folder, digest)
        self._most_bytes = most_bytes
        self._unique = unique
        self._made = 0
        self._seen: List[str] = []  # names of batches as they were found, the oldest last
        self._unreadable: Set[str] = set()  # those that this process cannot read
        self._settled: Set[str] = set()  # those that it has sent and could not remove
        self._told: Set[str] = set()

    def put(self, lines: Sequence[bytes]) -> bool:
        """False: there is no room within the bound, which processes that write at the same
        moment may exceed by a batch each. Raises OSError: the disk cannot."""
        content = b"".join(line + b"\n" for line in lines)
        size = max(len(content), BLOCK)
        os.makedirs(os.path.dirname(self._folder), mode=0o700, exist_ok=True)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        batches, damaged = self._look()
        room = self._most_bytes - self._sum(batches) - size
        if room < 0:
            return False
        self._clear(damaged, room)
        self._made += 1
        name = f"{time.time_ns():020d}-{self._unique}-{self._made}-{size}.batch"
        path = os.path.join(self._folder, name)
        unfinished = path + ".unfinished"
        try:
            _write_synced(unfinished, content)
            os.rename(unfinished, path)
        except BaseException:
            _unlink_quietly(unfinished)
            raise
        _sync_folder(self._folder)
        return True

    def tidy(self) -> None:
        """Removes what processes that died while writing have left."""
        try:
            for entry in os.scandir(self._folder):
                if entry.name.endswith(".unfinished"):
                    if time.time() - entry.stat().st_mtime > LEFT_BEHIND_S:
                        _unlink_quietly(entry.path)
        except OSError:
            pass

    def size(self) -> int:
        """Bytes of all batches of all processes that this one can read, small ones counted as a
        block."""
        return self._sum(self._look()[0])

    def _sum(self, batches: Dict[str, int]) -> int:
        return sum(size for name, size in batches.items() if name not in self._unreadable)

    def _look(self) -> Tuple[Dict[str, int], Dict[str, int]]:
        """Batches and damaged ones: {name: size}"""
        batches: Dict[str, int] = {}
        damaged: Dict[str, int] = {}
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            names = []
        for name in names:
            match = _NAME.match(name)
            if match:
                (damaged if match[2] else batches)[name] = int(match[1])
        self._unreadable.intersection_update(batches)
        self._settled.intersection_update(batches)
        return batches, damaged

    def _clear(self, damaged: Dict[str, int], room: int) -> None:
        """Of what is damaged the oldest goes, as far as the rest would not fit into the room."""
        kept = sum(damaged.values())
        for name in sorted(damaged):
            if kept <= room:
                break
            _unlink_quietly(os.path.join(self._folder, name))
            kept -= damaged[name]

    def claim(self) -> Optional[Claim]:
        """The oldest batch that nobody else has claimed; None: there is none that can be read. The
        folder is looked through once for all that were in it, and not again for each."""
        for look in (False, True):
            if look:
                self._seen = sorted(self._look()[0], reverse=True)
            while self._seen:
                claim = self._claim(self._seen.pop())
                if claim is not None:
                    return claim
        return None

    def _claim(self, name: str) -> Optional[Claim]:
        path = os.path.join(self._folder, name)
        try:
            descriptor = _open_to_lock(path)
        except OSError as fault:
            self._skip(name, fault)
            return None
        claim = Claim(path, descriptor, self._settle)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            claim.abandon()
            if fault.errno not in _SOMEBODY_SENDS_IT:
                self._tell("batches of the spool cannot be locked, and wait: %s", fault)
            return None
        try:
            # Its sender may have removed it between our opening and our locking.
            if os.fstat(descriptor).st_nlink == 0:
                claim.release()
                return None
            with open(descriptor, "rb", closefd=False) as file:
                *lines, rest = file.read().split(b"\n")
                # One without anything is no transaction, to whose number no answer would fit.
                claim.lines = [line for line in lines if line.strip()]
                claim.damaged = rest != b"" or len(claim.lines) < max(1, len(lines))
        except OSError as fault:
            claim.release()
            self._skip(name, fault)
            return None
        self._unreadable.discard(name)
        if name in self._settled:
            claim.remove()
            return None
        return claim

    def _settle(self, name: str, fault: OSError) -> None:
        """It is not sent again and again, but each look tries again to remove it. Another process
        sends it once more, and it is stored once all the same."""
        if fault.errno != errno.ENOENT:
            self._settled.add(name)
            self._tell("batches of the spool are sent and cannot be removed: %s", fault)

    def _skip(self, name: str, fault: OSError) -> None:
        """It is tried again with the next look. What stays takes none of the room meanwhile: it
        would be full one day."""
        if fault.errno not in _PASSING:
            self._unreadable.add(name)
            self._tell("a batch of the spool cannot be read, and waits: %s", fault)

    def _tell(self, words: str, fault: OSError) -> None:
        if words not in self._told:
            self._told.add(words)
            tell(logging.ERROR, words + " (told once)", fault)


def _open_to_lock(path: str) -> int:
    """For writing, where that is allowed: else NFS gives no exclusive lock."""
    try:
        return os.open(path, os.O_RDWR)
    except OSError as fault:
        if fault.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    return os.open(path, os.O_RDONLY)


def _write_synced(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink_quietly(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
