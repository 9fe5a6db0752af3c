"""PostgreSQL, or the line to it, breaks at each point of a write: nothing is lost or doubled.

The engine sends BEGIN, the cursor's move, COPY and COMMIT as one message; the server asks for
the rows, takes them, and goes on to COMMIT by itself. So the answer to COPY leaves the server
together with the one to COMMIT, and what lies between the two needs a COMMIT that lasts.
"""

import pytest
from fault import wire as at
from fault.load import Load, Watch, reconcile
from fault.told import one_fault, wait_until_down, wait_until_up

QUICK = {
    "FORWARD_BATCH_AGE": "500ms",  # of a load that makes rows for several pieces of a COPY
    "FORWARD_BATCH_ROWS": "20000",
    "FORWARD_RETRY_MIN": "10ms",
    "FORWARD_RETRY_MAX": "200ms",
}

POINTS = {
    "before_the_query": (at.QUERY, False),
    "after_the_cursor_has_moved": (at.UPDATED, False),
    "when_rows_are_asked_for": (at.COPY_ASKED, False),
    "before_the_first_rows": (at.FIRST_ROWS, False),
    "in_the_middle_of_the_rows": (at.LATER_ROWS, False),
    "between_rows_and_their_end": (at.COPY_DONE, False),
    "just_after_the_end_of_rows": (at.COPY_DONE, True),
    "before_the_answer_to_copy": (at.COPIED, False),
    "before_the_answer_to_commit": (at.COMMITTED, False),
    "after_the_answer_to_commit": (at.COMMITTED, True),
    "while_it_connects": (at.GREETING, False),
}


@pytest.fixture
def engine(engines, postgres, wire):
    """One that has its tables, and whose line to PostgreSQL leads through `wire`."""
    engine = engines(DATABASE_URL=postgres.url(port=wire.port), STORE_TIMEOUT="2s", **QUICK)
    wait_until_up(engine)
    return engine


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("fault", ["cut", "killed"])
def test_the_line_breaks(engine, postgres, wire, point, fault):
    message, passing = POINTS[point]
    sprung = wire.break_at(message, postgres.kill if fault == "killed" else None, passing)
    if message == at.GREETING:
        wire.cut()
    with Watch(postgres.ask), Load(engine, batches=0.9) as load:
        engine.wait_until(sprung.is_set, 30, "the fault")
        if fault == "killed":
            wait_until_down(engine)
            postgres.start()
        load.wait_for(100)
    reconcile(engine, load, postgres.ask)
    one_fault(engine)


@pytest.mark.parametrize("fault", ["cut", "killed"])
def test_the_line_breaks_between_copy_and_commit(engine, postgres, wire, fault):
    """A deferred trigger makes COMMIT last: the rows are in, the transaction is not over."""
    postgres.ask(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$"
    )
    postgres.ask(
        "CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON event DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION linger()"
    )
    lingers = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    with Watch(postgres.ask), Load(engine) as load:
        engine.wait_until(lambda: postgres.ask(lingers), 30, "COMMIT to be under way")
        if fault == "killed":
            postgres.kill()
        else:
            wire.cut()
        wait_until_down(engine)
        postgres.start()
        postgres.ask("DROP TRIGGER linger ON event")
    reconcile(engine, load, postgres.ask)
    one_fault(engine)


@pytest.mark.parametrize("point", ["in_the_middle_of_the_rows", "before_the_answer_to_commit"])
def test_the_line_stalls_for_ever(engine, postgres, wire, point):
    """The server still waits for rows, with its locks: the engine has it ended."""
    wire.break_at(POINTS[point][0], stall=True)
    with Watch(postgres.ask), Load(engine, batches=0.9) as load:
        wait_until_down(engine, "time limit of 2000 ms")
        load.wait_for(100)
    reconcile(engine, load, postgres.ask)
    one_fault(engine)


def test_a_dead_engines_transaction_is_still_open(engine, postgres, wire):
    """The engine is killed in the middle of COPY, and the server does not notice. The next life
    waits for the cursor that the first one holds, and goes on when that is gone."""
    sprung = wire.break_at(at.COPY_DONE, stall=True)
    with Watch(postgres.ask):
        load = Load(engine)
        with load:
            engine.wait_until(sprung.is_set, 30, "the fault")
        engine.kill9()
        engine.options["DATABASE_URL"] = postgres.url()
        engine.start()
        wait_until_down(engine, "time")
        wire.clear()
        reconcile(engine, load, postgres.ask)
    one_fault(engine)
