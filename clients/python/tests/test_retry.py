"""Which answers mean what, and how long to wait."""

import pytest

from labs_analytics.retry import LONGEST_WAIT_S, Backoff, Pace, Verdict, judge, retry_after


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ([202], Verdict.READ),
        ([400, 413, 422], Verdict.SPLIT),
        ([401], Verdict.RENEW),
        ([408, 425, 429, 500, 502, 503, 504], Verdict.RETRY),
        ([200, 204, 301, 302, 307, 599], Verdict.RETRY),
        ([402, 403, 404, 405, 407, 410, 415, 431], Verdict.RETRY),
    ],
)
def test_every_status_has_a_verdict(statuses, verdict):
    assert {judge(status, "why") for status in statuses} == {verdict}


def test_of_what_is_not_the_engines_only_a_size_divides_a_batch():
    assert judge(413, None) is Verdict.SPLIT
    assert {judge(status, None) for status in (400, 403, 404, 422)} == {Verdict.RETRY}


def test_a_port_that_wants_tls_blames_no_transaction():
    assert judge(400, "this port speaks TLS: ask it by https://") is Verdict.RETRY


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("3", 3),
        (" 0 ", 0),
        ("999999999", LONGEST_WAIT_S),
        ("9" * 5000, None),
        ("-1", None),
        ("soon", None),
        ("١", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 10),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Thu, 01 Jan 2070 00:00:00 GMT", LONGEST_WAIT_S),
    ],
)
def test_retry_after_is_read_in_both_its_forms(header, seconds):
    assert retry_after(header, None, now=90) == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Thu, 01 Jan 1970 00:01:30 GMT", 10),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 0),
        ("just now", 100),
        (None, 100),
    ],
)
def test_a_date_in_retry_after_is_of_the_clock_that_the_answer_has(date, seconds):
    assert retry_after("Thu, 01 Jan 1970 00:01:40 GMT", date, now=0) == seconds
    assert retry_after("7", date, now=0) == 7


def test_delays_double_up_to_their_bound():
    backoff = Backoff(1, 10, chance=lambda: 0.0)
    assert [backoff.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    backoff.reset()
    assert backoff.next() == 1


def test_chance_shortens_a_delay_by_no_more_than_half():
    assert Backoff(4, 10, chance=lambda: 1.0).next() == 2
    assert all(2 <= Backoff(4, 10).next() <= 4 for _ in range(100))


def test_two_time_outs_in_a_row_halve_what_is_sent_at_once_down_to_one():
    pace = Pace()
    assert pace.part([1] * 1000) == 1000
    sizes = []
    for _ in range(12):
        pace.timed_out(pace.part([1] * 20))
        sizes.append(pace.part([1] * 20))
    assert sizes == [20, 10, 10, 5, 5, 2, 2, 1, 1, 1, 1, 1]


def test_a_time_out_now_and_then_changes_nothing():
    pace = Pace()
    for _ in range(5):
        pace.timed_out(20)
        pace.went_through(20)
    assert pace.part([1] * 1000) == 1000


def test_what_goes_through_is_followed_by_more_until_it_has_no_bound():
    pace = Pace()
    for _ in range(30):
        pace.timed_out(pace.part([1] * 500))
    requests = 0
    while pace.part([1] * 500) < 500:
        pace.went_through(pace.part([1] * 500))
        requests += 1
    assert requests < 50
    pace.went_through(3)
    assert pace.part([1] * 500) == 500


def test_a_long_trouble_overflows_nothing():
    backoff = Backoff(0.5, 30)
    assert max(backoff.next() for _ in range(5000)) <= 30
