"""The client against a server that answers what the test says."""

import asyncio
import logging
import os
import threading
import time

import pytest
from scripted import accept, hang_up, status
from support.wait import wait_until

from labs_analytics import AnalyticsClient, lifecycle
from labs_analytics.encode import encode


def give(count, client, **options):
    for number in range(count):
        assert client.submit([{"key": "n", "value": number}], **options)


def test_one_batch_goes_to_the_engine_in_order_with_ids_that_differ(scripted, clients):
    server = scripted()
    client = clients(server.url, batch_age=3600)
    give(20, client, pennkey="jdoe")
    assert client.flush()
    assert len(server.requests) == 1
    request = server.requests[0]
    assert request.path == "/v1/transactions"
    assert request.headers["Authorization"] == "Bearer la_test"
    assert server.accepted == list(range(20))
    assert len({transaction["id"] for transaction in request.transactions}) == 20
    assert all(0 < len(transaction["id"]) <= 64 for transaction in request.transactions)
    stats = client.stats()
    assert (stats.submitted, stats.accepted, stats.queued, stats.queued_bytes) == (20, 20, 0, 0)


def test_record_is_a_transaction_of_one_datapoint(scripted, clients):
    server = scripted()
    client = clients(server.url, product="PORTAL")
    client.record("visit")
    client.record("search", "robotics", pennkey="jdoe", timestamp=5, product=9)
    assert client.flush()
    first, second = [one for request in server.requests for one in request.transactions]
    assert first["data"] == [{"key": "visit", "value": 1}]
    assert (first["product"], "pennkey" in first) == ("PORTAL", False)
    assert (second["product"], second["pennkey"], second["timestamp"]) == (9, "jdoe", 5)


@pytest.mark.parametrize(
    ("options", "requests"), [({"batch_count": 10}, 3), ({"batch_bytes": 5510}, 3)]
)
def test_batches_are_sent_when_they_are_full(scripted, clients, options, requests):
    server = scripted()
    client = clients(server.url, batch_age=3600, **options)
    give(30, client)
    wait_until(lambda: client.stats().accepted == 30)
    assert len(server.requests) == requests


def test_a_batch_is_sent_when_it_is_old_enough(scripted, clients):
    server = scripted()
    client = clients(server.url, batch_age=0.05)
    give(1, client)
    wait_until(lambda: client.stats().accepted == 1)


def test_one_connection_carries_all_requests(scripted, clients):
    server = scripted()
    client = clients(server.url)
    for _ in range(5):
        give(1, client)
        assert client.flush()
    assert (len(server.requests), server.connections) == (5, 1)


def test_a_connection_that_the_server_has_closed_is_replaced_without_a_pause(scripted, clients):
    def accept_and_close(request):
        return (*accept(request), {"Connection": "close"})

    def accept_and_vanish(request):
        return accept(request)

    server = scripted(accept_and_close, accept_and_vanish, hang_up)
    client = clients(server.url)
    for _ in range(3):
        give(1, client)
        assert client.flush()
    # The third request was hung up on over a connection that had been used: sent again at once.
    assert (client.stats().accepted, client.stats().failures) == (3, 0)


def test_large_bodies_are_compressed_and_small_ones_are_not(scripted, clients):
    server = scripted()
    client = clients(server.url, batch_age=3600)
    give(1, client)
    client.flush()
    give(100, client)
    client.flush()
    small, large = server.requests
    assert "Content-Encoding" not in small.headers
    assert large.headers["Content-Encoding"] == "gzip"
    assert len(large.transactions) == 100


