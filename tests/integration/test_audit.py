"""The audit's lines: who did what, to what, from where, and what came of it; never a secret."""

import json
import re
import sqlite3

import jwt
import pytest
from support.engine import a_transaction
from support.wire import Wire, head

FIELDS = ["action", "outcome", "who", "target", "from", "why"]
LINE = re.compile(
    r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) info    audit: "
    + " ".join(rf'{name}=("(?:[^"\\]|\\.)*"|[^\s"]+)' for name in FIELDS)
    + "$",
    re.MULTILINE,
)


def lines(text):
    """The audit's lines as dicts. Every line that is of the audit must have its form."""
    found = [dict(zip(FIELDS, match.groups()[1:], strict=True)) for match in LINE.finditer(text)]
    assert len(found) == sum(" audit: " in line for line in text.splitlines()), text
    return found


def unquoted(value):
    return json.loads(value) if value.startswith('"') else value


def audited(engine, action, count=1):
    """The lines of this action, once there are so many."""

    def enough():
        found = [line for line in lines(engine.log) if line["action"] == action]
        return found if len(found) >= count else None

    return engine.wait_until(enough, what=f"{count} lines of {action}")


def key_of(engine):
    return (engine.data_dir / "development-key.pem").read_bytes()


def failed_transaction(engine):
    """One that the store refuses; gives its id."""
    engine.wait_until(lambda: engine.status()["store"]["state"] == "up")
    database = sqlite3.connect(engine.data_dir / "events.db", timeout=30)
    database.execute(
        "CREATE TRIGGER IF NOT EXISTS no BEFORE INSERT ON event WHEN new.datapoint = 'no' "
        "BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    database.commit()
    database.close()
    identity = engine.accept(data=[{"key": "no", "value": "1"}])
    engine.wait_until(lambda: engine.transaction(identity)["status"] == "failed")
    return identity


# -- refused logins


def test_who_has_no_good_token_is_named_by_address_and_reason(engines):
    engine = engines()
    assert engine.post(a_transaction(), token=None).status_code == 401
    assert engine.get("/v1/status", token="not.a.token").status_code == 401
    first, second = audited(engine, "login", 2)
    assert first == {
        "action": "login",
        "outcome": "refused",
        "who": "-",
        "target": '"POST /analytics"',
        "from": "127.0.0.1",
        "why": '"Authorization is missing"',
    }
    assert second["target"] == '"GET /v1/status"'
    assert second["why"] != "-"


def test_a_good_token_of_a_stranger_is_named(engines):
    engine = engines(ALLOWED_URNS="urn:pennlabs:clubs")
    assert engine.post(a_transaction(), token=engine.token("urn:evil:one")).status_code == 403
    (line,) = audited(engine, "login")
    assert (line["outcome"], line["who"], line["from"]) == ("refused", "urn:evil:one", "127.0.0.1")
    assert "not an allowed URN" in line["why"]


def test_who_is_let_in_is_not_worth_a_line(engines):
    engine = engines()
    engine.accept()
    assert engine.get("/v1/status").status_code == 200
    assert engine.get("/livez", token=None).status_code == 200
    assert engine.get("/nowhere", token=None).status_code == 404
    engine.stop()
    assert lines(engine.log) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/analytics", a_transaction(product="PCR")),
        ("/v1/transactions", a_transaction(product="PCR")),
        ("/v1/transactions", [a_transaction(product=name) for name in ("CLUBS", "PCR", "PDP")]),
    ],
    ids=["analytics", "one", "many"],
)
def test_who_writes_for_another_product_is_named_once_a_request(engines, path, body):
    engine = engines()
    key = engine.post({"scope": "write", "products": ["CLUBS"]}, path="/v1/keys").json()
    assert engine.post(body, path=path, token=key["key"]).status_code in (403, 202)
    (line,) = audited(engine, "login")
    assert (line["outcome"], line["who"]) == ("refused", f"key:{key['id']}")
    assert line["target"] == f'"POST {path}"'
    assert "PCR" in line["why"]


