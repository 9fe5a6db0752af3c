"""The middleware and its rules, with Django's own test clients."""

import asyncio
import logging

import pytest
from django.http import HttpResponse
from django.test import AsyncClient, RequestFactory, override_settings
from django.utils import timezone
from django_project import users

from labs_analytics.django import AnalyticsMiddleware, get_client

VISIT = {"url_name": "clubs:detail", "key": "club.visit", "argument": "code"}


@pytest.mark.parametrize(
    ("rule", "path", "expected"),
    [
        (VISIT, "/clubs/penn-labs/", ("club.visit", "penn-labs")),
        (VISIT, "/clubs/penn-labs/stream/", None),
        (VISIT, "/plain/", None),
        ({"url_name": "clubs:*"}, "/clubs/x/stream/", ("clubs.stream.get", 1)),
        ({"url_name": "clubs:*"}, "/plain/", None),
        ({"url_name": "clubs:of-user"}, "/clubs/x/user/", ("clubs.of_user.get", 1)),
        ({}, "/plain/", ("plain.get", 1)),
        ({}, "/unnamed/", ("django_project.views.club.get", 1)),
        ({}, "/broken/", None),
        ({}, "/nowhere/", None),
        ({"status": 404}, "/nowhere/", None),
        ({"status": 404, "key": "lost"}, "/nowhere/", ("lost", 1)),
        ({"status": 404, "key": "lost", "url_name": "*"}, "/nowhere/", None),
        ({"status": "5xx"}, "/broken/", ("broken.get", 1)),
        ({"status": ["3xx", 418]}, "/status/418/", ("status.get", 1)),
        ({"status": ["3xx", 418]}, "/status/302/", ("status.get", 1)),
        ({"status": ["3xx", 418]}, "/status/200/", None),
        ({"status": 200}, "/status/201/", None),
        ({}, "/status/399/", ("status.get", 1)),
        ({}, "/status/400/", None),
        ({"methods": ["get"]}, "/plain/", ("plain.get", 1)),
        ({"methods": ["POST", "PUT"]}, "/plain/", None),
        ({"value": 2.5}, "/plain/", ("plain.get", 2.5)),
        ({"value": None}, "/plain/", ("plain.get", None)),
        ({"value": lambda request, _: request.path}, "/plain/", ("plain.get", "/plain/")),
        ({"value": lambda _, response: response.status_code}, "/plain/", ("plain.get", 200)),
    ],
)
def test_a_rule_records_what_it_matches(product, rule, path, expected):
    mine = product(RULES=[rule])
    mine.get(path)
    assert mine.points() == ([] if expected is None else [expected])


def test_all_rules_of_a_request_make_one_transaction_of_its_time(product):
    mine = product(RULES=[VISIT, {"key": "view"}, {"url_name": "plain"}])
    before = timezone.now().timestamp()
    mine.post("/clubs/penn-labs/")
    (sent,) = mine.sent()
    assert [(one["key"], one["value"]) for one in sent["data"]] == [
        ("club.visit", "penn-labs"),
        ("view", 1),
    ]
    assert sent["product"] == "CLUBS"
    assert sent.get("pennkey") is None
    assert before <= sent["timestamp"] <= timezone.now().timestamp()


@pytest.mark.parametrize(
    ("path", "headers", "pennkey", "lookups"),
    [
        ("/clubs/x/", {"HTTP_X_USER": "jdoe"}, None, 0),  # nobody asked who it is
        ("/clubs/x/user/", {"HTTP_X_USER": "jdoe"}, "jdoe", 1),
        ("/clubs/x/user/", {}, None, 1),
        ("/clubs/x/review/", {"HTTP_X_USER": "jdoe"}, "jdoe", 0),  # known from DRF
        ("/clubs/x/review/", {}, None, 0),
    ],
)
def test_a_user_is_told_only_if_the_view_knew_it(product, path, headers, pennkey, lookups):
    mine = product(RULES=[{"key": "rule"}])
    users.loaded.clear()
    mine.get(path, **headers)
    (sent,) = [one for one in mine.sent() if one["data"][0]["key"] == "rule"]
    assert sent.get("pennkey") == pennkey
    assert len(users.loaded) == lookups


