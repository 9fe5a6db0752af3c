"""Waiting for conditions: the only way a test lets time pass."""

import time


def wait_until(condition, timeout=30.0, what=None, interval=0.02):
    """Calls `condition` until it gives something true, and returns that.

    An exception counts as "not yet"; the last one is told when time is up.
    """
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = f"it gave {value!r}"
        except Exception as fault:  # noqa: BLE001 (whatever it is, it may pass)
            last = f"it raised {fault!r}"
        if time.monotonic() >= deadline:
            name = what or getattr(condition, "__name__", "the condition")
            raise AssertionError(f"waited {timeout:g} s for {name}; last {last}")
        time.sleep(interval)
