"""The command line of a measurement, or of all of them: options, turn, table, exit code.

The exit code is 0 whatever the figures are, 1 if a measurement broke, 2 for wrong usage. A
measurement that broke is told with its reason, and the others still run.
"""

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from support.paths import BINARY

from lib import disk
from lib.rounds import table, verdict

PROGRAMS = ["nginx", "psql", "sqlite3", "wrk"]


@dataclass
class Settings:
    folder: Path  # empty, on the disk to be measured
    stack: contextlib.ExitStack  # what a measurement started is ended by it
    rounds: int
    seconds: int  # of load in each round
    quick: bool


def run(description, measures):
    """`measures`: {name: function}; gives the exit code."""
    arguments = _parse(description, measures)
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing or not BINARY.exists():
        print(f"bench: missing: {' '.join(missing) or BINARY}; run `make bench`", file=sys.stderr)
        return 1
    os.environ["PATH"] = _path()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rounds = arguments.rounds or (2 if arguments.quick else 5)
    seconds = arguments.seconds or (1 if arguments.quick else 3)
    _describe_machine()

    lines, broken = [], []
    for name in arguments.names or measures:
        print(f"\n## {name}", flush=True)
        started = time.monotonic()
        try:
            with contextlib.ExitStack() as stack:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="labs-bench-"))
                lines += measures[name](
                    Settings(Path(folder), stack, rounds, seconds, arguments.quick)
                )
        except Exception:  # noqa: BLE001 (the others are still worth measuring)
            traceback.print_exc()
            broken.append(name)
        print(f"({name} took {time.monotonic() - started:.0f} s)", flush=True)

    print(f"\n{table(lines, judged=not arguments.quick)}\n")
    if arguments.quick:
        print("--quick: rounds too few and too short to tell anything about speed.")
    else:
        print(verdict(lines, len(broken)))
    for name in broken:
        print(f"bench: {name} broke, see above", file=sys.stderr)
    return 1 if broken else 0


def _parse(description, measures):
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(measures))
    parser.add_argument("--rounds", type=int, help="of each side; 5 unless given")
    parser.add_argument("--seconds", type=int, help="of load in each; 3 unless given")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s, smaller backlogs")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in measures]:
        parser.error(f"no measurement is called {unknown[0]}; there are: {', '.join(measures)}")
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds must be 1 or more")
    if arguments.seconds is not None and arguments.seconds < 1:
        parser.error("--seconds must be 1 or more")
    return arguments


def _path():
    return os.environ.get("PATH", "/usr/bin") + ":/usr/sbin"  # where Debian has nginx


def _describe_machine():
    with tempfile.TemporaryDirectory(prefix="labs-bench-") as folder:
        syncs = disk.sync_latencies(Path(folder), seconds=0.5)
    print(
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}, "
        f"median fdatasync of 4 KiB in {tempfile.gettempdir()}: "
        f"{statistics.median(syncs) * 1e6:.0f} us"
    )
    if disk.is_in_memory(tempfile.gettempdir()):
        print("warning: that folder is kept in memory, syncs cost nothing: set TMPDIR to a disk")
