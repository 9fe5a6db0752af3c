"""Fixtures of the fault tests: see wire.py and disks.py."""

import pytest
from fault.disks import Disk
from fault.wire import Wire


@pytest.fixture
def wire(postgres):
    """A proxy in front of PostgreSQL that knows its protocol."""
    proxy = Wire(("127.0.0.1", postgres.port))
    yield proxy
    proxy.close()


@pytest.fixture
def disk(request, tmp_path):
    """Makes small file systems of the test's own: disk("tmpfs", mib), disk("ext4", mib). It
    is asked for before `engines`, so that it goes after them."""
    made = []

    def make(kind, mib):
        made.append(Disk(tmp_path, kind, mib))
        return made[-1]

    yield make
    for one in made:
        one.remove()
