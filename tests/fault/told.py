"""What the engine's log says of faults: one line when one begins, one when it ends."""

DOWN, UP = "the store is down", "the store is up again"
LEDGER_DOWN, LEDGER_UP = "the ledger cannot be written", "the ledger can be written again"
REFUSED, TAKEN = "new transactions are refused", "new transactions are taken again"


def times(engine, words):
    """Lines of the log since the last start that contain `words`."""
    return sum(words in line for line in engine.log.splitlines())


def wait_until_down(engine, words="", timeout=30):
    """`words`: of the store or the engine, in the last error."""

    def is_down():
        store = engine.status()["store"]
        return store["state"] == "down" and words in store["last_error"]

    engine.wait_until(is_down, timeout, f"the store to be told down: {words}")


def wait_until_up(engine, timeout=30):
    engine.wait_until(
        lambda: engine.status()["store"]["state"] == "up", timeout, "the store to be told up"
    )


def one_fault(engine):
    """The store's fault was told once at its start and once at its end, and nothing else was."""
    assert (times(engine, DOWN), times(engine, UP)) == (1, 1), engine.log
    loud = [line for line in engine.log.splitlines() if " warning " in line or " error " in line]
    assert len(loud) == 1, engine.log
