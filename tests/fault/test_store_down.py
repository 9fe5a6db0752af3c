"""A store that is away, slow or unwilling: writers do not notice, and all of it arrives later.

Each fault is told once in the log when it begins and once when it ends, and `store.state` says
`down` in between, however often the engine has tried meanwhile.
"""

import os
import sqlite3
import time
from pathlib import Path

import psycopg
import pytest
from fault.load import Load, Watch, reconcile
from fault.told import DOWN, UP, one_fault, times, wait_until_down, wait_until_up
from support.engine import a_transaction
from support.postgres import PASSWORD, USER

QUICK = {
    "FORWARD_BATCH_AGE": "20ms",
    "FORWARD_RETRY_MIN": "10ms",
    "FORWARD_RETRY_MAX": "200ms",
    "STORE_TIMEOUT": "1s",
}


@pytest.fixture
def engine(engines, postgres, proxy):
    """One that has its tables, and whose line to PostgreSQL leads through `proxy`."""
    engine = engines(DATABASE_URL=postgres.url(port=proxy.port), **QUICK)
    wait_until_up(engine)
    return engine


def cut_off(postgres):
    """Ends the engine's sessions; settings of a role or database count for new ones."""
    postgres.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", USER
    )


def attempts(engine):
    return engine.metrics()["labs_analytics_store_errors_total"]


def goes_through(engine, query, begin, end, words):
    """The fault is there under load until the engine has tried several times."""
    with Watch(query), Load(engine) as load:
        load.wait_for(50)
        begin()
        try:
            wait_until_down(engine, words)
            before = attempts(engine)
            load.wait_for(100)  # nobody who writes notices
            engine.wait_until(lambda: attempts(engine) >= before + 3, 30, "more attempts")
            assert times(engine, DOWN) == 1 and times(engine, UP) == 0, engine.log
            assert engine.get("/readyz", token=None).status_code == 200
        finally:
            end()
        wait_until_up(engine)
        load.wait_for(50)
    reconcile(engine, load, query)
    one_fault(engine)


def test_no_server_at_the_start(engines, postgres, proxy):
    proxy.down()
    engine = engines(DATABASE_URL=postgres.url(port=proxy.port), **QUICK)
    with Load(engine) as load:
        load.wait_for(200)
        wait_until_down(engine)
        assert load.acknowledged <= engine.counts()["uncompleted"]
    proxy.up()
    reconcile(engine, load, postgres.ask)
    one_fault(engine)


def test_a_server_that_refuses(engine, postgres, proxy):
    goes_through(engine, postgres.ask, proxy.down, proxy.up, "")


def test_a_line_that_stalls(engine, postgres, proxy):
    goes_through(engine, postgres.ask, proxy.stall, proxy.resume, "time limit of 1000 ms")


def test_a_server_that_accepts_and_never_answers(engines, postgres):
    engine = engines(DATABASE_URL=postgres.url(), **QUICK)
    wait_until_up(engine)
    with Load(engine) as load:
        load.wait_for(50)
        postgres.pause()
        try:
            wait_until_down(engine, "time limit")
            load.wait_for(100)
        finally:
            postgres.resume()
        wait_until_up(engine)
    reconcile(engine, load, postgres.ask)
    one_fault(engine)


def test_a_slow_line(engine, postgres, proxy):
    proxy.delay(0.03)
    with Watch(postgres.ask), Load(engine) as load:
        load.wait_for(300)
    reconcile(engine, load, postgres.ask)
    assert times(engine, DOWN) == 0, engine.log


def test_a_name_that_nobody_looks_up(engines, postgres, shim):
    """The resolver hangs: that is a fault as any other, and the end does not wait for it."""
    url = postgres.url(host="localhost")
    shim.hang_names()
    engine = engines(DATABASE_URL=url, **QUICK, **shim.options())
    with Load(engine) as load:
        load.wait_for(50)
        wait_until_down(engine, 'look up "localhost": not done within the time limit')
        before = attempts(engine)
        load.wait_for(100)
        engine.wait_until(lambda: attempts(engine) >= before + 2, 30, "more attempts")
        threads = len(os.listdir(f"/proc/{engine.process.pid}/task"))
        engine.wait_until(lambda: attempts(engine) >= before + 4, 30, "more attempts")
        assert len(os.listdir(f"/proc/{engine.process.pid}/task")) <= threads + 1
        shim.heal()
        wait_until_up(engine)
    reconcile(engine, load, postgres.ask)
    one_fault(engine)
    shim.hang_names()
    postgres.stop()
    with Load(engine, clients=1) as load:
        load.wait_for(5)
        wait_until_down(engine, 'look up "localhost"')
    engine.stop(timeout=10)


