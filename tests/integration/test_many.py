"""POST /v1/transactions: one, an array or lines, compressed or not."""

import gzip
import json

import pytest
import zstandard
from support.engine import a_transaction

BAD = {"product": "CLUBS", "timestamp": 1790000000, "data": [{"value": "no key"}]}
NDJSON = {"Content-Type": "application/x-ndjson"}


def post(engine, body, **arguments):
    return engine.post(body, "/v1/transactions", **arguments)


def lines(*transactions):
    return "".join(json.dumps(one) + "\n" for one in transactions)


def outcome(answer):
    """The answer as a string: a for accepted, r for rejected, in order; checked to add up."""
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert set(told) == {"accepted", "rejected", "results"}
    for result in told["results"]:
        assert list(result) in (["id"], ["error"])
    letters = "".join("a" if "id" in result else "r" for result in told["results"])
    assert (letters.count("a"), letters.count("r")) == (told["accepted"], told["rejected"])
    return letters


def ids(answer):
    return [result["id"] for result in answer.json()["results"] if "id" in result]


# -- shapes


def test_one_object_is_accepted(shared):
    answer = post(shared, a_transaction())
    assert outcome(answer) == "a"
    assert len(shared.events_of(ids(answer)[0])) == 2


@pytest.mark.parametrize("count", [1, 2, 100])
def test_an_array_is_accepted_in_its_order(shared, count):
    answer = post(shared, [a_transaction(pennkey=f"user{n}") for n in range(count)])
    assert outcome(answer) == "a" * count
    assert len(set(ids(answer))) == count
    for n, identity in enumerate(ids(answer)):
        if n % 33 == 0:
            assert shared.events_of(identity)[0]["pennkey"] == f"user{n}"


def test_an_empty_array_holds_nothing(shared):
    assert outcome(post(shared, [])) == ""


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_lines_are_accepted_in_their_order(shared, ending):
    body = (ending or "\n").join(json.dumps(a_transaction(pennkey=p)) for p in "abc") + ending
    answer = post(shared, body, headers=NDJSON)
    assert outcome(answer) == "aaa"
    assert [shared.events_of(one)[0]["pennkey"] for one in ids(answer)] == ["a", "b", "c"]


def test_blank_lines_are_passed_over(shared):
    body = "\n\n" + json.dumps(a_transaction()) + "\n \t\r\n" + json.dumps(a_transaction()) + "\n\n"
    assert outcome(post(shared, body, headers=NDJSON)) == "aa"


def test_each_is_accepted_or_rejected_on_its_own(shared):
    good = a_transaction()
    answer = post(shared, [good, BAD, good, 7, good, [], BAD])
    assert outcome(answer) == "arararr"
    results = answer.json()["results"]
    assert results[1]["error"] == {
        "loc": ["body", 1, "data", 0, "key"],
        "msg": "is missing",
        "type": "missing",
    }
    assert results[3]["error"]["loc"] == ["body", 3]
    assert results[3]["error"]["type"] == "dict_type"
    assert results[6]["error"]["loc"] == ["body", 6, "data", 0, "key"]


def test_each_line_is_accepted_or_rejected_on_its_own(shared):
    good = json.dumps(a_transaction())
    body = "\n".join([good, "{broken", json.dumps(BAD), good, '"text"'])
    answer = post(shared, body, headers=NDJSON)
    assert outcome(answer) == "arrar"
    results = answer.json()["results"]
    assert results[1]["error"]["type"] == "json_invalid"
    assert results[1]["error"]["loc"] == ["body", 1]
    assert results[2]["error"]["loc"] == ["body", 2, "data", 0, "key"]


def test_a_line_that_is_not_utf_8_is_rejected_alone(shared):
    good = json.dumps(a_transaction()).encode()
    answer = post(shared, good + b"\n\xff\n" + good, headers=NDJSON)
    assert outcome(answer) == "ara"


def test_what_is_rejected_in_every_part_is_answered_with_202(shared):
    assert outcome(post(shared, [BAD, BAD])) == "rr"
    assert outcome(post(shared, lines(BAD), headers=NDJSON)) == "r"


