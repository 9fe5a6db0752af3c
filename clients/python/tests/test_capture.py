"""What a call hands over is what is sent, whatever happens to it afterwards."""

import gc
import json
import sys
import uuid
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum

import pytest

from labs_analytics import Product, Transaction
from labs_analytics.capture import Invalid, capture, named
from labs_analytics.encode import decode, encode


def captured(data, product=10, pennkey=None, timestamp=1):
    return named(capture(1, data, product, pennkey, timestamp), "id")


def sent(*arguments, **keywords):
    return json.loads(encode(captured(*arguments, **keywords)))


def test_a_transaction_is_sent_with_all_its_members():
    data = [{"key": "club.visit", "value": "penn-labs"}, {"key": "n", "value": 2.5}]
    assert sent(data, Product.CLUBS, "jdoe", 1790000000.25) == {
        "id": "id-1",
        "product": 10,
        "pennkey": "jdoe",
        "timestamp": 1790000000.25,
        "data": data,
    }


def test_later_changes_of_the_callers_objects_change_nothing():
    data = [{"key": "a", "value": 1}]
    transaction = captured(data)
    data[0]["value"] = 2
    data.append({"key": "b", "value": 3})
    assert transaction.data == (("a", 1),)


class Word(str, Enum):
    YES = "yes"


class Level(IntEnum):
    HIGH = 3


class LongLevel(IntEnum):
    HIGH = 1 << 64000


class Shout(str):
    def __str__(self):
        return "SHOUT"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("text", "text"),
        (True, True),
        (None, None),
        (1.5, 1.5),
        (10**30, 10**30),
        (Word.YES, "yes"),
        (Level.HIGH, 3),
        (Shout("a"), "a"),
        (Decimal("1.10"), "1.10"),
        (date(2026, 9, 1), "2026-09-01"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("half a pair: \ud800", "half a pair: ?"),
    ],
)
def test_values_become_what_json_has(value, wanted):
    found = sent([{"key": "a", "value": value}])["data"][0]["value"]
    assert (found, type(found)) == (wanted, type(wanted))


class Bare(dict):
    def __missing__(self, _):
        raise KeyError


class Nowhere(tzinfo):
    def utcoffset(self, _):
        raise LookupError("no such zone")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data": []}, "data: is empty"),
        ({"data": [{"key": "a"}]}, r"data\[0\].value: is missing"),
        ({"data": [{"key": "a", "value": 1}, {"value": 1}]}, r"data\[1\].key: is missing"),
        ({"data": [{"key": 1, "value": 1}]}, r"data\[0\]: int is no text"),
        ({"data": [{"key": "a", "value": []}]}, r"data\[0\]: list is no text, number"),
        ({"data": ["a"]}, r"data\[0\]: TypeError"),
        ({"data": [Bare()]}, r"data\[0\]: KeyError\(\)"),
        ({"data": None}, r"data\[0\]: TypeError"),
        ({"product": None}, "product"),
        ({"product": ["CLUBS"]}, "product"),
        ({"pennkey": 7}, "int is no text"),
        ({"timestamp": []}, "timestamp"),
        ({"timestamp": datetime(2026, 1, 1, tzinfo=Nowhere())}, "timestamp: no such zone"),
    ],
)
def test_what_is_no_transaction_is_told_apart(arguments, words):
    with pytest.raises(Invalid, match=words):
        captured(**({"data": [{"key": "a", "value": 1}]} | arguments))


TEXTS = [
    "",
    'quote " backslash \\ /',
    "\n\r\t\b\f\0\x1f\x7f",
    "ä\u2028\U0001f600",
    Shout("s"),
    Word.YES,
]
NUMBERS = [0, -7, True, 1 << 100, Level.HIGH, 2.5, -0.0, 1e300, 5e-324]


@pytest.mark.parametrize("value", [*TEXTS, *NUMBERS, None])
def test_values_are_written_as_json_writes_them(value):
    line = encode(captured([{"key": "a", "value": value}])).decode()
    assert f'[{{"key":"a","value":{json.dumps(value, ensure_ascii=False)}}}]' in line


@pytest.mark.parametrize("words", TEXTS)
def test_texts_are_written_as_json_writes_them_wherever_they_stand(words):
    given = captured([{"key": words, "value": 1}], words, words, words)
    data = [{"key": words, "value": 1}]
    members = {"id": "id-1", "product": words, "timestamp": words, "data": data, "pennkey": words}
    assert encode(given).decode() == json.dumps(members, ensure_ascii=False, separators=(",", ":"))


def test_half_a_surrogate_pair_becomes_a_question_mark():
    assert sent([{"key": "\ud800", "value": "a\udfff"}])["data"] == [{"key": "?", "value": "a?"}]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_has_not_are_found_when_they_are_encoded(value):
    with pytest.raises(Invalid):
        encode(captured([{"key": "a", "value": value}]))


def test_instants_become_unix_seconds_and_texts_stay():
    east = timezone(timedelta(hours=5))
    six = datetime(1970, 1, 1, 6, tzinfo=east)
    assert captured([{"key": "a", "value": 1}], timestamp=six).timestamp == 3600
    text = "2026-09-21T14:13:20.25Z"
    assert sent([{"key": "a", "value": 1}], timestamp=text)["timestamp"] == text


def test_what_is_captured_costs_the_garbage_collector_nothing():
    one = capture(1, [{"key": "a", "value": 1}, {"key": "b", "value": "c"}], 10, "jdoe", None)
    for _ in range(3):  # the inner tuples first
        gc.collect()
    assert not gc.is_tracked(one)


def test_the_size_follows_the_texts():
    small = capture(1, [{"key": "a", "value": "b"}], 10, None, None)[-1]
    large = capture(1, [{"key": "a", "value": "b" * 1001}], 10, None, None)[-1]
    assert large - small == 1000


def size_of(value="", key="a", pennkey=None, timestamp=1.5, product=10):
    return capture(1, [{"key": key, "value": value}], product, pennkey, timestamp)[-1]


@pytest.mark.parametrize("odd", ["\U0001f600", "ä"])
def test_the_size_is_no_less_than_the_memory_of_texts_that_are_not_ascii(odd):
    words = odd + "x" * 999
    for given in ({"value": words}, {"key": words}, {"pennkey": words}, {"value": Shout(words)}):
        assert size_of(**given) - size_of() >= sys.getsizeof(words) - 100


def test_the_size_follows_all_else_that_may_be_long():
    for name in ("pennkey", "timestamp", "product"):
        assert size_of(**{name: "x" * 1000}) - size_of() == 1000
    for number in (1 << 64000, -(1 << 64000), LongLevel.HIGH):
        assert size_of(value=number) - size_of() >= sys.getsizeof(1 << 64000)
    assert size_of(timestamp=1 << 64000) - size_of() >= sys.getsizeof(1 << 64000)


def test_decoding_gives_what_was_encoded():
    transaction = Transaction("i", "CLUBS", "jdoe", 1.5, (("a", "line\nbreak"), ("b", None)))
    assert b"\n" not in encode(transaction)
    assert decode(encode(transaction)) == transaction
