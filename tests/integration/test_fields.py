"""Every rule of every field: good values are taken, for bad ones the answer names the field."""

import json
from datetime import UTC, datetime

import pytest
from support.engine import a_transaction

ABSENT = object()
PRODUCTS = [
    "OTHER",
    "MOBILE_IOS",
    "MOBILE_ANDROID",
    "MOBILE_BACKEND",
    "PORTAL",
    "PCR",
    "PDP",
    "PCA",
    "PCP",
    "OHQ",
    "CLUBS",
]


class Raw(str):
    """JSON text that goes into the body as it is."""


def body_of(**members):
    """The text of a transaction with these members changed."""
    merged = a_transaction(datapoints=1) | members
    parts = [
        f"{json.dumps(name)}: {value if isinstance(value, Raw) else json.dumps(value)}"
        for name, value in merged.items()
        if value is not ABSENT
    ]
    return "{" + ", ".join(parts) + "}"


def data_of(**members):
    datapoint = {"key": "k", "value": "v"} | members
    parts = [
        f'"{name}": {value if isinstance(value, Raw) else json.dumps(value)}'
        for name, value in datapoint.items()
        if value is not ABSENT
    ]
    return Raw("[{" + ", ".join(parts) + "}]")


def stored(engine, **members):
    """Posts a good one and gives its first row."""
    answer = engine.post(body_of(**members))
    assert answer.status_code == 200, answer.text
    return engine.events_of(answer.json()["id"])[0]


def complaint(engine, **members):
    """Posts a bad one and gives what the answer says; both endpoints must agree."""
    body = body_of(**members)
    answer = engine.post(body)
    assert answer.status_code == 400, answer.text
    detail = answer.json()["detail"]
    other = engine.post(body, "/v1/transactions")
    assert other.status_code == 422, other.text
    (fault,) = other.json()["detail"]
    assert set(fault) == {"loc", "msg", "type"}
    assert fault["loc"][0] == "body"
    field = ""
    for step in fault["loc"][1:]:
        field += f"[{step}]" if isinstance(step, int) else f".{step}" if field else step
    assert detail == f"{field}: {fault['msg']}"
    return detail, fault["type"]


# -- product


@pytest.mark.parametrize("number", range(11))
def test_a_product_has_a_number_and_a_name(shared, number):
    assert stored(shared, product=number)["product"] == PRODUCTS[number]
    assert stored(shared, product=PRODUCTS[number])["product"] == PRODUCTS[number]


@pytest.mark.parametrize("product", [11, -1, 4294967296, Raw("1e400"), Raw("9" * 400), -(2**70)])
def test_a_number_without_a_product_is_refused(shared, product):
    detail, _ = complaint(shared, product=product)
    assert detail.startswith("product: ")


@pytest.mark.parametrize("product", ["", "clubs", "NONE", "10", "CLUBS "])
def test_a_name_without_a_product_is_refused(shared, product):
    detail, kind = complaint(shared, product=product)
    assert (detail, kind) == ("product: is not in the product table", "product_unknown")


@pytest.mark.parametrize("product", [None, True, [], {}, 1.5, [10]])
def test_a_product_of_another_type_is_refused(shared, product):
    detail, kind = complaint(shared, product=product)
    assert detail.startswith("product: must be")
    assert kind == "int_type"


def test_a_product_must_be_there(shared):
    assert complaint(shared, product=ABSENT) == ("product: is missing", "missing")


def test_products_can_be_configured(engines):
    engine = engines(PRODUCTS="11=WHARTON_ANALYTICS,400=PENN_MOBILE")
    assert stored(engine, product=11)["product"] == "WHARTON_ANALYTICS"
    assert stored(engine, product="PENN_MOBILE")["product"] == "PENN_MOBILE"
    assert stored(engine, product=10)["product"] == "CLUBS"
    assert complaint(engine, product=12)[1] == "product_unknown"


# -- pennkey


@pytest.mark.parametrize("pennkey", ["jdoe", "", "x" * 64, "é" * 32])
def test_a_pennkey_has_up_to_64_bytes(shared, pennkey):
    assert stored(shared, pennkey=pennkey)["pennkey"] == pennkey


