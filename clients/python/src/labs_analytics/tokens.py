"""Tokens of the identity service of Penn Labs' platform.

The first token is attested by client id and secret, later ones are refreshed before they expire,
and when refreshing fails one is attested again. Tokens are not verified here: the engine does
that. Their `iat` and `exp` are read to know when to be early. A provider is asked only on a
client's background thread, so all of this costs no caller anything.

The state is one tuple that is replaced whole: no lock can be inherited locked by a forked child,
and two threads that ask at once both get a good token.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
from typing import Any, Dict, NamedTuple, Optional

from labs_analytics.transport import Address, Connection

PLATFORM = "https://platform.pennlabs.org"
EARLY_S = 60.0
# For a token that does not say when it expires.
UNKNOWN_LIFE_S = 300.0


class TokenError(Exception):
    """No token could be had; the message says why, and holds no secret."""


class _Tokens(NamedTuple):
    access: str
    refresh: Optional[str]
    good_until: float  # Unix time


class IdentityTokens:
    """A token provider for AnalyticsClient.

    `client_id`, `client_secret`: the product's, as registered with the platform
    `platform`: address of the platform; tokens come from `<platform>/identity/attest/`
    `timeout`: seconds for each request to it
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        *,
        platform: str = PLATFORM,
        timeout: float = 10.0,
        ssl_context: Optional[ssl.SSLContext] = None,
    ) -> None:
        self._address = Address.of(platform)
        secret = f"{client_id}:{client_secret}".encode()
        self._basic = "Basic " + base64.b64encode(secret).decode("ascii")
        self._timeout = timeout
        self._context = ssl_context
        self._tokens: Optional[_Tokens] = None

    def __call__(self) -> str:
        """A token that is good for a while; raises TokenError."""
        tokens = self._tokens
        if tokens is None or time.time() >= tokens.good_until:
            tokens = self._refreshed(tokens) or self._attested()
            self._tokens = tokens
        return tokens.access

    def invalidate(self) -> None:
        """The engine has refused the last token: the next one is a new one."""
        tokens = self._tokens
        if tokens is not None:
            self._tokens = tokens._replace(good_until=0.0)

    def _refreshed(self, tokens: Optional[_Tokens]) -> Optional[_Tokens]:
        if tokens is None or tokens.refresh is None:
            return None
        # A refresh token is used once without success, at most: then it is forgotten.
        self._tokens = None
        try:
            answer = self._ask("/identity/refresh/", f"Bearer {tokens.refresh}")
        except TokenError:
            return None
        return _Tokens(answer["access"], tokens.refresh, _good_until(answer["access"]))

    def _attested(self) -> _Tokens:
        answer = self._ask("/identity/attest/", self._basic)
        refresh = answer.get("refresh")
        return _Tokens(
            answer["access"],
            refresh if isinstance(refresh, str) else None,
            _good_until(answer["access"]),
        )

    def _ask(self, path: str, authorization: str) -> Dict[str, Any]:
        """The object that was answered; its `access` is a text."""
        # Asked for a few times a day: no connection is kept.
        connection = Connection(self._address, self._timeout, self._context)
        try:
            answer = connection.post(path, b"", {"Authorization": authorization})
        except OSError as fault:
            raise TokenError(f"{path}: {fault}") from None
        except Exception as fault:
            # Not its words: those of http.client quote a header that cannot be sent.
            raise TokenError(f"{path}: {type(fault).__name__}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise TokenError(f"{path} answered {answer.status}")
        try:
            content = json.loads(answer.body)
            if isinstance(content["access"], str):
                return dict(content)
        except (ValueError, KeyError, TypeError):
            pass
        raise TokenError(f"{path} answered without a token")


def claim_of(token: str, name: str) -> Optional[float]:
    """A number that a JWT claims, unverified. None: there is none that can be read."""
    try:
        claims = token.split(".")[1]
        padded = claims + "=" * (-len(claims) % 4)
        return float(json.loads(base64.urlsafe_b64decode(padded))[name])
    except (IndexError, KeyError, TypeError, ValueError, OverflowError):
        return None


def _good_until(token: str) -> float:
    """By this machine's clock, though it may differ from the service's: the token has just been
    issued, and lives as long as that one says."""
    now = time.time()
    expires = claim_of(token, "exp")
    issued = claim_of(token, "iat")
    life = UNKNOWN_LIFE_S if expires is None else expires - (now if issued is None else issued)
    if not life > 0:
        life = UNKNOWN_LIFE_S  # whatever the clocks say: else it would be asked for every time
    # Early, but by no more than half of a short life.
    return now + life - min(EARLY_S, life / 2)