def test_a_name_of_several_hosts(engines, postgres, proxy):
    """Those that nobody knows, and those that do not answer, are passed over."""
    hosts = f"nowhere.invalid,localhost,127.0.0.1:{proxy.port},localhost"
    proxy.down()
    url = postgres.url(host=hosts)
    engine = engines(DATABASE_URL=url, **QUICK)
    with Load(engine) as load:
        load.wait_for(50)
    reconcile(engine, load, postgres.ask)
    engine.restart(DATABASE_URL=postgres.url(host="nowhere.invalid"))
    wait_until_down(engine, 'look up "nowhere.invalid"')


def test_a_pooler_that_dies(engines, postgres, pooler):
    """It gives each transaction a session that others have had before, and changed."""
    url = postgres.url(port=pooler.port)
    engine = engines(DATABASE_URL=url, **QUICK)
    wait_until_up(engine)
    with Watch(postgres.ask), Load(engine) as load:
        for deaths in (1, 2, 3):
            with psycopg.connect(url, autocommit=True) as other:
                other.execute("SET synchronous_commit = off")
                other.execute("SET default_transaction_isolation = 'serializable'")
            load.wait_for(100)
            pooler.kill()
            wait_until_down(engine)
            pooler.start()
            wait_until_up(engine)
            assert (times(engine, DOWN), times(engine, UP)) == (deaths, deaths), engine.log
    reconcile(engine, load, postgres.ask)


def test_a_store_that_takes_long_for_each_write(engine, postgres):
    """Within the time limit: batches grow meanwhile, and nobody is told of a fault."""
    postgres.ask(
        "CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.4); RETURN NULL; END $$"
    )
    postgres.ask("CREATE TRIGGER take_long AFTER INSERT ON event EXECUTE FUNCTION take_long()")
    with Watch(postgres.ask), Load(engine) as load:
        load.wait_for(500)
    postgres.ask("DROP TRIGGER take_long ON event")
    reconcile(engine, load, postgres.ask)
    assert times(engine, DOWN) == 0, engine.log


def test_a_batch_that_takes_longer_than_the_time_limit(engine, postgres):
    """Never stored whole, it is stored in parts; nothing of it twice."""
    postgres.ask(
        "CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END $$"
    )
    postgres.ask(
        "CREATE TRIGGER take_long BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION take_long()"
    )
    body = [a_transaction(datapoints=1) for _ in range(2000)]
    results = engine.post(body, "/v1/transactions").json()["results"]
    engine.wait_until_stored()
    assert engine.stored_ids() == {result["id"]: 1 for result in results}
    # That it is up is told after what is stored can be seen.
    engine.wait_until(lambda: times(engine, DOWN) == times(engine, UP) > 0, 30, "its end")


def test_restarted_every_second(engines, postgres, scale):
    engine = engines(DATABASE_URL=postgres.url(), **QUICK)
    wait_until_up(engine)
    with Load(engine) as load:
        for number in range(int(5 * scale)):
            postgres.kill() if number % 2 else postgres.stop()
            postgres.start()
            time.sleep(1)
    reconcile(engine, load, postgres.ask)
    assert times(engine, DOWN) == times(engine, UP) <= int(5 * scale), engine.log


