"""A transaction as the engine reads it, and back. Runs on the background thread.

Each transaction is encoded alone, so that one that cannot be (a NaN, say) harms no other. What
the encoding gives has no line break: it is also the line of a spool file.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Sequence

from labs_analytics.capture import Invalid
from labs_analytics.types import Transaction

_to_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


def encode(transaction: Transaction) -> bytes:
    """JSON in UTF-8, on one line. Half a surrogate pair, which is no text, becomes `?`."""
    members: Dict[str, Any] = {
        "id": transaction.id,
        "product": transaction.product,
        "timestamp": transaction.timestamp,
        "data": [{"key": key, "value": value} for key, value in transaction.data],
    }
    if transaction.pennkey is not None:
        members["pennkey"] = transaction.pennkey
    try:
        return _to_json(members).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as fault:
        raise Invalid(str(fault)) from None


def decode(line: bytes) -> Transaction:
    """What encode() was given, for those who are told about it."""
    members = json.loads(line)
    return Transaction(
        members["id"],
        members["product"],
        members.get("pennkey"),
        members["timestamp"],
        tuple((point["key"], point["value"]) for point in members["data"]),
    )


def body_of(lines: Sequence[bytes]) -> bytes:
    """The body of one request."""
    return b"[" + b",".join(lines) + b"]"