@pytest.mark.parametrize("pennkey", [None, ABSENT])
def test_a_transaction_may_be_nobodys(shared, pennkey):
    assert stored(shared, pennkey=pennkey)["pennkey"] is None


@pytest.mark.parametrize("pennkey", ["x" * 65, "é" * 33])
def test_a_longer_pennkey_is_refused(shared, pennkey):
    detail, kind = complaint(shared, pennkey=pennkey)
    assert (detail, kind) == ("pennkey: must be at most 64 bytes long", "string_too_long")


@pytest.mark.parametrize("pennkey", [7, False, [], {}, ["jdoe"]])
def test_a_pennkey_of_another_type_is_refused(shared, pennkey):
    detail, kind = complaint(shared, pennkey=pennkey)
    assert detail.startswith("pennkey: must be a string")
    assert kind == "string_type"


# -- timestamp


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("0", "1970-01-01T00:00:00.000000Z"),
        ("-0", "1970-01-01T00:00:00.000000Z"),
        ("1", "1970-01-01T00:00:01.000000Z"),
        ("1790000000", "2026-09-21T14:13:20.000000Z"),
        ("1790000000.25", "2026-09-21T14:13:20.250000Z"),
        ("1790000000.1234567", "2026-09-21T14:13:20.123456Z"),
        ("1790000000.000001", "2026-09-21T14:13:20.000001Z"),
        ("1.79e9", "2026-09-21T14:13:20.000000Z"),
        ("17900000002500e-4", "2026-09-21T14:13:20.250000Z"),
        ("4102444799.999999", "2099-12-31T23:59:59.999999Z"),
        ('"2026-09-21T14:13:20Z"', "2026-09-21T14:13:20.000000Z"),
        ('"2026-09-21T14:13:20.25Z"', "2026-09-21T14:13:20.250000Z"),
        ('"2026-09-21T10:13:20.25-04:00"', "2026-09-21T14:13:20.250000Z"),
        ('"2026-09-21t14:13:20z"', "2026-09-21T14:13:20.000000Z"),
        ('"2024-02-29T00:00:00+00:00"', "2024-02-29T00:00:00.000000Z"),
    ],
)
def test_a_timestamp_is_kept_to_the_microsecond(shared, written, instant):
    assert stored(shared, timestamp=Raw(written))["timestamp"] == instant


def test_a_clock_of_today_is_taken(shared):
    now = datetime.now(UTC)
    row = stored(shared, timestamp=now.timestamp())
    assert abs(datetime.fromisoformat(row["timestamp"]) - now).total_seconds() < 0.001
    assert datetime.fromisoformat(row["received_at"]) >= now.replace(microsecond=0)


@pytest.mark.parametrize("written", ["-1", "-0.000001", "-1e400", '"1969-12-31T23:59:59Z"'])
def test_a_timestamp_before_1970_is_refused(shared, written):
    detail, kind = complaint(shared, timestamp=Raw(written))
    assert detail.startswith("timestamp: must not be before 1970")
    assert kind == "greater_than_equal"


@pytest.mark.parametrize(
    "written",
    ["4102444800", "1790000000250", "1e400", "9" * 1000, '"2100-01-01T00:00:00Z"'],
)
def test_a_timestamp_after_2099_is_refused(shared, written):
    detail, kind = complaint(shared, timestamp=Raw(written))
    assert detail.startswith("timestamp: must be before 2100")
    assert kind == "less_than"


@pytest.mark.parametrize(
    "timestamp",
    [
        None,
        True,
        [],
        {},
        "",
        "now",
        "1790000000",
        "2026-09-21",
        "2026-09-21T14:13:20",
        "2026-09-21 14:13",
        "2025-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-09-21T24:00:00Z",
        "2026-09-21T14:13:20+25:00",
    ],
)
def test_what_is_no_instant_is_refused(shared, timestamp):
    detail, kind = complaint(shared, timestamp=timestamp)
    assert detail == "timestamp: must be Unix seconds or an RFC 3339 date-time"
    assert kind == "datetime_parsing"


def test_a_timestamp_must_be_there(shared):
    assert complaint(shared, timestamp=ABSENT) == ("timestamp: is missing", "missing")


# -- id


@pytest.mark.parametrize("identity", ["x", "x" * 64, "é" * 32])
def test_a_clients_id_has_1_to_64_bytes(shared, identity):
    stored(shared, id=identity)


