"""The package builds from the checkout, and what is built is all that is needed."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent
USE = """
import sys, labs_analytics
from labs_analytics import AnalyticsClient
assert labs_analytics.__file__.startswith(sys.argv[1]), labs_analytics.__file__
print(AnalyticsClient("http://127.0.0.1:1", key="la_x", product=10, exit_timeout=0).record("a"))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the wheel and the sdist. Built from a copy: building leaves files behind."""
    folder = tmp_path_factory.mktemp("package")
    ignored = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(PACKAGE, folder / "source", ignore=ignored)
    build = (
        "from setuptools import build_meta as b; b.build_sdist('../dist'); b.build_wheel('../dist')"
    )
    (folder / "dist").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=folder / "source", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "dist"


def modules():
    return {path.name for path in (PACKAGE / "src/labs_analytics").rglob("*.py")} | {"py.typed"}


def test_both_hold_every_module_and_the_marker_of_types(built):
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as file:
        in_wheel = {Path(name).name for name in file.namelist() if "labs_analytics/" in name}
    with tarfile.open(sdist) as file:
        in_sdist = {Path(name).name for name in file.getnames() if "/labs_analytics/" in name}
    assert modules() <= in_wheel and modules() <= in_sdist


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_what_is_installed_works_alone(built, tmp_path, kind):
    (file,) = built.glob(kind)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    pip += ["--no-build-isolation", "--disable-pip-version-check", "--target", tmp_path / "site"]
    subprocess.run([*pip, file], check=True)
    # -S: nothing of the environment but the standard library.
    words = [sys.executable, "-S", "-c", USE, str(tmp_path / "site")]
    done = subprocess.run(
        words, env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


TYPED = """
import datetime, decimal, uuid
from labs_analytics import AnalyticsClient, AsyncAnalyticsClient, ValueLike
client = AnalyticsClient("http://127.0.0.1:1", key="la_x", product=10)
for value in (decimal.Decimal(1), uuid.uuid4(), datetime.date.today(), datetime.time(), 1, None):
    given: ValueLike = value
    client.record("a", given)
client.record("a", decimal.Decimal("1.5"))
client.record("a", datetime.datetime.now())
async def more(client: AsyncAnalyticsClient) -> None:
    await client.record("a", uuid.uuid4())
client.record("a", ["no value"])  # told
"""


def test_types_allow_what_is_recorded_and_nothing_else(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(TYPED)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(program)]
    environment = os.environ | {"MYPYPATH": str(PACKAGE / "src")}
    done = subprocess.run(mypy, cwd=tmp_path, env=environment, capture_output=True, text=True)
    told = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert ["list[str]" in line for line in told] == [True], done.stdout + done.stderr
