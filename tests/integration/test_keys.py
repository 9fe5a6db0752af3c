"""API keys: made, listed and revoked by commands; what each may; who is turned away."""

import concurrent.futures
import datetime
import json
import os
import re
import stat
import subprocess

import pytest
import requests
from support.engine import a_transaction
from support.wire import Wire, head

KEY = re.compile(r"la_[0-9a-hjkmnp-tv-z]{42}")
ORIGIN = "https://pennclubs.com"
WRITES = ["/analytics", "/analytics/", "/v1/transactions"]


def create(engine, *words, scope="write", **environment):
    """Makes a key by the command; its text."""
    done = engine.command("key", "create", "--scope", scope, *words, **environment)
    assert KEY.fullmatch(done.stdout.strip()), done.stdout
    assert done.stdout.strip() not in done.stderr
    return done.stdout.strip()


def id_of(key):
    return key[3:13]


def listed(engine):
    return json.loads(engine.command("key", "list", "--json").stdout)["keys"]


def write(engine, key, path="/analytics", **members):
    return engine.post(a_transaction(**members), path=path, token=key)


def soon(seconds):
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat()


# -- the table

BEARER = {"Authorization": "Bearer {key}"}


def case(name, status, **asked):
    return pytest.param(asked, status, id=name)


# Each is a request with its expected status: `key` names the key of `keys` that {key} stands for,
# `change` what is done to it first.
TABLE = [
    case("a write key writes", 200),
    case("a write key writes with a slash", 200, path="/analytics/"),
    case("a write key writes many", 202, path="/v1/transactions"),
    case("the scheme has no case", 200, headers={"Authorization": "bEARER {key}"}),
    case("spaces before the key", 200, headers={"Authorization": "Bearer    {key}"}),
    case("its second product", 200, product="OHQ"),
    case("its second product by number", 200, product=9),
    case("another product", 403, product="PCR"),
    case("another product in a single one of many", 403, path="/v1/transactions", product="PCR"),
    case("write may not read the log", 403, method="GET", path="/v1/transactions"),
    case("write may not read the status", 403, method="GET", path="/v1/status"),
    case("write may not list keys", 403, method="GET", path="/v1/keys"),
    case("write may not make keys", 403, path="/v1/keys"),
    case("write may not retry", 403, path="/v1/transactions/x/retry"),
    case("read reads the status", 200, key="read", method="GET", path="/v1/status"),
    case("read reads the log", 200, key="read", method="GET", path="/v1/transactions"),
    case("read does not write", 403, key="read"),
    case("read does not write many", 403, key="read", path="/v1/transactions"),
    case("read does not list keys", 403, key="read", method="GET", path="/v1/keys"),
    case("read does not discard", 403, key="read", method="DELETE", path="/v1/transactions/x"),
    case("admin reads the status", 200, key="admin", method="GET", path="/v1/status"),
    case("admin lists keys", 200, key="admin", method="GET", path="/v1/keys"),
    case("admin may discard", 404, key="admin", method="DELETE", path="/v1/transactions/x"),
    case("admin does not write", 403, key="admin"),
    case("admin does not write many", 403, key="admin", path="/v1/transactions"),
    case("the operator reads", 200, key="operator", method="GET", path="/v1/status"),
    case("the operator writes", 200, key="operator"),
    case("a development token lists keys", 200, key="token", method="GET", path="/v1/keys"),
    case("an expired key", 401, key="expired"),
    case("a revoked key", 401, key="revoked"),
    case("a key that never was", 401, change=lambda _: "la_" + "0" * 42),
    case("without its last character", 401, change=lambda key: key[:-1]),
    case("without its first character", 401, change=lambda key: key[1:]),
    case("without its secret", 401, change=lambda key: key[:13]),
    case("only its prefix", 401, change=lambda _: "la_"),
    case("with one character more", 401, change=lambda key: key + "0"),
    case("with a space in it", 401, change=lambda key: key[:20] + " " + key[21:]),
    case("in upper case", 401, change=str.upper),
    case("with the prefix in upper case", 401, change=lambda key: "LA_" + key[3:]),
    case(
        "with its last character changed", 401, change=lambda key: key[:-1] + "01"[key[-1] == "0"]
    ),
    case("an unknown id with a good secret", 401, change=lambda key: "la_zzzzzzzzzz" + key[13:]),
    case("another key's id with a good secret", 401, mixed=True),
    case("twice in one header", 401, headers={"Authorization": "Bearer {key} {key}"}),
    case("two keys with a comma", 401, headers={"Authorization": "Bearer {key},{key}"}),
    case("a huge key", 401, change=lambda key: key + "0" * 8000),
    case("a larger key than a token may be", 401, change=lambda key: key + "0" * 9000),
    case("an empty key", 401, headers={"Authorization": "Bearer "}),
    case("without a scheme", 401, headers={"Authorization": "{key}"}),
    case("as Basic", 401, headers={"Authorization": "Basic {key}"}),
    case("as another scheme", 401, headers={"Authorization": "Token {key}"}),
    case("percent-encoded in the header", 401, change=lambda key: key.replace("_", "%5F")),
    case("in another header", 401, headers={"X-Api-Key": "{key}"}),
    case("in a cookie", 401, headers={"Cookie": "key={key}"}),
    case("write key in the URL", 200, headers={}, query="?key={key}"),
    case(
        "write key in the URL, with a slash",
        200,
        headers={},
        path="/analytics/",
        query="?key={key}",
    ),
    case(
        "write key in the URL of many", 202, headers={}, path="/v1/transactions", query="?key={key}"
    ),
    case("in the URL among others", 200, headers={}, query="?a=b&key={key}&c"),
    case(
        "percent-encoded in the URL",
        200,
        headers={},
        query="?key={key}",
        change=lambda key: "%6Ca%5F" + key[3:],
    ),
    case("another product by the URL", 403, headers={}, query="?key={key}", product="PCR"),
    case("read key in the URL does not write", 403, key="read", headers={}, query="?key={key}"),
    case(
        "read key in the URL does not read",
        401,
        key="read",
        headers={},
        method="GET",
        path="/v1/status",
        query="?key={key}",
    ),
    case(
        "write key in the URL does not read",
        401,
        headers={},
        method="GET",
        path="/v1/status",
        query="?key={key}",
    ),
    case("admin key in the URL does not write", 403, key="admin", headers={}, query="?key={key}"),
    case(
        "admin key in the URL does nothing",
        401,
        key="admin",
        headers={},
        method="GET",
        path="/v1/keys",
        query="?key={key}",
    ),
    case("the operator in the URL", 403, key="operator", headers={}, query="?key={key}"),
    case("a token in the URL", 401, key="token", headers={}, query="?key={key}"),
    case("an expired key in the URL", 401, key="expired", headers={}, query="?key={key}"),
    case("a revoked key in the URL", 401, key="revoked", headers={}, query="?key={key}"),
    case("an empty key in the URL", 401, headers={}, query="?key="),
    case("no value in the URL", 401, headers={}, query="?key"),
    case("a huge key in the URL", 401, headers={}, query="?key={key}", change=lambda key: key * 40),
    case("a broken escape in the URL", 401, headers={}, query="?key={key}%4"),
    case("a NUL in the URL", 401, headers={}, query="?key={key}%00"),
    case("another name in the URL", 401, headers={}, query="?Key={key}"),
    case(
        "the header counts, not the URL",
        401,
        headers={"Authorization": "Bearer la_x"},
        query="?key={key}",
    ),
    case(
        "an empty header counts, not the URL",
        401,
        headers={"Authorization": ""},
        query="?key={key}",
    ),
    case("a good header counts, not the URL", 200, query="?key=la_x"),
    case("from no origin, with origins", 403, key="bound"),
    case("from its origin", 200, key="bound", headers=BEARER | {"Origin": ORIGIN}),
    case(
        "from its other origin",
        200,
        key="bound",
        headers=BEARER | {"Origin": "http://localhost:3000"},
    ),
    case(
        "from its origin, by the URL",
        200,
        key="bound",
        headers={"Origin": ORIGIN},
        query="?key={key}",
    ),
    case("from no origin, by the URL", 403, key="bound", headers={}, query="?key={key}"),
    case(
        "from another origin", 403, key="bound", headers=BEARER | {"Origin": "https://evil.example"}
    ),
    case(
        "from another scheme", 403, key="bound", headers=BEARER | {"Origin": "http://pennclubs.com"}
    ),
    case("from another port", 403, key="bound", headers=BEARER | {"Origin": ORIGIN + ":8443"}),
    case(
        "from a longer name",
        403,
        key="bound",
        headers=BEARER | {"Origin": ORIGIN + ".evil.example"},
    ),
    case("from the null origin", 403, key="bound", headers=BEARER | {"Origin": "null"}),
    case("from an empty origin", 403, key="bound", headers=BEARER | {"Origin": ""}),
    case("a referer is no origin", 403, key="bound", headers=BEARER | {"Referer": ORIGIN + "/"}),
    case("anywhere, without origins", 200, headers=BEARER | {"Origin": "https://any.example"}),
]


