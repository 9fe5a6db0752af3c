"""The scripts say so when they are asked for what is not there, and miss no file."""

import os
import shutil
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


def test_python_is_known_by_its_name_or_by_its_first_line(tmp_path):
    (tmp_path / "shell").write_text("#!/bin/sh\ncat <<END\n#!/usr/bin/env python3\nEND\n")
    (tmp_path / "bytes").write_bytes(b"\0\n\xff")
    (tmp_path / "script").write_text("#!/usr/bin/python3\n")
    (tmp_path / "module.py").touch()
    files = [tmp_path / name for name in ["shell", "bytes", "script", "module.py", "missing"]]
    told = subprocess.run(
        ["bash", "-c", '. scripts/sources.sh; printf "%s\\n" "$@" | python_among', "_", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stderr == ""
    assert [os.path.basename(path) for path in told.stdout.splitlines()] == ["script", "module.py"]


def test_python_without_a_suffix_is_linted_and_formatted(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/env python3\nimport  os\n")
    subprocess.run(["scripts/format", script], cwd=ROOT, check=True)
    assert script.read_text() == "#!/usr/bin/env python3\nimport os\n"
    linted = subprocess.run(["scripts/lint", script], cwd=ROOT, capture_output=True, check=False)
    assert linted.returncode != 0
    assert b"ruff check: FAILED" in linted.stderr  # nothing uses what it imports


def test_clean_removes_what_an_install_of_the_client_leaves(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    client = tmp_path / "clients/python"
    kept = client / "src/labs_analytics"
    left = [client / "build", client / "src/labs_analytics.egg-info"]
    for folder in [kept, *left]:
        folder.mkdir(parents=True)
    subprocess.run(["make", "--silent", "clean"], cwd=tmp_path, check=True)
    assert kept.exists()
    assert not any(folder.exists() for folder in left)
