"""Users are forgotten wherever they are, and old events deleted."""

import json
import sqlite3
import threading
import time

import psycopg
import pytest
from support.engine import a_transaction

HOUR = 3600


def forget(engine, pennkey, delete=None, status=200, token="own"):
    body = {"pennkey": pennkey} | ({} if delete is None else {"delete": delete})
    answer = engine.request("POST", "/v1/users/forget", json=body, token=token)
    assert answer.status_code == status, answer.text
    return answer.json()


def users_stored(engine):
    """{transaction id: pennkey}, read from the store."""
    rows = engine.query("SELECT DISTINCT transaction_id, pennkey FROM event")
    return {row["transaction_id"]: row["pennkey"] for row in rows}


def wait_until_done(engine):
    engine.wait_until(
        lambda: engine.metrics()["labs_analytics_forget_orders_open"] == 0,
        what="all orders to be carried out",
    )


def run_sql(url, for_sqlite, for_postgres):
    if url.startswith("sqlite:"):
        database = sqlite3.connect(url.removeprefix("sqlite:"), timeout=30)
        database.executescript(for_sqlite)
        database.close()
    else:
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(for_postgres)


def refuse(url):
    run_sql(
        url,
        "CREATE TRIGGER no_taboo BEFORE INSERT ON event WHEN new.datapoint = 'taboo' "
        "BEGIN SELECT RAISE(ABORT, 'no_taboo is violated'); END",
        "ALTER TABLE event ADD CONSTRAINT no_taboo CHECK (datapoint <> 'taboo') NOT VALID",
    )


def allow(url):
    run_sql(url, "DROP TRIGGER no_taboo", "ALTER TABLE event DROP CONSTRAINT no_taboo")


@pytest.fixture
def keeping(engines, store_url):
    """An engine whose store is up."""
    engine = engines(DATABASE_URL=store_url, FORWARD_RETRY_MIN="10ms", FORWARD_RETRY_MAX="100ms")
    engine.wait_until(lambda: engine.status()["store"]["state"] == "up")
    return engine


def fail_one(engine, pennkey):
    identity = engine.accept(pennkey=pennkey, data=[{"key": "taboo", "value": "x"}])
    engine.wait_until(lambda: engine.transaction(identity)["status"] == "failed")
    return identity


class Away:
    """An engine on PostgreSQL that is down, with one transaction of "jdoe" stored before and
    three, and one of "other", in the queue."""

    def __init__(self, engines, postgres):
        self.postgres = postgres
        self.engine = engines(
            DATABASE_URL=postgres.url(),
            FORWARD_RETRY_MIN="10ms",
            FORWARD_RETRY_MAX="200ms",
            STORE_TIMEOUT="5s",
            SHUTDOWN_TIMEOUT="0s",
        )
        self.stored = self.engine.accept(pennkey="jdoe")
        self.engine.wait_until_stored()
        postgres.stop()
        self.queued = [self.engine.accept(pennkey="jdoe") for _ in range(3)]
        self.other = self.engine.accept(pennkey="other")


@pytest.fixture
def away(engines, postgres):
    return Away(engines, postgres)


# -- what is stored and what failed


def test_a_user_is_forgotten_in_the_store_and_among_the_failed(keeping, store_url):
    mine = [keeping.accept(pennkey="jdoe", datapoints=3) for _ in range(4)]
    other = keeping.accept(pennkey="other")
    refuse(store_url)
    failed = fail_one(keeping, "jdoe")
    others_failed = fail_one(keeping, "other")
    keeping.wait_until_stored()
    counts = keeping.counts()
    assert forget(keeping, "jdoe") == {"store": 12, "queue": 0, "failed": 1, "pending": False}
    assert users_stored(keeping) == dict.fromkeys(mine) | {other: "other"}
    assert keeping.counts() == counts
    assert keeping.transaction(failed)["pennkey"] is None
    assert keeping.transaction(others_failed)["pennkey"] == "other"
    assert "jdoe" not in keeping.get("/v1/transactions?status=failed").text
    assert "jdoe" not in keeping.get("/v1/transactions?status=successful").text
    assert "jdoe" not in keeping.get("/v1/deliveries").text
    assert "jdoe" not in keeping.log
    for identity in mine:
        assert keeping.transaction(identity)["pennkey"] is None
    assert keeping.transaction(other)["pennkey"] == "other"
    allow(store_url)
    keeping.request("POST", f"/v1/transactions/{failed}/retry")
    keeping.wait_until(lambda: keeping.transaction(failed)["status"] == "successful")
    assert users_stored(keeping)[failed] is None
    assert keeping.metrics()["labs_analytics_forgotten_rows_total"] == 12


