"""The arguments of a call become a transaction that nobody else can change.

This runs on the caller's path. What is copied is only what can change later: the list, the dicts
in it and values of odd types become a tuple of pairs of immutable things; texts and numbers are
immutable and only referred to. Nothing is encoded here.

What is captured is a plain tuple and not a nicer object: Python's garbage collector stops looking
at plain tuples of texts and numbers, so a long queue does not slow the program.

What can be seen at no cost to be no transaction is Invalid; all other rules (lengths, counts,
which products there are) are the engine's, whose refusal names the field.
"""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from time import time as now
from typing import Any, List, Optional, Tuple, Union
from uuid import UUID

from labs_analytics.types import Data, Point, ProductLike, Timestamp, Transaction, Value

# About what an entry and a datapoint take in memory beside their characters.
TRANSACTION_BYTES = 400
POINT_BYTES = 150
WIDE = 4  # bytes a character takes where one of a text is not ASCII, at most
BITS = 7  # of a whole number in a byte, somewhat less than Python puts there

_PLAIN = frozenset((str, int, float, bool, type(None)))


class Invalid(ValueError):
    """The arguments are no transaction; the message says which and why."""


Captured = Tuple[int, ProductLike, Optional[str], Union[int, float, str], Tuple[Point, ...], int]
"""Number, product, pennkey, timestamp, datapoints; and about how many bytes it takes in memory."""


def named(captured: Captured, unique: str) -> Transaction:
    """The transaction, with an id that is unlike all others if `unique` is the process's own."""
    number, product, pennkey, timestamp, points, _ = captured
    return Transaction(f"{unique}-{number:x}", product, pennkey, timestamp, points)


def capture(
    number: int,
    data: Data,
    product: Optional[ProductLike],  # None is invalid
    pennkey: Optional[str],
    timestamp: Optional[Timestamp],
) -> Captured:
    size = TRANSACTION_BYTES
    points: List[Point] = []
    try:
        for point in data:
            key = point["key"]
            value = point["value"]
            kind = type(value)
            if kind is str:
                size += len(value) if value.isascii() else WIDE * len(value)
            elif kind is int:
                size += value.bit_length() // BITS
            elif kind not in _PLAIN:
                value = plain(value)
                size += _extent(value)
            if type(key) is not str:
                key = text(key)
            size += POINT_BYTES + (len(key) if key.isascii() else WIDE * len(key))
            points.append((key, value))
    except Invalid as fault:
        raise Invalid(f"data[{len(points)}]: {fault}") from None
    except Exception as fault:
        if isinstance(fault, KeyError) and fault.args:
            raise Invalid(f"data[{len(points)}].{fault.args[0]}: is missing") from None
        raise Invalid(f"data[{len(points)}]: {fault!r}") from fault
    if not points:
        raise Invalid("data: is empty")
    if timestamp is None:
        timestamp = now()
    elif isinstance(timestamp, datetime):
        timestamp = _seconds(timestamp)
    elif not isinstance(timestamp, (int, float, str)):
        raise Invalid("timestamp: is no number, text or datetime")
    else:
        size += _extent(timestamp)
    if not isinstance(product, (int, str)):
        raise Invalid("product: is no number or name")
    if type(product) is not int:
        size += _extent(product)
    if pennkey is not None:
        if type(pennkey) is not str:
            pennkey = text(pennkey)
        size += _extent(pennkey)
    return number, product, pennkey, timestamp, tuple(points), size


def _extent(value: Value) -> int:
    """About the bytes that it takes in memory beyond those of a small one."""
    if isinstance(value, str):
        return len(value) if value.isascii() else WIDE * len(value)
    return value.bit_length() // BITS if isinstance(value, int) else 0


def _seconds(instant: datetime) -> float:
    try:
        return instant.timestamp()
    except Exception as fault:  # its time zone may raise what it likes
        raise Invalid(f"timestamp: {fault}") from None


def text(value: Any) -> str:
    """A text as a plain one. A member of an enumeration of texts is its value here."""
    if not isinstance(value, str):
        raise Invalid(f"{type(value).__name__} is no text")
    return str.__str__(value)


def plain(value: Any) -> Value:
    """The value as one that JSON has. Subclasses lose what they add, decimals, UUIDs and dates
    become their text; lists and dicts are no values."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    raise Invalid(f"{type(value).__name__} is no text, number, boolean or None")
