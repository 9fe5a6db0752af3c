"""What a browser sees: preflights, answers its pages may read, beacons."""

import json
import time

import pytest
from support.engine import Engine, a_transaction
from support.wire import Wire, head

PAGE = "https://pennclubs.com"
APP = "http://localhost:3000"
FOREIGN = "https://evil.example"
WRITES = ["/analytics", "/analytics/", "/v1/transactions"]
READS = ["/v1/transactions", "/v1/transactions/x", "/v1/deliveries", "/v1/status"]


def create(engine, *words):
    return engine.command("key", "create", *words).stdout.strip()


@pytest.fixture(scope="module")
def _folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browsers")


@pytest.fixture(scope="module")
def site(_folder):
    """An engine that lets PAGE call by CORS_ORIGINS, and APP by the origins of `site.app_key`."""
    engine = Engine(
        _folder, WORKERS=2, CORS_ORIGINS=f"{PAGE}, https://other.example", SEGMENT_BYTES="16MiB"
    ).start()
    engine.app_key = create(engine, "--scope", "write", "--product", "CLUBS", "--origin", APP)
    engine.free_key = create(engine, "--scope", "write", "--product", "CLUBS")
    yield engine
    engine.finish()


def preflight(engine, path, origin, method="POST", headers="authorization,content-type"):
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    if origin is not None:
        asked["Origin"] = origin
    return engine.request("OPTIONS", path, token=None, headers=asked)


def granted(answer):
    """The answer's CORS headers, by their names' rest."""
    prefix = "access-control-"
    return {
        name.lower().removeprefix(prefix): value
        for name, value in answer.headers.items()
        if name.lower().startswith(prefix)
    }


@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize("origin", [PAGE, APP, "https://other.example"])
def test_a_preflight_for_writing_is_answered(site, path, origin):
    answer = preflight(site, path, origin)
    assert (answer.status_code, answer.content) == (204, b"")
    assert granted(answer) == {
        "allow-origin": origin,
        "allow-methods": "POST",
        "allow-headers": "authorization, content-type, content-encoding, idempotency-key, "
        "x-session-id",
        "max-age": "86400",
    }
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("path", sorted({*WRITES, *READS}))
def test_options_names_the_methods_of_a_path(site, path):
    answer = site.request("OPTIONS", path, token=None)
    assert (answer.status_code, granted(answer)) == (204, {})
    refused = site.request("PATCH", path, token=None)
    assert (refused.status_code, refused.headers["Allow"]) == (405, answer.headers["Allow"])
    assert "OPTIONS" in answer.headers["Allow"].split(", ")


@pytest.mark.parametrize("path", READS)
def test_a_preflight_for_reading_is_answered(site, path):
    answer = preflight(site, path, PAGE, method="GET", headers="authorization")
    assert answer.status_code == 204
    assert granted(answer)["allow-origin"] == PAGE
    assert granted(answer)["allow-methods"] == "GET"


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "null",
        "",
        "*",
        "http://pennclubs.com",
        PAGE + ":443",
        PAGE + ":8443",
        PAGE + "/",
        PAGE.upper(),
        PAGE + ".evil.example",
        PAGE[:-1],
        f"{PAGE}, {FOREIGN}",
        f"{FOREIGN} {PAGE}",
        "https://" + "a" * 3000,
        None,
    ],
)
@pytest.mark.parametrize("path", [*WRITES, "/v1/status"])
def test_a_foreign_origin_gets_no_permission(site, path, origin):
    answer = preflight(site, path, origin)
    assert answer.status_code == 204
    assert granted(answer) == {}
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "post", ""])
def test_no_other_method_is_granted(site, method):
    answer = preflight(site, "/v1/transactions", PAGE, method=method)
    assert granted(answer)["allow-methods"] == "POST"


@pytest.mark.parametrize("path", ["/v1/keys", "/v1/transactions/x/retry", "/metrics"])
def test_what_is_not_for_pages_has_no_preflight(site, path):
    answer = preflight(site, path, PAGE)
    assert answer.status_code == 405
    assert granted(answer) == {}


def test_a_preflight_needs_no_key_and_takes_none(site):
    for key in (site.app_key, site.free_key, "la_nonsense"):
        answer = preflight(site, f"/v1/transactions?key={key}", FOREIGN)
        assert granted(answer) == {}
        answer = preflight(site, f"/v1/transactions?key={key}", APP)
        assert granted(answer)["allow-origin"] == APP


def bodies():
    good = json.dumps(a_transaction())
    return [
        ("/analytics", "own", good, 200),
        ("/v1/transactions", "own", good, 202),
        ("/v1/transactions", "own", f"[{good}]", 202),
        ("/analytics", None, good, 401),
        ("/analytics", "nonsense", good, 401),
        ("/analytics", "free", json.dumps(a_transaction(product="PCR")), 403),
        ("/v1/transactions", "free", json.dumps(a_transaction(product="PCR")), 403),
        ("/analytics", "own", "{}", 400),
        ("/analytics", "own", "nonsense", 400),
        ("/v1/transactions", "own", "nonsense", 400),
        ("/v1/transactions", "own", "{}", 422),
        ("/v1/transactions", "own", "[" + "{}," * 10000 + "{}]", 413),
    ]


