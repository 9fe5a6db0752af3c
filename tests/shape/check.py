"""Prints what is wrong with the shape of the house; the exit code is 1 if anything is.

Needs nothing but Python, so that linting and the pre-commit hook can run it anywhere.
"""

import sys
from pathlib import Path

import rooms
import words

ROOT = Path(__file__).resolve().parent.parent.parent


def main():
    house = rooms.read_map((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    faults = rooms.violations(house, ROOT / "src") + words.violations(ROOT)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
