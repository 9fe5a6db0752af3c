"""No file holds what no file may hold, and the check that says so can fail."""

import subprocess

import pytest
from shape import words
from support.paths import ROOT


def test_no_file_holds_a_forbidden_word():
    assert words.violations(ROOT) == []


@pytest.mark.parametrize(
    "line",
    [
        "cd /" + "work/main",
        "see /" + "work",
        '"/' + 'work/shared"',
        "/* TO" + "DO: later */",
        "# FIX" + "ME",
        "pip install -i https://pypi" + ".org/simple x",
    ],
)
@pytest.mark.parametrize("in_git", [False, True])
def test_a_forbidden_word_is_found(tmp_path, line, in_git):
    if in_git:
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/page.md").write_text(f"# Page\n{line}\n")
    faults = words.violations(tmp_path)
    assert len(faults) == 1
    assert faults[0].startswith("docs/page.md:2: ")


@pytest.mark.parametrize("line", ["/workers", "src/work/a.c", "https://a.b/c/work", "to do"])
def test_ordinary_words_pass(tmp_path, line):
    (tmp_path / "page.md").write_text(line)
    assert words.violations(tmp_path) == []