@pytest.fixture(scope="module")
def keys(shared):
    """{name: key} of every kind."""
    made = {
        "write": create(shared, "--product", "CLUBS,OHQ"),
        "other": create(shared, "--product", "CLUBS"),
        "bound": create(
            shared, "--product", "CLUBS", "--origin", ORIGIN, "--origin", "http://localhost:3000"
        ),
        "read": create(shared, scope="read"),
        "admin": create(shared, scope="admin"),
        "revoked": create(shared, "--product", "CLUBS"),
        "expired": create(shared, "--product", "CLUBS", "--expires", "1s"),
        "operator": (shared.data_dir / "operator.key").read_text(),
        "token": shared.token(),
    }
    shared.command("key", "revoke", id_of(made["revoked"]))
    shared.wait_until(
        lambda: write(shared, made["expired"]).status_code == 401, what="the key's end"
    )
    return made


@pytest.mark.parametrize(("asked", "status"), TABLE)
def test_what_each_key_may(shared, keys, asked, status):
    key = keys[asked.get("key", "write")]
    if asked.get("mixed"):
        key = keys["other"][:13] + key[13:]
    key = asked.get("change", lambda same: same)(key)
    method = asked.get("method", "POST")
    body = json.dumps(a_transaction(product=asked.get("product", "CLUBS"))).encode()
    fields = [
        f"{name}: {value.format(key=key)}" for name, value in asked.get("headers", BEARER).items()
    ]
    path = asked.get("path", "/analytics") + asked.get("query", "").format(key=key)
    body = body if method == "POST" else b""
    with Wire(shared.address) as wire:
        wire.send(head(method, path, *fields, length=len(body)).encode() + body)
        answer = wire.answer()
    assert answer.status == status, answer
    if status >= 400:
        assert answer.detail
    assert (answer.headers.get("www-authenticate") == "Bearer") == (status == 401)
    for secret in keys.values():
        assert secret[13:] not in repr(answer) and secret[13:] not in answer.body.decode()