@pytest.mark.parametrize(
    "answer",
    [
        status(500),
        status(502),
        status(503),
        status(403),
        status(404),
        status(405),
        status(407),
        status(408),
        status(415),
        status(425),
        status(429),
        status(400, "this port speaks TLS: ask it by https://"),
        lambda _: (400, b"<html>Bad Request</html>"),
        lambda _: (422, b"<html>"),
        lambda _: (403, b'{"detail": {"its": "own"}}'),
        status(200),
        status(302, Location="http://127.0.0.1:1/"),
        hang_up,
        lambda _: (202, b"<html>"),
        lambda _: (202, {"results": []}),
        lambda _: (202, {"results": ["x"]}),
        lambda _: (202, {"results": [{"error": "x"}]}),
        lambda _: (202, b"[" * 100_000),
    ],
)
def test_what_may_pass_is_tried_again_with_the_same_ids(scripted, clients, answer, caplog):
    server = scripted(answer, answer)
    client = clients(server.url)
    give(1, client)
    assert client.flush()
    ids = [request.transactions[0]["id"] for request in server.requests]
    assert len(ids) >= 3 and len(set(ids)) == 1
    stats = client.stats()
    assert (stats.accepted, stats.refused, stats.failures) == (1, 0, 2)
    assert stats.last_error
    assert "at fault" not in caplog.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry_After": 3600},
        {  # of a server whose clock is years behind
            "Date": "Thu, 01 Jan 2015 00:00:00 GMT",
            "Retry_After": "Thu, 01 Jan 2015 01:00:00 GMT",
        },
    ],
    ids=["seconds", "a date"],
)
def test_no_attempt_is_made_before_retry_after_is_over(scripted, clients, headers):
    server = scripted(status(503, **headers))
    client = clients(server.url, retry_min=0.001, retry_max=0.001)
    give(1, client)
    wait_until(lambda: client.stats().failures == 1)
    give(1, client)
    assert not client.flush(0.1)
    assert len(server.requests) == 1
    assert not client.close(0)
    assert client.stats().dropped_overdue == 2


def test_a_short_retry_after_is_waited_for(scripted, clients):
    server = scripted(status(429, Retry_After=1))
    client = clients(server.url, retry_min=0.001, retry_max=0.001)
    give(1, client)
    assert client.flush(30)
    assert len(server.requests) == 2


@pytest.mark.parametrize("number", [413, 422])
def test_what_will_not_pass_is_given_up_with_a_line_and_told(scripted, clients, caplog, number):
    told = []
    server = scripted(default=status(number, "because"))
    client = clients(server.url, batch_age=3600, on_drop=lambda *what: told.append(what))
    with caplog.at_level(logging.WARNING, "labs_analytics"):
        give(3, client, pennkey="jdoe")
        assert client.flush()
    assert [transaction.data for transaction, _ in told] == [(("n", n),) for n in range(3)]
    assert {transaction.pennkey for transaction, _ in told} == {"jdoe"}
    assert {reason for _, reason in told} == {f"{number} because"}
    assert len(caplog.records) == 3
    assert client.stats().refused == 3
    server._default = accept
    give(1, client)
    assert client.flush()
    assert client.stats().accepted == 1


def test_settings_that_are_wrong_for_all_refuse_nothing_and_are_told_once(
    scripted, clients, caplog
):
    server = scripted(default=status(403, "urn:x is not allowed"))
    client = clients(server.url, retry_max=0.02, queue_count=10)
    with caplog.at_level(logging.WARNING, "labs_analytics"):
        give(10, client)
        wait_until(lambda: client.stats().failures >= 5)
        assert not client.record("n", "more")
        stats = client.stats()
        assert (stats.refused, stats.queued, stats.dropped_full) == (0, 10, 1)
        assert stats.last_error == "403 urn:x is not allowed"
        assert ["urn:x" in record.message for record in caplog.records].count(True) == 1
    server._default = accept
    assert client.flush()
    assert client.stats().accepted == 10


def understood(request, read):
    """What the engine makes of the question whether it can read us, else read(request)."""
    return accept(request) if request.transactions == [{}] else read(request)


