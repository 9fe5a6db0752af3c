"""What an answer of the engine means for the batch, and how long to wait before the next try.

Pure functions of what they are given; nothing here waits or sends.
"""

from __future__ import annotations

import random
from datetime import timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Callable, Optional, Sequence

# A server that asks for more patience is asked again after this all the same.
LONGEST_WAIT_S = 600.0
# No batch has as many.
NO_BOUND = 1 << 30


class Verdict(Enum):
    READ = "the answer says what became of each transaction"
    SPLIT = "the batch is too much, or one in it spoils it: send its halves"
    RENEW = "the token is not good: send again with another one"
    RETRY = "send it again later"


# Of an engine that was given a certificate: nobody's transaction is to blame.
_WANTS_TLS = "speaks TLS"


def judge(status: int, detail: Optional[str]) -> Verdict:
    """The verdict on a batch by the HTTP status and the engine's own words for it; None: the
    answer is not known to be the engine's.

    Only what is about the body may blame a transaction, and but for the size of it only the engine
    can tell. All else (a URN that is not allowed, a page of a proxy's, a redirection) is somebody's
    settings, which will be mended: it refuses nothing."""
    if status == 202:
        return Verdict.READ
    if status == 401:
        return Verdict.RENEW
    if status == 413:
        return Verdict.SPLIT
    if status in (400, 422) and detail is not None and _WANTS_TLS not in detail:
        return Verdict.SPLIT
    return Verdict.RETRY


def retry_after(header: Optional[str], date: Optional[str], now: float) -> Optional[float]:
    """The seconds that a Retry-After asks for; None: it asks for none that can be understood. At
    most LONGEST_WAIT_S. An instant in it is of the server's clock, which the answer's Date tells;
    without one, `now` is the Unix time."""
    if header is None:
        return None
    header = header.strip()
    # Digits of other scripts and numbers of thousands of digits are no delay-seconds.
    if header.isascii() and header.isdigit() and len(header) < 10:
        return min(float(header), LONGEST_WAIT_S)
    instant = _unix_time(header)
    if instant is None:
        return None
    answered = _unix_time(date)
    wait = instant - (now if answered is None else answered)
    return min(max(0.0, wait), LONGEST_WAIT_S)


def _unix_time(header: Optional[str]) -> Optional[float]:
    """What an HTTP date stands for; None: it is none."""
    if header is None:
        return None
    try:
        instant = parsedate_to_datetime(header)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=timezone.utc)
    return instant.timestamp()


class Pace:
    """How many transactions are sent at once: half as many after two time-outs in a row, for what
    takes the engine, or the way to it, longer than the time limit would time out for ever. What
    goes through at the bound raises it by a quarter."""

    def __init__(self) -> None:
        self._most = NO_BOUND
        self._time_outs = 0

    def part(self, lines: Sequence[object]) -> int:
        """How many of these."""
        return min(len(lines), self._most)

    def timed_out(self, count: int) -> None:
        self._time_outs += 1
        if self._time_outs == 2:
            self._time_outs = 0
            self._most = max(1, count // 2)

    def went_through(self, count: int) -> None:
        self._time_outs = 0
        if count >= self._most:
            self._most += self._most // 4 + 1


class Backoff:
    """Delays that double from `least` to `most` seconds, each less up to half of it by chance,
    so that processes that failed together do not return together."""

    def __init__(
        self, least: float, most: float, chance: Callable[[], float] = random.random
    ) -> None:
        self._least = least
        self._most = most
        self._chance = chance
        self._failures = 0

    def next(self) -> float:
        # 2**60 is beyond any bound; a larger power would one day overflow the float.
        longest = min(self._most, self._least * 2.0 ** min(self._failures, 60))
        self._failures += 1
        return longest * (1.0 - self._chance() / 2.0)

    def reset(self) -> None:
        self._failures = 0
