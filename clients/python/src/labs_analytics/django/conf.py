"""The setting LABS_ANALYTICS, and the one client that it describes.

Names are the arguments of AnalyticsClient in capitals (URL, PRODUCT, KEY, SPOOL_DIR, ...), and

    IDENTITY   {"CLIENT_ID": ..., "CLIENT_SECRET": ..., "PLATFORM_URL": ...}: tokens of the
               identity service. With no credentials at all, those of django-labs-accounts are
               used: its setting PLATFORM_ACCOUNTS, LABS_CLIENT_ID and LABS_CLIENT_SECRET
    RULES      what the middleware records: see rules.py
    OFF        True: nothing is recorded, as tests want it

Wrong settings stop no product: they are logged, `manage.py check` shows them, and nothing is
recorded. The client is made when it is first asked for, once for each value of the setting, so
that override_settings() has its own. It has no thread before the first event.
"""

from __future__ import annotations

import inspect
import logging
import os
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from labs_analytics.client import AnalyticsClient
from labs_analytics.django.guard import tell as tell_once
from labs_analytics.django.rules import Rule, rules_of
from labs_analytics.tally import tell
from labs_analytics.tokens import PLATFORM, IdentityTokens
from labs_analytics.types import Data, ProductLike, Timestamp, ValueLike

NAME = "LABS_ANALYTICS"
URL = "https://analytics.pennlabs.org"

_ARGUMENTS = {name.upper() for name in inspect.signature(AnalyticsClient).parameters}
_CREDENTIALS = ("TOKEN", "TOKEN_PROVIDER", "KEY")
_UNSET: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Config:
    """What one value of the setting means."""

    source: Any  # that value; held, so that no other is ever found at its address
    client: Optional[AnalyticsClient] = None  # None: off, not configured, or wrong
    rules: Tuple[Rule, ...] = ()
    off: bool = False
    fault: Optional[str] = None  # what is wrong with it


_configs: Dict[int, Config] = {}


def current() -> Config:
    """Of the setting as it is now. Does not raise."""
    try:
        source = getattr(settings, NAME, _UNSET)
    except Exception as fault:  # a script that has configured none; it may do so later
        tell_once("asking for the settings of Django")
        return Config(_UNSET, fault=str(fault))
    found = _configs.get(id(source))
    # Of several threads that come here at once the first one's is used by all. No lock guards
    # this: a forked child could inherit it locked.
    return found or _configs.setdefault(id(source), _config_of(source))


def get_client() -> Optional[AnalyticsClient]:
    """The client that LABS_ANALYTICS describes; None: it is off, wrong, or has no credentials."""
    return current().client


def record(
    key: str,
    value: ValueLike = 1,
    *,
    pennkey: Optional[str] = None,
    timestamp: Optional[Timestamp] = None,
    product: Optional[ProductLike] = None,
) -> bool:
    """AnalyticsClient.record() of the shared client. False, too, when there is none."""
    client = current().client
    return client is not None and client.record(
        key, value, pennkey=pennkey, timestamp=timestamp, product=product
    )


def submit(
    data: Data,
    *,
    pennkey: Optional[str] = None,
    timestamp: Optional[Timestamp] = None,
    product: Optional[ProductLike] = None,
) -> bool:
    """AnalyticsClient.submit() of the shared client. False, too, when there is none."""
    client = current().client
    return client is not None and client.submit(
        data, pennkey=pennkey, timestamp=timestamp, product=product
    )


def _config_of(source: Any) -> Config:
    try:
        return read(source)
    except Exception as fault:
        words = f"{NAME}: {fault}"
        tell(logging.ERROR, "nothing is recorded: %s", words)
        return Config(source, fault=words)


def read(source: Any) -> Config:
    """Raises what names the entry that is wrong."""
    if not isinstance(source, Mapping):
        raise ImproperlyConfigured("must be a dict")
    known = _ARGUMENTS | {"IDENTITY", "RULES", "OFF"}
    for name in source:
        if name not in known:
            raise ImproperlyConfigured(
                f"{name!r} is not known; there are {', '.join(sorted(known))}"
            )
    rules = rules_of(source.get("RULES", ()))
    if rules and source.get("PRODUCT") is None:
        raise ImproperlyConfigured("RULES need a PRODUCT")
    if source.get("OFF", False):
        return Config(source, off=True)
    arguments = {name.lower(): source[name] for name in source if name in _ARGUMENTS}
    arguments.setdefault("url", URL)
    if all(source.get(name) is None for name in _CREDENTIALS):
        provider = _identity(source)
        if provider is None:
            if not source:
                return Config(source)
            raise ImproperlyConfigured("give one of KEY, TOKEN, TOKEN_PROVIDER and IDENTITY")
        arguments["token_provider"] = provider
    elif source.get("IDENTITY") is not None:
        raise ImproperlyConfigured("give only one of KEY, TOKEN, TOKEN_PROVIDER and IDENTITY")
    return Config(source, AnalyticsClient(**arguments), rules)


def _identity(source: Mapping[str, Any]) -> Optional[IdentityTokens]:
    """From IDENTITY; without it from where django-labs-accounts has its own."""
    given = source.get("IDENTITY")
    if given is None:
        accounts = getattr(settings, "PLATFORM_ACCOUNTS", {})
        client_id = accounts.get("CLIENT_ID", os.environ.get("LABS_CLIENT_ID"))
        secret = accounts.get("CLIENT_SECRET", os.environ.get("LABS_CLIENT_SECRET"))
        if not client_id or not secret:
            return None
        return IdentityTokens(client_id, secret, platform=accounts.get("PLATFORM_URL", PLATFORM))
    unknown = set(given) - {"CLIENT_ID", "CLIENT_SECRET", "PLATFORM_URL"}
    if unknown:
        raise ImproperlyConfigured(f"IDENTITY: {sorted(unknown)[0]!r} is not known")
    if not given.get("CLIENT_ID") or not given.get("CLIENT_SECRET"):
        raise ImproperlyConfigured("IDENTITY: CLIENT_ID and CLIENT_SECRET must be given")
    return IdentityTokens(
        given["CLIENT_ID"],
        given["CLIENT_SECRET"],
        platform=given.get("PLATFORM_URL", PLATFORM),
    )


def _forget_others(*, setting: str, enter: bool, **_: Any) -> None:
    """override_settings() ends: what was only for it goes, without waiting for an engine."""
    if setting != NAME or enter:
        return
    present = id(getattr(settings, NAME, _UNSET))
    for identity in [identity for identity in list(_configs) if identity != present]:
        gone = _configs.pop(identity, None)
        if gone is not None and gone.client is not None:
            gone.client.close(0)


setting_changed.connect(_forget_others)
