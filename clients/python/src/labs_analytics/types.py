"""The nouns of this package: what is given, what is queued, what is told."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import (
    Any,
    Callable,
    Iterable,
    Literal,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
    Union,
)
from uuid import UUID

Value = Union[str, int, float, bool, None]
"""What a datapoint may hold; the engine stores it as text."""

ValueLike = Union[Value, Decimal, UUID, date, time]
"""What is given for it: those that JSON has not are sent as their text."""

ProductLike = Union[int, str]
"""A Product, a number or a name of the engine's product table."""

Timestamp = Union[int, float, str, datetime]
"""Unix seconds, an RFC 3339 text, or a datetime; one without a zone is in local time."""

Data = Iterable[Mapping[str, Any]]
"""1 to 1,000 datapoints `{"key": str, "value": ValueLike}`; other members are not sent."""

Point = Tuple[str, Value]

WhenFull = Literal["drop_newest", "block"]
"""What submit() does at the bounds of the queue."""


class Transaction(NamedTuple):
    """What one call of submit() recorded: it is stored whole, once, or not at all."""

    id: str
    product: ProductLike
    pennkey: Optional[str]
    timestamp: Union[int, float, str]
    data: Tuple[Point, ...]


OnDrop = Callable[[Transaction, str], None]
"""Told of each transaction that is given up, and why. See AnalyticsClient."""

TokenProvider = Callable[[], str]
"""Gives a token that is good now. It is called before every request, only on the background
thread, and may block; it raises what it likes when it has none, and is asked again later. If it
has a method `invalidate()`, that is called when the engine has refused its last token."""


class Stats(NamedTuple):
    """What became of the transactions that this process has submitted, and of those that it
    found in the spool. All but the last three only grow.

    submitted = accepted + refused + dropped_overdue + spooled - unspooled + queued
    """

    submitted: int = 0
    """Taken into the queue."""
    accepted: int = 0
    """Acknowledged by the engine: durable there."""
    refused: int = 0
    """Rejected by the engine one by one, for what they are or for their product; or impossible
    to encode."""
    spooled: int = 0
    """Put on disk because the engine could not be reached."""
    unspooled: int = 0
    """Taken from the disk: then accepted or refused."""
    dropped_full: int = 0
    """Never queued: the queue was full."""
    dropped_invalid: int = 0
    """Never queued: the arguments were no transaction."""
    dropped_closed: int = 0
    """Never queued: the client had been closed."""
    dropped_overdue: int = 0
    """Still queued when the time of close() was over, with no spool to go to."""
    requests: int = 0
    """Requests that were sent to the engine, whatever their answer."""
    failures: int = 0
    """Attempts that failed and were, or will be, repeated."""
    queued: int = 0
    """In memory now, those under way included."""
    queued_bytes: int = 0
    """About what they take there."""
    last_error: Optional[str] = None
    """Why the last attempt that failed did so."""