@pytest.mark.parametrize(
    ("identity", "kind"),
    [
        ("", "string_too_short"),
        ("x" * 65, "string_too_long"),
        (7, "string_type"),
        ([], "string_type"),
        (Raw('"a\\u0000"'), "string_unicode"),
    ],
)
def test_another_id_is_refused(shared, identity, kind):
    detail, found = complaint(shared, id=identity)
    assert detail.startswith("id: must")
    assert found == kind


# -- data


@pytest.mark.parametrize("count", [1, 2, 999, 1000])
def test_a_transaction_has_up_to_1000_datapoints(shared, count):
    answer = shared.post(a_transaction(datapoints=count))
    assert answer.status_code == 200
    rows = shared.events_of(answer.json()["id"])
    assert [row["datapoint"] for row in rows] == [f"club.visit.{n}" for n in range(count)]


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (ABSENT, "missing", "data: is missing"),
        (None, "list_type", "data: must be a list of datapoints"),
        ({}, "list_type", "data: must be a list of datapoints"),
        ("text", "list_type", "data: must be a list of datapoints"),
        (7, "list_type", "data: must be a list of datapoints"),
        ([], "too_short", "data: must hold at least 1 datapoint"),
        ([{"key": "k", "value": 1}] * 1001, "too_long", "data: must hold at most 1000 datapoints"),
        ([7], "dict_type", "data[0]: must be an object"),
        ([{"key": "k", "value": 1}, None], "dict_type", "data[1]: must be an object"),
        ([{"key": "k", "value": 1}, []], "dict_type", "data[1]: must be an object"),
        ([{}], "missing", "data[0].key: is missing"),
    ],
)
def test_other_data_is_refused(shared, data, kind, words):
    assert complaint(shared, data=data) == (words, kind)


def test_the_last_of_many_datapoints_is_checked_too(shared):
    data = [{"key": "k", "value": 1}] * 999 + [{"key": "k"}]
    assert complaint(shared, data=data) == ("data[999].value: is missing", "missing")


@pytest.mark.parametrize("key", ["k", "x" * 256, "é" * 128, " ", "a'b\"c"])
def test_a_key_has_1_to_256_bytes(shared, key):
    assert stored(shared, data=data_of(key=key))["datapoint"] == key


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (ABSENT, "missing"),
        ("", "string_too_short"),
        ("x" * 257, "string_too_long"),
        ("é" * 129, "string_too_long"),
        (7, "string_type"),
        (None, "string_type"),
        ({}, "string_type"),
        (Raw('"a\\u0000b"'), "string_unicode"),
    ],
)
def test_another_key_is_refused(shared, key, kind):
    detail, found = complaint(shared, data=data_of(key=key))
    assert detail.startswith("data[0].key: ")
    assert found == kind


@pytest.mark.parametrize("value", ["", "x" * 8192, "é" * 4096, Raw("1" * 8192)])
def test_a_value_has_up_to_8_kibibytes(shared, value):
    text = value if isinstance(value, str) else json.dumps(value)
    assert stored(shared, data=data_of(value=value))["value"] == text


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (ABSENT, "missing"),
        ("x" * 8193, "string_too_long"),
        ("é" * 4097, "string_too_long"),
        (Raw("1" * 8193), "string_too_long"),
        ([], "string_type"),
        ({}, "string_type"),
        (["text"], "string_type"),
        (Raw('"\\u0000"'), "string_unicode"),
    ],
)
def test_another_value_is_refused(shared, value, kind):
    detail, found = complaint(shared, data=data_of(value=value))
    assert detail.startswith("data[0].value: ")
    assert found == kind


def test_the_largest_transaction_there_can_be_is_stored(shared):
    body = {
        "product": "MOBILE_ANDROID",
        "pennkey": "p" * 64,
        "timestamp": 1790000000,
        "id": "largest" + "i" * 57,
        "data": [{"key": f"{n:0256}", "value": f"{n:08192}"} for n in range(1000)],
    }
    answer = shared.post(body)
    assert answer.status_code == 200, answer.text
    rows = shared.events_of(answer.json()["id"])
    assert [(row["datapoint"], row["value"]) for row in rows] == [
        (datapoint["key"], datapoint["value"]) for datapoint in body["data"]
    ]
