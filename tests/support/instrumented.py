"""The engine under a sanitizer or valgrind: memory and time are theirs then.

`scripts/sanitize suites` has sanitizers read their options from the environment, by which they are
known here.
"""

import os
import re
import subprocess

import pytest
from support.paths import BINARY

VALGRIND = bool(os.environ.get("LABS_VALGRIND"))
SANITIZED = bool({"ASAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ))

plain_only = pytest.mark.skipif(
    VALGRIND or SANITIZED, reason="memory and time are the sanitizer's or valgrind's own"
)


def runtime():
    """The library of the sanitizer in the engine, which has to be loaded before any other."""
    linked = subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=True).stdout
    return re.findall(r"=> (\S+/lib[at]san\.\S+)", linked)
