"""AsyncAnalyticsClient: the same for asyncio.

It is a face of AnalyticsClient, with the same queue and the same thread: an event loop that is
busy delays no sending, a loop that ends loses nothing, and any number of loops may share a client.
Only what may wait differs: it lets the loop run meanwhile.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Callable, Optional, Type, TypeVar

from labs_analytics.client import AnalyticsClient
from labs_analytics.types import Data, ProductLike, Stats, Timestamp, Value

T = TypeVar("T")


class AsyncAnalyticsClient:
    """Takes what AnalyticsClient takes."""

    def __init__(self, url: str, **options: Any) -> None:
        self._client = AnalyticsClient(url, **options)

    async def submit(
        self,
        data: Data,
        *,
        pennkey: Optional[str] = None,
        timestamp: Optional[Timestamp] = None,
        product: Optional[ProductLike] = None,
    ) -> bool:
        """See AnalyticsClient.submit(). It waits only where that would: with when_full="block"
        and a full queue; a task that is cancelled then may have recorded it or not."""
        return await self._finish(data, pennkey, timestamp, product)

    async def record(
        self,
        key: str,
        value: Value = 1,
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
        client = self._client
        outcome = client._submit(data, pennkey, timestamp, product, 0.0)
        if outcome is True:
            return True
        if client._patience > 0 and not isinstance(outcome, bool):
            worker, captured = outcome
            if await _elsewhere(worker.queue.put, captured, client._patience):
                return True
        return client._turn_away(outcome)

    async def flush(self, timeout: float = 10.0) -> bool:
        """See AnalyticsClient.flush()."""
        return await _elsewhere(self._client.flush, timeout)

    async def close(self, timeout: float = 10.0) -> bool:
        """See AnalyticsClient.close()."""
        return await _elsewhere(self._client.close, timeout)

    def stats(self) -> Stats:
        """See AnalyticsClient.stats()."""
        return self._client.stats()

    async def __aenter__(self) -> AsyncAnalyticsClient:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        fault: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()


async def _elsewhere(call: Callable[..., T], *arguments: Any) -> T:
    """On a thread of the loop's pool: what waits there is bounded by its own time."""
    return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)
