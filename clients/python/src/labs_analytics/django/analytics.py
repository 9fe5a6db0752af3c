"""The decorators that Labs products use: in place of `analytics.analytics` of django-labs-accounts,
with the same names, arguments, keys and values. A product changes its imports only.

    from labs_analytics.django.analytics import Product, get_analytics_recorder
    from labs_analytics.django.entries import FuncEntry, UnaryFuncEntry, ViewEntry

    LabsAnalytics = get_analytics_recorder(Product.CLUBS)

What a view or function returns or raises is what its caller gets, whatever happens here: a
callback that fails costs its datapoint, and is logged. docs/django.md lists where this
differs from the published package.
"""

from __future__ import annotations

import functools
import inspect
import json
from abc import ABC, abstractmethod
from datetime import datetime
from time import time
from typing import (
    Any,
    Awaitable,
    Callable,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Type,
    TypeVar,
    Union,
    cast,
)

from django.core.exceptions import ImproperlyConfigured
from django.utils.termcolors import colorize

from labs_analytics.django import conf
from labs_analytics.django.entries import (
    AnalyticsEntry,
    FuncEntry,
    UnaryFuncEntry,
    ViewEntry,
    Watch,
)
from labs_analytics.django.guard import guarded, tell
from labs_analytics.django.keys import prefix_of
from labs_analytics.products import Product
from labs_analytics.types import ProductLike, Timestamp

__all__ = [
    "AnalyticsEntry",
    "AnalyticsRecorder",
    "AnalyticsSubmitter",
    "AnalyticsTxn",
    "FuncEntry",
    "LabsAnalyticsRecorder",
    "LocalAnalyticsRecorder",
    "OffAnalyticsRecorder",
    "Product",
    "UnaryFuncEntry",
    "ViewEntry",
    "get_analytics_recorder",
]

View = TypeVar("View", bound=Type[Any])
Function = TypeVar("Function", bound=Callable[..., Any])
Point = Dict[str, Any]


class AnalyticsTxn:
    """One transaction: `product` a number, `timestamp` Unix seconds, `data` datapoints."""

    def __init__(
        self,
        product: ProductLike,
        pennkey: Optional[str],
        timestamp: Optional[Timestamp] = None,
        data: Optional[List[Point]] = None,
    ) -> None:
        self.product = int(product) if isinstance(product, int) else product
        self.pennkey = pennkey
        happened = timestamp or time()
        self.timestamp = happened.timestamp() if isinstance(happened, datetime) else happened
        self.data = data or []

    def to_json(self) -> Dict[str, Any]:
        """As JSON has it. Raises TypeError for what JSON has not."""
        copy: Dict[str, Any] = json.loads(json.dumps(vars(self)))
        return copy


class AnalyticsSubmitter(ABC):
    def __init__(self, default_product: ProductLike) -> None:
        self.default_product = default_product

    @abstractmethod
    def submit_transaction(self, txn: AnalyticsTxn) -> None: ...

    def submit(
        self,
        data: List[Point],
        product: Optional[ProductLike] = None,
        pennkey: Optional[str] = None,
        timestamp: Optional[Timestamp] = None,
    ) -> None:
        """Records one transaction; raises nothing."""
        try:
            wanted = self.default_product if product is None else product
            self.submit_transaction(AnalyticsTxn(wanted, pennkey, timestamp, data))
        except Exception:
            tell("submit")


