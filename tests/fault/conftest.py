"""Fixtures of the fault tests: see wire.py, disks.py and pooler.py."""

import pytest
from fault.disks import Disk
from fault.pooler import Pooler
from fault.shim import Shim
from fault.wire import Wire


@pytest.fixture
def wire(postgres):
    """A proxy in front of PostgreSQL that knows its protocol."""
    proxy = Wire(("127.0.0.1", postgres.port))
    yield proxy
    proxy.close()


@pytest.fixture
def pooler(postgres, tmp_path):
    """PgBouncer in front of PostgreSQL."""
    pooler = Pooler(postgres, tmp_path)
    pooler.start()
    yield pooler
    pooler.kill()


@pytest.fixture
def shim(tmp_path):
    """Has system calls of an engine fail that is started with shim.options()."""
    return Shim(tmp_path / "shim")


@pytest.fixture
def disk(request, tmp_path):
    """Makes small file systems of the test's own: disk("tmpfs", mib), disk("ext4", mib), at a
    path if that is given, which may be in another one. It is asked for before `engines`, so that
    it goes after them."""
    made = []

    def make(kind, mib, at=None):
        made.append(Disk(tmp_path, kind, mib, at))
        return made[-1]

    yield make
    for one in reversed(made):
        one.remove()
