"""The store comes and goes; what was acknowledged arrives, once, without a restart."""

import threading

from support.engine import a_transaction
from support.proxy import TO_CLIENT, TO_SERVER
from support.refusing import TABOO, Refusing


def state(engine):
    return engine.status()["store"]["state"]


def test_an_engine_starts_without_its_store_and_everything_arrives(engines, postgres):
    url = postgres.url()
    postgres.stop()
    engine = engines(DATABASE_URL=url)
    ids = [engine.accept() for _ in range(20)]
    many = engine.post([a_transaction()] * 100, "/v1/transactions").json()["results"]
    ids += [one["id"] for one in many]
    engine.wait_until(lambda: engine.status()["store"]["last_error"])
    assert state(engine) == "down"
    assert engine.counts()["uncompleted"] == 120
    assert engine.get("/readyz", token=None).status_code == 200
    assert engine.metrics()["labs_analytics_store_up"] == 0
    engine.wait_for_log("the store is down")
    postgres.start()
    engine.wait_until_stored()
    assert state(engine) == "up"
    assert engine.stored_ids() == dict.fromkeys(ids, 2)
    engine.wait_for_log("the store is up")
    assert engine.metrics()["labs_analytics_store_up"] == 1


def test_a_database_that_is_made_later_is_found(engines, postgres):
    name = "made_later"
    engine = engines(DATABASE_URL=postgres.url(name), FORWARD_RETRY_MAX="200ms")
    identity = engine.accept()
    engine.wait_until(lambda: name in (engine.status()["store"]["last_error"] or ""))
    postgres.query(f"CREATE DATABASE {name} OWNER labs")
    postgres.databases.append(name)
    engine.wait_until_stored()
    assert engine.stored_ids() == {identity: 2}


def test_a_wrong_password_is_an_outage_not_a_loss(engines, postgres):
    url = postgres.url()
    engine = engines(DATABASE_URL=url.replace("labs-pass", "wrong"), SHUTDOWN_TIMEOUT="0s")
    identity = engine.accept()
    engine.wait_until(lambda: "password" in (engine.status()["store"]["last_error"] or ""))
    engine.restart(DATABASE_URL=url)
    engine.wait_until_stored()
    assert engine.stored_ids() == {identity: 2}


def test_a_store_that_restarts_loses_and_doubles_nothing(engines, postgres):
    engine = engines(DATABASE_URL=postgres.url(), FORWARD_RETRY_MAX="200ms")
    ids = []
    for end in (postgres.stop, postgres.kill):
        ids += [engine.accept() for _ in range(10)]
        end()
        ids += [engine.accept() for _ in range(10)]
        postgres.start()
        ids += [engine.accept() for _ in range(10)]
    engine.wait_until_stored()
    assert engine.stored_ids() == dict.fromkeys(ids, 2)


def test_a_commit_whose_answer_is_lost_is_not_repeated(engines, postgres, proxy):
    engine = engines(
        DATABASE_URL=postgres.url(port=proxy.port), FORWARD_RETRY_MAX="200ms", SHUTDOWN_TIMEOUT="5s"
    )
    first = engine.accept()
    engine.wait_until_stored()
    lost = proxy.cut_on(b"COMMIT\0", TO_CLIENT)
    second = engine.accept()
    assert lost.wait(30)
    third = engine.accept()
    engine.wait_until_stored()
    assert engine.stored_ids() == {first: 2, second: 2, third: 2}


def end_sessions(engine, postgres):
    sessions = "FROM pg_stat_activity WHERE application_name = 'labs-analytics'"
    postgres.query(f"SELECT pg_terminate_backend(pid) {sessions}")
    engine.wait_until(lambda: not postgres.query(f"SELECT pid {sessions}"))


def test_an_idle_session_that_is_ended_is_no_outage(engines, postgres):
    engine = engines(DATABASE_URL=postgres.url())
    engine.events_of(engine.accept())
    end_sessions(engine, postgres)
    engine.events_of(engine.accept())
    assert "the store is down" not in engine.log
    assert engine.metrics()["labs_analytics_store_errors_total"] == 0


def test_nor_is_it_for_another_try(engines, postgres):
    store = Refusing(postgres.url())
    engine = engines(DATABASE_URL=store.url)
    engine.events_of(engine.accept())
    store.refuse()
    identity = engine.accept(data=[{"key": TABOO, "value": "1"}])
    engine.wait_until(lambda: engine.transaction(identity)["status"] == "failed")
    store.allow()
    end_sessions(engine, postgres)
    assert engine.post(None, f"/v1/transactions/{identity}/retry").status_code == 202
    engine.wait_until_stored()
    assert "the store is down" not in engine.log
    assert engine.metrics()["labs_analytics_store_errors_total"] == 0


