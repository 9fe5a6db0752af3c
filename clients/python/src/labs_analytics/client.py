"""AnalyticsClient: what a product imports."""

from __future__ import annotations

from types import TracebackType
from typing import Optional, Type

from labs_analytics.base import BaseClient
from labs_analytics.types import Data, ProductLike, Timestamp, ValueLike


class AnalyticsClient(BaseClient):
    """Records analytics events without making anybody wait for them.

    Make one for the whole program, where it is configured. It starts nothing until the first
    event, may be used by all threads, and by all processes that are forked later: each has its
    own queue and its own thread. Wrong arguments of the constructor raise ValueError; after that
    only exceptions that are meant for the calling thread (KeyboardInterrupt) come out of it.
    """

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
        value: ValueLike = 1,
        *,
        pennkey: Optional[str] = None,
        timestamp: Optional[Timestamp] = None,
        product: Optional[ProductLike] = None,
    ) -> bool:
        """Records a transaction of one datapoint. See submit()."""
        point = ({"key": key, "value": value},)
        outcome = self._submit(point, pennkey, timestamp, product, self._patience)
        return outcome is True or self._turn_away(outcome)

    # -- seeing it through

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits at most so many seconds until nothing that this process has submitted before is
        in memory only. True: all of it is accepted, refused, or in the spool."""
        return self._flush(timeout)

    def close(self, timeout: float = 10.0) -> bool:
        """Sends what is queued within so many seconds, and ends the thread. What is left goes to
        the spool, or is dropped; that is given up when nothing gets there for 5 seconds, by a disk
        that hangs or an on_drop that waits. True: nothing was dropped or given up so. From then
        on what is submitted is dropped. A program need not call this at its end."""
        return self._close(timeout)

    def __enter__(self) -> AnalyticsClient:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        fault: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()
