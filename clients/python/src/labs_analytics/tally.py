"""What became of transactions: counted, logged, told to the callback. One for each process.

Trouble is logged when it begins and when it ends, not in between. The logger is named
`labs_analytics`; an application that configures no logging sees nothing.
"""

from __future__ import annotations

import logging
import sys
import threading
from time import monotonic
from typing import Optional, Sequence, Tuple

from labs_analytics.encode import decode
from labs_analytics.types import OnDrop, Transaction

logger = logging.getLogger("labs_analytics")
# Without it Python would print warnings to stderr, at the exit of programs too.
logger.addHandler(logging.NullHandler())


def tell(level: int, words: str, *arguments: object, fault: Optional[BaseException] = None) -> None:
    """Logs. Filters and handlers are the application's: what they raise stops nothing here."""
    try:
        logger.log(level, words, *arguments, exc_info=fault)
    except Exception:
        pass


def tell_fault(words: str, *arguments: object) -> None:
    """Logs the exception that is being handled."""
    tell(logging.ERROR, words, *arguments, fault=sys.exc_info()[1])


class Tally:
    """The counters of types.Stats. The background thread adds to most; what callers add to is
    under the lock."""

    def __init__(self, on_drop: Optional[OnDrop]) -> None:
        self._on_drop = on_drop
        self._lock = threading.RLock()
        self._failing_since: Optional[float] = None
        self._spool_failed = False
        self._full = False
        self._invalid_logged = False
        self.accepted = 0
        self.refused = 0
        self.spooled = 0
        self.unspooled = 0
        self.dropped_full = 0
        self.dropped_invalid = 0
        self.dropped_closed = 0
        self.dropped_overdue = 0
        self.told = 0  # of those that are given up, on the background threads
        self.requests = 0
        self.failures = 0
        self.last_error: Optional[str] = None

    # -- by the background thread

    def refuse(self, refusals: Sequence[Tuple[bytes, str]]) -> None:
        """Encoded transactions that are given up, each with why."""
        self.refused += len(refusals)
        tell(
            logging.WARNING,
            "transactions refused: %d, the first: %s",
            len(refusals),
            refusals[0][1],
        )
        if self._on_drop is not None:
            for line, reason in refusals:
                self._tell_line(line, reason)

    def refuse_unencoded(self, refusals: Sequence[Tuple[Transaction, str]]) -> None:
        self.refused += len(refusals)
        for transaction, reason in refusals:
            tell(logging.WARNING, "a transaction cannot be encoded: %s", reason)
            self._tell_safely(transaction, reason)

    def fail(self, reason: str, waiting: int) -> None:
        """An attempt failed and will be repeated."""
        self.failures += 1
        self.last_error = reason
        if self._failing_since is None:
            self._failing_since = monotonic()
            tell(
                logging.WARNING,
                "the engine does not take transactions, %d wait: %s",
                waiting,
                reason,
            )

    def recover(self) -> None:
        """An attempt succeeded."""
        self._spool_failed = False
        with self._lock:
            self._full = False
        if self._failing_since is not None:
            lasted = monotonic() - self._failing_since
            self._failing_since = None
            tell(logging.WARNING, "the engine takes transactions again, after %.0f s", lasted)

    def spool_failed(self, reason: str) -> None:
        if not self._spool_failed:
            self._spool_failed = True
            tell(
                logging.WARNING, "the spool cannot be used, transactions stay in memory: %s", reason
            )

    def overdue(self, lines: Sequence[bytes]) -> None:
        """The time of close() is over."""
        self.dropped_overdue += len(lines)
        tell(logging.WARNING, "transactions not sent before the end: %d", len(lines))
        if self._on_drop is not None:
            for line in lines:
                self._tell_line(line, "closed before it could be sent")

    def defect(self, fault: BaseException) -> None:
        """Something that should not be happened on the background thread."""
        if self.last_error != repr(fault):
            tell(logging.ERROR, "labs_analytics is at fault and tries again", fault=fault)

    def _tell_line(self, line: bytes, reason: str) -> None:
        try:
            transaction = decode(line)
        except (ValueError, KeyError, TypeError):
            return  # a file of the spool that somebody else has written: there is nothing to tell
        self._tell_safely(transaction, reason)

    def _tell_safely(self, transaction: Transaction, reason: str) -> None:
        """On the background thread nothing is meant for who is there, as KeyboardInterrupt is on
        a caller's."""
        try:
            self._tell(transaction, reason)
        except BaseException:
            tell_fault("on_drop failed")
        self.told += 1

    # -- by callers

    def full(self, transaction: Transaction) -> None:
        with self._lock:
            self.dropped_full += 1
            first = not self._full
            self._full = True
        if first:
            tell(logging.WARNING, "the queue is full, new transactions are dropped")
        self._tell(transaction, "the queue is full")

    def invalid(self, reason: str) -> None:
        with self._lock:
            self.dropped_invalid += 1
            first = not self._invalid_logged
            self._invalid_logged = True
        if first:
            tell(logging.ERROR, "what was submitted is no transaction (told once): %s", reason)

    def closed(self, transaction: Transaction) -> None:
        with self._lock:
            self.dropped_closed += 1
        self._tell(transaction, "the client is closed")

    def _tell(self, transaction: Transaction, reason: str) -> None:
        if self._on_drop is None:
            return
        try:
            self._on_drop(transaction, reason)
        except Exception:
            tell_fault("on_drop failed")
