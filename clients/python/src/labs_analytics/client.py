"""AnalyticsClient: what a product imports."""

from __future__ import annotations

import ssl
from os import PathLike, fspath, getpid
from types import TracebackType
from typing import Dict, Optional, Tuple, Type, Union

from labs_analytics import lifecycle
from labs_analytics.capture import Captured, Invalid, capture
from labs_analytics.options import Options, check, patience_of, product_of, provider_of
from labs_analytics.tally import logger
from labs_analytics.transport import Address
from labs_analytics.types import (
    Data,
    OnDrop,
    ProductLike,
    Stats,
    Timestamp,
    TokenProvider,
    Value,
)
from labs_analytics.worker import Worker

Homeless = Tuple[Worker, Captured]
"""What found no room in the queue."""


class AnalyticsClient:
    """Records analytics events without making anybody wait for them.

    Make one for the whole program, where it is configured. It starts nothing until the first
    event, may be used by all threads, and by all processes that are forked later: each has its
    own queue and its own thread. Wrong arguments of the constructor raise ValueError; after that
    only exceptions that are meant for the calling thread (KeyboardInterrupt) come out of it.

    `url`: address of the engine, `https://...`; its certificate is verified
    `token`, `token_provider`, `key`: one of them. A JWT that does not expire soon; a callable
        that gives one (IdentityTokens, for one); or an API key `la_...`
    `product`: for transactions that name no other

    `batch_count`, `batch_bytes`, `batch_age`: a batch is sent when it has so many transactions,
        about so many bytes, or when so many seconds have passed since its first
    `queue_count`, `queue_bytes`: how many transactions, and about how many bytes of them, may be
        in memory, those under way included
    `when_full`: at these bounds `drop_newest`, or `block` for at most `block_timeout` seconds
        and then drop
    `spool_dir`, `spool_bytes`: a folder for what cannot be sent, and how much may be in it. Later
        processes with the same url and product send what is there, and processes may share it

    `timeout`: seconds for connecting, and for a request with its answer
    `retry_min`, `retry_max`: seconds between attempts: doubled from one to the other
    `exit_timeout`: seconds that the end of the process may take to send what is queued
    `ssl_context`: instead of the default one
    `on_drop`: called with each transaction that is given up, and why: by the background thread,
        or by submit() when the queue is full. It must be quick; what it raises is logged
    """

    def __init__(
        self,
        url: str,
        *,
        token: Optional[str] = None,
        token_provider: Optional[TokenProvider] = None,
        key: Optional[str] = None,
        product: Optional[ProductLike] = None,
        batch_count: int = 500,
        batch_bytes: int = 1 << 20,
        batch_age: float = 1.0,
        queue_count: int = 10_000,
        queue_bytes: int = 64 << 20,
        when_full: str = "drop_newest",
        block_timeout: float = 0.1,
        spool_dir: Union[str, PathLike[str], None] = None,
        spool_bytes: int = 100 << 20,
        timeout: float = 10.0,
        retry_min: float = 0.5,
        retry_max: float = 30.0,
        exit_timeout: float = 2.0,
        ssl_context: Optional[ssl.SSLContext] = None,
        on_drop: Optional[OnDrop] = None,
    ) -> None:
        self._options = check(
            Options(
                address=Address.of(url),
                provider=provider_of(token, token_provider, key),
                product=product_of(product),
                batch_count=batch_count,
                batch_bytes=batch_bytes,
                batch_age=batch_age,
                queue_count=queue_count,
                queue_bytes=queue_bytes,
                patience=patience_of(when_full, block_timeout),
                spool_dir=None if spool_dir is None else fspath(spool_dir),
                spool_bytes=spool_bytes,
                timeout=timeout,
                retry_min=retry_min,
                retry_max=retry_max,
                exit_timeout=exit_timeout,
                ssl_context=ssl_context,
                on_drop=on_drop,
            )
        )
        self._product = self._options.product
        self._patience = self._options.patience
        self._worker: Optional[Worker] = None
        self._workers: Dict[int, Worker] = {}  # by process; those of parents are soon dropped
        self._closed = False

    # -- recording

    def submit(
        self,
        data: Data,
        *,
        pennkey: Optional[str] = None,
        timestamp: Optional[Timestamp] = None,
        product: Optional[ProductLike] = None,
    ) -> bool:
        """Records one transaction: all of its datapoints are stored, once, or none.

        `data`: 1 to 1,000 of `{"key": ..., "value": ...}`; they are copied, and may be changed
            afterwards
        `timestamp`: when it happened; now, unless given

        True: it is queued. False: it was dropped, counted in stats(), and told to on_drop (one
        that is no transaction is only counted and logged). It does not raise."""
        outcome = self._submit(data, pennkey, timestamp, product, self._patience)
        return outcome is True or self._turn_away(outcome)

    def record(
        self,
        key: str,
        value: Value = 1,
        *,
        pennkey: Optional[str] = None,
        timestamp: Optional[Timestamp] = None,
        product: Optional[ProductLike] = None,
    ) -> bool:
        """Records a transaction of one datapoint. See submit()."""
        point = ({"key": key, "value": value},)
        outcome = self._submit(point, pennkey, timestamp, product, self._patience)
        return outcome is True or self._turn_away(outcome)

    # In two steps, for AsyncAnalyticsClient waits in between. None of them raises.

    def _submit(
        self,
        data: Data,
        pennkey: Optional[str],
        timestamp: Optional[Timestamp],
        product: Optional[ProductLike],
        patience: float,
    ) -> Union[bool, Homeless]:
        """True: queued. False: not a transaction."""
        try:
            worker = self._worker
            if (
                worker is None
                or worker.forgotten
                or (worker.asks_for_pid and worker.pid != getpid())
            ):
                worker = self._own_worker()
            try:
                captured = capture(
                    next(worker.numbers),
                    data,
                    self._product if product is None else product,
                    pennkey,
                    timestamp,
                )
            except Invalid as fault:
                worker.tally.invalid(str(fault))
                return False
            if not worker.queue.put(captured, patience):
                return worker, captured
            if not worker.started:
                worker.start()
            return True
        except Exception:
            logger.exception("labs_analytics is at fault: a transaction was not recorded")
            return False

    def _turn_away(self, outcome: Union[bool, Homeless]) -> bool:
        if not isinstance(outcome, bool):
            worker, captured = outcome
            worker.turn_away(captured)
        return False

    def _own_worker(self) -> Worker:
        """The worker of this process. No lock guards this: one that is held while gevent
        switches, or while another thread forks, would never be free again."""
        made = Worker(self._options)
        if self._closed:
            made.end(0)
        for pid, worker in list(self._workers.items()):
            if pid != made.pid or worker.forgotten:  # numbers of processes return
                self._workers.pop(pid, None)
        # Of several threads that come here at once the first one's is used by all.
        worker = self._workers.setdefault(made.pid, made)
        lifecycle.enroll(worker)
        self._worker = worker
        return worker

    def _present_worker(self) -> Optional[Worker]:
        """This process's, if it has submitted anything."""
        worker = self._workers.get(getpid())
        return None if worker is None or worker.forgotten else worker

    # -- seeing it through

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits at most so many seconds until nothing that this process has submitted before is
        in memory only. True: all of it is accepted, refused, or in the spool."""
        worker = self._present_worker()
        return worker is None or worker.flush(timeout)

    def close(self, timeout: float = 10.0) -> bool:
        """Sends what is queued within so many seconds, and ends the thread. What is left goes to
        the spool, or is dropped. True: nothing was dropped for that reason. From then on what is
        submitted is dropped. A program need not call this at its end."""
        self._closed = True
        worker = self._present_worker()
        if worker is None:
            return True
        worker.end(timeout)
        complete = worker.join()
        lifecycle.dismiss(worker)
        return complete

    def stats(self) -> Stats:
        """The counters of this process."""
        worker = self._present_worker()
        return Stats() if worker is None else worker.stats()

    def __enter__(self) -> AnalyticsClient:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        fault: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()