def test_a_user_is_deleted_in_the_store_and_among_the_failed(keeping, store_url):
    mine = [keeping.accept(pennkey="jdoe") for _ in range(4)]
    other = keeping.accept(pennkey="other")
    refuse(store_url)
    failed = fail_one(keeping, "jdoe")
    keeping.wait_until_stored()
    before = keeping.counts()
    told = forget(keeping, "jdoe", delete=True)
    assert told == {"store": 8, "queue": 0, "failed": 1, "pending": False}
    assert users_stored(keeping) == {other: "other"}
    after = keeping.counts()
    assert after["discarded"] == before["discarded"] + 1
    assert after["failed"] == before["failed"] - 1
    assert after["successful"] == before["successful"]
    for identity in [*mine, failed]:
        assert keeping.get(f"/v1/transactions/{identity}").status_code == 404
    assert "jdoe" not in keeping.get("/v1/transactions?status=successful").text
    assert len(keeping.get("/v1/transactions?status=successful").json()["transactions"]) == 1


def test_who_was_never_here_is_forgotten_too(keeping):
    identity = keeping.accept(pennkey="other")
    keeping.wait_until_stored()
    assert forget(keeping, "nobody") == {"store": 0, "queue": 0, "failed": 0, "pending": False}
    assert users_stored(keeping) == {identity: "other"}


def test_what_is_accepted_afterwards_keeps_its_user(keeping):
    before = keeping.accept(pennkey="jdoe")
    keeping.wait_until_stored()
    forget(keeping, "jdoe")
    after = keeping.accept(pennkey="jdoe")
    keeping.wait_until_stored()
    assert users_stored(keeping) == {before: None, after: "jdoe"}
    assert keeping.transaction(before)["pennkey"] is None
    assert keeping.transaction(after)["pennkey"] == "jdoe"
    keeping.restart()
    assert keeping.transaction(before)["pennkey"] is None
    assert keeping.transaction(after)["pennkey"] == "jdoe"


def test_pseudonyms_and_pennkeys_of_before_are_forgotten_together(engines, store_url):
    engine = engines(DATABASE_URL=store_url)
    plain = engine.accept(pennkey="jdoe")
    engine.wait_until_stored()
    engine.restart(PSEUDONYMIZE="on")
    hashed = engine.accept(pennkey="jdoe")
    other = engine.accept(pennkey="other")
    engine.wait_until_stored()
    assert users_stored(engine)[hashed].startswith("p_")
    assert forget(engine, "jdoe")["store"] == 4
    stored = users_stored(engine)
    assert (stored[plain], stored[hashed]) == (None, None)
    assert stored[other].startswith("p_")


def delay(url):
    """An error that is no fault of the row's, for as long as the trigger is there: with SQLite it
    writes into a full-text index that is damaged."""
    run_sql(
        url,
        "CREATE VIRTUAL TABLE spoilt USING fts5(x); DELETE FROM spoilt_data WHERE id = 1;"
        "CREATE TRIGGER later BEFORE INSERT ON event WHEN new.datapoint = 'later' "
        "BEGIN INSERT INTO spoilt VALUES ('x'); END",
        "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION USING ERRCODE = ''55000''; END';"
        "CREATE TRIGGER later BEFORE INSERT ON event FOR EACH ROW "
        "WHEN (new.datapoint = 'later') EXECUTE FUNCTION later()",
    )


