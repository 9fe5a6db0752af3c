"""What the middleware records: a rule says of which requests, and which datapoint.

    {"url_name": "clubs-detail",       # with its namespaces: "admin:index"; "clubs-*" matches all
                                       # that begin so. Without it: every URL
     "methods": ["GET"],               # without it: every method
     "status": ["2xx", 304],           # without it: all below 400
     "key": "club.visit",              # without it: <url name>.<method>, as decorators make it
     "argument": "code"}               # the value is this argument of the URL

Instead of `argument`, `value`: a constant, or a function of request and response. Without both
the value is 1. All rules that match a request make one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Callable, FrozenSet, Mapping, Optional, Tuple

from django.core.exceptions import ImproperlyConfigured

from labs_analytics.django.guard import recordable
from labs_analytics.django.keys import prefix_of

_NAMES = ("url_name", "methods", "status", "key", "argument", "value")


@dataclass(frozen=True)
class Rule:
    place: str  # for messages
    url_name: Optional[str]
    methods: Optional[FrozenSet[str]]
    statuses: Callable[[int], bool]
    key: Optional[str]
    value_of: Callable[[Any, Any], Any]

    @staticmethod
    def of(place: str, given: Any) -> Rule:
        """Raises ImproperlyConfigured."""
        if not isinstance(given, Mapping):
            raise ImproperlyConfigured(f"{place}: must be a dict")
        for name in given:
            if name not in _NAMES:
                raise ImproperlyConfigured(
                    f"{place}: {name!r} is not known; there are {', '.join(_NAMES)}"
                )
        url_name, key, methods = given.get("url_name"), given.get("key"), given.get("methods")
        for name, text in (("url_name", url_name), ("key", key)):
            if text is not None and (not isinstance(text, str) or not text):
                raise ImproperlyConfigured(f"{place}: {name} must be a text")
        if methods is not None:
            if not _is_list(methods) or not all(isinstance(one, str) for one in methods):
                raise ImproperlyConfigured(f"{place}: methods must be a list of texts")
            methods = frozenset(one.upper() for one in methods)
        return Rule(
            place,
            url_name,
            methods,
            _statuses(place, given.get("status")),
            key,
            _value(place, given),
        )

    def matches(self, request: Any, response: Any) -> bool:
        if self.methods is not None and request.method not in self.methods:
            return False
        if not self.statuses(response.status_code):
            return False
        match = getattr(request, "resolver_match", None)
        if match is None:  # no URL of the project, or never resolved
            return self.url_name is None and self.key is not None
        return self.url_name is None or fnmatchcase(match.view_name, self.url_name)

    def key_of(self, request: Any) -> str:
        return self.key or f"{prefix_of(request)}.{request.method.lower()}"


def rules_of(given: Any) -> Tuple[Rule, ...]:
    """Raises ImproperlyConfigured, which names the rule."""
    if not _is_list(given):
        raise ImproperlyConfigured("RULES must be a list")
    return tuple(Rule.of(f"RULES[{number}]", rule) for number, rule in enumerate(given))


def _is_list(given: Any) -> bool:
    return isinstance(given, (list, tuple, set, frozenset))


def _value(place: str, given: Mapping[str, Any]) -> Callable[[Any, Any], Any]:
    argument, value = given.get("argument"), given.get("value", 1)
    if argument is not None:
        if not isinstance(argument, str) or "value" in given:
            raise ImproperlyConfigured(f"{place}: argument must be a text, and alone without value")
        return lambda request, _: request.resolver_match.kwargs[argument]
    if callable(value):
        wanted: Callable[[Any, Any], Any] = value
        return wanted
    try:
        constant = recordable(value)
    except ValueError as fault:
        raise ImproperlyConfigured(
            f"{place}: value must be a constant or callable: {fault}"
        ) from None
    return lambda *_: constant


def _statuses(place: str, given: Any) -> Callable[[int], bool]:
    if given is None:
        return lambda status: status < 400
    numbers, classes = set(), set()
    for one in given if _is_list(given) else (given,):
        if isinstance(one, int):
            numbers.add(one)
        elif isinstance(one, str) and len(one) == 3 and one[0] in "12345" and one[1:] == "xx":
            classes.add(int(one[0]))
        else:
            raise ImproperlyConfigured(f"{place}: status must be numbers, or texts as 2xx")
    return lambda status: status in numbers or status // 100 in classes
