"""The bounded queue alone."""

import threading
import time

import pytest
from support.wait import wait_until

from labs_analytics.queue import BoundedQueue


def filled(count, size=10, most=100, most_bytes=10_000):
    queue = BoundedQueue(most, most_bytes)
    for number in range(count):
        assert queue.put(item(number, size))
    return queue


def item(name, size=10):
    """What the queue looks at of a captured transaction: its size, in the last place."""
    return (name, size)


def names(taken):
    return [name for name, _ in taken.transactions]


def background(call):
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    return thread, results


def test_batches_are_cut_by_count_and_by_bytes():
    queue = filled(10)
    assert names(queue.take(4, 10_000, 0)) == [0, 1, 2, 3]
    assert names(queue.take(100, 25, 0)) == [4, 5, 6]
    assert names(queue.take(100, 10_000, 0)) == [7, 8, 9]


def test_what_is_taken_counts_until_it_is_settled():
    queue = filled(3, most=3)
    taken = queue.take(2, 10_000, 0)
    assert not queue.put(item("more", 10))
    queue.settle(2, taken.size)
    assert queue.put(item("more", 10))
    assert (queue.held, queue.held_bytes) == (2, 20)


def test_bytes_are_bounded_but_one_always_fits_into_an_empty_queue():
    queue = BoundedQueue(100, 50)
    assert queue.put(item("large", 80))
    assert not queue.put(item("small", 1))
    queue.settle(1, 80)
    assert queue.put(item("small", 1))


class Interrupted(int):
    """A size; each time that it is added to something, the next of `meanwhile` happens first."""

    def __radd__(self, other):
        self.meanwhile.pop(0)()
        return other + int(self)


def test_a_batch_that_is_settled_while_a_caller_counts_does_not_count_for_ever():
    queue = filled(3, size=1000)
    taken = queue.take(3, 10_000, 0)
    size = Interrupted(10)
    # It is added to look whether there is room, and then to the count.
    size.meanwhile = [lambda: None, lambda: queue.settle(3, taken.size)]
    assert queue.put(item("more", size))
    assert size.meanwhile == []
    assert (queue.held, queue.held_bytes) == (1, 10)


def test_who_waits_for_room_gets_it():
    queue = filled(1, most=1)
    thread, results = background(lambda: queue.put(item("more", 10), 30))
    wait_until(lambda: queue._blocked == 1)
    queue.settle(1, 10)
    thread.join()
    assert results == [True]


def test_who_waits_for_room_is_sent_away_by_the_end():
    queue = filled(1, most=1)
    thread, results = background(lambda: queue.put(item("more", 10), 30))
    wait_until(lambda: queue._blocked == 1)
    queue.close()
    thread.join()
    assert results == [False]


@pytest.mark.parametrize("count", [1, 3])
def test_the_thread_is_woken_by_the_first_and_by_a_full_batch(count):
    queue = BoundedQueue(100, 10_000)
    thread, results = background(lambda: queue.take(count, 10_000, 3600))
    for number in range(count):
        queue.put(item(number, 10))
    thread.join()
    assert names(results[0]) == list(range(count))


def test_what_is_put_just_before_the_thread_sleeps_is_not_slept_over(monkeypatch):
    queue = BoundedQueue(100, 10_000)
    until = time.monotonic() + 3600
    late = [item("late")]

    def clock():
        # The thread looks at it between finding the queue empty and going to sleep.
        if late:
            queue.put(late.pop())
        return time.monotonic()

    monkeypatch.setattr("labs_analytics.queue.monotonic", clock)
    thread, results = background(lambda: queue.take(1, 10_000, 3600, until))
    thread.join(20)
    woken = not thread.is_alive()
    queue.close()
    thread.join()
    assert woken and names(results[0]) == ["late"]


def test_flushing_ends_the_wait_for_a_fuller_batch():
    queue = filled(2)
    thread, results = background(lambda: queue.take(100, 10_000, 3600))
    flusher, flushed = background(lambda: queue.flush(30))
    thread.join()
    assert names(results[0]) == [0, 1]
    queue.settle(2, 20)
    flusher.join()
    assert flushed == [True]


def test_a_flush_of_nothing_is_done_and_one_that_is_late_says_so():
    assert BoundedQueue(1, 1).flush(0)
    for timeout in (0, -1, float("-inf"), float("nan")):
        assert not filled(1).flush(timeout)


def test_a_flush_waits_only_for_what_was_submitted_before():
    queue = filled(1)
    flusher, flushed = background(lambda: queue.flush(30))
    wait_until(lambda: queue.nudged())
    queue.put(item("later", 10))
    queue.settle(1, 10)
    flusher.join()
    assert flushed == [True]


def test_a_pause_ends_with_a_flush():
    queue = filled(1)
    thread, _ = background(lambda: queue.pause(float("inf")))
    background(lambda: queue.flush(0.01))[0].join()
    thread.join()


def test_a_closed_queue_hands_out_what_it_has_at_once():
    queue = filled(1)
    queue.close()
    assert names(queue.take(100, 10_000, 3600)) == [0]
    assert queue.take(100, 10_000, 3600) is None
    assert not queue.put(item("more", 10), 30)