def test_a_400_of_everything_refuses_nothing_and_is_not_asked_for_each(scripted, clients):
    server = scripted(default=status(400, "is no JSON"))
    client = clients(server.url, batch_age=3600, retry_max=0.02)
    give(64, client)
    assert not client.flush(0.01)
    wait_until(lambda: client.stats().failures >= 5)
    questions = [len(request.body) for request in server.requests].count(len(b"[{}]"))
    assert len(server.requests) - questions == 7  # 64, 32, ... 1, and then only questions
    assert (client.stats().refused, client.stats().queued) == (0, 64)
    server._default = accept
    assert client.flush()
    assert client.stats().accepted == 64


def test_a_400_of_one_that_is_alone_is_its_own_where_the_engine_understands_others(
    scripted, clients
):
    told = []
    server = scripted(default=lambda request: understood(request, status(400)))
    client = clients(server.url, batch_age=3600, on_drop=lambda *what: told.append(what))
    give(1, client)
    assert client.flush()
    assert [reason for _, reason in told] == ["400 no"]
    assert (client.stats().refused, client.stats().failures) == (1, 1)


def test_single_transactions_that_the_engine_rejects_are_told_with_their_field(scripted, clients):
    def reject_second(request):
        fault = {"loc": ["body", 1, "data", 0, "key"], "msg": "is missing", "type": "missing"}
        return 202, {"results": [{"id": "a"}, {"error": fault}, {"id": "c"}]}

    told = []
    server = scripted(reject_second)
    client = clients(server.url, batch_age=3600, on_drop=lambda *what: told.append(what))
    give(3, client)
    assert client.flush()
    assert [(transaction.data[0][1], reason) for transaction, reason in told] == [
        (1, "data.0.key: is missing")
    ]
    assert (client.stats().accepted, client.stats().refused) == (2, 1)


def test_a_batch_that_is_too_large_goes_in_halves(scripted, clients):
    def at_most_three(request):
        return accept(request) if len(request.transactions) <= 3 else status(413)(request)

    server = scripted(default=at_most_three)
    client = clients(server.url, batch_age=3600)
    give(10, client)
    assert client.flush()
    taken = [request for request in server.requests if len(request.transactions) <= 3]
    assert [t["data"][0]["value"] for r in taken for t in r.transactions] == list(range(10))
    assert (client.stats().accepted, client.stats().refused) == (10, 0)


@pytest.mark.parametrize("number", [400, 413])
def test_the_one_that_spoils_a_batch_is_given_up_alone(scripted, clients, number):
    def not_seven(request):
        values = [transaction["data"][0]["value"] for transaction in request.transactions]
        return status(number)(request) if 7 in values else accept(request)

    told = []
    server = scripted(default=not_seven)
    client = clients(server.url, batch_age=3600, on_drop=lambda *what: told.append(what[0]))
    give(20, client)
    assert client.flush()
    assert [transaction.data[0][1] for transaction in told] == [7]
    assert (client.stats().accepted, client.stats().refused) == (19, 1)


def test_a_failure_between_the_halves_sends_only_what_is_not_settled(scripted, clients):
    server = scripted(status(413), accept, status(503))
    client = clients(server.url, batch_age=3600)
    give(4, client)
    assert client.flush()
    assert [len(request.transactions) for request in server.requests] == [4, 2, 2, 2]
    assert client.stats().accepted == 4


class Tokens:
    def __init__(self):
        self.number = 1
        self.threads = set()

    def __call__(self):
        self.threads.add(threading.current_thread().name)
        return f"token-{self.number}"

    def invalidate(self):
        self.number += 1


def test_a_refused_token_is_replaced_at_once(scripted, clients):
    tokens = Tokens()
    server = scripted(status(401))
    client = clients(server.url, token_provider=tokens)
    give(1, client)
    assert client.flush()
    sent = [request.headers["Authorization"] for request in server.requests]
    assert sent == ["Bearer token-1", "Bearer token-2"]
    assert client.stats().failures == 0
    assert tokens.threads == {"labs-analytics"}