def test_what_failed_ahead_of_the_cursor_is_hidden_and_then_deleted(keeping, store_url):
    refuse(store_url)
    delay(store_url)
    both = [
        a_transaction(pennkey="jdoe", data=[{"key": "taboo", "value": "x"}]),
        a_transaction(pennkey="other", data=[{"key": "later", "value": "x"}]),
    ]
    answer = keeping.post(both, "/v1/transactions").json()["results"]
    mine, other = (one["id"] for one in answer)
    keeping.wait_until(lambda: keeping.transaction(mine)["attempts"] > 0)
    keeping.wait_until(lambda: keeping.status()["store"]["state"] == "down")
    told = forget(keeping, "jdoe", delete=True)
    assert (told["queue"], told["failed"], told["pending"]) == (1, 0, True)
    for path in (
        f"/v1/transactions/{mine}",
        "/v1/transactions?status=uncompleted",
        "/v1/transactions?status=failed",
        "/v1/transactions?status=failed&format=ndjson",
    ):
        assert "jdoe" not in keeping.get(path).text
    run_sql(store_url, "DROP TRIGGER later", "DROP TRIGGER later ON event")
    keeping.wait_until_stored()
    wait_until_done(keeping)
    assert users_stored(keeping) == {other: "other"}
    assert keeping.get(f"/v1/transactions/{mine}").status_code == 404
    assert keeping.counts()["failed"] == 0


# -- while the store is down


def test_an_order_is_kept_while_the_store_is_down(away):
    engine = away.engine
    told = forget(engine, "jdoe")
    assert told == {"store": None, "queue": 3, "failed": 0, "pending": True}
    for identity in away.queued:
        assert engine.transaction(identity)["pennkey"] is None
    listed = engine.get("/v1/transactions?status=uncompleted").text
    assert "jdoe" not in listed
    assert "other" in listed
    after = engine.accept(pennkey="jdoe")
    assert engine.metrics()["labs_analytics_forget_orders_open"] == 1
    away.postgres.start()
    engine.wait_until_stored()
    wait_until_done(engine)
    forgotten = dict.fromkeys([away.stored, *away.queued])
    assert users_stored(engine) == forgotten | {away.other: "other", after: "jdoe"}


@pytest.mark.parametrize("delete", [False, True])
def test_an_order_survives_a_kill(away, delete):
    engine = away.engine
    assert forget(engine, "jdoe", delete=delete)["pending"]
    engine.kill9()
    away.postgres.start()
    engine.start()
    counts = engine.wait_until_stored()
    wait_until_done(engine)
    assert counts == engine.counts()
    assert (counts["accepted"], counts["successful"], counts["discarded"]) == (5, 5, 0)
    if delete:
        assert users_stored(engine) == {away.other: "other"}
        for identity in away.queued:
            assert engine.get(f"/v1/transactions/{identity}").status_code == 404
    else:
        mine = dict.fromkeys([away.stored, *away.queued])
        assert users_stored(engine) == mine | {away.other: "other"}


def test_deleted_ones_alone_in_the_queue_still_move_the_cursor(engines, postgres):
    url = postgres.url()
    postgres.stop()
    engine = engines(DATABASE_URL=url, FORWARD_RETRY_MAX="200ms", FORWARD_BATCH_ROWS=1000)
    for _ in range(3):
        many = [a_transaction(pennkey="jdoe", datapoints=1)] * 1000
        assert engine.post(many, "/v1/transactions").json()["accepted"] == 1000
    assert forget(engine, "jdoe", delete=True)["queue"] == 3000
    postgres.start()
    assert engine.wait_until_stored()["successful"] == 3000
    wait_until_done(engine)
    assert engine.stored_ids() == {}
    assert engine.status()["queue"]["pending_bytes"] == 0