def test_a_key_from_another_origin_is_named(engines):
    engine = engines()
    wanted = {"scope": "write", "products": ["CLUBS"], "origins": ["https://clubs.example"]}
    key = engine.post(wanted, path="/v1/keys").json()
    headers = {"Origin": "https://evil.example"}
    assert engine.post(a_transaction(), token=key["key"], headers=headers).status_code == 403
    (line,) = audited(engine, "login")
    assert (line["outcome"], line["who"]) == ("refused", f"key:{key['id']}")
    assert "origin" in line["why"]


def test_no_secret_is_in_any_line(engines):
    engine = engines(LOG_LEVEL="debug")
    good = engine.token()
    expired = jwt.encode(
        {"sub": "urn:pennlabs:clubs", "use": "access", "exp": 1}, key_of(engine), "RS256"
    )
    cut = good[:-10]
    secrets = [expired, cut, "la_secretkeysecretkey", "session-of-somebody", "a-password"]
    for token in secrets:
        headers = {"X-Session-Id": "session-of-somebody"}
        answer = engine.post(a_transaction(), token=token, headers=headers)
        assert answer.status_code == 401
        answer = engine.post(a_transaction(), path=f"/v1/transactions?key={token}", token=None)
        assert answer.status_code == 401
    headers = {"Authorization": "Basic bGFiczphLXBhc3N3b3Jk"}
    assert engine.post(a_transaction(), token=None, headers=headers).status_code == 401
    audited(engine, "login", 2 * len(secrets) + 1)
    engine.stop()
    for part in ("la_", "session-of", "a-password", "bGFiczphLXBh", "key="):
        assert part not in engine.log
    for token in (good, expired, cut):
        for part in token.split("."):
            assert part[:24] not in engine.log


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_request_forges_no_line(engines, form):
    engine = engines(LOG_FORMAT=form)
    paths = [
        "/v1/transactions/x%0a2026-01-01T00:00:00.000000Z%20info%20%20%20%20audit:%20action=login",
        "/v1/transactions/%22%20who=root%20%5c%22",
        "/v1/transactions/%ff%fe%c3%a9%1b%5b31m",
        "/v1/transactions/" + "%01" * 300,
    ]
    for path in paths:
        with Wire(engine.address) as wire:
            wire.send(head("GET", path))
            assert wire.answer().status == 401
    engine.stop()
    if form == "text":
        said = [unquoted(line["target"]) for line in lines(engine.log)]
    else:
        spoken = [json.loads(line) for line in engine.log.splitlines()]
        audit = [line for line in spoken if line["room"] == "audit"]
        assert {line["action"] for line in audit} == {"login"}
        assert {line["who"] for line in audit} == {None}
        said = [line["target"] for line in audit]
    assert len(said) == len(paths)
    assert said[0].startswith("GET /v1/transactions/x\n2026-01-01")
    assert said[1] == 'GET /v1/transactions/" who=root \\"'
    assert max(len(line) for line in engine.log.splitlines()) < 4096


def test_a_flood_of_refused_logins_is_summed_up(engines):
    engine = engines(AUDIT_LINES_PER_SECOND=5, WORKERS=2)
    sent = 300
    for _ in range(sent):
        assert engine.get("/v1/status", token="bad").status_code == 401
    engine.stop()
    found = lines(engine.log)
    more = [re.fullmatch(r'"(\d+) more refused logins"', line["why"]) for line in found]
    single = sum(match is None for match in more)
    assert 5 <= single < sent
    assert single + sum(int(match[1]) for match in more if match) == sent
    first, last = (re.match(r"\d+-\d+-\d+T(\d+):(\d+):([\d.]+)Z", line) for line in _ends(engine))
    seconds = [int(at[1]) * 3600 + int(at[2]) * 60 + float(at[3]) for at in (first, last)]
    assert single <= 5 * (seconds[1] - seconds[0] + 1) + 1


def _ends(engine):
    """The first and the last of the audit's lines."""
    spoken = [line for line in engine.log.splitlines() if " audit: " in line]
    return spoken[0], spoken[-1]


# -- changes