def test_trouble_with_tokens_loses_nothing(scripted, clients):
    server = scripted(status(401), status(401), status(401))
    troubles = [RuntimeError("the identity service is away")] * 2

    def provider():
        if troubles:
            raise troubles.pop()
        return "token"

    client = clients(server.url, token_provider=provider)
    give(2, client)
    assert client.flush()
    assert (client.stats().accepted, client.stats().failures) == (2, 5)


class Odd:
    """A callback that raises once what no `except Exception` catches."""

    def __init__(self, fault):
        self.fault = fault
        self.calls = 0

    def __call__(self, *_):
        self.calls += 1
        if self.calls == 1:
            raise self.fault
        return "token"


@pytest.mark.parametrize("fault", [asyncio.CancelledError(), SystemExit(1), GeneratorExit()])
def test_whatever_a_token_provider_raises_the_thread_goes_on(scripted, clients, fault):
    server = scripted()
    client = clients(server.url, token_provider=Odd(fault))
    give(2, client)
    assert client.flush()
    assert (client.stats().accepted, client.stats().failures) == (2, 1)
    assert client.stats().last_error == f"no token: {str(fault) or type(fault).__name__}"


@pytest.mark.parametrize("fault", [asyncio.CancelledError(), SystemExit(1), GeneratorExit()])
def test_whatever_on_drop_raises_the_thread_goes_on_and_all_are_told(scripted, clients, fault):
    on_drop = Odd(fault)
    server = scripted(*[status(422)] * 5)
    client = clients(server.url, on_drop=on_drop, batch_age=3600)
    client.record("nan", float("nan"))
    give(3, client)
    assert client.flush()
    assert (on_drop.calls, client.stats().refused) == (4, 4)
    give(1, client)
    assert client.flush()
    assert client.stats().accepted == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_all_the_same_is_started_by_the_next_event(
    scripted, clients, monkeypatch
):
    client = clients(scripted().url)
    with monkeypatch.context() as patch:
        patch.setattr(client._own_worker().tally, "defect", Odd(SystemExit()))
        patch.setattr(client._worker, "_turn", Odd(SystemExit()))
        give(1, client)
        client._worker._thread.join()
    give(1, client)
    assert client.flush()
    assert client.stats().accepted == 2


def test_a_token_that_is_no_header_is_not_quoted(scripted, clients):
    server = scripted()
    client = clients(server.url, token_provider=lambda: "se\ncret")
    give(1, client)
    wait_until(lambda: client.stats().failures >= 1)
    assert "cret" not in client.stats().last_error
    client.close(0)


@pytest.mark.parametrize("token", [None, b"secret"])
def test_what_is_no_token_is_not_sent_as_one(scripted, clients, token):
    server = scripted()
    client = clients(server.url, token_provider=lambda: token)
    give(1, client)
    wait_until(lambda: client.stats().failures >= 1)
    assert client.stats().last_error == f"no token: {type(token).__name__} is no str"
    assert server.requests == []
    client.close(0)


def test_newest_are_dropped_at_the_bound_and_it_is_logged_once(scripted, clients, caplog):
    told = []
    server = scripted(default=status(503, Retry_After=3600))
    client = clients(server.url, queue_count=5, on_drop=lambda *what: told.append(what))
    give(5, client)
    with caplog.at_level(logging.WARNING, "labs_analytics"):
        assert not client.record("more")
        assert not client.record("more")
    assert [record.message for record in caplog.records].count(
        "the queue is full, new transactions are dropped"
    ) == 1
    assert [reason for _, reason in told] == ["the queue is full"] * 2
    stats = client.stats()
    assert (stats.submitted, stats.dropped_full, stats.queued) == (5, 2, 5)


def test_blocking_waits_for_room(scripted, clients):
    release = threading.Event()

    def when_released(request):
        assert release.wait(60)
        return accept(request)

    server = scripted(when_released)
    client = clients(server.url, queue_count=1, when_full="block", block_timeout=60)
    give(1, client)
    wait_until(lambda: server.requests)
    results = []
    thread = threading.Thread(target=lambda: results.append(client.record("more")))
    thread.start()
    wait_until(lambda: client._worker.queue._blocked == 1)
    release.set()
    thread.join()
    assert results == [True]
    assert client.flush()
    assert client.stats().accepted == 2