def test_a_forgotten_user_in_the_queue_never_gets_to_the_store(engines, postgres):
    engine = engines(DATABASE_URL=postgres.url(), FORWARD_RETRY_MAX="200ms")
    engine.accept(pennkey="first")
    engine.wait_until_stored()
    postgres.ask("CREATE TABLE seen (pennkey text)")
    postgres.ask("GRANT INSERT ON seen TO PUBLIC")
    postgres.ask(
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO seen VALUES (new.pennkey); RETURN new; END'"
    )
    postgres.ask("CREATE TRIGGER see BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION see()")
    postgres.stop()
    # The loader has its two batches in hand, of before the orders; only what it has not read can
    # be left out, so these stand behind a queue of its own.
    for _ in range(3):
        engine.post([a_transaction(pennkey="many", datapoints=10)] * 6000, "/v1/transactions")
    engine.wait_for_log("the store is down")
    for user in ("jdoe", "asmith", "other"):
        engine.accept(pennkey=user)
    forget(engine, "jdoe")
    forget(engine, "asmith", delete=True)
    postgres.start()
    engine.wait_until_stored()
    seen = {row["pennkey"] for row in postgres.ask("SELECT DISTINCT pennkey FROM seen")}
    assert seen == {"many", None, "other"}
    wait_until_done(engine)


@pytest.mark.parametrize("delete", [False, True])
def test_a_session_of_a_forgotten_user_is_nobodys(engines, providers, delete):
    provider = providers()
    provider.knows("session-of-jdoe", "jdoe")
    engine = engines(
        INTROSPECTION_URL=provider.introspection_url,
        INTROSPECTION_CLIENT_ID=provider.client_id,
        INTROSPECTION_CLIENT_SECRET=provider.client_secret,
        INTROSPECTION_TIMEOUT="300ms",
        FORWARD_RETRY_MAX="200ms",
        SHUTDOWN_TIMEOUT="0s",
    )
    provider.stop()

    def send():
        body = a_transaction(pennkey=None)
        return engine.post(body, headers={"X-Session-Id": "session-of-jdoe"}).json()["id"]

    before = send()
    assert forget(engine, "jdoe", delete=delete)["pending"]
    engine.kill9()
    engine.start()
    after = send()
    provider.start()
    engine.wait_until_stored()
    wait_until_done(engine)
    assert users_stored(engine) == {after: "jdoe"} | ({} if delete else {before: None})


@pytest.fixture
def asking(engines, providers, store_url):
    """An engine that asks whose a session is, and refuses what is taboo."""
    provider = providers()
    provider.knows("session-of-jdoe", "jdoe")
    engine = engines(
        DATABASE_URL=store_url,
        INTROSPECTION_URL=provider.introspection_url,
        INTROSPECTION_CLIENT_ID=provider.client_id,
        INTROSPECTION_CLIENT_SECRET=provider.client_secret,
        INTROSPECTION_TIMEOUT="300ms",
        INTROSPECTION_PATIENCE="1s",
        FORWARD_RETRY_MIN="10ms",
        FORWARD_RETRY_MAX="100ms",
    )
    engine.wait_until(lambda: engine.status()["store"]["state"] == "up")
    refuse(store_url)
    engine.provider = provider
    return engine


def fail_one_of_the_session(engine):
    body = a_transaction(pennkey=None, data=[{"key": "taboo", "value": "x"}])
    identity = engine.post(body, headers={"X-Session-Id": "session-of-jdoe"}).json()["id"]
    engine.wait_until(lambda: engine.transaction(identity)["status"] == "failed")
    engine.wait_until_stored()
    return identity


def assert_forgotten(engine, failed, url, delete):
    """With its user or not, the failed transaction does not come back as theirs."""
    told = forget(engine, "jdoe", delete=delete)
    assert (told["failed"], told["pending"]) == (1, False)
    allow(url)
    if delete:
        assert engine.get(f"/v1/transactions/{failed}").status_code == 404
        return
    engine.request("POST", f"/v1/transactions/{failed}/retry")
    engine.wait_until(lambda: engine.transaction(failed)["status"] == "successful")
    assert users_stored(engine)[failed] is None


@pytest.mark.parametrize("delete", [False, True])
def test_a_refused_transaction_of_a_session_is_forgotten_with_its_user(asking, store_url, delete):
    failed = fail_one_of_the_session(asking)
    asking.restart()  # what was known of the session is gone
    assert_forgotten(asking, failed, store_url, delete)


