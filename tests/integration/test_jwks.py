"""The identity provider's key set: it changes, and its provider is slow, away, or wrong."""

import itertools
import json
import re
import signal
import stat

import pytest
import requests
from support.engine import a_transaction
from support.provider import Key

NEVER = {"JWKS_REFRESH": "1d", "JWKS_MIN_INTERVAL": "1h"}
SOON = {"JWKS_REFRESH": "1d", "JWKS_MIN_INTERVAL": "100ms"}
OFTEN = {"JWKS_REFRESH": "1s", "JWKS_MIN_INTERVAL": "1h"}
FAILING = "the identity provider does not give its keys"
BACK = "the identity provider gives its keys again"

MAKERS = {
    "RSA": Key.rsa,
    "EC": Key.ec,
    "RSA with a kid": lambda: Key.rsa(f"key {next(numbers)}"),
    "EC with a kid": lambda: Key.ec(f"key {next(numbers)}"),
}
numbers = itertools.count(1)


@pytest.fixture
def provider(providers):
    return providers()


def outcome(engine, token):
    return engine.post(a_transaction(), token=token).status_code


def keys_of(engine):
    return engine.status()["keys"]


def checks(engine, cache):
    return engine.metrics()[f'labs_analytics_token_checks_total{{cache="{cache}"}}']


def wait_for_fetches(engine, count):
    """Waits until `count` fetches are over; gives how many failed."""
    engine.wait_until(lambda: engine.metrics()["labs_analytics_jwks_fetches_total"] >= count)
    return engine.metrics()["labs_analytics_jwks_failures_total"]


# -- keys come and go


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_keys_rotate_without_a_restart(engines, providers, maker):
    old, new = maker(), maker()
    provider = providers(old)
    engine = engines(provider=provider, **SOON).wait_until_ready()
    before = provider.token(old)
    assert outcome(engine, before) == 200

    provider.publish(old, new)
    after = provider.token(new)
    engine.wait_until(lambda: outcome(engine, after) == 200, what="the new key")
    assert outcome(engine, before) == 200

    provider.publish(new)
    # Somebody's token of a third key makes the engine look.
    engine.wait_until(lambda: outcome(engine, maker().sign({})) and outcome(engine, before) == 401)
    assert outcome(engine, after) == 200
    assert len(re.findall(r"keys of .* are in force", engine.log)) == 3


@pytest.mark.parametrize("cache", [10000, 0])
def test_a_withdrawn_key_stops_working_with_its_cached_tokens(engines, providers, cache):
    old, new = Key.rsa(), Key.ec("new")
    provider = providers(old, new)
    engine = engines(provider=provider, TOKEN_CACHE=cache, **OFTEN).wait_until_ready()
    token = provider.token(old)
    assert [outcome(engine, token) for _ in range(4)] == [200] * 4
    assert (checks(engine, "hit") > 0) == (cache > 0)
    provider.publish(new)
    engine.wait_until(lambda: outcome(engine, token) == 401, what="the withdrawal")
    assert outcome(engine, provider.token(new)) == 200
    engine.wait_for_log("1 keys of .* 0 new, 1 withdrawn")


def test_a_set_that_is_the_same_leaves_cached_tokens_alone(engines, providers):
    first, second = Key.rsa("a"), Key.rsa()
    provider = providers(first, second)
    engine = engines(provider=provider, WORKERS=1, **OFTEN).wait_until_ready()
    token = provider.token()
    assert outcome(engine, token) == 200
    misses = checks(engine, "miss")
    provider.publish(second, first)
    provider.extra.append({"kty": "OKP", "crv": "Ed25519", "x": "of no use here"})
    provider.jwks.wait_for(provider.jwks.requests + 2)
    assert outcome(engine, token) == 200
    assert checks(engine, "miss") == misses


def test_a_key_with_the_same_kid_is_another_key(engines, providers):
    provider = providers(Key.rsa("the one"))
    engine = engines(provider=provider, **OFTEN).wait_until_ready()
    token = provider.token()
    assert outcome(engine, token) == 200
    provider.publish(Key.rsa("the one"))
    engine.wait_until(lambda: outcome(engine, provider.token()) == 200)
    assert outcome(engine, token) == 401


# -- a provider that does not answer well


def other_set():
    return json.dumps({"keys": [Key.ec().jwk()]}).encode()


WRONG = {
    "500": lambda endpoint: endpoint.breaks(500),
    "404": lambda endpoint: endpoint.breaks(404),
    "500 with keys": lambda endpoint: endpoint.says(other_set(), 500),
    "a redirect": lambda endpoint: endpoint.breaks(302),
    "a page": lambda endpoint: endpoint.says(b"<html>Log in</html>", media_type="text/html"),
    "nothing": lambda endpoint: endpoint.says(b""),
    "no keys": lambda endpoint: endpoint.says(b'{"keys": []}'),
    "other keys": lambda endpoint: endpoint.says(b'{"keys": [{"kty": "oct", "k": "YQ"}]}'),
    "too much": lambda endpoint: endpoint.says(b'{"keys": [' + b" " * (1 << 18) + b"]}"),
    "silence": lambda endpoint: endpoint.hangs(),
    "a slow drip": lambda endpoint: endpoint.drips(),
}