def test_blocking_ends_with_its_time(scripted, clients):
    server = scripted(default=status(503, Retry_After=3600))
    client = clients(server.url, queue_count=1, when_full="block", block_timeout=0.01)
    give(1, client)
    assert not client.record("more")
    assert client.stats().dropped_full == 1


def test_what_is_no_transaction_is_counted_and_raises_nothing(scripted, clients, caplog):
    server = scripted()
    client = clients(server.url)
    with caplog.at_level(logging.WARNING, "labs_analytics"):
        for data in ([], None, [{"key": "a"}], [{"key": "a", "value": {}}], 5):
            assert not client.submit(data)
    assert len(caplog.records) == 1
    give(1, client)
    client.record("nan", float("nan"))
    assert client.flush()
    stats = client.stats()
    assert (stats.dropped_invalid, stats.accepted, stats.refused) == (5, 1, 1)


def test_a_callback_that_fails_harms_nothing(scripted, clients):
    server = scripted(status(422))
    client = clients(server.url, on_drop=lambda *_: 1 / 0)
    give(1, client)
    assert client.flush()
    give(1, client)
    assert client.flush()
    assert client.stats().accepted == 1


def test_there_is_no_thread_before_the_first_event_and_none_after_the_end(scripted, clients):
    def threads():
        return [t for t in threading.enumerate() if t.name == "labs-analytics"]

    before = len(threads())
    server = scripted()
    client = clients(server.url)
    assert client.flush() and client.stats().submitted == 0
    assert len(threads()) == before
    give(1, client)
    assert len(threads()) == before + 1
    assert client.close()
    assert len(threads()) == before
    assert client.stats().accepted == 1


def test_after_the_end_everything_is_dropped_and_counted(scripted, clients):
    client = clients(scripted().url)
    give(1, client)
    assert client.close()
    assert not client.record("late")
    assert client.stats().dropped_closed == 1
    assert client.close()


def test_closing_gives_up_what_an_engine_that_is_away_has_not_taken(scripted, clients):
    told = []
    server = scripted(default=status(503))
    client = clients(server.url, on_drop=lambda *what: told.append(what))
    give(3, client)
    assert not client.close(0.05)
    assert len(told) == 3
    stats = client.stats()
    assert (stats.dropped_overdue, stats.queued) == (3, 0)


def test_closing_waits_no_longer_than_it_may_for_a_server_that_is_silent(scripted, clients):
    release = threading.Event()
    server = scripted(default=lambda request: (release.wait(60), accept(request))[1])
    client = clients(server.url)
    give(1, client)
    wait_until(lambda: server.requests)
    assert not client.close(0.05)
    assert client.stats().dropped_overdue == 1
    release.set()


def test_a_batch_that_is_being_encoded_when_time_is_over_is_not_forgotten(
    scripted, clients, monkeypatch
):
    begun, release = threading.Event(), threading.Event()

    def slow(transaction):
        begun.set()
        assert release.wait(60)
        return encode(transaction)

    monkeypatch.setattr("labs_analytics.worker.encode", slow)
    told = []
    client = clients(scripted(default=status(503)).url, on_drop=lambda *what: told.append(what))
    give(1, client)
    assert begun.wait(60)
    results = []
    closer = threading.Thread(target=lambda: results.append(client.close(0)))
    closer.start()
    closer.join(0.5)  # it would return by now if it took no notice
    release.set()
    closer.join()
    assert results == [False]
    assert (client.stats().dropped_overdue, len(told)) == (1, 1)


def ends(client):
    """What close(0) of another thread gave: it may wait for nothing that does not end."""
    results = []
    closer = threading.Thread(target=lambda: results.append(client.close(0)), daemon=True)
    closer.start()
    closer.join(20)
    return results