@pytest.mark.parametrize("delete", [False, True])
def test_a_session_that_was_resolved_after_its_transaction_failed_is_forgotten(
    asking, store_url, delete
):
    asking.provider.stop()
    failed = fail_one_of_the_session(asking)
    assert asking.transaction(failed)["pennkey"] is None, "nobody could say in time"
    asking.provider.start()
    body = a_transaction(pennkey=None)
    later = asking.post(body, headers={"X-Session-Id": "session-of-jdoe"}).json()["id"]
    asking.wait_until(lambda: users_stored(asking) == {later: "jdoe"})
    asking.wait_until_stored()
    assert_forgotten(asking, failed, store_url, delete)


def test_no_more_orders_than_there_is_room_for(engines, postgres):
    url = postgres.url()
    postgres.stop()
    engine = engines(DATABASE_URL=url, FORGET_MAX=2, SHUTDOWN_TIMEOUT="0s")
    forget(engine, "a")
    forget(engine, "b")
    forget(engine, "a")
    assert "orders" in forget(engine, "c", status=503)["detail"]


# -- while the user goes on writing


@pytest.mark.parametrize("delete", [False, True])
def test_what_is_under_way_is_forgotten_too(keeping, delete):
    """Writers go on as the same user while that user is forgotten again and again: whatever was
    acknowledged before the last order has no user, whatever was sent after its answer has."""
    before, after, errors = [], [], []
    ordered, over = threading.Event(), threading.Event()

    def write():
        try:
            while not over.is_set():
                mine = before if not ordered.is_set() else []
                identity = keeping.accept(pennkey="jdoe", datapoints=3)
                mine.append(identity)
        except Exception as fault:  # noqa: BLE001 (told by the test)
            errors.append(fault)

    def acknowledged():
        return list(before)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(8):
            seen = len(before)
            keeping.wait_until(lambda seen=seen: len(before) > seen + 20)
            last = acknowledged()
            forget(keeping, "jdoe", delete=delete)
        ordered.set()
        after = [keeping.accept(pennkey="jdoe") for _ in range(20)]
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert errors == []
    keeping.wait_until_stored()
    wait_until_done(keeping)
    stored = users_stored(keeping)
    if delete:
        assert not set(last) & set(stored)
    else:
        assert {stored[identity] for identity in last} == {None}
    assert {stored[identity] for identity in after} == {"jdoe"}
    keeping.counts()


# -- the command


@pytest.mark.parametrize("online", [True, False])
def test_the_command_says_how_many(keeping, store_url, online):
    mine = keeping.accept(pennkey="jdoe", datapoints=3)
    other = keeping.accept(pennkey="other")
    refuse(store_url)
    failed = fail_one(keeping, "jdoe")
    keeping.wait_until_stored()
    if not online:
        keeping.stop()
    done = keeping.command("users", "forget", "jdoe")
    assert done.stdout == "store: 3 rows, queue: 0 transactions, failed: 1\n"
    told = json.loads(keeping.command("users", "forget", "other", "--delete", "--json").stdout)
    assert told == {"store": 2, "queue": 0, "failed": 0, "pending": False}
    if not online:
        keeping.start()
    assert users_stored(keeping) == {mine: None}
    assert keeping.transaction(failed)["pennkey"] is None
    assert keeping.get(f"/v1/transactions/{other}").status_code == 404


def test_the_command_leaves_the_rest_to_the_engine(away):
    engine = away.engine
    engine.stop()
    done = engine.command("users", "forget", "jdoe")
    assert done.stdout.startswith("store: not yet, queue: 3 transactions, failed: 0\npending")
    away.postgres.start()
    engine.start()
    engine.wait_until_stored()
    wait_until_done(engine)
    assert set(users_stored(engine).values()) == {None, "other"}


