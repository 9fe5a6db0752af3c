"""Profiles a running engine under load with perf, and draws a flame graph.

Load: single transactions on 256 connections with the store away, or with --batches batches of
1,000; with --forwarding rows go into the embedded store meanwhile. perf samples by the clock, so it
works where the processor's counters are not to be had; it needs the right to (root, or
kernel.perf_event_paranoid of 1 or less).
"""

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lib import corpus, engines, flames
from lib.load import Load
from lib.program import Settings
from support.paths import BINARY

SAMPLES_A_SECOND = 499  # on each core; no divisor of what else happens at even intervals
STACK_BYTES = 8192  # of each sample, from which its callers are found
SETTLING_S = 1


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", default="flames.svg", help="default: flames.svg")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--batches", action="store_true")
    parser.add_argument("--forwarding", action="store_true")
    return parser.parse_args()


def _load(settings, engine, batches):
    texts = corpus.batches() if batches else corpus.transactions()
    path, connections = ("/v1/transactions", 8) if batches else ("/analytics", 256)
    bodies = corpus.write(texts, settings.folder / "bodies")
    return Load(engine.url, path, engine.token(), bodies, connections)


def record(settings, arguments):
    """perf's account of the engine's stacks, as text."""
    options = {} if arguments.forwarding else {"DATABASE_URL": engines.no_store()}
    engine = engines.start(settings, "engine", **options)
    load = _load(settings, engine, arguments.batches)
    load.probe()
    data = settings.folder / "perf.data"
    with load.running():
        command = ["perf", "record", "--quiet", "--event", "cpu-clock", "--output", data]
        command += ["--freq", str(SAMPLES_A_SECOND), "--call-graph", f"dwarf,{STACK_BYTES}"]
        command += ["--delay", str(SETTLING_S * 1000), "--pid", str(engine.process.pid)]
        command += ["--", "sleep", str(arguments.seconds + SETTLING_S)]
        subprocess.run(command, check=True)
    command = ["perf", "script", "--input", data, "--no-inline", "--fields", "comm,ip,sym,dso"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def main():
    arguments = _parse()
    if shutil.which("perf") is None:
        print("flamegraph: perf is missing; on Debian: apt-get install linux-perf", file=sys.stderr)
        return 1
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="labs-flames-"))
        settings = Settings(Path(folder), stack, 1, arguments.seconds, False)
        root = flames.grow(record(settings, arguments), BINARY.name)
    if root.samples == 0:
        print("flamegraph: perf took no sample", file=sys.stderr)
        return 1
    what = "batches of 1,000" if arguments.batches else "single transactions, 256 connections"
    what += ", forwarding" if arguments.forwarding else ""
    Path(arguments.file).write_text(flames.picture(root, f"{BINARY.name}: {what}"))
    print(f"{arguments.file}: {root.samples} samples")
    return 0


if __name__ == "__main__":
    sys.exit(main())