@pytest.mark.parametrize(("path", "token", "body", "status"), bodies())
@pytest.mark.parametrize("origin", [PAGE, APP, FOREIGN, "null", None])
def test_every_answer_may_be_read_by_whose_page_may_call(site, path, token, body, status, origin):
    headers = {} if origin is None else {"Origin": origin}
    token = site.free_key if token == "free" else token
    answer = site.post(body, path=path, token=token, headers=headers)
    assert answer.status_code == status, answer.text
    if origin in (PAGE, APP):
        expected = {"allow-origin": origin, "expose-headers": "retry-after"}
    else:
        expected = {}
    assert granted(answer) == expected
    assert answer.headers.get("Vary") == (None if origin is None else "Origin")


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(("token", "status"), [("own", (200, 404)), (None, (401,))])
def test_what_is_read_may_be_read_by_pages(site, path, token, status):
    answer = site.get(path, token=token, headers={"Origin": PAGE})
    assert answer.status_code in status
    assert granted(answer)["allow-origin"] == PAGE
    assert granted(site.get(path, token=token, headers={"Origin": FOREIGN})) == {}


def test_another_type_is_415_for_pages_too(site):
    headers = {"Origin": PAGE, "Content-Type": "text/html"}
    answer = site.post("{}", path="/v1/transactions", headers=headers)
    assert answer.status_code == 415
    assert granted(answer)["allow-origin"] == PAGE


def test_credentials_are_never_granted(site):
    for origin in (PAGE, APP, FOREIGN):
        for answer in (
            preflight(site, "/v1/transactions", origin),
            site.post(a_transaction(), headers={"Origin": origin, "Cookie": "a=b"}),
        ):
            assert "allow-credentials" not in granted(answer)


def test_an_origin_may_call_as_long_as_its_key_lives(engine):
    assert granted(preflight(engine, "/analytics", APP)) == {}
    key = create(engine, "--scope", "write", "--product", "CLUBS", "--origin", APP)
    assert granted(preflight(engine, "/analytics", APP))["allow-origin"] == APP
    engine.command("key", "revoke", key[3:13])
    assert granted(preflight(engine, "/analytics", APP)) == {}
    create(engine, "--scope", "write", "--product", "CLUBS", "--origin", APP, "--expires", "1s")
    assert engine.wait_until(lambda: granted(preflight(engine, "/analytics", APP)) == {})


def test_a_star_lets_all_pages_call_but_those_of_no_origin(engines):
    engine = engines(CORS_ORIGINS="*")
    for origin in (PAGE, FOREIGN):
        assert granted(preflight(engine, "/analytics", origin))["allow-origin"] == "*"
        answer = engine.post(a_transaction(), headers={"Origin": origin})
        assert answer.status_code == 200
        assert granted(answer)["allow-origin"] == "*"
        assert answer.headers["Vary"] == "Origin"
    assert granted(preflight(engine, "/analytics", "null")) == {}
    bound = create(engine, "--scope", "write", "--product", "CLUBS", "--origin", PAGE)
    answer = engine.post(a_transaction(), token=bound, headers={"Origin": FOREIGN})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "value",
    [
        "null",
        "pennclubs.com",
        "https://a.example/",
        "https://a.example,*",
        "https://*.a.example",
        ",",
    ],
)
def test_what_is_no_origin_stops_the_start(engines, value):
    engine = engines(start=False)
    done = engine.command("serve", check=False, CORS_ORIGINS=value)
    assert done.returncode == 2
    assert f"CORS_ORIGINS={value}: " in done.stderr
    assert done.stderr.count("\n") == 1


# -- beacons


def beacon(
    engine, key, body, origin, path="/v1/transactions", content_type="text/plain;charset=UTF-8"
):
    """What navigator.sendBeacon(url, text) sends."""
    headers = {"Content-Type": content_type, "Cookie": "session=of-somebody"}
    if origin is not None:
        headers["Origin"] = origin
    return engine.post(body, path=f"{path}?key={key}", token=None, headers=headers)


def test_a_beacon_arrives(site):
    identity = f"beacon-{time.time_ns()}"
    body = json.dumps(a_transaction(id=identity, pennkey="beacon"))
    answer = beacon(site, site.app_key, body, APP)
    assert answer.status_code == 202
    (result,) = answer.json()["results"]
    assert len(site.events_of(result["id"])) == 2


@pytest.mark.parametrize("content_type", ["text/plain", "TEXT/PLAIN", "text/plain; charset=utf-8"])
def test_a_beacon_may_hold_several(site, content_type):
    body = json.dumps([a_transaction(), a_transaction(product="PCR"), {}])
    answer = beacon(site, site.app_key, body, APP, content_type=content_type)
    assert answer.status_code == 202
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (1, 2)


@pytest.mark.parametrize(
    ("origin", "product", "status"),
    [(APP, "CLUBS", 202), (PAGE, "CLUBS", 403), (FOREIGN, "CLUBS", 403), ("null", "CLUBS", 403),
     (None, "CLUBS", 403), (APP, "PCR", 403)],
)  # fmt: skip
def test_a_beacon_is_bound_by_its_key(site, origin, product, status):
    body = json.dumps(a_transaction(product=product))
    assert beacon(site, site.app_key, body, origin).status_code == status


def test_text_is_taken_only_where_beacons_go(site):
    answer = beacon(site, site.app_key, json.dumps(a_transaction()), APP, path="/analytics")
    assert answer.status_code == 415


def test_a_request_without_an_origin_has_no_header_of_browsers(site):
    with Wire(site.address) as wire:
        wire.send(head("GET", "/v1/status", token=site.token()))
        answer = wire.answer()
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith(("access-control", "vary"))]
