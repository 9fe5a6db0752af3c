"""The table of `make bench` says what was wanted and not reached."""

import contextlib
import importlib
import sys
from types import SimpleNamespace

import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "bench"))
from lib.rounds import Line, at_least, at_most, table, take_turns, verdict  # noqa: E402 (needs the path)

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


def test_the_last_line_counts_what_broke():
    good = a_line(at_least(0.5))
    assert verdict([good], 1) == "1 of 1 lines reach what is wanted; 1 measurement broke"
    assert verdict([], 2) == "0 of 0 lines reach what is wanted; 2 measurements broke"


def test_a_round_without_a_figure_is_told(capsys):
    figures = iter([7, 7, None, 8])  # the first warms up
    given = take_turns(SimpleNamespace(rounds=3), {"side": lambda: next(figures)})
    assert given == {"side": [7, None, 8]}
    assert "round 2: side left out" in capsys.readouterr().out


def test_a_round_without_a_figure_counts_on_neither_side():
    line = Line("a line", "us", [5, None, 20, 8], [10, 10, None, 10], "a limit")
    assert line.ratios == [0.5, 0.8]
    assert str(line).endswith("of 2 of 4 rounds")


@pytest.mark.parametrize("judged", [True, False])
def test_fewer_than_half_of_the_rounds_tell_nothing(judged):
    line = Line("a line", "us", [5, None, None], [10, 10, 10], "a limit", reach=(at_most(9),))
    assert "TOO FEW ROUNDS" in table([line], judged)
    assert "1 of 3 rounds" in str(line)
    assert verdict([line]) == "0 of 1 lines reach what is wanted; not: a line"


@pytest.mark.parametrize("name", ["latency", "away"])
def test_a_round_that_was_too_slow_has_no_figure(name, monkeypatch, capsys):
    module = importlib.import_module(name)
    side = module.Side.__new__(module.Side)
    side.engine, side.settings = None, SimpleNamespace(seconds=3)
    monkeypatch.setattr(module.engines, "accepting", lambda *_: contextlib.nullcontext({}))
    seconds = [3] if name == "away" else []

    def figure_at(share):
        result = {"requests": share * module.RATE * 3, "seconds": 3, "p99": 0.001}
        side.load = SimpleNamespace(run=lambda seconds, rate: result)
        return side.measure(*seconds)

    assert figure_at(0.96) == 1
    assert capsys.readouterr().out == ""
    assert figure_at(0.94) is None
    assert f"of {module.RATE} requests a second" in capsys.readouterr().out