@pytest.mark.parametrize("way", WRONG.values(), ids=WRONG)
def test_the_last_good_set_stays_in_force(engines, provider, way):
    engine = engines(provider=provider, JWKS_TIMEOUT="500ms", **OFTEN).wait_until_ready()
    token = provider.token()
    assert outcome(engine, token) == 200
    assert keys_of(engine)["last_error"] is None
    way(provider.jwks)
    engine.wait_for_log(FAILING)
    wait_for_fetches(engine, 3)
    assert outcome(engine, token) == outcome(engine, provider.token()) == 200
    keys = keys_of(engine)
    assert (keys["source"], keys["count"]) == ("jwks", 1)
    assert provider.jwks_url in keys["last_error"]
    assert 0 < keys["age_s"] < 600

    provider.jwks.works()
    engine.wait_for_log(BACK)
    engine.wait_until(lambda: keys_of(engine)["last_error"] is None)
    assert engine.log.count(FAILING) == engine.log.count(BACK) == 1


def test_a_provider_that_is_away_is_asked_again_when_it_is_back(engines, provider):
    engine = engines(provider=provider, **OFTEN).wait_until_ready()
    provider.stop()
    engine.wait_for_log(FAILING)
    engine.wait_until(lambda: engine.metrics()["labs_analytics_jwks_failures_total"] >= 3)
    assert outcome(engine, provider.token()) == 200
    provider.publish(Key.rsa())
    provider.start()
    engine.forget_tokens()
    engine.wait_until(lambda: outcome(engine, provider.token()) == 200, what="the next set")
    engine.wait_for_log(BACK)
    assert engine.log.count(FAILING) == engine.log.count(BACK) == 1


def test_it_is_told_whenever_the_provider_goes_and_comes(engines, provider):
    engine = engines(provider=provider, **OFTEN).wait_until_ready()

    def wait_until_told(words, times):
        engine.wait_until(lambda: engine.log.count(words) == times, what=words)

    for times in (1, 2):
        provider.stop()
        wait_until_told(FAILING, times)
        provider.start()
        wait_until_told(BACK, times)


def test_the_engine_starts_without_the_provider(engines, provider):
    provider.stop()
    engine = engines(provider=provider)
    engine.wait_for_log(FAILING + ".*tokens are answered with 503")
    answer = engine.post(a_transaction())
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert engine.get("/readyz", token=None).status_code == 503
    assert engine.get("/livez", token=None).status_code == 200
    assert engine.post(a_transaction(), token=None).status_code == 401
    metrics = engine.metrics()
    assert metrics["labs_analytics_jwks_keys"] == 0
    assert 0 < metrics["labs_analytics_jwks_age_seconds"] < 600
    provider.start()
    engine.wait_until_ready()
    assert engine.accept()
    assert engine.metrics()["labs_analytics_jwks_keys"] == 1


def test_the_end_does_not_wait_for_the_provider(engines, provider):
    provider.jwks.hangs()
    engine = engines(provider=provider, JWKS_TIMEOUT="60s")
    provider.jwks.wait_for(1)
    assert engine.stop(timeout=10) == 0
    assert FAILING not in engine.log


# -- the set that is kept


def kept(engine):
    return engine.data_dir / "jwks.json"


def test_the_last_good_set_is_there_at_the_next_start(engines, provider):
    engine = engines(provider=provider).wait_until_ready()
    engine.wait_until(kept(engine).exists)
    assert stat.S_IMODE(kept(engine).stat().st_mode) == 0o600
    engine.stop()
    provider.stop()
    engine.start()
    assert engine.get("/readyz", token=None).status_code == 200
    assert engine.accept()
    assert keys_of(engine)["age_s"] > 0
    engine.wait_for_log("1 keys of .* are in force, fetched ")
    assert not list(engine.data_dir.glob("jwks.json.*"))


def test_a_key_that_was_withdrawn_does_not_come_back_at_the_next_start(engines, providers):
    old, new = Key.rsa(), Key.rsa()
    provider = providers(old)
    engine = engines(provider=provider, **OFTEN).wait_until_ready()
    before = provider.token(old)
    assert outcome(engine, before) == 200
    provider.publish(new)
    engine.wait_until(lambda: outcome(engine, before) == 401)
    engine.stop()
    provider.stop()
    engine.start()
    assert outcome(engine, before) == 401
    assert outcome(engine, provider.token(new)) == 200