def test_closing_waits_for_no_callback_that_waits_for_the_application(
    scripted, clients, monkeypatch
):
    monkeypatch.setattr("labs_analytics.worker.LEAVE_S", 0.05)
    called, release = threading.Event(), threading.Event()

    def on_drop(*_):
        called.set()
        release.wait(60)

    client = clients(scripted().url, on_drop=on_drop, batch_age=0)
    client.record("nan", float("nan"))
    assert called.wait(60)
    give(2, client)
    results = ends(client)
    release.set()
    assert results == [False]
    wait_until(lambda: client.stats().queued == 0)
    assert client.stats().dropped_overdue == 2  # nothing is forgotten all the same


def test_what_is_queued_behind_a_callback_that_waits_goes_to_the_spool(scripted, clients, tmp_path):
    called, release = threading.Event(), threading.Event()

    def on_drop(*_):
        called.set()
        release.wait(60)

    client = clients(scripted().url, on_drop=on_drop, batch_age=0, spool_dir=tmp_path / "spool")
    client.record("nan", float("nan"))
    assert called.wait(60)
    give(2, client)
    results = ends(client)
    release.set()
    assert results == [True]
    assert (client.stats().spooled, client.stats().queued) == (2, 0)


def test_closing_waits_for_no_disk_that_hangs(scripted, clients, monkeypatch, tmp_path):
    monkeypatch.setattr("labs_analytics.worker.LEAVE_S", 0.05)
    release = threading.Event()
    monkeypatch.setattr("os.fsync", lambda _: release.wait(60))
    server = scripted(default=status(503, Retry_After=3600))
    client = clients(server.url, spool_dir=tmp_path / "spool", batch_age=3600)
    give(2, client)
    results = ends(client)
    release.set()
    assert results == [False]
    wait_until(lambda: client.stats().spooled == 2)


def test_closing_waits_for_a_callback_that_is_slow_only(scripted, clients, monkeypatch):
    monkeypatch.setattr("labs_analytics.worker.LEAVE_S", 0.5)
    told = []

    def on_drop(*what):
        time.sleep(0.03)  # for all of them together longer than nothing may get on
        told.append(what)

    server = scripted(default=status(503, Retry_After=3600))
    client = clients(server.url, on_drop=on_drop, batch_age=3600)
    give(40, client)
    assert not client.close(0)
    assert len(told) == 40


