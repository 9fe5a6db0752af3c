"""The stand-in of the identity provider does what tests count on."""

import jwt
import pytest
import requests
from support.provider import Key, Provider, good_claims


@pytest.fixture
def provider():
    provider = Provider()
    yield provider
    provider.close()


def published(provider, **arguments):
    return requests.get(provider.jwks_url, timeout=20, **arguments).json()["keys"]


@pytest.mark.parametrize("key", [Key.rsa(), Key.ec(), Key.rsa("a"), Key.ec("b")])
def test_its_tokens_verify_by_its_published_keys(provider, key):
    provider.publish(key)
    token = provider.token(sub="urn:pennlabs:x")
    (public,) = published(provider)
    assert jwt.get_unverified_header(token).get("kid") == public.get("kid") == key.kid
    claims = jwt.decode(token, jwt.PyJWK(public).key, [key.algorithm])
    assert claims["sub"] == "urn:pennlabs:x"
    assert "d" not in public


def test_it_counts_and_misbehaves(provider):
    provider.jwks.breaks(500)
    assert requests.get(provider.jwks_url, timeout=20).status_code == 500
    provider.jwks.drips(pause=0.01)
    with requests.get(provider.jwks_url, timeout=20, stream=True) as answer:
        assert answer.raw.read(3) == b"   "
    provider.jwks.hangs()
    with pytest.raises(requests.Timeout):
        requests.get(provider.jwks_url, timeout=0.2)
    provider.jwks.works()
    assert len(published(provider)) == 1
    assert provider.jwks.requests == 4
    provider.jwks.wait_for(4)


def test_it_stops_and_starts_on_the_same_port(provider):
    with requests.Session() as session:
        session.get(provider.jwks_url, timeout=20)
        provider.stop()
        with pytest.raises(requests.ConnectionError):
            session.get(provider.jwks_url, timeout=20)
    provider.start()
    assert published(provider)


def test_it_has_a_certificate_by_an_authority_of_its_own(tmp_path):
    provider = Provider(tls=True, folder=tmp_path)
    try:
        assert published(provider, verify=str(provider.ca_file))
        with pytest.raises(requests.exceptions.SSLError):
            published(provider)
    finally:
        provider.close()


def test_it_introspects_for_its_client_alone(provider):
    provider.knows("session", "jdoe")

    def ask(token, auth=(provider.client_id, provider.client_secret)):
        answer = requests.post(
            provider.introspection_url, data={"token": token}, auth=auth, timeout=20
        )
        return answer.status_code, answer.json()

    assert ask("session")[1]["username"] == "jdoe"
    assert ask("another") == (200, {"active": False})
    assert ask("session", None)[0] == ask("session", ("labs-analytics", "x"))[0] == 401
    assert (provider.introspection.requests, provider.refused) == (4, 2)


def test_claims_can_be_left_out():
    assert "exp" not in good_claims(exp=None)
    assert good_claims(use="refresh")["use"] == "refresh"