@pytest.mark.parametrize(
    "words",
    [["users"], ["users", "burn"], ["users", "forget"], ["users", "forget", "x" * 65]],
    ids=" ".join,
)
def test_wrong_usage_is_2(engines, words):
    done = engines(start=False).command(*words, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "users" in done.stderr


# -- who may, and what is asked


def test_only_an_administrator_has_users_forgotten(keeping):
    body = {"pennkey": "jdoe"}
    for scope in ("read", "admin"):
        made = keeping.command("key", "create", "--scope", scope).stdout.split()[0]
        answer = keeping.request("POST", "/v1/users/forget", json=body, token=made)
        assert answer.status_code == (200 if scope == "admin" else 403), answer.text
    assert keeping.request("POST", "/v1/users/forget", json=body, token=None).status_code == 401
    assert keeping.request("GET", "/v1/users/forget").status_code == 405


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        "{",
        '{"pennkey": null}',
        '{"pennkey": ""}',
        '{"pennkey": 5}',
        '{"pennkey": "a\\u0000b"}',
        json.dumps({"pennkey": "x" * 65}),
        '{"pennkey": "a", "delete": "yes"}',
        '{"pennkey": "a", "delete": null}',
        '{"pennkey": "a", "remove": true}',
    ],
)
def test_a_bad_order_is_400(shared, body):
    answer = shared.post(body, "/v1/users/forget")
    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_the_audit_says_who_ordered_it_and_not_whom(engines):
    engine = engines(LOG_LEVEL="debug")
    forget(engine, "a-rare-name")
    forget(engine, "a-rare-name", delete=True)
    engine.command("users", "forget", "a-rare-name")
    lines = [line for line in engine.log.splitlines() if "action=user-" in line]
    assert len(lines) == 3
    assert "action=user-forget outcome=done who=urn:pennlabs:development target=-" in lines[0]
    assert "action=user-delete outcome=done" in lines[1]
    assert "a-rare-name" not in engine.log
    engine.stop()
    done = engine.command("users", "forget", "a-rare-name")
    assert "action=user-forget outcome=done who=uid:" in done.stderr
    assert "a-rare-name" not in done.stderr


# -- retention


def test_old_events_are_deleted_in_steps(engines, store_url):
    now = time.time()
    engine = engines(
        DATABASE_URL=store_url,
        RETENTION="2h",
        RETENTION_STEP_ROWS=100,
        RETENTION_INTERVAL="1s",
    )
    young = [engine.accept(timestamp=now - HOUR, datapoints=50) for _ in range(4)]
    old = [engine.accept(timestamp=now - 3 * HOUR, datapoints=50) for _ in range(8)]
    engine.wait_until_stored()
    engine.wait_until(lambda: set(engine.stored_ids()) == set(young), timeout=60)
    assert engine.stored_ids() == dict.fromkeys(young, 50)
    engine.wait_until(lambda: engine.metrics()["labs_analytics_expired_rows_total"] == 400)
    engine.wait_until(
        lambda: engine.metrics()["labs_analytics_retention_last_run_timestamp_seconds"] > now
    )
    engine.wait_for_log(r"retention: \d+ rows of before")
    assert engine.counts()["successful"] == len(young + old)


def test_retention_goes_on_after_the_store_was_away(engines, postgres):
    engine = engines(
        DATABASE_URL=postgres.url(),
        RETENTION="2h",
        RETENTION_INTERVAL="1s",
        FORWARD_RETRY_MAX="200ms",
    )
    engine.wait_until(
        lambda: engine.metrics()["labs_analytics_retention_last_run_timestamp_seconds"] > 0
    )
    postgres.stop()
    engine.wait_for_log("users cannot be forgotten, nor old events deleted")
    old = engine.accept(timestamp=time.time() - 3 * HOUR)
    postgres.start()
    engine.wait_until_stored()
    engine.wait_until(lambda: old not in engine.stored_ids())
    assert len([line for line in engine.log.splitlines() if "nor old events" in line]) == 1
    engine.wait_for_log("the store is kept again")


def test_without_retention_nothing_is_deleted(engines, store_url):
    engine = engines(DATABASE_URL=store_url, RETENTION_INTERVAL="1s")
    old = engine.accept(timestamp=1000)
    engine.wait_until_stored()
    engine.restart(RETENTION_INTERVAL="1s")
    assert engine.metrics()["labs_analytics_retention_last_run_timestamp_seconds"] == 0
    assert set(engine.stored_ids()) == {old}


def test_a_retention_of_less_than_an_hour_stops_the_start(engines):
    engine = engines(start=False, RETENTION="59m")
    engine.launch()
    assert engine.wait_for_exit() == 2
    assert "RETENTION" in engine.log
