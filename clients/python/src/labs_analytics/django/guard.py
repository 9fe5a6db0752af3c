"""What a product's callback raises stays here: it is logged, and the request goes on."""

from __future__ import annotations

from typing import Callable, Set, TypeVar, Union

from labs_analytics.tally import tell_fault

T = TypeVar("T")


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
