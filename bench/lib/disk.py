"""What the disk alone can do."""

import os
import time

BLOCK = 4096
FILE_BYTES = 16 << 20


def sync_latencies(folder, seconds, rate=None):
    """Seconds that each fdatasync of a newly written block took, one after the other in a file
    whose blocks were written before. `rate`: how many a second, None for as many as there can
    be."""
    took = []
    path = folder / "sync"
    block = os.urandom(BLOCK)
    with path.open("wb") as file:
        file.write(b"\0" * FILE_BYTES)
        file.flush()
        os.fsync(file.fileno())
        due = time.perf_counter()
        end = due + seconds
        while (now := time.perf_counter()) < end:
            if rate and now < due:
                time.sleep(due - now)
            due = max(due + 1 / rate, now) if rate else now
            started = time.perf_counter()
            os.pwrite(file.fileno(), block, len(took) * BLOCK % FILE_BYTES)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - started)
    path.unlink()
    return took


def percentile(figures, percent):
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def is_in_memory(folder):
    """Whether the folder lies on a tmpfs."""
    mounts = []
    with open("/proc/mounts") as lines:
        for line in lines:
            _, at, kind, *_ = line.split()
            if os.path.realpath(folder).startswith(at):
                mounts.append((len(at), kind))
    return max(mounts)[1] in ("tmpfs", "ramfs")
