"""What AnalyticsClient and AsyncAnalyticsClient have in common: the options, the worker of this
process, and the way into its queue."""

from __future__ import annotations

import ssl
from os import PathLike, getpid
from typing import Dict, Optional, Tuple, Union

from labs_analytics import lifecycle
from labs_analytics.capture import Captured, Invalid, capture
from labs_analytics.options import (
    Options,
    check,
    folder_of,
    patience_of,
    product_of,
    provider_of,
)
from labs_analytics.tally import tell_fault
from labs_analytics.transport import Address
from labs_analytics.types import (
    Data,
    OnDrop,
    ProductLike,
    Stats,
    Timestamp,
    TokenProvider,
    WhenFull,
)
from labs_analytics.worker import Worker

Homeless = Tuple[Worker, Captured]
"""What found no room in the queue."""


class BaseClient:
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
        when_full: WhenFull = "drop_newest",
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
        """`url`: address of the engine, `https://...`; its certificate is verified
        `token`, `token_provider`, `key`: one of them. A JWT that does not expire soon; a callable
            that gives one (IdentityTokens, for one); or an API key `la_...`
        `product`: for transactions that name no other

        `batch_count`, `batch_bytes`, `batch_age`: a batch is sent when it has so many
            transactions, about so many bytes, or when so many seconds have passed since its first
        `queue_count`, `queue_bytes`: how many transactions, and about how many bytes of them, may
            be in memory, those under way included
        `when_full`: at these bounds `drop_newest`, or `block` for at most `block_timeout` seconds
            and then drop
        `spool_dir`, `spool_bytes`: a folder for what cannot be sent, and how much may be in it.
            Later processes with the same url and product send what is there, and processes may
            share it

        `timeout`: seconds for connecting, and for a request with its answer
        `retry_min`, `retry_max`: seconds between attempts: doubled from one to the other
        `exit_timeout`: seconds that the end of the process may take to send what is queued
        `ssl_context`: instead of the default one
        `on_drop`: called with each transaction that is given up, and why: by the background
            thread, or by submit() when the queue is full. It must be quick; what it raises is
            logged

        Wrong ones raise ValueError."""
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
                spool_dir=folder_of(spool_dir),
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

    # Recording is in two steps, for AsyncAnalyticsClient waits in between. None of them raises.

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
            queued = worker.queue.put(captured, patience)
            if not worker.started:
                worker.start()
            return queued or (worker, captured)
        except Exception:
            tell_fault("labs_analytics is at fault: a transaction was not recorded")
            return False

    def _turn_away(self, outcome: Union[bool, Homeless]) -> bool:
        if not isinstance(outcome, bool):
            worker, captured = outcome
            try:
                worker.turn_away(captured)
            except Exception:
                tell_fault("labs_analytics is at fault: a transaction that was dropped is not told")
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

    def _flush(self, timeout: float) -> bool:
        worker = self._present_worker()
        return worker is None or worker.flush(timeout)

    def _close(self, timeout: float) -> bool:
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
