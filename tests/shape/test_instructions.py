"""scripts/instructions notices what has become slower, and what the figure is of."""

import importlib.machinery
import importlib.util

import pytest
from support.paths import ROOT


@pytest.fixture(scope="module")
def script():
    path = str(ROOT / "scripts/instructions")
    loader = importlib.machinery.SourceFileLoader("scripts_instructions", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(("counted", "good"), [(1050, True), (1051, False), (900, True)])
def test_more_than_a_twentieth_over_the_figure_fails(script, counted, good):
    assert script.compare("append", counted, 1000) == good


def test_a_failure_names_case_figures_and_remedy(script, capsys):
    script.compare("append", 1234567, 1000000)
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    for word in ["append", "1,234,567", "1,000,000", "scripts/instructions update"]:
        assert word in told


def test_what_has_become_faster_is_told_only_when_it_is_much(script, capsys):
    script.compare("append", 960, 1000)
    assert "update" not in capsys.readouterr().out
    script.compare("append", 940, 1000)
    assert "scripts/instructions update" in capsys.readouterr().out


def test_every_case_has_a_figure(script):
    named = [line.split()[0] for line in script.FIGURES.read_text().splitlines()]
    assert named == script.CASES