def test_a_retry_and_a_discard_are_said_with_who_and_what(engines):
    engine = engines()
    identity = failed_transaction(engine)
    admin = engine.token("urn:pennlabs:operator")
    retry = f"/v1/transactions/{identity}/retry"
    assert engine.request("POST", retry, token=admin).status_code == 202
    (line,) = audited(engine, "retry")
    assert line == {
        "action": "retry",
        "outcome": "done",
        "who": "urn:pennlabs:operator",
        "target": identity,
        "from": "127.0.0.1",
        "why": "-",
    }
    engine.wait_until(lambda: engine.transaction(identity)["status"] == "failed")
    path = f"/v1/transactions/{identity}"
    assert engine.request("DELETE", path, token=admin).status_code == 200
    (line,) = audited(engine, "discard")
    assert (line["outcome"], line["target"]) == ("done", identity)
    assert engine.request("DELETE", path, token=admin).status_code == 404
    line = audited(engine, "discard", 2)[1]
    assert line["outcome"] == "failed"
    assert "discarded" in line["why"]


def test_keys_are_made_and_revoked_by_somebody(engines):
    engine = engines(LOG_LEVEL="debug")
    admin = engine.token("urn:pennlabs:operator")
    made = engine.post({"scope": "read", "name": "no secret"}, path="/v1/keys", token=admin).json()
    assert engine.get("/v1/status", token=made["key"]).status_code == 200
    revoke = f"/v1/keys/{made['id']}"
    assert engine.request("DELETE", revoke, token=made["key"]).status_code == 403
    assert engine.request("DELETE", revoke, token=admin).status_code == 204
    assert engine.get("/v1/status", token=made["key"]).status_code == 401
    assert (
        engine.post(a_transaction(), path=f"/analytics?key={made['key']}", token=None).status_code
        == 401
    )
    engine.stop()
    assert [
        (line["action"], line["outcome"], line["who"], line["target"]) for line in lines(engine.log)
    ] == [
        ("key-create", "done", "urn:pennlabs:operator", made["id"]),
        ("login", "refused", f"key:{made['id']}", f'"DELETE {revoke}"'),
        ("key-revoke", "done", "urn:pennlabs:operator", made["id"]),
        ("login", "refused", "-", '"GET /v1/status"'),
        ("login", "refused", "-", '"POST /analytics"'),
    ]
    assert made["key"] not in engine.log
    assert made["key"][len("la_") + len(made["id"]) :] not in engine.log


def test_an_order_to_forward_is_said(engines):
    engine = engines()
    assert engine.request("POST", "/v1/forward").status_code == 202
    (line,) = audited(engine, "forward")
    assert (line["outcome"], line["who"]) == ("done", "urn:pennlabs:development")


def test_a_change_is_said_in_a_flood_of_refused_logins_too(engines):
    engine = engines(AUDIT_LINES_PER_SECOND=1)
    for _ in range(20):
        engine.get("/v1/status", token="bad")
    for n in range(10):
        answer = engine.request("DELETE", f"/v1/transactions/00000000-{n}")
        assert answer.status_code == 404
    targets = [line["target"] for line in audited(engine, "discard", 10)]
    assert targets == [f"00000000-{n}" for n in range(10)]


def test_commands_say_what_they_change_without_an_engine(engines):
    engine = engines()
    identities = [failed_transaction(engine) for _ in range(2)]
    engine.stop()
    done = engine.command("transactions", "discard", identities[0])
    (line,) = lines(done.stderr)
    assert (line["action"], line["outcome"], line["target"]) == ("discard", "done", identities[0])
    assert line["who"].startswith("uid:")
    assert line["from"] == "command"
    done = engine.command("transactions", "retry", "--all", LOG_FORMAT="json")
    said = json.loads(done.stderr)
    assert (said["room"], said["action"], said["target"]) == ("audit", "retry", identities[1])


def test_commands_to_a_running_engine_are_in_its_log(engines):
    engine = engines()
    identity = failed_transaction(engine)
    done = engine.command("transactions", "discard", identity)
    assert done.stderr == ""
    (line,) = audited(engine, "discard")
    assert (line["who"], line["target"]) == ("operator", identity)
