"""Good and hostile tokens, and what each is answered with, where a real provider has the keys."""

import base64
import functools
import hashlib
import hmac
import json
import re
import time

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.engine import Engine, a_transaction
from support.provider import Key, Provider, good_claims

RSA, RSA_NAMED = Key.rsa(), Key.rsa("rsa")
EC, EC_NAMED = Key.ec(), Key.ec("ec")
STRANGER, STRANGE_EC = Key.rsa(), Key.ec()
SMALL = Key.rsa("small", bits=1024)
ENCRYPTION = Key.rsa("encryption")
SECRET = b"k" * 64

pytestmark = pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits")


def now(seconds=0.0):
    return time.time() + seconds


def encoded(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def rs256(key, message):
    return key.private.sign(message, padding.PKCS1v15(), hashes.SHA256())


def es256(key, message):
    r, s = decode_dss_signature(key.private.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def hs256(secret, message):
    return hmac.new(secret, message, hashlib.sha256).digest()


def by_hand(header, claims=None, sign=rs256, key=RSA):
    """A token with exactly this header, for those that no library makes."""
    message = f"{encoded(header)}.{encoded(good_claims() if claims is None else claims)}"
    return f"{message}.{encoded(sign(key, message.encode()))}"


def token(key=RSA, headers=None, **claims):
    return key.sign(good_claims(**claims), headers)


def public_pem(key):
    public = key.private.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def changed(place, text):
    """A good token with one of its three parts put in place of the signed one."""
    parts = token().split(".")
    parts[place] = text
    return ".".join(parts)


GOOD = {
    "RSA without kid": lambda: token(),
    "RSA with its kid": lambda: token(RSA_NAMED),
    "RSA with a kid, which the token leaves out": lambda: by_hand({"alg": "RS256"}, key=RSA_NAMED),
    "EC without kid": lambda: token(EC),
    "EC with its kid": lambda: token(EC_NAMED),
    "today's provider: no kid, fractions of seconds": lambda: token(
        iat=now(-0.25), nbf=now(-0.5), exp=now(59.75)
    ),
    "no typ": lambda: by_hand({"alg": "RS256"}),
    "another typ": lambda: token(headers={"typ": "at+jwt"}),
    "claims of no interest": lambda: token(aud=["x"], iss="y", jti="z", deep={"a": [{}]}),
    "just expired, within the leeway": lambda: token(exp=now(-10)),
    "a clock that is a little ahead": lambda: token(iat=now(10), nbf=now(10)),
    "a URN of several parts": lambda: token(sub="urn:pennlabs:mobile:ios"),
    "a certificate's digest": lambda: token(headers={"x5t": "AAAA"}),
}

FORBIDDEN = {
    "the prefix of the pattern": lambda: token(sub="urn:pennlabs"),
    "nothing behind the pattern's colon": lambda: token(sub="urn:pennlabs:"),
    "a longer name": lambda: token(sub="urn:pennlabsx:clubs"),
    "somebody else's URN": lambda: token(sub="urn:other:clubs"),
    "a user's name": lambda: token(sub="jdoe"),
    "capitals": lambda: token(sub="URN:PENNLABS:CLUBS"),
    "a path in it": lambda: token(EC, sub="urn:other:../urn:pennlabs:clubs"),
}

# Each with words of its answer.
REFUSED = {
    # Nobody signed it, or somebody else did.
    "none": ("none is not", lambda: jwt.encode(good_claims(), None, "none")),
    "None": ("None is not", lambda: by_hand({"alg": "None"}, sign=lambda *_: b"")),
    "nOnE with a good signature": ("nOnE is not", lambda: by_hand({"alg": "nOnE"})),
    "no signature": ("signature is wrong", lambda: changed(2, "")),
    "the signature of another token": (
        "signature is wrong",
        lambda: changed(2, token(sub="urn:pennlabs:x").split(".")[2]),
    ),
    "claims that nobody signed": (
        "signature is wrong",
        lambda: changed(1, encoded(good_claims(sub="urn:pennlabs:x"))),
    ),
    "a header that nobody signed": (
        "signature is wrong",
        lambda: changed(0, encoded({"alg": "RS256", "typ": "x"})),
    ),
    "a stranger's RSA key": ("signature is wrong", lambda: token(STRANGER)),
    "a stranger's EC key": ("signature is wrong", lambda: token(STRANGE_EC)),
    "a stranger under a known kid": (
        "signature is wrong",
        lambda: token(STRANGER, headers={"kid": "rsa"}),
    ),
    "a known key under another's kid": (
        "signature is wrong",
        lambda: token(RSA, headers={"kid": "rsa"}),
    ),
    "an unknown kid": ("unknown key", lambda: token(RSA, headers={"kid": "nobody"})),
    "a kid that is a path": (
        "unknown key",
        lambda: token(RSA, headers={"kid": "../../etc/passwd"}),
    ),
    "a kid that is a query": ("unknown key", lambda: token(RSA, headers={"kid": "' OR 1=1 --"})),
    "a kid that is a number": (
        "kid must be a string",
        lambda: by_hand({"alg": "RS256", "kid": 7}),
    ),
    "a key that is too small": ("unknown key", lambda: token(SMALL)),
    "a key for encryption": ("unknown key", lambda: token(ENCRYPTION)),
    # The algorithm is the key's, whatever the token says.
    "HS256 by a secret": ("HS256 is not", lambda: jwt.encode(good_claims(), SECRET, "HS256")),
    "HS512 by a secret": ("HS512 is not", lambda: jwt.encode(good_claims(), SECRET, "HS512")),
    "HS256 by the public RSA key": (
        "HS256 is not",
        lambda: by_hand({"alg": "HS256"}, sign=hs256, key=public_pem(RSA)),
    ),
    "HS256 by the public EC key": (
        "HS256 is not",
        lambda: by_hand({"alg": "HS256", "kid": "ec"}, sign=hs256, key=public_pem(EC_NAMED)),
    ),
    "an HMAC that says RS256": (
        "signature is wrong",
        lambda: by_hand({"alg": "RS256"}, sign=hs256, key=public_pem(RSA)),
    ),
    "RS256 under an EC key": (
        "algorithm is not that of its key",
        lambda: token(RSA, headers={"kid": "ec"}),
    ),
    "ES256 under an RSA key": (
        "algorithm is not that of its key",
        lambda: token(EC, headers={"kid": "rsa"}),
    ),
    "an RSA signature that says ES256": (
        "signature is wrong",
        lambda: by_hand({"alg": "ES256"}, sign=rs256, key=RSA),
    ),
    "an EC signature that says RS256": (
        "signature is wrong",
        lambda: by_hand({"alg": "RS256"}, sign=es256, key=EC),
    ),
    "RS384": ("RS384 is not", lambda: jwt.encode(good_claims(), RSA.private, "RS384")),
    "RS512": ("RS512 is not", lambda: jwt.encode(good_claims(), RSA.private, "RS512")),
    "PS256": ("PS256 is not", lambda: jwt.encode(good_claims(), RSA.private, "PS256")),
    "no alg": ("no alg", lambda: by_hand({"typ": "JWT"})),
    "alg as a list": ("no alg", lambda: by_hand({"alg": ["RS256"]})),
    "alg twice": (
        "not a JSON object",
        lambda: by_hand(b'{"alg":"none","alg":"RS256"}'),
    ),
    "an ES256 signature of zeros": (
        "signature is wrong",
        lambda: by_hand({"alg": "ES256"}, sign=lambda *_: bytes(64)),
    ),
    "an ES256 signature in DER": (
        "signature is wrong",
        lambda: by_hand(
            {"alg": "ES256"},
            sign=lambda key, message: key.private.sign(message, ec.ECDSA(hashes.SHA256())),
            key=EC,
        ),
    ),
    # A key that the token brings itself.
    "jwk of a stranger": (
        r"its own key \(jwk\)",
        lambda: token(STRANGER, headers={"jwk": STRANGER.jwk()}),
    ),
    "jwk beside a good signature": (
        r"its own key \(jwk\)",
        lambda: token(headers={"jwk": RSA.jwk()}),
    ),
    "jku": (
        r"its own key \(jku\)",
        lambda: token(STRANGER, headers={"jku": trap().jwks_url}),
    ),
    "x5u": (
        r"its own key \(x5u\)",
        lambda: token(STRANGER, headers={"x5u": trap().jwks_url}),
    ),
    "x5c": (r"its own key \(x5c\)", lambda: token(STRANGER, headers={"x5c": ["MIIB"]})),
    "crit": ("crit", lambda: token(headers={"crit": ["exp"]})),
    "crit with b64": ("crit", lambda: token(headers={"crit": ["b64"], "b64": False})),
    # Its time.
    "expired": ("expired", lambda: token(exp=now(-40))),
    "expired long ago": ("expired", lambda: token(exp=1)),
    "exp below zero": ("expired", lambda: token(exp=-1e300)),
    "no exp": ("exp is missing", lambda: token(exp=None)),
    "exp as text": (
        "exp must be a number",
        lambda: by_hand({"alg": "RS256"}, good_claims(exp=str(now(600)))),
    ),
    "exp as true": (
        "exp must be a number",
        lambda: by_hand({"alg": "RS256"}, good_claims(exp=True)),
    ),
    "not yet valid": ("not valid yet", lambda: token(nbf=now(60))),
    "issued in the future": ("not valid yet", lambda: token(iat=now(60))),
    "nbf as text": (
        "nbf must be a number",
        lambda: by_hand({"alg": "RS256"}, good_claims(nbf="0")),
    ),
    # What it is for, and whose it is.
    "a refresh token": ("use must be access", lambda: token(use="refresh")),
    "no use": ("use must be access", lambda: token(use=None)),
    "use as a list": ("use must be access", lambda: token(use=["access"])),
    "no sub": ("sub must be", lambda: token(sub=None)),
    "an empty sub": ("sub must be", lambda: token(sub="")),
    "sub as a number": ("sub must be", lambda: by_hand({"alg": "RS256"}, good_claims(sub=7))),
    "sub with a line break": ("sub must be", lambda: token(sub="urn:pennlabs:a\nb")),
    "sub of 256 bytes": ("sub must be", lambda: token(sub="urn:pennlabs:" + "a" * 243)),
    "sub with a NUL": ("not a JSON object", lambda: token(sub="urn:pennlabs:a\0b")),
    "two subs": (
        "not a JSON object",
        lambda: by_hand(
            {"alg": "RS256"},
            json.dumps(good_claims()).replace('"use"', '"sub": "urn:pennlabs:x", "use"').encode(),
        ),
    ),
    "claims that are a list": (
        "not a JSON object",
        lambda: by_hand({"alg": "RS256"}, [good_claims()]),
    ),
    "claims that are no JSON": ("not a JSON object", lambda: by_hand({"alg": "RS256"}, b"{")),
    # Its form.
    "nothing": ("Bearer and a token", lambda: " "),
    "one part": ("three parts", lambda: "x"),
    "two parts": ("three parts", lambda: token().rsplit(".", 1)[0]),
    "four parts": ("three parts", lambda: token() + ".AA"),
    "an encrypted one has five": ("three parts", lambda: token() + ".AA.AA"),
    "three empty parts": ("not a JSON object", lambda: ".."),
    "padding": ("base64url", lambda: token() + "=="),
    "base64 of the other alphabet": ("base64url", lambda: changed(1, "e30+/w")),
    "a space in it": ("base64url", lambda: token()[:-3] + " AA"),
    "a header that is a list": ("not a JSON object", lambda: by_hand(["RS256"])),
    "over 8 KiB": ("longer than 8192", lambda: token(note="x" * 6200)),
    "over 8 KiB of nothing": ("longer than 8192", lambda: "." * 8193),
}


@functools.cache
def trap():
    """What a token names and nobody must ask."""
    return Provider(STRANGER)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    provider = Provider(RSA, RSA_NAMED, EC, EC_NAMED, SMALL)
    provider.extra.append(ENCRYPTION.jwk(use="enc", alg="RSA-OAEP"))
    provider.extra.append({"kty": "oct", "k": encoded(SECRET), "alg": "HS256", "kid": "shared"})
    engine = Engine(tmp_path_factory.mktemp("table"), provider=provider, JWKS_MIN_INTERVAL="1h")
    yield engine.start().wait_until_ready()
    engine.finish()
    provider.close()
    trap().close()


def ask(engine, text):
    return engine.post(a_transaction(), token=text)


@pytest.mark.parametrize("maker", GOOD.values(), ids=GOOD)
def test_good_tokens_are_200(engine, maker):
    text = maker()
    for _ in range(2):  # the second time from the cache
        answer = ask(engine, text)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("maker", FORBIDDEN.values(), ids=FORBIDDEN)
def test_tokens_of_others_are_403(engine, maker):
    text = maker()
    for _ in range(2):
        answer = ask(engine, text)
        assert answer.status_code == 403
        assert "is not an allowed URN" in answer.json()["detail"]


@pytest.mark.parametrize(("words", "maker"), REFUSED.values(), ids=REFUSED)
def test_bad_tokens_are_401_with_words(engine, words, maker):
    text = maker()
    for _ in range(2):
        answer = ask(engine, text)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        detail = answer.json()["detail"]
        assert re.search(words, detail), detail
        assert len(text) < 8 or text not in detail


def test_nobody_asks_where_a_token_says(engine):
    for name in ("jku", "x5u"):
        assert ask(engine, REFUSED[name][1]()).status_code == 401
    assert trap().jwks.requests == 0
    assert engine.provider.jwks.requests == 1


def test_nothing_of_a_token_is_in_the_log(engine):
    texts = [maker() for _, maker in REFUSED.values()] + [token()]
    for text in texts:
        ask(engine, text)
    for text in texts:
        for part in text.split("."):
            assert len(part) < 16 or part not in engine.full_log
