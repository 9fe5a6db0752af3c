"""Tokens of the identity service: attested, refreshed in time, attested again."""

import base64
import json
import time

import pytest
from scripted import status

from labs_analytics import IdentityTokens, TokenError
from labs_analytics.tokens import EARLY_S, UNKNOWN_LIFE_S, claim_of


def a_token(life=3600.0, **claims):
    def part(content):
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    body = {"exp": time.time() + life, "use": "access"} | claims
    return f"{part({'alg': 'RS256'})}.{part(body)}.c2lnbmF0dXJl"


def gives(**content):
    return lambda _: (200, content)


@pytest.fixture
def identity(scripted):
    """identity(*answers): (the service, a provider of its tokens)"""

    def make(*answers):
        server = scripted(*answers, default=status(500))
        return server, IdentityTokens("id", "secret", platform=server.url)

    return make


def asked(server):
    return [(request.path, request.headers["Authorization"]) for request in server.requests]


ATTEST = ("/identity/attest/", "Basic " + base64.b64encode(b"id:secret").decode())


def test_the_first_token_is_attested_and_then_kept(identity):
    token = a_token()
    server, tokens = identity(gives(access=token, refresh="refresh-1"))
    assert [tokens() for _ in range(3)] == [token] * 3
    assert asked(server) == [ATTEST]


def test_a_token_is_refreshed_before_it_expires(identity):
    soon, later = a_token(1.0), a_token()
    server, tokens = identity(gives(access=soon, refresh="refresh-1"), gives(access=later))
    assert tokens() == soon
    tokens._tokens = tokens._tokens._replace(good_until=0)
    assert [tokens(), tokens()] == [later, later]
    assert asked(server) == [ATTEST, ("/identity/refresh/", "Bearer refresh-1")]


def test_when_refreshing_fails_it_is_attested_again(identity):
    first, second = a_token(), a_token()
    server, tokens = identity(
        gives(access=first, refresh="old"), status(401), gives(access=second, refresh="new")
    )
    assert tokens() == first
    tokens.invalidate()
    assert tokens() == second
    assert asked(server) == [ATTEST, ("/identity/refresh/", "Bearer old"), ATTEST]


def test_an_invalid_token_is_replaced_and_the_refresh_token_used(identity):
    first, second = a_token(), a_token(nonce=1)
    server, tokens = identity(gives(access=first, refresh="r"), gives(access=second))
    tokens()
    tokens.invalidate()
    assert tokens() == second
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        status(401),
        status(500),
        status(302, Location="http://127.0.0.1:1/"),
        lambda _: (200, b"<html>"),
        lambda _: (200, []),
        gives(refresh="r"),
        gives(access=5),
        lambda _: (None, b""),
    ],
)
def test_no_token_is_an_error_that_holds_no_secret(identity, answer):
    token = a_token()
    server, tokens = identity(answer, gives(access=token))
    with pytest.raises(TokenError) as fault:
        tokens()
    assert "secret" not in str(fault.value)
    assert tokens() == token


def test_a_service_that_is_away_is_an_error():
    with pytest.raises(TokenError):
        IdentityTokens("id", "secret", platform="http://127.0.0.1:1")()


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "a.e30.c", "a.W10.c", "a.eyJleHAiOltdfQ.c"])
def test_a_token_that_says_nothing_of_its_end_is_kept_for_a_while(identity, token):
    assert claim_of(token, "exp") is None
    server, tokens = identity(gives(access=token))
    assert [tokens(), tokens()] == [token] * 2
    assert len(server.requests) == 1


def test_a_short_life_is_used_by_half_and_a_long_one_until_shortly_before(identity):
    for life, early in ((20.0, 10.0), (3600.0, EARLY_S)):
        _, tokens = identity(gives(access=a_token(life)))
        tokens()
        left = tokens._tokens.good_until - time.time()
        assert left == pytest.approx(life - early, abs=2)


@pytest.mark.parametrize("ahead", [-86400.0, -500.0, 0.0, 500.0, 86400.0])
def test_a_clock_that_differs_from_the_services_changes_nothing(identity, ahead):
    issued = time.time() - ahead
    token = a_token(iat=issued, exp=issued + 600)
    server, tokens = identity(gives(access=token))
    assert [tokens() for _ in range(3)] == [token] * 3
    assert tokens._tokens.good_until - time.time() == pytest.approx(600 - EARLY_S, abs=2)


@pytest.mark.parametrize("claims", [{"iat": None, "life": -3600.0}, {"iat": 5, "exp": 5}])
def test_a_token_that_seems_to_have_expired_is_not_asked_for_every_time(identity, claims):
    token = a_token(**claims)
    server, tokens = identity(gives(access=token))
    assert [tokens() for _ in range(3)] == [token] * 3
    assert tokens._tokens.good_until - time.time() < UNKNOWN_LIFE_S


def test_a_client_sends_with_these_tokens_and_renews_a_refused_one(scripted, clients, identity):
    first, second = a_token(), a_token(nonce=1)
    _, tokens = identity(gives(access=first, refresh="r"), gives(access=second))
    engine = scripted(status(401))
    client = clients(engine.url, token_provider=tokens)
    client.record("visit")
    assert client.flush()
    sent = [request.headers["Authorization"] for request in engine.requests]
    assert sent == [f"Bearer {first}", f"Bearer {second}"]
    assert client.stats().failures == 0


def test_an_identity_service_that_is_away_loses_nothing(scripted, clients, identity):
    service, tokens = identity(status(503), status(503), gives(access=a_token()))
    client = clients(scripted().url, token_provider=tokens)
    client.record("visit")
    assert client.flush()
    assert (client.stats().accepted, client.stats().failures) == (1, 2)