def test_keys_of_another_provider_are_not_taken_over(engines, providers):
    first, second = providers(), providers()
    engine = engines(provider=first).wait_until_ready()
    engine.wait_until(kept(engine).exists)
    second.stop()
    engine.restart(JWKS_URL=second.jwks_url)
    engine.wait_for_log("the key set that was kept is not used: .* another URL")
    assert outcome(engine, first.token()) == 503


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[: len(text) // 2],
        lambda text: b"[]",
        lambda text: json.dumps(json.loads(text) | {"keys": []}).encode(),
        lambda text: json.dumps(json.loads(text) | {"fetched": "soon"}).encode(),
        lambda text: b" " * (8 << 20),
    ],
)
def test_a_damaged_file_is_not_used(engines, provider, damage):
    engine = engines(provider=provider).wait_until_ready()
    text = engine.wait_until(lambda: kept(engine).read_bytes())
    engine.stop()
    kept(engine).write_bytes(damage(text))
    provider.stop()
    engine.start()
    engine.wait_for_log("the key set that was kept is not used: ")
    assert outcome(engine, provider.token()) == 503
    provider.start()
    engine.wait_until_ready()
    engine.wait_until(lambda: json.loads(kept(engine).read_bytes())["keys"])


def test_it_is_told_once_that_the_set_cannot_be_kept(engines, provider):
    engine = engines(start=False, provider=provider, **OFTEN)
    kept(engine).mkdir(parents=True)
    engine.start().wait_until_ready()
    wait_for_fetches(engine, 3)
    kept(engine).rmdir()
    engine.wait_for_log("the key set can be kept again")
    wait_for_fetches(engine, 5)
    assert kept(engine).is_file()
    assert engine.log.count("the key set cannot be kept") == 1
    assert engine.log.count("the key set can be kept again") == 1


# -- how often it is asked


@pytest.mark.parametrize("kid", ["unknown", None])
def test_a_flood_of_unknown_keys_is_not_passed_on(engines, provider, kid):
    engine = engines(provider=provider, **NEVER).wait_until_ready()
    stranger = Key.rsa(kid)
    for number in range(200):
        assert outcome(engine, provider.token(stranger, sub=f"urn:pennlabs:{number}")) == 401
    assert outcome(engine, provider.token()) == 200
    assert provider.jwks.requests == 1


def test_a_known_key_is_no_reason_to_ask(engines, providers):
    provider = providers(Key.rsa("one"), Key.ec("two"))
    engine = engines(provider=provider, **SOON).wait_until_ready()
    good = provider.token()
    for token in (
        provider.token(Key.rsa("one")),  # a forged one
        provider.token(Key.rsa(), headers={"kid": "two"}),
        good[:-8] + "AAAAAAAA",
        provider.token(sub="urn:other:x"),
        provider.token(exp=1),
        "x.y.z",
    ):
        assert outcome(engine, token) in (401, 403)
    next_key = Key.rsa("three")
    provider.publish(next_key)
    engine.wait_until(lambda: outcome(engine, provider.token()) == 200)
    assert provider.jwks.requests == 2


def test_sighup_asks_for_the_set(engines, providers):
    old, new = Key.rsa("old"), Key.rsa("new")
    provider = providers(old, new)
    engine = engines(provider=provider, JWKS_MIN_INTERVAL="1h").wait_until_ready()
    token = provider.token(old)
    assert outcome(engine, token) == 200
    provider.publish(new)
    engine.signal(signal.SIGHUP)
    engine.wait_until(lambda: outcome(engine, token) == 401, what="the withdrawal")
    assert provider.jwks.requests == 2


# -- what is in force with it


def test_production_starts_with_a_provider(engines, provider):
    engine = engines(provider=provider, ENVIRONMENT="PRODUCTION").wait_until_ready()
    assert engine.accept()
    assert keys_of(engine)["source"] == "jwks"
    assert not (engine.data_dir / "development-key.pem").exists()


@pytest.mark.parametrize("environment", ["DEVELOPMENT", "TESTING", "PRODUCTION"])
def test_the_development_issuer_has_no_say_beside_it(engines, provider, environment):
    alone = engines()
    token = alone.token()
    alone.stop()
    engine = engines(start=False, provider=provider, ENVIRONMENT=environment)
    engine.data_dir.mkdir(parents=True)
    key = (alone.data_dir / "development-key.pem").read_bytes()
    (engine.data_dir / "development-key.pem").write_bytes(key)
    (engine.data_dir / "development-key.pem").chmod(0o600)
    engine.start().wait_until_ready()
    assert outcome(engine, token) == 401

    done = engine.command("token", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"labs-analytics: token: JWKS_URL is in force[^\n]*\n", done.stderr)


