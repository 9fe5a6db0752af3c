"""What a product's callback raises stays here: it is logged, and the request goes on. So does what
it gives that cannot be recorded: a transaction is stored whole or not at all, and one such value
would cost the datapoints of all others."""

from __future__ import annotations

from math import isfinite
from typing import Any, Callable, Set, TypeVar, Union

from labs_analytics.capture import Invalid, plain
from labs_analytics.tally import tell_fault
from labs_analytics.types import Value

T = TypeVar("T")
LONGEST_VALUE = 8192  # bytes, for the engine
SHORT = LONGEST_VALUE // 4  # characters that are never more bytes than that


class Failed:
    """In place of what a callback that raised would have given."""


FAILED = Failed()
# By place in the product's code, of which there are few. A fault that comes back with every request
# is told once.
_told: Set[str] = set()


def guarded(place: str, call: Callable[..., T], *arguments: object) -> Union[T, Failed]:
    """The call's result, or FAILED. `place` says whose callback it is."""
    try:
        return call(*arguments)
    except Exception:
        tell(place)
        return FAILED


def tell(place: str) -> None:
    """Of the exception that is being handled."""
    if place not in _told:
        _told.add(place)
        tell_fault("%s failed; it is not recorded (told once)", place)


def recordable(value: Any) -> Value:
    """As it is sent. Raises Invalid, or ValueError for a number that is too long to be written."""
    if value is None or (type(value) is str and len(value) <= SHORT and "\0" not in value):
        return value
    found = plain(value)
    if isinstance(found, float) and not isfinite(found):
        raise Invalid(f"{found} is no number of JSON")
    words = str(found)
    if "\0" in words or len(words.encode("utf-8", "replace")) > LONGEST_VALUE:
        raise Invalid(f"a text with U+0000, or of more than {LONGEST_VALUE} bytes, is no value")
    return found
