"""The fixtures of the suites that drive the engine from outside. See tests/support/.

engines    makes engines: engines(WORKERS=1), engines(DATABASE_URL=...), engines(start=False)
engine     one that runs, on the embedded store
shared     one that runs for many tests, which neither stop it nor count on its totals
postgres   a running PostgreSQL with one empty database: postgres.url()
proxies    makes misbehaving proxies: proxies(port)
providers  makes stand-ins of the identity provider: providers(), providers(tls=True)
proxy      one in front of PostgreSQL; postgres.url(port=proxy.port) leads through it
store_url  a test that takes it runs twice: on SQLite and on PostgreSQL
scale      LABS_SCALE, 1 unless set: how much longer `make stress` makes a long test
"""

import contextlib
import os

import pytest
from support.engine import Engine
from support.paths import BINARY
from support.postgres import Postgres
from support.provider import Provider
from support.proxy import Proxy


@pytest.fixture(scope="session")
def _cluster():
    cluster = Postgres()
    yield cluster
    cluster.remove()


@pytest.fixture
def postgres(_cluster):
    _cluster.start()
    # Those of the test before: dropped now, for its engine may have outlived this fixture.
    _cluster.drop_databases()
    _cluster.new_database()
    return _cluster


@contextlib.contextmanager
def _engines_in(folder):
    assert BINARY.exists(), f"{BINARY} is missing: run `make build`"
    made = []

    def make(start=True, **arguments):
        engine = Engine(folder / f"engine-{len(made) + 1}", **arguments)
        made.append(engine)
        return engine.start() if start else engine

    yield make
    faults = []
    for engine in made:
        try:
            engine.finish()
        except Exception as fault:  # noqa: BLE001 (the others must be ended all the same)
            faults.append(fault)
    if faults:
        raise faults[0]


@pytest.fixture
def engines(tmp_path, proxies, providers):  # these two: closed only after the engines have stopped
    with _engines_in(tmp_path) as make:
        yield make


@pytest.fixture
def engine(engines):
    return engines()


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    with _engines_in(tmp_path_factory.mktemp("shared")) as make:
        yield make(FORWARD_BATCH_AGE="20ms")


@pytest.fixture
def proxies():
    made = []

    def make(port, host="127.0.0.1"):
        made.append(Proxy((host, port)))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def providers(tmp_path):
    made = []

    def make(*keys, **arguments):
        made.append(Provider(*keys, folder=tmp_path, **arguments))
        return made[-1]

    yield make
    for provider in made:
        provider.close()


@pytest.fixture
def proxy(proxies, postgres):
    return proxies(postgres.port)


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/events.db"
    return request.getfixturevalue("postgres").url()


@pytest.fixture(scope="session")
def scale():
    return float(os.environ.get("LABS_SCALE", "1"))