def test_a_disk_that_hangs_keeps_no_other_client_from_its_own(
    scripted, clients, monkeypatch, tmp_path
):
    monkeypatch.setattr("labs_analytics.worker.LEAVE_S", 30)
    release, hangs, sync = threading.Event(), [], os.fsync

    def fsync(descriptor):
        if not hangs:
            hangs.append(descriptor)
            release.wait(60)
        sync(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    # They wait for answers: none sees to what is left by itself.
    server = scripted(default=lambda request: (release.wait(60), accept(request))[1])
    options = {"batch_age": 0, "timeout": 90}
    all_ = [clients(server.url, spool_dir=tmp_path / str(n), **options) for n in range(3)]
    for client in all_:
        client.record("n", 1)
        wait_until(lambda client=client: client.stats().requests)
        client._present_worker().exit_timeout = 0
    ending = threading.Thread(target=lifecycle.end_all)
    ending.start()
    wait_until(lambda: sum(client.stats().spooled for client in all_) == 2)
    release.set()
    ending.join(60)
    assert sum(client.stats().spooled for client in all_) == 3


def test_closing_waits_for_a_disk_that_is_slow_only(scripted, clients, monkeypatch, tmp_path):
    monkeypatch.setattr("labs_analytics.worker.LEAVE_S", 1)
    monkeypatch.setattr("os.fsync", lambda _: time.sleep(0.03))
    server = scripted(default=status(503, Retry_After=3600))
    client = clients(server.url, spool_dir=tmp_path / "spool", batch_age=3600, batch_count=1)
    wait_until(lambda: client.record("n", 0) and client.stats().failures)
    give(30, client)
    assert client.close(0)
    assert client.stats().queued == 0


def test_a_callback_may_close_while_the_client_is_being_closed(scripted, clients):
    release, told = threading.Event(), []

    def close_again(*what):
        told.append(what)
        client.close(0)

    server = scripted(default=lambda request: (release.wait(60), accept(request))[1])
    client = clients(server.url, on_drop=close_again, batch_age=0)
    give(1, client)
    wait_until(lambda: server.requests)
    closer = threading.Thread(target=client.close, args=(0,), daemon=True)
    closer.start()
    closer.join(20)
    assert not closer.is_alive()
    assert len(told) == 1
    release.set()


def test_a_signal_handler_may_record_while_the_first_event_starts_the_thread(
    scripted, clients, monkeypatch
):
    class Interrupted(threading.Thread):
        def start(self):
            if self.name == "labs-analytics":
                client.record("n", "of the handler")
            super().start()

    monkeypatch.setattr(threading, "Thread", Interrupted)
    server = scripted()
    client = clients(server.url, batch_age=3600)
    caller = threading.Thread(target=client.record, args=("n", "first"), daemon=True)
    caller.start()
    caller.join(20)
    assert not caller.is_alive()
    assert client.flush()
    assert sorted(server.accepted) == ["first", "of the handler"]


@pytest.mark.parametrize("launched", [False, True])
@pytest.mark.parametrize("then", ["flush", "close", "record"])
def test_a_signal_handler_may_raise_while_the_first_event_starts_the_thread(
    scripted, clients, monkeypatch, launched, then
):
    class Interrupted(threading.Thread):
        def start(self):
            if self.name == "labs-analytics" and client.stats().queued == 1:
                monkeypatch.undo()
                if launched:
                    super().start()
                raise KeyboardInterrupt
            super().start()

    monkeypatch.setattr(threading, "Thread", Interrupted)
    server = scripted()
    client = clients(server.url)
    with pytest.raises(KeyboardInterrupt):
        client.record("n", 1)
    if then == "record":
        client.record("n", 2)
        wait_until(lambda: client.stats().accepted == 2)
    else:
        assert getattr(client, then)()
    assert sorted(server.accepted) == [1, 2][: 1 + (then == "record")]


@pytest.mark.parametrize("forever", [float("inf"), 1e300, threading.TIMEOUT_MAX * 2])
def test_who_waits_without_a_limit_waits_for_all(scripted, clients, forever):
    server = scripted(status(503))
    client = clients(server.url)
    client.record("n", 1)
    assert client.flush(forever)
    client.record("n", 2)
    assert client.close(forever)
    assert client.stats().accepted == 2


def test_a_silent_server_is_given_up_after_the_time_limit(scripted, clients):
    release = threading.Event()
    server = scripted(lambda request: (release.wait(60), accept(request))[1])
    client = clients(server.url, timeout=0.1)
    give(1, client)
    assert client.flush()
    release.set()
    assert client.stats().failures == 1


def test_what_is_too_much_for_the_time_limit_goes_in_smaller_parts(scripted, clients):
    release = threading.Event()

    def at_most_six(request):
        if len(request.transactions) > 6:
            release.wait(60)
        return accept(request)

    server = scripted(default=at_most_six)
    client = clients(server.url, batch_age=3600, timeout=0.3)
    give(20, client)
    assert not client.flush(0.01)
    wait_until(lambda: client.stats().accepted == 20)
    release.set()
    sizes = [len(request.transactions) for request in server.requests]
    assert sizes[:5] == [20, 20, 10, 10, 5]
    assert client.stats().refused == 0


def test_a_client_is_closed_by_its_with(scripted):
    server = scripted()
    with AnalyticsClient(server.url, key="la_test", product=10) as client:
        client.record("visit")
    assert len(server.accepted) == 1


def test_proxies_of_the_environment_are_not_used(scripted, clients, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    client = clients(scripted().url)
    give(1, client)
    assert client.flush()
    assert client.stats().accepted == 1


@pytest.mark.parametrize("answer", [status(422), status(503)])
def test_logging_that_raises_harms_nothing(scripted, clients, answer):
    def broken(_):
        raise RuntimeError("a filter of the application")

    logger = logging.getLogger("labs_analytics")
    server = scripted(answer)
    logger.addFilter(broken)
    try:
        client = clients(server.url, queue_count=2, batch_age=3600)
        assert not client.submit([])
        give(2, client)
        assert not client.record("more")
        assert client.flush()
        give(1, client)
        assert client.flush()
    finally:
        logger.removeFilter(broken)
    stats = client.stats()
    assert stats.accepted + stats.refused == 3
    assert (stats.dropped_invalid, stats.dropped_full) == (1, 1)


def test_a_thread_that_could_not_start_is_started_although_the_queue_is_full(
    scripted, clients, monkeypatch
):
    def cannot(_):
        raise RuntimeError("can't start new thread")

    server = scripted()
    client = clients(server.url, queue_count=2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", cannot)
        give(2, client)
    assert "can't start" in client.stats().last_error
    client.record("more")
    wait_until(lambda: client.stats().accepted >= 2)


def test_many_threads_share_a_client(scripted, clients):
    server = scripted()
    client = clients(server.url, batch_count=100)
    threads = [threading.Thread(target=give, args=(500, client)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush(60)
    ids = [t["id"] for request in server.requests for t in request.transactions]
    assert len(ids) == len(set(ids)) == 4000


def test_trouble_is_logged_when_it_begins_and_when_it_ends(scripted, clients, caplog):
    server = scripted(*[status(503)] * 4)
    client = clients(server.url)
    with caplog.at_level(logging.WARNING, "labs_analytics"):
        give(1, client)
        assert client.flush()
    assert len(caplog.records) == 2
    assert "503" in caplog.records[0].message
    assert "again" in caplog.records[1].message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "analytics.pennlabs.org"}, "is no address"),
        ({"url": "ftp://a"}, "is no address"),
        ({"url": "http://a/b c"}, "no request can name"),
        ({"url": "http://a/\u00fc"}, "no request can name"),
        ({"url": "http://a b"}, "no request can name"),
        ({"url": "http://a..b"}, "no request can name"),
        ({"url": "http://" + "a" * 64}, "no request can name"),
        ({"url": "https://user:word@a"}, "must have no user"),
        ({"key": None}, "one of token"),
        ({"token": "x"}, "one of token"),
        ({"key": "abc"}, "starts with la_"),
        ({"key": "la_\n"}, "one line"),
        ({"batch_count": 0}, "batch_count"),
        ({"batch_count": 10001}, "batch_count"),
        ({"when_full": "drop"}, "when_full"),
        ({"retry_max": 0.1}, "retry_max"),
        ({"product": []}, "product"),
        ({"queue_bytes": 0}, "queue_bytes"),
        ({"batch_count": 500.0}, "batch_count must be a whole number"),
        ({"batch_age": "1"}, "batch_age must be from"),
        ({"timeout": float("nan")}, "timeout must be from"),
        ({"url": 5}, "is no address"),
        ({"spool_dir": ""}, "spool_dir must be a path"),
        ({"spool_dir": 5}, "spool_dir must be a path"),
        ({"on_drop": 5}, "on_drop must be callable"),
        ({"ssl_context": True}, "ssl_context must be"),
        ({"key": None, "token_provider": "x"}, "must be callable"),
    ],
)
def test_wrong_options_are_told_when_the_client_is_made(options, words):
    with pytest.raises(ValueError, match=words):
        AnalyticsClient(**({"url": "http://127.0.0.1:1", "key": "la_test"} | options))
