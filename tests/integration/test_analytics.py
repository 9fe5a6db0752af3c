"""POST /analytics, as today's clients use it."""

import json
import re

import pytest
from support.engine import a_transaction


@pytest.mark.parametrize("path", ["/analytics", "/analytics/"])
def test_a_good_transaction_is_answered_as_clients_know_it(shared, path):
    answer = shared.post(a_transaction(), path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert re.fullmatch(
        r'\{"message": "Data stored successfully!", "id": "[0-9a-z]{20}"\}', answer.text
    )


@pytest.mark.parametrize("path", ["/analytics", "/analytics/"])
def test_clients_are_never_redirected(shared, path):
    answer = shared.post(a_transaction(), path, allow_redirects=False)
    assert answer.status_code == 200
    assert answer.history == []


def test_the_example_of_the_documentation_is_stored(shared):
    answer = shared.post(
        b'{"product": 10, "pennkey": "jdoe", "timestamp": 1790000000.25,\n'
        b' "data": [{"key": "club.visit", "value": "penn-labs"},\n'
        b'          {"key": "club.search", "value": "robotics"}]}'
    )
    rows = shared.events_of(answer.json()["id"])
    assert [(row["datapoint"], row["value"]) for row in rows] == [
        ("club.visit", "penn-labs"),
        ("club.search", "robotics"),
    ]
    for row in rows:
        assert row["product"] == "CLUBS"
        assert row["pennkey"] == "jdoe"
        assert row["timestamp"] == "2026-09-21T14:13:20.250000Z"


def test_two_transactions_get_two_ids(shared):
    assert shared.accept() != shared.accept()


def test_ids_grow_with_time(shared):
    ids = [shared.accept() for _ in range(20)]
    assert ids == sorted(ids)


def test_a_body_without_a_content_type_is_json(shared):
    answer = shared.request("POST", "/analytics", data=json.dumps(a_transaction()).encode())
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"],
)
def test_json_is_taken_under_its_names(shared, content_type):
    answer = shared.post(a_transaction(), headers={"Content-Type": content_type})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-ndjson", "application/jsonx", "multipart/form-data"],
)
def test_another_content_type_is_415(shared, content_type):
    answer = shared.post(json.dumps(a_transaction()), headers={"Content-Type": content_type})
    assert answer.status_code == 415
    assert "content-type" in answer.json()["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br"])
def test_a_compressed_body_is_415_here(shared, encoding):
    answer = shared.post(json.dumps(a_transaction()), headers={"Content-Encoding": encoding})
    assert answer.status_code == 415
    assert "content-encoding" in answer.json()["detail"]


def test_a_body_encoded_as_identity_is_taken(shared):
    answer = shared.post(a_transaction(), headers={"Content-Encoding": "identity"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"product": 10,}',
        b"{'product': 10}",
        b"nonsense",
        b'{"product": 10} {"product": 10}',
        b'{"product": 010}',
        b'{"product": 1.}',
        b'{"product": +1}',
        b'{"product": NaN}',
        b'{"product": Infinity}',
        b'{"product": "CLUBS\n"}',
        b'{"product": "\\x41"}',
        b'{"product": "\\u12"}',
        b"\xef\xbb\xbf{}",
        b"\x00",
    ],
)
def test_what_is_no_json_is_400(shared, body):
    answer = shared.post(body)
    assert answer.status_code == 400
    assert answer.json()["detail"]


@pytest.mark.parametrize("body", ["[]", "5", '"text"', "null", "true"])
def test_json_that_is_no_object_is_400(shared, body):
    answer = shared.post(body)
    assert answer.status_code == 400
    assert "object" in answer.json()["detail"]


def test_an_array_is_for_the_other_endpoint(shared):
    assert shared.post([a_transaction()]).status_code == 400


def test_nothing_of_a_refused_request_is_stored(engines):
    engine = engines()
    good, bad = a_transaction(), a_transaction()
    bad["data"].append({"key": "no.value"})
    assert engine.post(bad).status_code == 400
    assert engine.post(good).status_code == 200
    counts = engine.wait_until_stored()
    assert counts["accepted"] == counts["successful"] == 1
    assert [row["datapoint"] for row in engine.events()] == ["club.visit.0", "club.visit.1"]


def test_nesting_of_a_hundred_levels_is_answered_clearly(shared):
    for deep in (b"[" * 100 + b"]" * 100, b'{"a":' * 100 + b"1" + b"}" * 100):
        answer = shared.post(b'{"extra": ' + deep + b"}")
        assert answer.status_code == 400
        assert answer.json()["detail"]


def test_nesting_without_end_is_400(shared):
    for opener in (b"[", b'{"a":'):
        answer = shared.post(opener * 100000)
        assert answer.status_code == 400
        assert answer.json()["detail"]


def test_members_that_nobody_knows_are_ignored(shared):
    extra = {"source": {"page": [1, 2, {"x": None}]}, "": 0}
    body = a_transaction(**extra)
    body["data"][0]["note"] = "passed over"
    identity = shared.post(body).json()["id"]
    assert len(shared.events_of(identity)) == 2


def test_of_duplicate_members_the_last_counts(shared):
    answer = shared.post(
        '{"product": 1, "product": "PCR", "pennkey": 7, "pennkey": "last", "timestamp": "never",'
        ' "timestamp": 1790000000, "data": 0, "data": [{"key": "", "key": "k", "value": [],'
        ' "value": "v"}], "\\u0070roduct": "PCP"}'
    )
    assert answer.status_code == 200, answer.text
    (row,) = shared.events_of(answer.json()["id"])
    assert (row["product"], row["pennkey"], row["datapoint"], row["value"]) == (
        "PCP",
        "last",
        "k",
        "v",
    )


def test_a_last_duplicate_that_is_wrong_counts_too(shared):
    body = json.dumps(a_transaction())[:-1] + ', "product": "NONE"}'
    answer = shared.post(body)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("product: ")
