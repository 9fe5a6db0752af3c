"""The face for asyncio."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from scripted import accept, status

from labs_analytics import AsyncAnalyticsClient

SOON = {"key": "la_test", "product": 10, "batch_age": 0.02, "retry_min": 0.02, "retry_max": 0.1}


def test_events_are_sent_and_the_end_waits_for_them(scripted):
    server = scripted()

    async def program():
        async with AsyncAnalyticsClient(server.url, **SOON) as analytics:
            for number in range(10):
                assert await analytics.record("n", number)
            assert await analytics.submit([{"key": "n", "value": 10}], pennkey="jdoe")
            assert await analytics.flush()
            assert analytics.stats().accepted == 11

    asyncio.run(program())
    assert server.accepted == list(range(11))


def test_recording_lets_nobody_else_run(scripted):
    server = scripted()

    async def program():
        async with AsyncAnalyticsClient(server.url, **SOON) as analytics:
            ran = []
            asyncio.get_running_loop().call_soon(ran.append, 1)
            assert await analytics.record("n")
            assert ran == []

    asyncio.run(program())


def test_the_loop_runs_while_a_call_waits_for_room(scripted):
    release = threading.Event()
    server = scripted(lambda request: (release.wait(60), accept(request))[1])

    async def program():
        options = SOON | {"queue_count": 1, "when_full": "block", "block_timeout": 60}
        async with AsyncAnalyticsClient(server.url, **options) as analytics:
            assert await analytics.record("n", 1)
            # More of them than the loop's pool has threads, of which they shall hold none.
            waiting = [asyncio.ensure_future(analytics.record("n", 2 + n)) for n in range(50)]
            await asyncio.sleep(0)
            assert await asyncio.get_running_loop().run_in_executor(None, lambda: 5) == 5
            assert not any(one.done() for one in waiting)
            release.set()
            assert all(await asyncio.gather(*waiting))
            assert await analytics.flush()
            assert analytics.stats().dropped_full == 0

    asyncio.run(program())
    assert sorted(server.accepted) == list(range(1, 52))


def test_each_of_many_calls_waits_no_longer_than_its_time(scripted):
    server = scripted(default=status(503, Retry_After=3600))

    async def program():
        options = SOON | {"queue_count": 1, "when_full": "block", "block_timeout": 0.2}
        analytics = AsyncAnalyticsClient(server.url, **options)
        assert await analytics.record("n", 1)
        async with asyncio.timeout(20):  # one after the other, they would take a minute
            assert not any(await asyncio.gather(*(analytics.record("n", 2) for _ in range(3000))))
        assert analytics.stats().dropped_full == 3000
        assert not await analytics.close(0)

    asyncio.run(program())


def test_a_call_that_is_cancelled_while_it_waits_records_nothing(scripted):
    release = threading.Event()
    server = scripted(lambda request: (release.wait(60), accept(request))[1])

    async def program():
        options = SOON | {"queue_count": 1, "when_full": "block", "block_timeout": 60}
        async with AsyncAnalyticsClient(server.url, **options) as analytics:
            assert await analytics.record("n", 1)
            waiting = asyncio.ensure_future(analytics.record("n", 2))
            await asyncio.sleep(0)
            waiting.cancel()
            release.set()
            assert await analytics.flush()
            assert analytics.stats().submitted == 1

    asyncio.run(program())
    assert server.accepted == [1]


@pytest.mark.parametrize("policy", [{}, {"when_full": "block", "block_timeout": 0.01}])
def test_what_finds_no_room_is_dropped_once(scripted, policy):
    server = scripted(default=status(503, Retry_After=3600))
    told = []

    async def program():
        options = SOON | {"queue_count": 1, "on_drop": lambda *what: told.append(what)} | policy
        analytics = AsyncAnalyticsClient(server.url, **options)
        assert await analytics.record("n", 1)
        assert not await analytics.record("n", 2)
        assert analytics.stats().dropped_full == 1
        assert [reason for _, reason in told] == ["the queue is full"]
        assert not await analytics.close(0)

    asyncio.run(program())


def test_wrong_data_is_counted_and_raises_nothing(scripted):
    async def program():
        async with AsyncAnalyticsClient(scripted().url, **SOON) as analytics:
            assert not await analytics.submit([])
            assert analytics.stats().dropped_invalid == 1

    asyncio.run(program())


def test_several_loops_may_share_a_client(scripted):
    server = scripted()
    analytics = AsyncAnalyticsClient(server.url, **SOON)
    for number in range(3):
        asyncio.run(analytics.record("n", number))
    assert asyncio.run(analytics.close())
    assert server.accepted == [0, 1, 2]


def test_who_flushes_and_closes_waits_for_nobody_elses_use_of_the_loops_pool(scripted):
    release = threading.Event()

    async def use():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, release.wait, 60)
        client = AsyncAnalyticsClient(scripted().url, key="la_test", product=10)
        await client.record("n", 1)
        try:
            assert await asyncio.wait_for(client.flush(), 20)
            assert await asyncio.wait_for(client.close(), 20)
        finally:
            release.set()
            await busy

    asyncio.run(use())


def test_what_a_flush_raises_is_the_callers_and_one_that_is_cancelled_harms_nothing(
    scripted, monkeypatch
):
    def fail(_):
        raise RuntimeError("of the flush")

    async def use():
        client = AsyncAnalyticsClient(scripted().url, key="la_test", product=10, batch_age=3600)
        await client.record("n", 1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.flush(0.3), 0)
        with monkeypatch.context() as patch:
            patch.setattr(client, "_flush", fail)
            with pytest.raises(RuntimeError, match="of the flush"):
                await client.flush()
        assert await client.close()
        assert client.stats().accepted == 1

    asyncio.run(use())