@pytest.mark.parametrize(("query", "pennkey"), [("", None), ("?user", "jdoe")])
def test_the_middleware_is_asynchronous_where_the_server_is(product, query, pennkey):
    mine = product(RULES=[VISIT | {"url_name": "clubs:async"}])

    async def ask():
        path = "/clubs/penn-labs/async/" + query
        return await AsyncClient().get(path, **{"X-User": "jdoe"})

    assert asyncio.run(ask()).status_code == 200
    (sent,) = mine.sent()
    assert sent["data"] == [{"key": "club.visit", "value": "penn-labs"}]
    assert sent.get("pennkey") == pennkey


def test_nothing_is_computed_before_the_response_is_closed(product):
    mine = product(RULES=[VISIT])
    request = RequestFactory().get("/clubs/x/")
    request.resolver_match = type("Match", (), {"view_name": "clubs:detail", "kwargs": {"code": 1}})

    response = AnalyticsMiddleware(lambda _: HttpResponse())(request)
    assert mine.points() == []
    response.close()
    assert mine.points() == [("club.visit", 1)]
    response.close()
    assert mine.points() == []


def test_what_a_value_raises_is_logged_once_and_the_others_are_recorded(product, caplog):
    def fail(*_):
        raise RuntimeError("of the value")

    mine = product(RULES=[{"value": fail}, {"argument": "none"}, {"key": "good"}])
    with caplog.at_level(logging.ERROR, "labs_analytics"):
        for _ in range(3):
            assert mine.get("/plain/").status_code == 200
    assert mine.points() == [("good", 1)] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "RULES[0] failed; it is not recorded (told once)",
        "RULES[1] failed; it is not recorded (told once)",
    ]


@pytest.mark.parametrize("value", ["", "x" * 8192, "ä" * 4096, "\U0001f600" * 2048, 10**300, None])
def test_a_value_may_be_as_long_as_the_engine_takes_it(product, value):
    mine = product(RULES=[{"key": "long", "value": lambda *_: value}])
    mine.get("/plain/")
    assert mine.points() == [("long", value)]


@pytest.mark.parametrize(
    "value",
    [
        ["a list"],
        float("nan"),
        float("-inf"),
        "x" * 8193,
        "ä" * 4097,
        "\U0001f600" * 2049,
        "nul \0",
        object(),
    ],
)
def test_a_value_that_cannot_be_recorded_costs_its_own_datapoint_only(product, caplog, value):
    mine = product(RULES=[VISIT, {"key": "odd", "value": lambda *_: value}, {"key": "good"}])
    with caplog.at_level(logging.WARNING, "labs_analytics"):
        for _ in range(2):
            mine.get("/clubs/penn-labs/")
    assert mine.points() == [("club.visit", "penn-labs"), ("good", 1)] * 2
    assert [record.getMessage() for record in caplog.records] == [
        "RULES[1] failed; it is not recorded (told once)"
    ]


def test_a_boolean_stays_one(product):
    mine = product(RULES=[{"key": "one", "value": lambda *_: True}, {"key": "two", "value": False}])
    mine.get("/plain/")
    assert [str(value) for _, value in mine.points()] == ["True", "False"]


def test_a_response_that_is_none_of_djangos_is_left_alone(product):
    product(RULES=[{"key": "any"}])
    odd = object()
    assert AnalyticsMiddleware(lambda _: odd)(RequestFactory().get("/")) is odd


def test_an_exception_of_an_inner_middleware_goes_through(product):
    product(RULES=[{"key": "any"}])

    def fail(_):
        raise KeyError("inner")

    with pytest.raises(KeyError):
        AnalyticsMiddleware(fail)(RequestFactory().get("/"))


def test_off_records_nothing_and_makes_no_client(product):
    mine = product(RULES=[{}], OFF=True)
    assert mine.get("/plain/").status_code == 200
    assert get_client() is None


def test_settings_may_change_under_a_running_handler(product):
    mine = product(RULES=[{}])
    mine.get("/plain/")
    with override_settings(LABS_ANALYTICS=mine.settings | {"RULES": [{"key": "inner"}]}):
        mine.get("/plain/")
        inner = get_client()
        assert inner.flush(30)
    assert inner.record("late") is False  # closed with its settings
    mine.get("/plain/")
    assert sorted(mine.points()) == [("inner", 1), ("plain.get", 1), ("plain.get", 1)]
