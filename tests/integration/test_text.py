"""What was written is what is stored, byte for byte, on both stores."""

import json

import pytest
from support.engine import a_transaction

TEXTS = [
    "",
    " ",
    "'",
    "O'Brien's \"quoted\" \\ value",
    "'); DROP TABLE event; --",
    "tab\tnewline\nreturn\r",
    "\x01\x02\x1f\x7f",
    "\\N",
    "\\.",
    "naïve café",
    "漢字かな",
    "emoji 🎉👩‍👩‍👧‍👦🏳️‍🌈",
    "\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff",
    "مرحبا שלום",
    "e\u0301 is not é",
    "\ufeffbyte order mark",
    "%s %n ${x} $1 {0}",
    "null",
    "x" * 8192,
    "🎉" * 2048,
]

NUMBERS = [
    "0",
    "-0",
    "1.50",
    "1e3",
    "1E+3",
    "-12.000",
    "1e400",
    "-1e-400",
    "123456789012345678901234567890",
    "0.1000000000000000055511151231257827",
]


def post_values(engine, written):
    """Posts datapoints with these JSON texts as values; gives the values of the rows."""
    data = ",".join(f'{{"key":"k","value":{value}}}' for value in written)
    answer = engine.post(f'{{"product":0,"timestamp":1,"data":[{data}]}}'.encode())
    assert answer.status_code == 200, answer.text
    return [row["value"] for row in engine.events_of(answer.json()["id"])]


def test_values_are_stored_exactly_as_written(engines, store_url):
    engine = engines(DATABASE_URL=store_url)
    plain = [json.dumps(text, ensure_ascii=False) for text in TEXTS]
    escaped = [json.dumps(text, ensure_ascii=True) for text in TEXTS]
    assert post_values(engine, plain) == TEXTS
    assert post_values(engine, escaped) == TEXTS
    assert post_values(engine, NUMBERS) == NUMBERS
    assert post_values(engine, ["true", "false", "null", '"null"']) == [
        "true",
        "false",
        None,
        "null",
    ]
    every = [chr(code) for code in range(1, 0x250)]
    assert post_values(engine, [json.dumps(one) for one in every]) == every
    assert engine.wait_until_stored()["failed"] == 0


def test_keys_and_pennkeys_are_stored_exactly_as_written(engines, store_url):
    engine = engines(DATABASE_URL=store_url)
    texts = [text for text in TEXTS if text and len(text.encode()) <= 64]
    sent = {
        engine.accept(pennkey=text, data=[{"key": text, "value": None}]): text for text in texts
    }
    engine.wait_until_stored()
    rows = {row["transaction_id"]: row for row in engine.events()}
    for identity, text in sent.items():
        assert (rows[identity]["pennkey"], rows[identity]["datapoint"]) == (text, text)


def test_an_empty_pennkey_is_not_nobody(engines, store_url):
    engine = engines(DATABASE_URL=store_url)
    empty, nobody = engine.accept(pennkey=""), engine.accept(pennkey=None)
    assert engine.events_of(empty)[0]["pennkey"] == ""
    assert engine.events_of(nobody)[0]["pennkey"] is None
    assert engine.transaction(empty)["pennkey"] == ""
    assert engine.transaction(nobody)["pennkey"] is None


def test_what_was_stored_is_shown_as_it_was_sent(shared):
    text = "O'Brien \" \\ \t 🎉"
    identity = shared.accept(pennkey=text)
    assert shared.transaction(identity)["pennkey"] == text


def test_both_stores_agree_on_instants(engines, store_url):
    engine = engines(DATABASE_URL=store_url)
    identity = engine.accept(timestamp=1790000000.25)
    (written,) = {str(row["timestamp"]) for row in engine.events_of(identity)}
    assert written in ("2026-09-21T14:13:20.250000Z", "2026-09-21 14:13:20.250000+00:00")


# -- what is no text


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        b"\x80",
        b"\xc3",
        b"\xc0\xaf",
        b"\xe2\x82",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        "é".encode("latin-1"),
    ],
)
@pytest.mark.parametrize("place", ["key", "value", "pennkey", "id", "unknown"])
def test_what_is_not_utf_8_is_400(shared, raw, place):
    marked = {"key": "k", "value": "v"}
    body = a_transaction(data=[marked])
    (marked if place in marked else body)[place] = "before MARK after"
    answer = shared.post(json.dumps(body).encode().replace(b"MARK", raw))
    assert answer.status_code == 400
    assert "UTF-8" in answer.json()["detail"]


@pytest.mark.parametrize(
    "raw", ["\\ud800", "\\udc00", "\\ud83d", "\\udf89\\ud83c", "\\ud800\\u0041"]
)
@pytest.mark.parametrize("place", ["key", "value"])
def test_half_a_surrogate_pair_is_400(shared, raw, place):
    marked = {"key": "k", "value": "v"} | {place: "MARK"}
    answer = shared.post(json.dumps(a_transaction(data=[marked])).replace("MARK", raw))
    assert answer.status_code == 400
    assert "surrogate" in answer.json()["detail"]


def test_a_whole_surrogate_pair_is_one_character(shared):
    assert post_values(shared, ['"\\ud83c\\udf89"', '"\\uD83C\\uDF89"']) == ["🎉", "🎉"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"pennkey": "a\0b"}, "pennkey"),
        ({"id": "\0"}, "id"),
        ({"data": [{"key": "a\0", "value": 1}]}, "data[0].key"),
        ({"data": [{"key": "a", "value": "\0"}]}, "data[0].value"),
    ],
)
def test_a_nul_is_refused_with_its_field(shared, body, field):
    answer = shared.post(a_transaction(**body))
    assert answer.status_code == 400
    assert answer.json()["detail"] == f"{field}: must not contain U+0000"


def test_a_bare_nul_is_no_json(shared):
    body = json.dumps(a_transaction()).replace("value 0", "a\0b")
    answer = shared.post(body)
    assert answer.status_code == 400
