"""The scripts say so when they are asked for what is not there."""

import subprocess

import pytest
from support.paths import ROOT


def fails_with_a_line(*command):
    """What it says of it."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert done.stdout == ""
    return line


@pytest.mark.parametrize("folder", ["tests/shpae", "tests/unit"])
def test_a_folder_without_tests_is_not_passed_over(folder):
    assert folder in fails_with_a_line("scripts/test", "tests/shape", folder)


def test_a_corpus_that_is_not_there_is_not_passed_over():
    assert "nosuch" in fails_with_a_line("scripts/fuzz", "replay", "nosuch")