def test_no_secret_is_ever_logged(shared, keys):
    # The table has been through here, or whatever of it was picked.
    for key in keys.values():
        shared.post(a_transaction(product="PCR"), token=key)
        shared.request("DELETE", f"/v1/keys/{key}", token=key)
        shared.request("DELETE", f"/v1/keys/{key}", token=None)
        shared.request("DELETE", f"/v1/transactions/{key}", token=keys["token"])
        shared.request("POST", f"/v1/transactions/{key}/retry", token=keys["token"])
        shared.request("POST", f"/analytics?key={key}", token=None, data=b"{}")
    for key in keys.values():
        assert key[13:] not in shared.full_log
    assert "la_" not in shared.full_log


# -- their life


def test_a_key_is_good_on_every_worker_at_once(engines):
    engine = engines(WORKERS=2)
    connections = [requests.Session() for _ in range(16)]

    def statuses(key):
        def one(session):
            return session.post(
                engine.url + "/analytics",
                json=a_transaction(),
                headers={"Authorization": f"Bearer {key}"},
                timeout=30,
            ).status_code

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return set(pool.map(one, connections))

    for _ in range(3):
        key = create(engine, "--product", "CLUBS")
        assert statuses(key) == {200}
        assert engine.command("key", "revoke", id_of(key)).stdout == f"{id_of(key)} revoked\n"
        assert statuses(key) == {401}


