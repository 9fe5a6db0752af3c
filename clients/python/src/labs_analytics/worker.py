"""The background thread of one process: takes batches from the queue and has them sent.

While the engine answers, a batch leaves when it is full or old enough, and batches of the spool go
in between. When a try fails the thread pauses (`retry`). With a spool, the batch and all that
comes meanwhile go to disk; without one, or when it is full, the batch is held and the queue fills.
After the pause the oldest is tried, and its success ends the trouble.

A worker belongs to the process that made it: a forked child makes its own. The thread is started
by the first transaction, and all locks are made here, late, so that they are gevent's where
gevent has patched them by then.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import List, Optional, Sequence, Tuple

from labs_analytics.capture import Captured, Invalid, named
from labs_analytics.encode import encode
from labs_analytics.options import Options
from labs_analytics.queue import LONGEST_SLEEP_S, BoundedQueue
from labs_analytics.retry import Backoff
from labs_analytics.sender import Sender
from labs_analytics.spool import Claim, Spool
from labs_analytics.tally import Tally, tell
from labs_analytics.types import Stats, Transaction

# While the engine is away, batches for the disk grow so many times older than those that are sent.
SPOOL_AGES = 5
# Others may have left something in the spool: looked for this often while there is work.
SPOOL_LOOK_S = 60.0
# After so many encoded transactions the thread lets others run: the interpreter would take the
# processor from it only after 5 ms, and gevent never.
ENCODE_RUN = 50
# At the end what is left is given up, as far as it is not on disk by then, when nothing of it gets
# there for so long.
LEAVE_S = 5.0


@dataclass(frozen=True)
class Held:
    """A batch that is taken, encoded, and not settled."""

    lines: List[bytes]
    count: int  # in the queue: those that cannot be encoded included
    size: int


class Worker:
    def __init__(self, options: Options) -> None:
        self.pid = os.getpid()
        self.forgotten = False  # by a forked child
        # Asking costs half a microsecond, and only uWSGI forks without telling Python.
        self.asks_for_pid = "uwsgi" in sys.modules or not hasattr(os, "register_at_fork")
        # Time and process would not tell the life before a restart of a container from this one.
        self.unique = os.urandom(8).hex()
        self.queue = BoundedQueue(options.queue_count, options.queue_bytes)
        self.tally = Tally(options.on_drop)
        self.started = False
        self.exit_timeout = options.exit_timeout
        self.numbers = count(1)  # of transactions
        self._options = options
        # Reentrant, as the queue's: a signal handler may record while the first event starts the
        # thread, or close while the end of the program does.
        self._starting = threading.RLock()
        self._thread: Optional[threading.Thread] = None
        self._seat = threading.Lock()  # the thread's; there is one, however often it is started
        self._sender = Sender(options, self.tally)
        self._backoff = Backoff(options.retry_min, options.retry_max)
        self._spool = self._make_spool()
        self._look_at = 0.0  # when to look into the spool again, unless it
        self._spool_has_more = self._spool is not None
        self._claim: Optional[Claim] = None
        self._held: Optional[Held] = None
        self._retry_at: Optional[float] = None
        self._may_hurry = True
        self._end_at: Optional[float] = None
        self._moving = threading.RLock()  # of transactions between queue, batch and disk
        self._left = False
        self._leaving: Optional[threading.Thread] = None  # who sees to the rest at the end

    def _make_spool(self) -> Optional[Spool]:
        options = self._options
        if options.spool_dir is None:
            return None
        address = options.address
        where = f"{address.secure}:{address.host}:{address.port}{address.path}"
        product = "" if options.product is None else str(options.product)
        return Spool(options.spool_dir, where, product, options.spool_bytes, self.unique)

    # -- for callers

    def turn_away(self, captured: Captured) -> None:
        """The queue did not take it."""
        transaction = named(captured, self.unique)
        if self.queue.closed:
            self.tally.closed(transaction)
        else:
            self.tally.full(transaction)

    def start(self) -> None:
        """Starts the thread, once. A thread that cannot be started now, or whose start ends by what
        a signal handler raises, is tried again with the next transaction or flush."""
        with self._starting:
            alive = self._thread is not None and self._thread.is_alive()
            if self.started or alive or self.queue.closed:
                return
            thread = threading.Thread(target=self._run, name="labs-analytics", daemon=True)
            self.started = True  # for a handler that records meanwhile
            try:
                thread.start()
            except RuntimeError as fault:  # no more threads, or the interpreter is ending
                self.started = False
                self.tally.last_error = f"no thread: {fault}"
                return
            except BaseException:  # a handler's: the thread may run, or may never
                self.started = self._thread is not None
                raise
            if self._thread is None:  # else one has begun
                self._thread = thread
        _warn_of_uwsgi()

    def end(self, timeout: float) -> None:
        """From now on nothing is taken in; what is queued may be sent for so many seconds."""
        if self.queue.held:
            self.start()
        self._end_at = monotonic() + max(0.0, timeout)
        self.queue.close()

    def wait(self) -> None:
        """After end(): until that time, or until nothing is left."""
        thread, end_at = self._thread, self._end_at
        if thread is None or end_at is None:
            return
        # It sees the end by itself, unless it waits for the network just then.
        until = max(end_at, monotonic()) + 0.1
        while thread.is_alive() and monotonic() < until:
            thread.join(min(until - monotonic(), LONGEST_SLEEP_S))

    def join(self) -> bool:
        """After end(): waits until that time, or for less if what a signal handler raises ends
        the waiting. What is left then goes to the spool, or is given up and counted. True:
        nothing was given up."""
        if self._thread is threading.current_thread():
            return False
        try:
            self.wait()
        finally:
            see_out([self])
        return self.queue.held == 0 and self.tally.dropped_overdue == 0

    def begin_to_leave(self) -> Optional[threading.Thread]:
        """Who sees to what is left, if somebody does that has to be waited for."""
        if self._left and self.queue.held == 0:
            return None
        with self._starting:
            if self._leaving is None:
                leaving = threading.Thread(target=self._leave, name="labs-analytics-end")
                leaving.daemon = True
                try:
                    leaving.start()
                    self._leaving = leaving
                except RuntimeError:  # no more threads, or the interpreter is ending
                    pass
        if self._leaving is not None:
            return self._leaving
        if not self._moving.acquire(blocking=False):
            return self._thread  # which is at it
        try:
            self._leave()
        finally:
            self._moving.release()
        return None

    def progress(self) -> int:
        """Grows with what is settled, and with what the application is told."""
        return self.queue.settled + self.tally.told

    def flush(self, timeout: float) -> bool:
        if self._thread is threading.current_thread():
            return False  # on_drop would wait for its own thread
        if self.queue.held:
            self.start()
        return self.queue.flush(timeout)

    def forget(self) -> None:
        """For a forked child: frees its copy of its parent's queue, connection and files. The
        parent has its own and notices nothing."""
        self.forgotten = True
        self.queue.forget()
        self._held = None
        self._sender.abandon()
        if self._claim is not None:
            self._claim.abandon()

    def stats(self) -> Stats:
        tally, queue = self.tally, self.queue
        return Stats(
            submitted=queue.submitted,
            accepted=tally.accepted,
            refused=tally.refused,
            spooled=tally.spooled,
            unspooled=tally.unspooled,
            dropped_full=tally.dropped_full,
            dropped_invalid=tally.dropped_invalid,
            dropped_closed=tally.dropped_closed,
            dropped_overdue=tally.dropped_overdue,
            requests=tally.requests,
            failures=tally.failures,
            queued=queue.held,
            queued_bytes=queue.held_bytes,
            last_error=tally.last_error,
        )

    # -- the thread

    def _run(self) -> None:
        if not self._seat.acquire(blocking=False):
            return  # there is one, of a start that was interrupted
        self._thread = threading.current_thread()
        self.started = True
        try:
            self._sender.prepare()
            if self._spool is not None:
                self._spool.tidy()
            while not self._over():
                try:
                    self._turn()
                except BaseException as fault:  # a defect, but it shall cost no transaction
                    self.tally.defect(fault)
                    self._pause(repr(fault), None)
            self._leave()
            self._sender.close()
        finally:
            if not self._left:
                self._thread = None
            self._seat.release()
            self.started = self._left  # or the next transaction starts another thread

    def _over(self) -> bool:
        if not self.queue.closed:
            return False
        if self.queue.held == 0:
            return True
        return self._end_at is not None and monotonic() >= self._end_at

    def _turn(self) -> None:
        if self._retry_at is not None:
            self._sit_out(self._retry_at)
        elif self._held is not None:
            self._send_held()
        else:
            # In turns: a large spool must not keep the queue waiting until it overflows.
            self._send_spooled()
            if self._retry_at is None:
                self._send_next()

    def _sit_out(self, until: float) -> None:
        """Something of the pause."""
        if self._end_at is not None:
            until = min(until, self._end_at)
        if self._spool is not None and self._held is None:
            self._take(self._options.batch_age * SPOOL_AGES, until)
            self._put_away()
        else:
            self.queue.pause(until)
        # Who flushes or closes gets one try at once, unless the engine has said when.
        if self.queue.nudged() and self._may_hurry:
            self._retry_at = None
        elif monotonic() >= until:
            self._retry_at = None

    def _take(self, linger: float, until: Optional[float]) -> None:
        """Holds the next batch, if there is one by then."""
        options = self._options
        unencoded: List[Tuple[Transaction, str]] = []
        with self._moving:  # also while it waits: closing, which needs this lock, ends that first
            taken = self.queue.take(options.batch_count, options.batch_bytes, linger, until)
            if taken is not None:
                lines = self._lines_of(taken.transactions, unencoded)
                self._held = Held(lines, len(taken.transactions), taken.size)
        # Not before: on_drop may wait for what it likes, and close() needs the lock.
        self.tally.refuse_unencoded(unencoded)

    def _send_next(self) -> None:
        # With more in the spool nothing is waited for.
        until = monotonic() if self._spool_has_more else None
        self._take(self._options.batch_age, until)
        self.queue.nudged()
        if self._held is not None:
            self._send_held()

    def _lines_of(
        self, several: List[Captured], unencoded: List[Tuple[Transaction, str]]
    ) -> List[bytes]:
        lines: List[bytes] = []
        for number, captured in enumerate(several, 1):
            transaction = named(captured, self.unique)
            try:
                lines.append(encode(transaction))
            except Invalid as fault:
                unencoded.append((transaction, str(fault)))
            if number % ENCODE_RUN == 0:
                time.sleep(0)  # not imported by its name: gevent replaces it
        return lines

    def _send_held(self) -> None:
        held = self._held
        if held is None:
            return  # close() has seen to it
        again = self._sender.send(held.lines) if held.lines else None
        with self._moving:
            if self._left:
                return  # close() has seen to it
            if again is None:
                self._succeed()
                self._settle_held()
            else:
                count = len(again.rest)
                self._held = Held(again.rest, count, held.size)
                self.queue.settle(held.count - count, 0)
                self._pause(again.reason, again.after)
                self._put_away()

    def _settle_held(self) -> None:
        held = self._held
        if held is not None:
            self._held = None
            self.queue.settle(held.count, held.size)

    def _put_away(self) -> None:
        """The held batch goes to disk, where there is a spool and room in it."""
        with self._moving:
            held = self._held
            if held is not None and (not held.lines or self._spool_lines(held.lines)):
                self._settle_held()

    def _spool_lines(self, lines: List[bytes]) -> bool:
        if self._spool is None:
            return False
        try:
            if not self._spool.put(lines):
                raise OSError("it is full")
        except OSError as fault:
            self.tally.spool_failed(str(fault))
            return False
        self.tally.spooled += len(lines)
        self._spool_has_more = True
        return True

    def _send_spooled(self) -> bool:
        """Sends one batch of the spool; False: there is none."""
        if self._spool is None or not (self._spool_has_more or monotonic() >= self._look_at):
            return False
        self._look_at = monotonic() + SPOOL_LOOK_S
        try:
            claim = self._spool.claim()
        except OSError as fault:
            self.tally.spool_failed(str(fault))
            claim = None
        self._spool_has_more = claim is not None
        if claim is None:
            return False
        self._claim = claim
        try:
            self._send_claimed(self._spool, claim)
        finally:
            claim.release()
            self._claim = None
        return True

    def _send_claimed(self, spool: Spool, claim: Claim) -> None:
        if not claim.lines:  # a damaged one
            claim.remove()
            return
        again = self._sender.send(claim.lines)
        rest = [] if again is None else again.rest
        if again is None:
            claim.remove()
            self._succeed()
        elif len(rest) < len(claim.lines):
            self._replace(spool, claim, rest)
        self.tally.unspooled += len(claim.lines) - len(rest)
        if again is not None:
            self._pause(again.reason, again.after)

    def _replace(self, spool: Spool, claim: Claim, rest: List[bytes]) -> None:
        """What is settled of a batch need not be sent again. If that cannot be written it is
        sent again all the same."""
        try:
            if spool.put(rest):
                claim.remove()
        except OSError as fault:
            self.tally.spool_failed(str(fault))

    def _succeed(self) -> None:
        self._backoff.reset()
        self.tally.recover()

    def _pause(self, reason: str, after: Optional[float]) -> None:
        delay = self._backoff.next()
        if after is not None:
            delay = max(delay, after)
        self._may_hurry = after is None
        self._retry_at = monotonic() + delay
        self.tally.fail(reason, self.queue.held)

    def _leave(self) -> None:
        """The end: nothing stays in memory. By the thread, or by who waited for it in vain."""
        with self._moving:
            if self._left:
                return
            self._left = True
            if self._held is not None:
                self._part_from(self._held.lines)
                self._settle_held()
            options = self._options
            while True:
                taken = self.queue.take(options.batch_count, options.batch_bytes, 0, 0)
                if taken is None:
                    break
                unencoded: List[Tuple[Transaction, str]] = []
                self._part_from(self._lines_of(taken.transactions, unencoded))
                self.queue.settle(len(taken.transactions), taken.size)
                self.tally.refuse_unencoded(unencoded)
            self.queue.settle_all()

    def _part_from(self, lines: List[bytes]) -> None:
        if lines and not self._spool_lines(lines):
            self.tally.overdue(lines)


def see_out(workers: Sequence[Worker]) -> None:
    """What is left of all of them, away from here: a disk that hangs and a callback that waits for
    its caller would have no end. It is waited for as long as any of it gets on."""
    mine = threading.current_thread()
    leaving = [worker.begin_to_leave() for worker in workers]
    threads = [thread for thread in leaving if thread is not None and thread is not mine]
    reached, before = sum(worker.progress() for worker in workers), -1
    while reached != before and any(thread.is_alive() for thread in threads):
        until = monotonic() + LEAVE_S
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))
        reached, before = sum(worker.progress() for worker in workers), reached


def _warn_of_uwsgi() -> None:
    """Unless it is told to, uWSGI lets no thread run between requests."""
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None and not uwsgi.opt.get("enable-threads", uwsgi.opt.get("threads")):
        tell(logging.ERROR, "uWSGI runs without enable-threads: nothing is sent between requests")
