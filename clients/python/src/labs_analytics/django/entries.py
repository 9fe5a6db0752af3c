"""Entries: what the decorators of analytics.py record of a call. They take the arguments of
`analytics.entries` of django-labs-accounts, and mean the same.

    name            part of the key
    value           the value, or
    get_value       (argument, result) -> value, or
    get_value_use_before   (argument, result, before) -> value. With none of these it is 1
    compute_before  () -> before: called before the view or function is
    filter_do_record   (argument, result) -> whether to record; if it raises, that is a no

`argument` is the request for ViewEntry, the tuple of the function's own arguments for FuncEntry,
and its only argument for UnaryFuncEntry.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter_ns
from typing import Any, Callable, ClassVar, Collection, Dict, List, Optional, Sequence, Tuple

from labs_analytics.django.guard import FAILED, recordable, tell

__all__ = ["AnalyticsEntry", "FuncEntry", "UnaryFuncEntry", "ViewEntry", "to_microsecond"]

GetValue = Callable[[Any, Any], Any]
GetValueUseBefore = Callable[[Any, Any, Any], Any]


@dataclass
class AnalyticsEntry:
    """What all entries have. Raises ValueError where it is made: two kinds of value, or a value
    without a name."""

    name: Optional[str] = None
    value: Optional[Any] = None
    get_value: Optional[GetValue] = None
    get_value_use_before: Optional[GetValueUseBefore] = None
    compute_before: Optional[Callable[[], Any]] = None
    filter_do_record: Optional[Callable[[Any, Any], Any]] = None

    GETTERS: ClassVar[Tuple[str, ...]] = ("value", "get_value", "get_value_use_before")

    def __post_init__(self) -> None:
        given = [name for name in self.GETTERS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"an entry takes one of {', '.join(self.GETTERS)}, not {given}")
        if given and self.name is None:
            raise ValueError(f"an entry with {given[0]} needs a name")

    def is_wanted(self, argument: Any, result: Any) -> bool:
        if not self.filter_do_record:
            return True
        try:
            return bool(self.filter_do_record(argument, result))
        except Exception:
            return False

    def value_of(self, argument: Any, result: Any, before: Any) -> Any:
        if self.value is not None:
            return str(self.value)
        if self.get_value is not None:
            return str(self.get_value(argument, result))
        if self.get_value_use_before is not None:
            return str(self.get_value_use_before(argument, result, before))
        return "1"


@dataclass
class ViewEntry(AnalyticsEntry):
    """Of a view, for record_apiview.

    `actions`: of a ViewSet, those that are recorded; or `methods`: of any view ("GET", ...). All,
        unless given
    """

    actions: Optional[Collection[str]] = None
    methods: Optional[Collection[str]] = None

    time: ClassVar[ViewEntry]
    status: ClassVar[ViewEntry]
    failure_status: ClassVar[ViewEntry]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.actions is not None and self.methods is not None:
            raise ValueError("an entry takes one of actions and methods")

    def accept_action(self, action: Optional[str]) -> bool:
        return self.actions is None or action in self.actions

    def accept_method(self, method: Optional[str]) -> bool:
        return self.methods is None or method in self.methods


@dataclass
class FuncEntry(AnalyticsEntry):
    """Of a function, for record_function and record_api_function.

    `get_value_with_args`: (*arguments) -> value, which is recorded as it is, not as text
    """

    get_value_with_args: Optional[Callable[..., Any]] = None

    time: ClassVar[FuncEntry]
    status: ClassVar[FuncEntry]
    failure_status: ClassVar[FuncEntry]

    GETTERS: ClassVar[Tuple[str, ...]] = (*AnalyticsEntry.GETTERS, "get_value_with_args")

    def value_of(self, argument: Any, result: Any, before: Any) -> Any:
        if self.get_value_with_args is not None:
            return self.get_value_with_args(*argument)
        return super().value_of(argument, result, before)


class UnaryFuncEntry(AnalyticsEntry):
    """Of a function with one argument, for record_function."""


class Watch:
    """Entries that follow one call: made before it, asked after it."""

    def __init__(self, place: str, entries: Sequence[AnalyticsEntry]) -> None:
        self._place = place
        self._begun: List[Tuple[AnalyticsEntry, Any]] = []
        for entry in entries:
            before: Any = None
            if entry.compute_before:
                try:
                    before = entry.compute_before()
                except Exception:
                    tell(f"{place}: compute_before of {entry.name!r}")
                    before = FAILED
            self._begun.append((entry, before))

    def points(
        self,
        prefix: str,
        suffix: str,
        argument: Any,
        result: Any,
        accept: Callable[[Any], bool] = lambda _: True,
    ) -> List[Dict[str, Any]]:
        """The datapoints, in the order of the entries; keys are <prefix>[.<name>]<suffix>."""
        points = []
        for entry, before in self._begun:
            try:
                if before is not FAILED and accept(entry) and entry.is_wanted(argument, result):
                    name = f".{entry.name}" if entry.name else ""
                    value = recordable(entry.value_of(argument, result, before))
                    points.append({"key": f"{prefix}{name}{suffix}", "value": value})
            except Exception:
                tell(f"{self._place}: the value of {entry.name!r}")
        return points


def to_microsecond(delta: timedelta) -> int:
    return delta // timedelta(microseconds=1)


def _microseconds_since(_: Any, __: Any, start_ns: int) -> int:
    return (perf_counter_ns() - start_ns) // 1000


def _status_of(_: Any, response: Any) -> Any:
    return response.status_code


def _is_failure(_: Any, response: Any) -> bool:
    return bool(response.status_code >= 400)


for _kind in (ViewEntry, FuncEntry):
    _kind.time = _kind(
        name="time", compute_before=perf_counter_ns, get_value_use_before=_microseconds_since
    )
    _kind.status = _kind(name="status", get_value=_status_of)
    _kind.failure_status = _kind(
        name="failure_status", get_value=_status_of, filter_do_record=_is_failure
    )
del _kind
