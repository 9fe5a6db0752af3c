"""All measurements, or those named, and one table of their ratios at the end.

A measurement is a file beside this one with a function measure(settings) that gives Lines. A new
one is such a file, its name below, and its row in README.md.
"""

import importlib
import sys

from lib.program import run

MEASUREMENTS = ["acks", "away", "batches", "client", "django_requests", "drain", "flat", "ingest"]
MEASUREMENTS += ["latency", "log_size", "memory", "recovery", "slow"]

if __name__ == "__main__":
    measures = {name: importlib.import_module(name).measure for name in MEASUREMENTS}
    sys.exit(run(__doc__, measures))