def test_a_connection_that_breaks_within_a_batch_is_tried_again(engines, postgres, proxy):
    engine = engines(DATABASE_URL=postgres.url(port=proxy.port), FORWARD_RETRY_MAX="200ms")
    engine.accept()
    engine.wait_until_stored()
    broken = proxy.cut_on(b"marked", TO_SERVER)
    identity = engine.accept(pennkey="marked")
    assert broken.wait(30)
    engine.wait_until_stored()
    assert engine.stored_ids()[identity] == 2
    outcomes = [one["outcome"] for one in engine.get("/v1/deliveries").json()["deliveries"]]
    assert outcomes[0] == "stored"
    assert "unavailable" in outcomes


def test_writes_never_wait_for_the_store(engines, postgres, proxy):
    engine = engines(DATABASE_URL=postgres.url(port=proxy.port), STORE_TIMEOUT="2s")
    engine.accept()
    engine.wait_until_stored()
    proxy.stall()
    ids = [engine.accept() for _ in range(50)]
    assert engine.counts()["uncompleted"] == 50
    proxy.resume()
    engine.wait_until_stored()
    assert set(ids) <= set(engine.stored_ids())


def test_tables_are_those_of_the_contract(engines, store_url):
    engine = engines(DATABASE_URL=store_url)
    engine.accept()
    engine.wait_until_stored()
    (event,) = engine.query("SELECT * FROM event LIMIT 1")
    assert list(event) == [
        "id",
        "transaction_id",
        "product",
        "pennkey",
        "datapoint",
        "value",
        "timestamp",
        "received_at",
    ]
    (cursor,) = engine.query("SELECT * FROM forward_cursor")
    assert list(cursor) == ["node", "position", "updated_at"]
    assert cursor["node"] == engine.status()["node"]
    assert cursor["position"] > 0
    migrations = engine.query("SELECT * FROM schema_migration ORDER BY version")
    assert migrations and list(migrations[0]) == ["version", "name", "applied_at"]


def test_two_engines_write_into_one_database(engines, postgres):
    first = engines(DATABASE_URL=postgres.url())
    second = engines(DATABASE_URL=postgres.url())
    sent = {first: [], second: []}

    def write(engine):
        for _ in range(10):
            results = engine.post([a_transaction()] * 20, "/v1/transactions").json()["results"]
            sent[engine] += [one["id"] for one in results]

    writers = [threading.Thread(target=write, args=(engine,)) for engine in sent]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    for engine in sent:
        assert engine.wait_until_stored()["successful"] == 200
    assert first.stored_ids() == dict.fromkeys(sent[first] + sent[second], 2)
    cursors = first.query("SELECT node FROM forward_cursor ORDER BY node")
    assert [row["node"] for row in cursors] == sorted(e.status()["node"] for e in sent)
    assert first.get(f"/v1/transactions/{sent[second][0]}").status_code == 404


def test_two_engines_that_start_together_migrate_once(engines, postgres):
    made = [engines(start=False, DATABASE_URL=postgres.url()).launch() for _ in range(3)]
    for engine in made:
        engine.wait_for_log("listening on")
    applied = "SELECT count(*) AS n FROM schema_migration"
    wanted = len(made[0].command("migrate", "--status").stdout.splitlines())
    made[0].wait_until(lambda: made[0].query(applied)[0]["n"] == wanted)
    for engine in made:
        engine.stop()
        assert "schema migration" in engine.full_log or "error" not in engine.full_log


def test_one_directory_may_change_its_store(engines, postgres, tmp_path):
    engine = engines(DATABASE_URL=f"sqlite:{tmp_path}/events.db")
    engine.accept()
    engine.wait_until_stored()
    engine.restart(DATABASE_URL=postgres.url())
    second = engine.accept()
    engine.wait_until_stored()
    assert engine.stored_ids() == {second: 2}
    assert engine.counts()["successful"] == 2


COPYING = (
    "SELECT 1 FROM pg_stat_progress_copy JOIN pg_stat_activity USING (pid)"
    " WHERE wait_event = 'ClientRead' AND tuples_processed > 0"
)


def test_a_batch_that_is_not_full_leaves_the_server_time(engines, postgres):
    """Its rows come in pieces: most of the time the server waits for the next one."""
    engine = engines(DATABASE_URL=postgres.url(), FORWARD_BATCH_AGE="1s")
    long = [{"key": f"key.{n}", "value": "v" * 8000} for n in range(100)]
    for _ in range(10):
        engine.accept(data=long)
    looks = []

    def is_seen_often():
        looks.append(len(postgres.ask(COPYING)))
        return sum(looks) >= 10

    engine.wait_until(is_seen_often, 30, "a COPY that waits for rows")
    assert engine.wait_until_stored()["successful"] == 10
