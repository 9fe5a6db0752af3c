"""A port is given once, and what another user put where the locks are kept is not touched."""

import os
import subprocess
import sys
import tempfile

import pytest
from support import ports
from support.paths import ROOT

CHILD = """
import sys
from support import ports
ports.FIRST, ports.LAST = int(sys.argv[1]), int(sys.argv[2])
print(ports.take())
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the locks of this test are: it is not there yet."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ports, "_open", None)
    monkeypatch.setattr(ports, "_taken", set())
    yield tmp_path / f"labs-analytics-ports-{os.getuid()}"
    if ports._open is not None:
        os.close(ports._open)


def take_in_another_process(folder):
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(ports.FIRST), str(ports.LAST)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests"), "TMPDIR": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_port_is_given_once(folder, monkeypatch):
    monkeypatch.setattr(ports, "FIRST", ports.take())
    monkeypatch.setattr(ports, "LAST", ports.FIRST + 1)
    with pytest.raises(RuntimeError, match="no free port"):
        ports.take()
    assert "no free port" in take_in_another_process(folder).stderr


def test_a_port_is_free_again_after_its_process(folder, monkeypatch):
    monkeypatch.setattr(ports, "FIRST", int(take_in_another_process(folder).stdout))
    monkeypatch.setattr(ports, "LAST", ports.FIRST + 1)
    assert ports.take() == ports.FIRST


def test_the_locks_do_not_pile_up(folder):
    for _ in range(5):
        ports.take()
    assert len(list(folder.iterdir())) == 1


def test_a_link_in_place_of_the_folder_is_refused(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RuntimeError, match="remove it"):
        ports.take()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_folder_that_others_may_write_into_is_refused(folder):
    folder.mkdir()
    folder.chmod(0o770)
    with pytest.raises(RuntimeError, match="remove it"):
        ports.take()


def test_a_folder_of_another_user_is_refused(folder, monkeypatch):
    folder.mkdir(mode=0o700)
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    folder.rename(folder.with_name(f"labs-analytics-ports-{user + 1}"))
    with pytest.raises(RuntimeError, match="remove it"):
        ports.take()


def test_a_link_in_place_of_the_locks_is_not_followed(folder, tmp_path):
    (tmp_path / "precious").write_text("precious")
    folder.mkdir(mode=0o700)
    (folder / "locks").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError):
        ports.take()
    assert (tmp_path / "precious").read_text() == "precious"