class AnalyticsRecorder(AnalyticsSubmitter):
    def record_apiview(self, *entries: ViewEntry) -> Callable[[View], View]:
        """Of an APIView or ViewSet: `<app>.<url name>[.<entry's name>].<method>`, all entries of a
        request in one transaction, of the request's user."""
        recorder = self

        def decorate(cls: View) -> View:
            place = f"{cls.__module__}.{cls.__qualname__}"

            def finish(view: Any, watch: Watch, response: Any) -> None:
                request = view.request
                method = request.method  # once: DRF's request looks it up in Django's each time
                action = getattr(view, "action", None)
                data = watch.points(
                    prefix_of(request),
                    f".{method.lower()}",
                    request,
                    response,
                    lambda entry: entry.accept_action(action) and entry.accept_method(method),
                )
                recorder._submit_points(place, data, lambda: _username(request))

            class Recorded(cls):  # type: ignore[misc, valid-type]
                # With its attributes: as_view() looks for csrf_exempt there.
                @functools.wraps(cls.dispatch)
                def dispatch(self, *args: Any, **kwargs: Any) -> Any:
                    watch = Watch(place, entries)
                    response = super().dispatch(*args, **kwargs)
                    if inspect.iscoroutine(response):  # of an async view
                        return _then(response, place, finish, self, watch)
                    guarded(place, finish, self, watch, response)
                    return response

            # Its own name is in the keys of unnamed URLs, in logs and on DRF's pages.
            for name in ("__module__", "__name__", "__qualname__", "__doc__"):
                setattr(Recorded, name, getattr(cls, name))
            return cast(View, Recorded)

        return decorate

    def record_api_function(self, *entries: FuncEntry) -> Callable[[Function], Function]:
        """Of a method of a view, whose second argument is the request: keys as record_apiview."""

        def decorate(function: Function) -> Function:
            place = _place(function)
            explicit = _Explicit(function)

            def finish(watch: Watch, args: Any, kwargs: Any, result: Any) -> None:
                arguments = explicit.of(args, kwargs)
                # A wrapper in between may take (*args, **kwargs) only.
                request = (arguments[1:2] or args[1:2] or (kwargs.get("request"),))[0]
                suffix = f".{request.method.lower()}"
                data = watch.points(prefix_of(request), suffix, arguments, result)
                self._submit_points(place, data, lambda: _username(request))

            return _recorded(function, place, lambda: Watch(place, entries), finish)

        return decorate

    def record_function(
        self,
        *entries: Union[FuncEntry, UnaryFuncEntry],
        get_username: Optional[Callable[[Any, Any], Any]] = None,
    ) -> Callable[[Function], Function]:
        """Of any function: `<module>.<function>[.<entry's name>]`, all entries of a call in one
        transaction.

        `get_username`: (tuple of the function's own arguments, result) -> the user
        """
        unary = [entry for entry in entries if isinstance(entry, UnaryFuncEntry)]
        others = [entry for entry in entries if isinstance(entry, FuncEntry)]

        def decorate(function: Function) -> Function:
            place = _place(function)
            explicit = _Explicit(function)
            if unary and len(explicit.names) != 1:
                raise ValueError(f"{place}: UnaryFuncEntry is for functions with one argument")

            def begin() -> Tuple[Watch, Watch]:
                return Watch(place, unary), Watch(place, others)

            def finish(watches: Tuple[Watch, Watch], args: Any, kwargs: Any, result: Any) -> None:
                arguments = explicit.of(args, kwargs)
                data = watches[0].points(place, "", arguments[0], result) if unary else []
                data += watches[1].points(place, "", arguments, result)
                self._submit_points(
                    place, data, lambda: get_username and get_username(arguments, result)
                )

            return _recorded(function, place, begin, finish)

        return decorate

    def _submit_points(self, place: str, data: List[Point], user: Callable[[], Any]) -> None:
        if not data:
            return
        try:
            pennkey = user()
        except Exception:
            tell(f"{place}: the user")
            pennkey = None
        self.submit(data, pennkey=pennkey)


class LocalAnalyticsRecorder(AnalyticsRecorder):
    """Prints what would be sent."""

    def submit_transaction(self, txn: AnalyticsTxn) -> None:
        print(colorize(f"Labs Analytics: Should be sending: {txn.to_json()}", fg="blue"))


class OffAnalyticsRecorder(AnalyticsRecorder):
    """Sends nothing."""

    def submit_transaction(self, _txn: AnalyticsTxn) -> None:
        pass


class LabsAnalyticsRecorder(AnalyticsRecorder):
    """Sends by the client of LABS_ANALYTICS. Raises ImproperlyConfigured if there is none."""

    def __init__(self, default_product: ProductLike) -> None:
        super().__init__(default_product)
        config = conf.current()
        if config.client is None and not config.off:
            raise ImproperlyConfigured(config.fault or f"{conf.NAME} is not set")

    def submit_transaction(self, txn: AnalyticsTxn) -> None:
        conf.submit(txn.data, pennkey=txn.pennkey, timestamp=txn.timestamp, product=txn.product)


def get_analytics_recorder(default_product: ProductLike, off: bool = False) -> AnalyticsRecorder:
    """The recorder of a product: one that sends, if LABS_ANALYTICS says how; else one that
    prints, as on a developer's machine. `off`: one that does neither."""
    if off or conf.current().off:
        return OffAnalyticsRecorder(default_product)
    try:
        return LabsAnalyticsRecorder(default_product)
    except Exception as fault:
        print(colorize(f"Labs Analytics: events are printed, not sent: {fault}", fg="red"))
        return LocalAnalyticsRecorder(default_product)


class _Explicit:
    """The arguments that a function names, without *args, **kwargs and keyword-only ones."""

    def __init__(self, function: Callable[..., Any]) -> None:
        signature = inspect.signature(function, follow_wrapped=False)
        positional = (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        )
        named = [one for one in signature.parameters.values() if one.kind in positional]
        self.names = tuple(one.name for one in named)
        self._defaults = {one.name: one.default for one in named}

    def of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tuple[Any, ...]:
        """In the order of the definition, however they were given. The call has succeeded, so
        each was given or has a default."""
        given = tuple(args[: len(self.names)])
        rest = self.names[len(given) :]
        return given + tuple(kwargs.get(name, self._defaults[name]) for name in rest)


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _username(request: Any) -> Any:
    return getattr(getattr(request, "user", None), "username", None)


def _recorded(
    function: Function,
    place: str,
    begin: Callable[[], Any],
    finish: Callable[[Any, Any, Any, Any], None],
) -> Function:
    """The function between begin() and finish(); the latter only if it returns."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            begun = begin()
            result = await function(*args, **kwargs)
            guarded(place, finish, begun, args, kwargs, result)
            return result

        return cast(Function, awaited)

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        begun = begin()
        result = function(*args, **kwargs)
        guarded(place, finish, begun, args, kwargs, result)
        return result

    return cast(Function, called)


async def _then(
    response: Awaitable[Any], place: str, finish: Callable[..., None], *before: Any
) -> Any:
    answered = await response
    guarded(place, finish, *before, answered)
    return answered