def test_a_database_that_turns_read_only(engine, postgres):
    name = postgres.databases[-1]

    def begin():
        postgres.query(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        cut_off(postgres)

    def end():
        postgres.query(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    goes_through(engine, postgres.ask, begin, end, "read-only transaction")


def test_a_server_that_is_a_standby(engine, postgres):
    """It restarts in recovery, as after a failover that went the wrong way, and is promoted."""

    def begin():
        postgres.restart_as_standby()

    def end():
        postgres.promote()

    goes_through(engine, postgres.ask, begin, end, "read-only transaction")


def test_a_password_that_changes(engine, postgres):
    def begin():
        postgres.query(f"ALTER ROLE {USER} PASSWORD 'another'")
        cut_off(postgres)

    def end():
        postgres.query(f"ALTER ROLE {USER} PASSWORD '{PASSWORD}'")

    goes_through(engine, postgres.ask, begin, end, "password authentication failed")
    assert PASSWORD not in engine.log


def test_no_connection_left(engine, postgres):
    def begin():
        postgres.query(f"ALTER ROLE {USER} CONNECTION LIMIT 0")
        cut_off(postgres)

    def end():
        postgres.query(f"ALTER ROLE {USER} CONNECTION LIMIT -1")

    goes_through(engine, postgres.ask, begin, end, "too many connections")


def test_no_right_to_write(engine, postgres):
    def begin():
        postgres.ask("ALTER TABLE event OWNER TO postgres")

    def end():
        postgres.ask(f"ALTER TABLE event OWNER TO {USER}")

    goes_through(engine, postgres.ask, begin, end, "permission denied for table event")


def test_a_table_that_is_moved_away(engine, postgres):
    def begin():
        postgres.ask("ALTER TABLE event RENAME TO event_away")

    def end():
        postgres.ask("ALTER TABLE event_away RENAME TO event")

    goes_through(engine, postgres.ask, begin, end, 'relation "event" does not exist')


def test_a_locked_table(engine, postgres):
    """Somebody's ALTER TABLE or a dump that waits: the engine tries until the lock is gone."""
    with psycopg.connect(postgres.url()) as other:

        def begin():
            other.execute("LOCK TABLE event IN SHARE MODE")

        goes_through(engine, postgres.ask, begin, other.rollback, "time")


def test_all_tables_are_dropped(engine, postgres):
    """The engine makes them anew and goes on with what the queue still holds: what had been
    stored is gone with the tables, what had not is there."""
    with Load(engine) as load:
        load.wait_for(100)
    reconcile(engine, load, postgres.ask)
    with Load(engine) as load:
        postgres.ask("DROP TABLE event, forward_cursor, schema_migration")
        wait_until_down(engine)
        load.wait_for(100)
        wait_until_up(engine)
    engine.wait_until_stored()
    first = postgres.ask("SELECT min(transaction_id) AS id FROM event")[0]["id"]
    stored = set(engine.stored_ids())
    later = [one for one in load.sent.values() if one.identity and one.identity >= first]
    assert len(later) >= 100
    assert {one.identity for one in later} <= stored
    one_fault(engine)


def sqlite(path, sql):
    with sqlite3.connect(path, timeout=10, isolation_level=None) as database:
        database.executescript(sql)
    database.close()


@pytest.fixture
def embedded(engines):
    engine = engines(**QUICK)
    wait_until_up(engine)
    return engine


def test_an_embedded_table_that_is_moved_away(embedded):
    path = embedded.data_dir / "events.db"
    with Load(embedded) as load:
        load.wait_for(50)
        sqlite(path, "ALTER TABLE event RENAME TO event_away")
        wait_until_down(embedded, "no such table")
        before = attempts(embedded)
        load.wait_for(100)
        embedded.wait_until(lambda: attempts(embedded) >= before + 3, 30, "more attempts")
        sqlite(path, "ALTER TABLE event_away RENAME TO event")
        wait_until_up(embedded)
    reconcile(embedded, load, embedded.query)
    one_fault(embedded)


def test_an_embedded_store_that_somebody_locks(embedded):
    other = sqlite3.connect(embedded.data_dir / "events.db", isolation_level=None)
    with Load(embedded) as load:
        load.wait_for(50)
        embedded.wait_until(lambda: other.execute("BEGIN IMMEDIATE"), 30)
        wait_until_down(embedded, "time limit")
        load.wait_for(100)
        other.execute("ROLLBACK")
        wait_until_up(embedded)
    other.close()
    reconcile(embedded, load, embedded.query)
    one_fault(embedded)


def _classes(engine, names):
    """The scheduling classes of these threads."""
    folder = Path(f"/proc/{engine.process.pid}/task")
    threads = {(task / "comm").read_text().strip(): int(task.name) for task in folder.iterdir()}
    return {os.sched_getscheduler(threads[name]) for name in names}


def test_only_with_the_embedded_store_do_loader_and_writer_yield(engines, postgres):
    """They do its work; to a server they feed rows, and it must not wait for them."""
    for options, expected in [
        ({}, os.SCHED_IDLE),
        ({"DATABASE_URL": postgres.url()}, os.SCHED_OTHER),
    ]:
        engine = engines(**options)
        engine.accept()
        engine.wait_until_stored()
        assert _classes(engine, ["loader", "writer"]) == {expected}