def test_keys_are_revoked_and_states_told_while_readers_wait_for_the_store(
    engines, postgres, proxy
):
    engine = engines(
        DATABASE_URL=postgres.url(port=proxy.port), READERS=1, STORE_TIMEOUT="10m", WORKERS=1
    )
    engine.accept()
    engine.wait_until_stored()
    key = create(engine, scope="read")
    proxy.stall()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        before = engine.metrics()["labs_analytics_http_requests_total"]
        orders = [
            pool.submit(engine.post, {"pennkey": name}, "/v1/users/forget") for name in ("a", "b")
        ]
        try:
            engine.wait_until(
                lambda: engine.metrics()["labs_analytics_http_requests_total"] >= before + 3
            )
            assert engine.request("DELETE", f"/v1/keys/{id_of(key)}").status_code == 204
            assert engine.get("/v1/status", token=key).status_code == 401
            assert engine.counts()["accepted"] == 1
            for path in ("/v1/deliveries", "/v1/transactions?status=failed"):
                assert engine.get(path).status_code == 200
            assert not any(order.done() for order in orders)
        finally:
            proxy.resume()
        assert {order.result().status_code for order in orders} == {200}


def test_a_key_outlives_the_engine_that_made_it(engine):
    kept = create(engine, "--product", "CLUBS", "--origin", ORIGIN, "--name", "the web page")
    gone = create(engine, "--product", "CLUBS")
    engine.command("key", "revoke", id_of(gone))
    before = listed(engine)
    engine.kill9()
    engine.start()
    assert listed(engine) == before
    headers = {"Origin": ORIGIN}
    assert engine.post(a_transaction(), token=kept, headers=headers).status_code == 200
    assert write(engine, gone).status_code == 401


def test_keys_are_made_listed_and_revoked_without_an_engine(engines):
    engine = engines(start=False)
    key = create(engine, "--product", "CLUBS", "--product=10", "--name", "b")
    gone = create(engine, scope="read")
    assert [entry["id"] for entry in listed(engine)] == [id_of(key), id_of(gone)]
    engine.command("key", "revoke", id_of(gone))
    assert [entry["id"] for entry in listed(engine)] == [id_of(key)]
    engine.start()
    assert [entry["id"] for entry in listed(engine)] == [id_of(key)]
    assert write(engine, key).status_code == 200
    assert write(engine, gone).status_code == 401
    engine.stop()
    engine.command("key", "revoke", id_of(key))
    assert listed(engine) == []
    engine.start()
    assert write(engine, key).status_code == 401


def test_products_are_named_or_numbered(engine):
    create(engine, "--product", "0,CLUBS,9")
    (entry,) = listed(engine)
    assert entry["products"] == ["OTHER", "CLUBS", "OHQ"]
    done = engine.command("key", "create", "--scope", "write", "--product", "007", check=False)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_list_says_all_but_the_secret(engine):
    key = create(
        engine, "--product", "CLUBS,9", "--origin", f"{ORIGIN}:443,http://localhost:3000",
        "--name", "a \"name\" ü", "--expires", "90d",
    )  # fmt: skip
    (entry,) = listed(engine)
    created = datetime.datetime.fromisoformat(entry.pop("created"))
    expires = datetime.datetime.fromisoformat(entry.pop("expires"))
    assert abs(expires - created - datetime.timedelta(days=90)) < datetime.timedelta(seconds=30)
    assert entry == {
        "id": id_of(key),
        "scope": "write",
        "products": ["CLUBS", "OHQ"],
        "origins": [ORIGIN, "http://localhost:3000"],
        "name": 'a "name" ü',
    }
    lines = engine.command("key", "list").stdout.splitlines()
    names = ["id", "scope", "products", "origins", "name", "created", "expires"]
    assert lines[0].split("\t") == names
    assert lines[1].split("\t")[:5] == [
        id_of(key), "write", "CLUBS,OHQ", f"{ORIGIN},http://localhost:3000", 'a "name" ü',
    ]  # fmt: skip


def test_what_is_kept_is_a_hash_in_a_file_of_ones_own(engine):
    key = create(engine, "--product", "CLUBS")
    for name in ("keys.json", "operator.key"):
        assert stat.S_IMODE((engine.data_dir / name).stat().st_mode) == 0o600
    operator = (engine.data_dir / "operator.key").read_text()
    for file in engine.data_dir.rglob("*"):
        if file.is_file() and file.name != "operator.key":
            content = file.read_bytes()
            assert key[13:].encode() not in content, file
            assert operator[13:].encode() not in content, file