def test_a_backend_may_not_change_anything(engines, provider):
    engine = engines(provider=provider).wait_until_ready()
    identity = engine.accept()
    answer = engine.request("POST", f"/v1/transactions/{identity}/retry")
    assert answer.status_code == 403


def test_any_address_may_be_listened_on(engines, provider):
    engine = engines(listen="0.0.0.0:0", provider=provider).wait_until_ready()
    assert "listening on 0.0.0.0:" in engine.log
    assert engine.accept()


def test_without_a_provider_the_keys_are_the_development_issuers(engine):
    assert keys_of(engine) == {
        "source": "development",
        "count": 1,
        "age_s": None,
        "last_error": None,
    }
    metrics = engine.metrics()
    assert metrics["labs_analytics_jwks_keys"] == 1
    assert metrics["labs_analytics_jwks_age_seconds"] == 0
    assert metrics["labs_analytics_jwks_fetches_total"] == 0


# -- TLS


def test_a_private_authority_is_trusted_by_its_file(engines, providers):
    provider = providers(tls=True)
    engine = engines(provider=provider).wait_until_ready()
    assert engine.accept()


def test_an_authority_that_is_replaced_in_its_file_is_trusted_from_then_on(engines, providers):
    provider = providers(tls=True)
    engine = engines(provider=provider, **OFTEN).wait_until_ready()
    provider.renew_authority()
    provider.publish(Key.ec())
    engine.wait_until(lambda: outcome(engine, provider.token()) == 200)


def test_an_unknown_authority_is_not_trusted(engines, providers):
    provider, other = providers(tls=True), providers(tls=True)
    # The other has the same name, but not the same key.
    for ca_file, words in (("", "certificate"), (other.ca_file, "OpenSSL")):
        engine = engines(provider=provider, CA_FILE=ca_file)
        engine.wait_for_log(f"{FAILING}: {provider.jwks_url}: .*{words}")
        assert outcome(engine, provider.token()) == 503
    assert provider.jwks.requests == 0


def test_a_certificate_for_another_name_is_not_trusted(engines, providers):
    provider = providers(tls=True, names=("provider.example",))
    url = f"https://localhost:{provider.port}/identity/jwks/"
    engine = engines(provider=provider, JWKS_URL=url)
    engine.wait_for_log(FAILING + ".*certificate")
    assert outcome(engine, provider.token()) == 503
    assert provider.jwks.requests == 0
    with pytest.raises(requests.exceptions.SSLError, match="match"):
        requests.get(url, verify=str(provider.ca_file), timeout=20)


def test_the_same_file_is_trusted_for_introspection(engines, providers):
    provider = providers(tls=True)
    provider.knows("a-session", "jdoe")
    engine = engines(
        provider=provider,
        INTROSPECTION_URL=provider.introspection_url,
        INTROSPECTION_CLIENT_ID=provider.client_id,
        INTROSPECTION_CLIENT_SECRET=provider.client_secret,
    ).wait_until_ready()
    body = a_transaction(pennkey=None)
    answer = engine.post(body, headers={"X-Session-Id": "a-session"})
    assert {row["pennkey"] for row in engine.events_of(answer.json()["id"])} == {"jdoe"}


# -- who may write what


def test_a_urn_may_be_bound_to_products(engines, provider):
    engine = engines(
        provider=provider,
        PRODUCTS="11=MENU",
        URN_PRODUCTS="urn:pennlabs:clubs=CLUBS, urn:pennlabs:courses=PCA + PCP,"
        "urn:pennlabs:mobile:*=MENU,urn:pennlabs:mobile:ios=MOBILE_IOS",
    ).wait_until_ready()
    for urn, product, status in (
        ("urn:pennlabs:clubs", "CLUBS", 200),
        ("urn:pennlabs:clubs", 10, 200),
        ("urn:pennlabs:clubs", "PCA", 403),
        ("urn:pennlabs:courses", "PCA", 200),
        ("urn:pennlabs:courses", "PCP", 200),
        ("urn:pennlabs:courses", "CLUBS", 403),
        ("urn:pennlabs:mobile:ios", "MOBILE_IOS", 200),
        ("urn:pennlabs:mobile:ios", "MENU", 403),
        ("urn:pennlabs:mobile:android", "MENU", 200),
        ("urn:pennlabs:mobile:android", "MOBILE_IOS", 403),
        ("urn:pennlabs:ohq", "OHQ", 200),
        ("urn:pennlabs:ohq", "CLUBS", 200),
    ):
        token = engine.token(urn=urn)
        for _ in range(2):  # also from the cache
            answer = engine.post(a_transaction(product=product), token=token)
            assert answer.status_code == status, (urn, product)
    many = [a_transaction(product="CLUBS"), a_transaction(product="PCA")]
    token = engine.token(urn="urn:pennlabs:clubs")
    answer = engine.post(many, path="/v1/transactions", token=token)
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (1, 1)
