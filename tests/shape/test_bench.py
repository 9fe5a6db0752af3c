"""The table of `make bench` says what was wanted and not reached."""

import sys

import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "bench"))
from lib.rounds import Line, at_least, at_most, table, verdict  # noqa: E402 (needs the path)

MARK = "NOT REACHED"


def a_line(*reach):
    """Ratios of 0.5, 0.8 and 2; the engine's own median is 8."""
    return Line("a line", "us", [5, 8, 20], [10, 10, 10], "a limit", reach=reach)


@pytest.mark.parametrize(
    ("reach", "reached"),
    [
        (at_least(0.8), True),
        (at_least(0.81), False),
        (at_most(0.8), True),
        (at_most(0.79), False),
        (at_most(8, absolute=True), True),
        (at_most(7.9, absolute=True), False),
        (at_least(8.1, absolute=True), False),
    ],
)
def test_the_medians_decide(reach, reached):
    assert (MARK in table([a_line(reach)])) == (not reached)


def test_all_that_is_wanted_of_a_line_must_be_reached():
    told = table([a_line(at_least(0.5), at_most(2, absolute=True))])
    assert MARK in told
    assert ">= 0.5, <= 2 us" in told


def test_short_rounds_are_not_judged():
    assert MARK not in table([a_line(at_least(5))], judged=False)


def test_the_last_line_counts_and_names_what_is_missing():
    lines = [a_line(), a_line(at_least(0.5)), a_line(at_least(5))]
    assert verdict(lines) == "1 of 2 lines reach what is wanted; not: a line"