def test_a_single_bad_object_is_422(shared):
    answer = post(shared, BAD)
    assert answer.status_code == 422
    assert answer.json() == {
        "detail": [{"loc": ["body", "data", 0, "key"], "msg": "is missing", "type": "missing"}]
    }


def test_only_what_was_accepted_is_stored(engine):
    answer = post(engine, [a_transaction(), BAD, a_transaction(datapoints=3), BAD])
    counts = engine.wait_until_stored()
    assert counts["accepted"] == counts["successful"] == 2
    assert engine.stored_ids() == dict(zip(ids(answer), [2, 3], strict=True))


# -- wrong as a whole


@pytest.mark.parametrize("body", ["", " ", "{", "[", "[{]", "5", "null", '"text"', "[1,]", "[] []"])
def test_a_body_that_is_neither_object_nor_array_is_400(shared, body):
    answer = post(shared, body)
    assert answer.status_code == 400
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize("body", ["", "\n", " \n\r\n"])
def test_lines_without_any_are_400(shared, body):
    assert post(shared, body, headers=NDJSON).status_code == 400


def test_an_array_that_breaks_leaves_nothing_behind(engine):
    whole = json.dumps([a_transaction()] * 50)
    for broken in (whole[:-1], whole[:-1] + ", {", whole + "x", whole[: len(whole) // 2]):
        answer = post(engine, broken)
        assert answer.status_code == 400, answer.text
    engine.accept()
    counts = engine.wait_until_stored()
    assert counts["accepted"] == 1
    assert len(engine.stored_ids()) == 1


def test_ten_thousand_transactions_are_taken_and_not_one_more(engine):
    one = {"product": 0, "timestamp": 1, "data": [{"key": "k", "value": 1}]}
    for headers, write in (({}, json.dumps), (NDJSON, lambda many: lines(*many))):
        answer = post(engine, write([one] * 10001), headers=headers)
        assert answer.status_code == 413, answer.text
        assert "10000" in answer.json()["detail"]
    answer = post(engine, json.dumps([one] * 10000))
    assert outcome(answer) == "a" * 10000
    assert len(set(ids(answer))) == 10000
    answer = post(engine, lines(*[one] * 9999, {}), headers=NDJSON)
    assert outcome(answer) == "a" * 9999 + "r"
    counts = engine.wait_until_stored()
    assert counts["accepted"] == 19999


def test_deep_nesting_is_answered_clearly(shared):
    deep = '{"product": 0, "extra": ' + "[" * 100 + "]" * 100 + "}"
    assert post(shared, deep).status_code == 400
    answer = post(shared, deep + "\n" + json.dumps(a_transaction()), headers=NDJSON)
    assert outcome(answer) == "ra"
    assert post(shared, "[" * 100000).status_code == 400


# -- types and encodings


@pytest.mark.parametrize(
    "content_type",
    ["application/x-ndjson", "application/ndjson", "Application/X-NDJSON; charset=utf-8"],
)
def test_lines_have_their_content_types(shared, content_type):
    body = lines(a_transaction(), a_transaction())
    assert outcome(post(shared, body, headers={"Content-Type": content_type})) == "aa"


def test_lines_under_the_name_of_json_are_400(shared):
    assert post(shared, lines(a_transaction(), a_transaction())).status_code == 400


@pytest.mark.parametrize(
    "content_type",
    ["text/html", "text/csv", "application/xml", "application/x-www-form-urlencoded"],
)
def test_another_content_type_is_415(shared, content_type):
    answer = post(shared, json.dumps(a_transaction()), headers={"Content-Type": content_type})
    assert answer.status_code == 415
    assert "application/x-ndjson" in answer.json()["detail"]


@pytest.mark.parametrize("encoding", ["br", "deflate", "compress", "gzip, zstd", "x"])
def test_another_encoding_is_415(shared, encoding):
    answer = post(shared, json.dumps(a_transaction()), headers={"Content-Encoding": encoding})
    assert answer.status_code == 415
    assert "zstd" in answer.json()["detail"]


COMPRESS = {"gzip": gzip.compress, "zstd": zstandard.compress}


@pytest.mark.parametrize("encoding", COMPRESS)
def test_every_shape_may_be_compressed(shared, encoding):
    headers = {"Content-Encoding": encoding}
    one = a_transaction()
    for body, more, expected in (
        (json.dumps(one), {}, "a"),
        (json.dumps([one, BAD, one]), {}, "ara"),
        (lines(one, one), NDJSON, "aa"),
    ):
        answer = post(shared, COMPRESS[encoding](body.encode()), headers=headers | more)
        assert outcome(answer) == expected


def test_the_name_of_an_encoding_has_no_case_and_gzip_an_older_one(shared):
    body = gzip.compress(json.dumps(a_transaction()).encode())
    for encoding in ("GZip", "x-gzip", "X-GZIP"):
        assert outcome(post(shared, body, headers={"Content-Encoding": encoding})) == "a"


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_single_bad_object_is_422_when_compressed_too(shared, encoding):
    body = COMPRESS[encoding](json.dumps(BAD).encode())
    assert post(shared, body, headers={"Content-Encoding": encoding}).status_code == 422


@pytest.mark.parametrize("encoding", COMPRESS)
def test_several_compressed_members_are_one_body(shared, encoding):
    parts = [lines(a_transaction()), lines(a_transaction(), a_transaction())]
    body = b"".join(COMPRESS[encoding](part.encode()) for part in parts)
    answer = post(shared, body, headers=NDJSON | {"Content-Encoding": encoding})
    assert outcome(answer) == "aaa"


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_broken_stream_is_400(shared, encoding):
    whole = COMPRESS[encoding](json.dumps([a_transaction(datapoints=50)] * 20).encode())
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :]
    cases = [b"", b"x", whole[:-1], whole[:middle], whole + b"garbage", b"[]"]
    cases += [flipped] if encoding == "gzip" else []  # zstd's frame here has no checksum
    for body in cases:
        answer = post(shared, body, headers={"Content-Encoding": encoding})
        assert answer.status_code == 400, (body[:20], answer.text)
        assert encoding in answer.json()["detail"]


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_bomb_is_413_and_costs_no_memory(engines, encoding):
    engine = engines(MAX_BODY_BYTES="1MiB", WORKERS=1)
    engine.accept()
    before = engine.resident_bytes()
    bomb = COMPRESS[encoding](bytes(16 << 20)) * 32
    assert len(bomb) < 1 << 20
    for _ in range(3):
        answer = post(engine, bomb, headers={"Content-Encoding": encoding})
        assert answer.status_code == 413
        assert "1048576" in answer.json()["detail"]
    assert engine.resident_bytes() - before < 32 << 20


def test_nested_compression_is_not_unpacked(shared):
    body = gzip.compress(gzip.compress(json.dumps(a_transaction()).encode()))
    assert post(shared, body, headers={"Content-Encoding": "gzip"}).status_code == 400


# -- size


def padded(size):
    """A transaction of exactly this many bytes."""
    empty = json.dumps(a_transaction(filling=""))
    return empty.replace('"filling": ""', '"filling": "' + "x" * (size - len(empty)) + '"')


def test_a_body_may_be_as_large_as_the_limit_and_no_larger(engines):
    engine = engines(MAX_BODY_BYTES="64KiB")
    for path, good in (("/analytics", 200), ("/v1/transactions", 202)):
        assert engine.post(padded(65536), path).status_code == good
        answer = engine.post(padded(65537), path)
        assert answer.status_code == 413
        assert answer.json()["detail"]
        answer = engine.request("POST", path, data=iter([padded(65537).encode()]))
        assert answer.status_code == 413
    packed = {"Content-Encoding": "gzip"}
    for size, status in ((65536, 202), (65537, 413)):
        body = gzip.compress(padded(size).encode())
        assert post(engine, body, headers=packed).status_code == status


def test_twenty_mebibytes_fit_by_default(shared):
    body = "[" + ",".join([padded(2 << 20)] * 9) + "]"
    assert len(body) < 20 << 20
    assert outcome(post(shared, body)) == "a" * 9
    assert post(shared, "[" + ",".join([padded(2 << 20)] * 10) + "]").status_code == 413
