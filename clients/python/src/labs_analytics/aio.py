"""AsyncAnalyticsClient: the same for asyncio.

It has the same queue and the same thread as AnalyticsClient: an event loop that is busy delays no
sending, a loop that ends loses nothing, and any number of loops may share a client.
Only what may wait differs: it lets the loop run meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from time import monotonic
from types import TracebackType
from typing import Callable, Optional, Type

from labs_analytics.base import BaseClient
from labs_analytics.capture import Captured
from labs_analytics.types import Data, ProductLike, Timestamp, ValueLike
from labs_analytics.worker import Worker

LOOK_S = 0.01  # between looks for room in a full queue


class AsyncAnalyticsClient(BaseClient):
    """Takes what AnalyticsClient takes."""

    async def submit(
        self,
        data: Data,
        *,
        pennkey: Optional[str] = None,
        timestamp: Optional[Timestamp] = None,
        product: Optional[ProductLike] = None,
    ) -> bool:
        """See AnalyticsClient.submit(). It waits only where that would: with when_full="block"
        and a full queue. A task that is cancelled meanwhile has recorded nothing."""
        return await self._finish(data, pennkey, timestamp, product)

    async def record(
        self,
        key: str,
        value: ValueLike = 1,
        *,
        pennkey: Optional[str] = None,
        timestamp: Optional[Timestamp] = None,
        product: Optional[ProductLike] = None,
    ) -> bool:
        """See AnalyticsClient.record()."""
        point = ({"key": key, "value": value},)
        return await self._finish(point, pennkey, timestamp, product)

    async def _finish(
        self,
        data: Data,
        pennkey: Optional[str],
        timestamp: Optional[Timestamp],
        product: Optional[ProductLike],
    ) -> bool:
        outcome = self._submit(data, pennkey, timestamp, product, 0.0)
        if self._patience > 0 and not isinstance(outcome, bool):
            worker, captured = outcome
            if await self._find_room(worker, captured):
                return True
        return outcome is True or self._turn_away(outcome)

    async def _find_room(self, worker: Worker, captured: Captured) -> bool:
        """Looks again and again, and holds no thread of the loop's pool: many tasks may wait, and
        others need that pool."""
        deadline = monotonic() + self._patience
        while not worker.queue.closed:
            remaining = deadline - monotonic()
            if remaining <= 0:
                return False
            await asyncio.sleep(min(LOOK_S, remaining))
            if worker.queue.put(captured):
                return True
        return False

    async def flush(self, timeout: float = 10.0) -> bool:
        """See AnalyticsClient.flush()."""
        return await _elsewhere(self._flush, timeout)

    async def close(self, timeout: float = 10.0) -> bool:
        """See AnalyticsClient.close()."""
        return await _elsewhere(self._close, timeout)

    async def __aenter__(self) -> AsyncAnalyticsClient:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        fault: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()


async def _elsewhere(call: Callable[[float], bool], timeout: float) -> bool:
    """On a thread of its own: those of the loop's pool may all be busy for longer than that."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[bool] = loop.create_future()

    def settle(result: bool, fault: Optional[BaseException]) -> None:
        if outcome.done():  # cancelled
            return
        if fault is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(fault)

    def run() -> None:
        result, fault = False, None
        try:
            result = call(timeout)
        except Exception as raised:
            fault = raised
        try:
            loop.call_soon_threadsafe(settle, result, fault)
        except RuntimeError:
            pass  # the loop has ended meanwhile

    threading.Thread(target=run, name="labs-analytics-wait", daemon=True).start()
    return await outcome
