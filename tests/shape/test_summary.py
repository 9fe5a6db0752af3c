"""scripts/test counts what it ran, so that its last line can be believed."""

import importlib.machinery
import importlib.util

import pytest
from support.paths import ROOT

GOOD = """[==========] Running 2 test(s).
[ RUN      ] a_torn_record_ends_the_log
[       OK ] a_torn_record_ends_the_log
[ RUN      ] a_stale_byte_ends_the_log
[       OK ] a_stale_byte_ends_the_log
[==========] 2 test(s) run.
[  PASSED  ] 2 test(s).
"""
BAD = """[ RUN      ] one
[       OK ] one
[ RUN      ] two
[  ERROR   ] --- 0x1 != 0x2
[  FAILED  ] two
[ RUN      ] three
[  SKIPPED ] three
[==========] 3 test(s) run.
[  PASSED  ] 1 test(s).
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] two
"""


@pytest.fixture(scope="module")
def script():
    loader = importlib.machinery.SourceFileLoader("scripts_test", str(ROOT / "scripts/test"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def tally_of(script, output, died):
    tally = script.Tally()
    script.count_program("unit/wal/recover", output, died, tally)
    return tally.passed, len(tally.failed), len(tally.skipped)


def test_test_functions_are_counted(script):
    assert tally_of(script, GOOD, died=False) == (2, 0, 0)


def test_a_failure_is_counted_once(script):
    assert tally_of(script, BAD, died=True) == (1, 1, 1)


def test_a_program_that_dies_is_a_failure(script):
    assert tally_of(script, GOOD, died=True) == (2, 1, 0)


def test_a_program_that_runs_nothing_is_a_failure(script):
    assert tally_of(script, "", died=False) == (0, 1, 0)


def test_what_a_program_has_to_tell_is_printed(script, capsys):
    script.tell("unit/forward/simulate", f"told: 10000 schedules\n{GOOD}")
    assert capsys.readouterr().out == "unit/forward/simulate: 10000 schedules\n"
