"""The store refuses single transactions for their content: exactly those fail, with its words.

When what refused them is gone, `transactions retry --all` stores them, each once.
"""

import json
import sqlite3

import pytest
from support.wait import wait_until

TRANSACTIONS = 5000
CHECK = "CHECK (value NOT LIKE 'bad%')"
QUICK = {"FORWARD_BATCH_AGE": "500ms", "FORWARD_RETRY_MIN": "10ms"}


class Constraint:
    """A CHECK on the table of events of either store."""

    def __init__(self, engine):
        self.engine = engine
        self.url = engine.options["DATABASE_URL"]

    def set(self, on, postgres):
        if self.url.startswith("sqlite:"):
            self._remake(f", CONSTRAINT no_bad {CHECK}" if on else "")
        elif on:
            postgres.ask(f"ALTER TABLE event ADD CONSTRAINT no_bad {CHECK}")
        else:
            postgres.ask("ALTER TABLE event DROP CONSTRAINT no_bad")

    def _remake(self, constraint):
        """SQLite changes no constraint of a table that is there."""
        path = self.url.removeprefix("sqlite:")
        database = sqlite3.connect(path, timeout=30, isolation_level=None)
        [(sql,)] = database.execute("SELECT sql FROM sqlite_master WHERE name = 'event'")
        body = sql[sql.index("(") : sql.rindex(")")].split(", CONSTRAINT")[0].rstrip()
        indexes = database.execute(
            "SELECT sql FROM sqlite_master WHERE tbl_name = 'event' AND sql LIKE 'CREATE INDEX%'"
        ).fetchall()
        database.execute("BEGIN EXCLUSIVE")
        database.execute(f"CREATE TABLE event_new {body}{constraint})")
        database.execute("INSERT INTO event_new SELECT * FROM event")
        database.execute("DROP TABLE event")
        database.execute("ALTER TABLE event_new RENAME TO event")
        for (index,) in indexes:
            database.execute(index)
        database.execute("COMMIT")
        database.close()


def send(engine, bad):
    """5,000 transactions of two datapoints; gives [(id, value)] in their order."""
    sent = []
    for start in range(0, TRANSACTIONS, 1000):
        values = [f"bad {n}" if n in bad else f"good {n}" for n in range(start, start + 1000)]
        body = [
            {
                "product": "CLUBS",
                "timestamp": 1790000000,
                "data": [{"key": "first", "value": f"fine {n}"}, {"key": "second", "value": v}],
            }
            for n, v in enumerate(values, start)
        ]
        answer = engine.post(json.dumps(body), "/v1/transactions")
        assert answer.status_code == 202, answer.text
        sent += [(r["id"], v) for r, v in zip(answer.json()["results"], values, strict=True)]
    return sent


def check_stored(engine, sent):
    """Both rows of each of these, once, and nothing else."""
    wanted = {}
    for identity, value in sent:
        number = value.split()[1]
        wanted[identity] = [("first", f"fine {number}"), ("second", value)]
    stored = {}
    for row in engine.events():
        stored.setdefault(row["transaction_id"], []).append((row["datapoint"], row["value"]))
    assert {identity: sorted(rows) for identity, rows in stored.items()} == wanted


def listed_as_failed(engine):
    answer = engine.get("/v1/transactions?status=failed&limit=1000")
    assert answer.status_code == 200, answer.text
    return answer.json()["transactions"]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({1234}, id="one"),
        pytest.param({0, TRANSACTIONS - 1}, id="the_first_and_the_last"),
        pytest.param(set(range(13, TRANSACTIONS, 100)), id="fifty"),
        pytest.param(set(range(1000, 1050)), id="fifty_in_a_row"),
    ],
)
def test_exactly_those_fail_that_the_store_refuses(engines, store_url, request, bad):
    postgres = None if store_url.startswith("sqlite:") else request.getfixturevalue("postgres")
    engine = engines(start=False, DATABASE_URL=store_url, **QUICK)
    engine.command("migrate")
    constraint = Constraint(engine)
    constraint.set(True, postgres)
    engine.start()
    sent = send(engine, bad)
    refused = [one for one in sent if one[1].startswith("bad")]

    counts = engine.wait_until_stored()
    assert counts["failed"] == len(bad) and counts["successful"] == TRANSACTIONS - len(bad)
    check_stored(engine, [one for one in sent if one not in refused])
    failed = listed_as_failed(engine)
    assert [one["id"] for one in failed] == [identity for identity, _ in refused]
    assert all("no_bad" in one["error"] for one in failed), failed[0]
    shown = engine.transaction(refused[0][0])
    assert shown["status"] == "failed"
    assert shown["data"][1] == {"key": "second", "value": refused[0][1]}

    engine.restart()  # the ledger remembers
    assert [one["id"] for one in listed_as_failed(engine)] == [one for one, _ in refused]
    assert engine.counts() == counts

    told = engine.command("transactions", "retry", "--all", LISTEN=engine.address).stdout
    assert told == f"{len(bad)} marked for another try\n"
    wait_until(lambda: all(one["attempts"] == 2 for one in listed_as_failed(engine)))
    engine.wait_until_stored()
    check_stored(engine, [one for one in sent if one not in refused])

    constraint.set(False, postgres)
    engine.command("transactions", "retry", "--all", LISTEN=engine.address)
    wait_until(lambda: not listed_as_failed(engine))
    counts = engine.wait_until_stored()
    assert counts["successful"] == TRANSACTIONS and counts["failed"] == 0
    check_stored(engine, sent)


def test_at_the_bound_forwarding_waits_and_nothing_is_dropped(engines):
    engine = engines(start=False, FAILED_MAX=2, FORWARD_RETRY_MAX="100ms")
    engine.options["DATABASE_URL"] = f"sqlite:{engine.data_dir}/events.db"
    engine.data_dir.mkdir(parents=True)
    engine.command("migrate")
    constraint = Constraint(engine)
    constraint.set(True, None)
    engine.start()
    ids = [
        engine.accept(data=[{"key": "k", "value": value}])
        for value in ["bad 1", "bad 2", "bad 3", "good"]
    ]
    engine.wait_for_log("2 failed transactions of .* FAILED_MAX")
    status = engine.status()
    assert status["failed"]["full"] and status["failed"]["max_transactions"] == 2
    assert engine.metrics()["labs_analytics_failed_full"] == 1
    assert engine.counts()["accepted"] == 4 and ids[3] not in engine.stored_ids()
    assert engine.get("/readyz", token=None).status_code == 200

    engine.wait_until(lambda: engine.counts()["failed"] == 2, what="the cursor behind both")
    engine.command("transactions", "discard", ids[0])
    engine.wait_until_stored()
    assert [one["id"] for one in listed_as_failed(engine)] == ids[1:3]
    assert engine.stored_ids().keys() == {ids[3]}
    engine.wait_for_log("the ledger can be written again")
    for words in ("the ledger cannot be written", "the ledger can be written again"):
        assert engine.log.count(words) == 1
