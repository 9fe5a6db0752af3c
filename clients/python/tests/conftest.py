"""engines    makes engines, as in the engine's own tests: engines(listen=...)
engine     one that runs
scripted   makes servers that answer what a test says: scripted(status(503), ...)
clients    makes clients that are closed in the end: clients(url, product=10, ...)
"""

import os
from pathlib import Path

import pytest
from scripted import Scripted
from support.engine import Engine

from labs_analytics import AnalyticsClient

# For the programs that the tests start.
os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent / "src")

HASTE = {"SEGMENT_BYTES": "16MiB", "FORWARD_BATCH_AGE": "20ms"}
SOON = {"batch_age": 0.02, "retry_min": 0.02, "retry_max": 0.1}


@pytest.fixture
def engines(tmp_path):
    made = []

    def make(start=True, **options):
        made.append(Engine(tmp_path / f"engine-{len(made) + 1}", **(HASTE | options)))
        return made[-1].start() if start else made[-1]

    yield make
    for engine in made:
        engine.finish()


@pytest.fixture
def engine(engines):
    return engines()


@pytest.fixture
def scripted():
    made = []

    def make(*answers, **options):
        made.append(Scripted(*answers, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def clients():
    made = []

    def make(url, **options):
        credentials = {"token_provider", "token", "key"} & set(options)
        given = {"product": 10} | SOON | ({} if credentials else {"key": "la_test"})
        made.append(AnalyticsClient(url, **(given | options)))
        return made[-1]

    yield make
    for client in made:
        client.close(0)
