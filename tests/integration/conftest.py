"""Engines of this suite write little and are waited for often: small files, short batches."""

import pytest

HASTE = {"SEGMENT_BYTES": "16MiB", "FORWARD_BATCH_AGE": "20ms"}


@pytest.fixture
def engines(engines):
    def make(start=True, **arguments):
        return engines(start, **(HASTE | arguments))

    return make
