"""All measurements, or those named, and one table of their ratios at the end.

A measurement is a file beside this one with a function measure(settings) that gives Lines. A new
one is such a file, its name below, and its row in README.md.
"""

import importlib
import sys

from lib.program import run

# What looks at single syncs comes first: after gigabytes were written a shared disk stands still
# at times.
MEASUREMENTS = ["latency", "acks", "away", "slow", "client", "django_requests", "memory"]
MEASUREMENTS += ["log_size", "ingest", "recovery", "drain", "flat", "batches"]

if __name__ == "__main__":
    measures = {name: importlib.import_module(name).measure for name in MEASUREMENTS}
    sys.exit(run(__doc__, measures))