def test_the_operator_key_lives_as_long_as_its_engine(engine):
    file = engine.data_dir / "operator.key"
    first = file.read_text()
    assert engine.get("/v1/status", token=first).status_code == 200
    engine.restart()
    assert engine.get("/v1/status", token=first).status_code == 401
    second = file.read_text()
    engine.kill9()
    assert file.read_text() == second
    engine.start()
    assert engine.get("/v1/status", token=second).status_code == 401
    engine.stop()
    assert not file.exists()


def test_commands_need_no_development_issuer(engine):
    (engine.data_dir / "development-key.pem").unlink()
    assert json.loads(engine.command("status", "--json").stdout)["running"]
    assert listed(engine) == []
    assert not (engine.data_dir / "development-key.pem").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--scope"),
        (["--scope", "owner"], "scope: must be write, read or admin"),
        (["--scope", "write"], "products: a write key needs at least one"),
        (["--scope", "read", "--product", "CLUBS"], "products: only a write key has them"),
        (["--scope", "write", "--product", "NONE"], 'products: there is no product "NONE"'),
        (["--scope", "write", "--product", "77"], "products: there is no product"),
        (["--scope", "write", "--product", "CLUBS,"], "products: there is no product"),
        (["--scope", "read", "--origin", "pennclubs.com"], "origins:"),
        (["--scope", "read", "--origin", "https://pennclubs.com/"], "origins:"),
        (["--scope", "read", "--origin", "null"], "origins:"),
        (["--scope", "read", "--origin", "*"], "origins:"),
        (["--scope", "read", "--expires", "soon"], "--expires soon"),
        (["--scope", "read", "--expires", "0s"], "--expires 0s"),
        (["--scope", "read", "--expires", "99999999d"], "--expires 99999999d"),
        (["--scope", "read", "--name", "a\nb"], "name:"),
        (["--scope", "read", "--name", "x" * 101], "name:"),
        (["--scope"], "--scope needs a value"),
        (["--scope", "read", "--origin", ""], "--origin needs a value"),
        (["--scope", "read", "--origin=", "--origin", "https://a.example"], "--origin needs"),
        (["--scope", "write", "--product", ""], "--product needs a value"),
        (["--scope", "read", "more"], "takes no id"),
    ],
)
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_wrong_usage_of_create_is_told(shared, engines, words, says, running):
    engine = shared if running else engines(start=False)
    done = engine.command("key", "create", *words, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert running or not engine.data_dir.exists()


@pytest.mark.parametrize(
    "words",
    [[], ["make"], ["list", "x"], ["revoke"], ["revoke", "la_0123456789"], ["revoke", "a", "b"]],
)
def test_wrong_usage_is_told(shared, words):
    done = shared.command("key", *words, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_what_cannot_be_done_is_told(engine):
    def fails(*words):
        done = engine.command(*words, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "no key" in fails("key", "revoke", "0123456789")
    assert "no id of a key" in fails("key", "revoke", "../status")
    engine.stop()
    assert "no key" in fails("key", "revoke", "0123456789")


def test_there_is_no_key_without_a_data_directory(engines):
    engine = engines(start=False)
    for words in (["list"], ["revoke", "0123456789"]):
        done = engine.command("key", *words, check=False)
        assert done.returncode == 1
        assert "no data directory" in done.stderr
    assert not engine.data_dir.exists()


def test_there_are_at_most_so_many(engines):
    engine = engines(MAX_API_KEYS=2)
    first = create(engine, scope="read")
    create(engine, scope="read")
    done = engine.command("key", "create", "--scope", "read", check=False)
    assert done.returncode == 1
    assert "MAX_API_KEYS" in done.stderr
    engine.command("key", "revoke", id_of(first))
    create(engine, scope="read")
    engine.stop()
    done = engine.command("serve", check=False, MAX_API_KEYS=1)
    assert done.returncode == 2
    assert "MAX_API_KEYS=1" in done.stderr


def test_commands_at_the_same_time_lose_no_key(engines):
    engine = engines(start=False)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: id_of(create(engine, scope="read")), range(16)))
    assert {entry["id"] for entry in listed(engine)} == made


@pytest.mark.parametrize("fault", ["rights", "damage", "link"])
def test_keys_that_cannot_be_trusted_stop_the_start(engine, fault):
    create(engine, scope="read")
    engine.stop()
    file = engine.data_dir / "keys.json"
    if fault == "rights":
        file.chmod(0o640)
    elif fault == "damage":
        file.write_bytes(file.read_bytes()[:-20])
    else:
        os.rename(file, engine.data_dir / "elsewhere.json")
        file.symlink_to("elsewhere.json")
    for words in (["serve"], ["key", "list"], ["key", "create", "--scope", "read"]):
        done = engine.command(*words, check=False)
        assert done.returncode in (1, 2)
        assert "keys.json" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_disk_that_is_full_makes_no_key(engine):
    kept = create(engine, "--product", "CLUBS")
    (engine.data_dir / "keys.json.new").mkdir()  # what is written first cannot be
    (engine.data_dir / "keys.json.new" / "x").touch()
    done = engine.command("key", "create", "--scope", "read", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert engine.command("key", "revoke", id_of(kept), check=False).returncode == 1
    assert write(engine, kept).status_code == 200
    assert [entry["id"] for entry in listed(engine)] == [id_of(kept)]


# -- over HTTP


def test_keys_over_http(engine):
    admin = create(engine, scope="admin")
    answer = engine.post(
        {"scope": "write", "products": ["CLUBS"], "expires": soon(3600)},
        path="/v1/keys",
        token=admin,
    )
    assert answer.status_code == 201
    made = answer.json()
    assert KEY.fullmatch(made["key"])
    assert made["id"] == id_of(made["key"])
    assert write(engine, made["key"]).status_code == 200
    del made["key"]
    assert engine.get("/v1/keys", token=admin).json()["keys"][1] == made
    answer = engine.request("DELETE", f"/v1/keys/{made['id']}", token=admin)
    assert (answer.status_code, answer.content) == (204, b"")
    answer = engine.request("DELETE", f"/v1/keys/{made['id']}", token=admin)
    assert answer.status_code == 404
    answer = engine.request("DELETE", f"/v1/keys/{id_of(admin)}", token=admin)
    assert answer.status_code == 204
    assert engine.get("/v1/keys", token=admin).status_code == 401


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b"{}", b'{"scope":"read","origin":["https://a.example"]}',
     b'{"scope":"read","expires":"2020-01-01T00:00:00Z"}', b'{"scope":"read"}' + b" " * 40000],
)  # fmt: skip
def test_a_key_that_is_asked_for_wrongly_is_400(shared, body):
    answer = shared.post(body, path="/v1/keys")
    assert answer.status_code == 400
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"scope": "read", "name": "a\0b"}, "name: must be a printable text"),
        ({"scope": "read\0"}, "scope: must be"),
        ({"scope": "read", "origins": ["https://a.example\0"]}, "origins: "),
        ({"scope": "write", "products": ["CLUBS\0"]}, "products: there is no product"),
        ({"scope": "read", "expires": "2090-01-01T00:00:00Z\0"}, "expires: must be"),
    ],
)
def test_a_nul_is_refused_where_it_stands(shared, terms, says):
    answer = shared.post(terms, path="/v1/keys")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(says)


def test_changes_of_keys_are_in_the_audit(engine):
    admin = create(engine, scope="admin", **{"LOG_FORMAT": "text"})
    answer = engine.post({"scope": "read"}, path="/v1/keys", token=admin)
    made = answer.json()["id"]
    engine.request("DELETE", f"/v1/keys/{made}", token=admin)
    lines = [line for line in engine.log.splitlines() if "action=key-" in line]
    assert len(lines) == 3
    assert "action=key-create" in lines[0] and "who=operator" in lines[0]
    assert "action=key-create" in lines[1] and f"who=key:{id_of(admin)}" in lines[1]
    assert "action=key-revoke" in lines[2] and f"target={made}" in lines[2]


def test_help_tells_of_keys(shared):
    done = subprocess.run(
        [shared.process.args[0], "--help"], capture_output=True, text=True, check=True
    )
    assert "key" in done.stdout
