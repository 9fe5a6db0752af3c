"""All of in_django once more, with Django 4.2: beside the published package, which is for Django 5,
only what this one imports of it is replaced."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
DJANGO = Path(sys.prefix) / "django-4.2"
SUITES = sorted(path.name for path in (HERE / "in_django").glob("test_*.py"))


@pytest.mark.parametrize("suite", SUITES)
def test_in_django_4_2(suite):
    assert (DJANGO / "django").is_dir(), "scripts/setup test makes it"
    code = (
        "import django, pytest, sys; assert django.VERSION[:2] == (4, 2); sys.exit(pytest.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "-q", "-p", "no:xdist", HERE / "in_django" / suite],
        env=os.environ | {"PYTHONPATH": str(DJANGO)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
