"""The middleware that records views by the rules of LABS_ANALYTICS.

It comes first in MIDDLEWARE: then it sees what the others make of a response. What it records, it
records when the server closes the response, after its last byte was handed over: nobody waits for
it. Under ASGI that is on a thread, where values may ask the database.

The user is who the view knew: a user that nobody has looked at is not loaded for this.
"""

from __future__ import annotations

from time import time
from typing import Any, Callable, List, Optional

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.utils.functional import LazyObject, empty

from labs_analytics.client import AnalyticsClient
from labs_analytics.django import conf
from labs_analytics.django.guard import guarded, recordable, tell
from labs_analytics.django.rules import Rule


class AnalyticsMiddleware:
    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if self._is_async:
            return self._answer(request)
        response = self._get_response(request)
        guarded("the middleware", observe, request, response)
        return response

    async def _answer(self, request: Any) -> Any:
        response = await self._get_response(request)
        guarded("the middleware", observe, request, response)
        return response


def observe(request: Any, response: Any) -> None:
    """Has the response recorded when it is closed, if a rule wants that."""
    config = conf.current()
    client = config.client
    if client is None or not config.rules:
        return
    wanted = [
        rule
        for rule in config.rules
        if guarded(rule.place, rule.matches, request, response) is True
    ]
    if not wanted:
        return
    happened = time()

    def closed() -> None:
        try:
            _record(client, wanted, request, response, happened)
        except Exception:
            tell("the middleware")

    # Django runs these when the server calls close(), as WSGI demands and as its ASGI handler does.
    response._resource_closers.append(closed)


def _record(
    client: AnalyticsClient, rules: List[Rule], request: Any, response: Any, happened: float
) -> None:
    data = []
    for rule in rules:
        point = guarded(rule.place, _point, rule, request, response)
        if isinstance(point, dict):
            data.append(point)
    if data:
        client.submit(data, pennkey=known_user(request), timestamp=happened)


def _point(rule: Rule, request: Any, response: Any) -> Any:
    return {"key": rule.key_of(request), "value": recordable(rule.value_of(request, response))}


def known_user(request: Any) -> Optional[str]:
    """The name of the request's user if it is known already and logged in; asks no database."""
    user = getattr(request, "user", None)
    if isinstance(user, LazyObject) and user._wrapped is empty:
        # An async view may have asked for it by auser(), which keeps it here.
        user = getattr(request, "_acached_user", None)
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    name = getattr(user, "username", None)
    return name if isinstance(name, str) else None
