"""What callers have submitted and the background thread has not yet settled, within bounds.

What the thread has taken stays counted until it is settled: answered, on disk, or given up. So
the bounds are on all that is in memory.

A caller who finds room takes no lock: appending to a deque is atomic. It wakes the thread at most
twice a batch, when there is a first transaction and when the batch is full; the thread says what
shall wake it before it looks whether that is there already, so no waking is missed. Threads that
find room for the last one at the same moment all get it. The count of what callers have put may
lose an addition of threads that add at the same moment; it is right again when the queue has been
empty.

The lock for all else is reentrant: a signal handler or a finalizer that records something may
interrupt a call of the same thread.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import Deque, List, NamedTuple, Optional

from labs_analytics.capture import Captured

NEVER = 1 << 62
# Longer ones overflow the clock of the platform.
LONGEST_SLEEP_S = 3600.0


class Taken(NamedTuple):
    """What the thread has taken and must settle."""

    transactions: List[Captured]
    size: int


class BoundedQueue:
    """`most`, `most_bytes`: the bounds on what is not settled."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)  # for the thread
        self._room = threading.Condition(self._lock)  # for callers who wait for room
        self._calm = threading.Condition(self._lock)  # for callers who flush
        self._items: Deque[Captured] = deque()
        self._wake_at = NEVER  # transactions or
        self._wake_at_bytes = NEVER  # bytes that end the thread's sleep
        self._blocked = 0
        self._flush_to = 0
        self._nudged = False
        self._closed = False
        self._in_flight = 0  # taken, not settled
        # What put() looks at: transactions that may wait, and bytes; none once it is closed.
        self._limit = most
        self._limit_bytes = most_bytes
        self._taken = 0
        self._put_bytes = 0  # of all ever put: callers add to it without the lock
        self._settled_bytes = 0
        self.settled = 0

    @property
    def submitted(self) -> int:
        """All that were ever taken in."""
        with self._lock:
            return self._taken + len(self._items)

    @property
    def held(self) -> int:
        """Transactions that are not settled."""
        with self._lock:
            return self._in_flight + len(self._items)

    @property
    def held_bytes(self) -> int:
        """About the bytes that these take."""
        return self._put_bytes - self._settled_bytes

    # -- for callers

    def put(self, transaction: Captured, patience: float = 0.0) -> bool:
        """False: no room, not within `patience` seconds either; or closed."""
        size = transaction[-1]
        items = self._items
        if (
            len(items) >= self._limit
            or self._put_bytes - self._settled_bytes + size > self._limit_bytes
        ) and not self._wait_for_room(size, patience):
            return False
        items.append(transaction)
        self._put_bytes += size
        if (
            len(items) >= self._wake_at
            or self._put_bytes - self._settled_bytes >= self._wake_at_bytes
        ):
            return self._wake(transaction)
        return True

    def _wake(self, transaction: Captured) -> bool:
        with self._lock:
            if not self._closed:
                self._wake_at = self._wake_at_bytes = NEVER
                self._work.notify()
                return True
            # Closed since we looked: it may be that nobody takes it any more.
            try:
                self._items.remove(transaction)
            except ValueError:
                return True
            self._settled_bytes += transaction[-1]
            return False

    def _wait_for_room(self, size: int, patience: float) -> bool:
        deadline = monotonic() + patience
        with self._lock:
            while not self._closed:
                held = self._in_flight + len(self._items)
                # A transaction larger than the bound still fits into an empty queue.
                if held == 0 or (held < self._most and self.held_bytes + size <= self._most_bytes):
                    return True
                remaining = deadline - monotonic()
                if remaining <= 0:
                    return False
                self._blocked += 1
                try:
                    self._room.wait(remaining)
                finally:
                    self._blocked -= 1
            return False

    def flush(self, timeout: float) -> bool:
        """Waits until all that was submitted before is settled. The thread then waits neither
        for a fuller batch nor for the end of a pause."""
        deadline = monotonic() + max(0.0, timeout)  # nan is no time either
        with self._lock:
            target = self._taken + len(self._items)
            if self.settled >= target:
                return True
            self._flush_to = max(self._flush_to, target)
            self._nudge()
            while self.settled < target:
                remaining = deadline - monotonic()
                if remaining <= 0:
                    return False
                self._calm.wait(min(remaining, LONGEST_SLEEP_S))
            return True

    def close(self) -> None:
        """From now on nothing is taken in; what is there is handed out without delay."""
        with self._lock:
            self._closed = True
            self._limit = self._limit_bytes = 0
            self._wake_at = self._wake_at_bytes = 0  # who puts meanwhile learns of it
            self._flush_to = NEVER
            self._room.notify_all()
            self._nudge()

    @property
    def closed(self) -> bool:
        return self._closed

    def _nudge(self) -> None:
        self._nudged = True
        self._work.notify()

    # -- for the thread

    def take(
        self, most: int, most_bytes: int, linger: float, until: Optional[float] = None
    ) -> Optional[Taken]:
        """The next batch. Waits for a first transaction until `until` (a monotonic time; None:
        for ever), and then at most `linger` seconds for the batch to be full. None: there is
        none, or the queue has been closed and is empty, or somebody flushes."""
        with self._lock:
            while not self._items:
                if self._closed or self._nudged or not self._sleep(1, NEVER, until):
                    return None
            end = monotonic() + linger
            if until is not None and until < end:
                end = until
            while (
                len(self._items) < most
                and self.held_bytes < most_bytes
                and self.settled >= self._flush_to
            ):
                if not self._sleep(most, most_bytes, end):
                    break
            return self._pop(most, most_bytes)

    def _sleep(self, wake_at: int, wake_at_bytes: int, until: Optional[float]) -> bool:
        """False: it is `until`."""
        remaining = None if until is None else until - monotonic()
        if remaining is not None and remaining <= 0:
            return False
        if not self._closed:  # else it stays as close() has set it
            self._wake_at, self._wake_at_bytes = wake_at, wake_at_bytes
        # Who put one before that did not wake us.
        if len(self._items) < wake_at and self.held_bytes < wake_at_bytes:
            self._work.wait(None if remaining is None else min(remaining, LONGEST_SLEEP_S))
        if not self._closed:
            self._wake_at = self._wake_at_bytes = NEVER
        return True

    def _pop(self, most: int, most_bytes: int) -> Taken:
        taken: List[Captured] = []
        size = 0
        while self._items and len(taken) < most and size < most_bytes:
            self._carry(1)
            taken.append(self._items.popleft())
            self._taken += 1
            size += taken[-1][-1]
        return Taken(taken, size)

    def _carry(self, more: int) -> None:
        """So many more, or less, are in flight."""
        self._in_flight += more
        if not self._closed:
            self._limit = self._most - self._in_flight

    def pause(self, until: float) -> None:
        """Sleeps until then (a monotonic time), or until somebody flushes or closes."""
        with self._lock:
            while not self._nudged and self._sleep(NEVER, NEVER, until):
                pass

    def nudged(self) -> bool:
        """Whether somebody has asked for haste since the last call."""
        with self._lock:
            nudged, self._nudged = self._nudged, False
            return nudged

    def settle(self, count: int, size: int) -> None:
        with self._lock:
            self.settled += count
            self._carry(-count)
            self._settled_bytes += size
            if self._in_flight == 0 and not self._items:
                self._settled_bytes = self._put_bytes
            self._calm.notify_all()
            if self._blocked:
                self._room.notify_all()

    def settle_all(self) -> None:
        with self._lock:
            self.settle(self._in_flight, self.held_bytes)

    def forget(self) -> None:
        """Without the lock: in a forked child it may be held by a thread that is not there."""
        self._items.clear()
