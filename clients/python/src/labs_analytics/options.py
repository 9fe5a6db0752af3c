"""The options of a client, checked once, when it is made."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import Any, Optional, Union, get_args

from labs_analytics import spool
from labs_analytics.transport import Address
from labs_analytics.types import OnDrop, ProductLike, TokenProvider, WhenFull


@dataclass(frozen=True)
class Options:
    """See AnalyticsClient for what each means."""

    address: Address
    provider: TokenProvider
    product: Optional[ProductLike]
    batch_count: int
    batch_bytes: int
    batch_age: float
    queue_count: int
    queue_bytes: int
    patience: float  # seconds that submit() waits for room
    spool_dir: Optional[str]
    spool_bytes: int
    timeout: float
    retry_min: float
    retry_max: float
    exit_timeout: float
    ssl_context: Optional[ssl.SSLContext]
    on_drop: Optional[OnDrop]


def provider_of(
    token: Optional[str], provider: Optional[TokenProvider], key: Optional[str]
) -> TokenProvider:
    given = [one for one in (token, provider, key) if one is not None]
    if len(given) != 1:
        raise ValueError("give one of token, token_provider and key")
    if provider is not None:
        if not callable(provider):
            raise ValueError("token_provider must be callable")
        return provider
    words = given[0]
    if not isinstance(words, str) or not words or not words.isascii() or not words.isprintable():
        raise ValueError("the token or key must be one line of ASCII text")
    if key is not None and not key.startswith("la_"):
        raise ValueError("a key starts with la_; a JWT is given as token")
    return lambda: words


def folder_of(spool_dir: Union[str, os.PathLike[str], None]) -> Optional[str]:
    if spool_dir is None:
        return None
    if not isinstance(spool_dir, (str, os.PathLike)) or not os.fspath(spool_dir):
        raise ValueError("spool_dir must be a path")
    # Absolute: a server that becomes a daemon changes its working directory.
    return os.path.abspath(os.fspath(spool_dir))


def patience_of(when_full: str, block_timeout: float) -> float:
    if when_full not in get_args(WhenFull):
        raise ValueError(f"when_full must be one of {', '.join(get_args(WhenFull))}")
    _check_range("block_timeout", block_timeout, 0, 3600)
    return block_timeout if when_full == "block" else 0.0


def product_of(product: Optional[ProductLike]) -> Optional[ProductLike]:
    """Plain: looking at a member of an enumeration again and again costs more."""
    if isinstance(product, int):
        return int(product)
    if product is None or isinstance(product, str):
        return product
    raise ValueError("product must be a number or a name")


def check(options: Options) -> Options:
    _check_count("batch_count", options.batch_count, 1, 10_000)
    _check_count("batch_bytes", options.batch_bytes, 1, 16 << 20)
    _check_range("batch_age", options.batch_age, 0, 3600)
    _check_count("queue_count", options.queue_count, 1, 10_000_000)
    _check_count("queue_bytes", options.queue_bytes, 1, 1 << 40)
    _check_count("spool_bytes", options.spool_bytes, spool.BLOCK, 1 << 50)
    _check_range("timeout", options.timeout, 0.01, 3600)
    _check_range("retry_min", options.retry_min, 0.001, 3600)
    _check_range("retry_max", options.retry_max, options.retry_min, 3600)
    _check_range("exit_timeout", options.exit_timeout, 0, 3600)
    if options.spool_dir is not None and not spool.SUPPORTED:
        raise ValueError(f"spool_dir needs a POSIX system; this is {os.name}")
    if options.ssl_context is not None and not isinstance(options.ssl_context, ssl.SSLContext):
        raise ValueError("ssl_context must be an ssl.SSLContext")
    if options.on_drop is not None and not callable(options.on_drop):
        raise ValueError("on_drop must be callable")
    return options


def _check_count(name: str, value: Any, least: int, most: int) -> None:
    if not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number")
    _check_range(name, value, least, most)


def _check_range(name: str, value: Any, least: float, most: float) -> None:
    if not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f"{name} must be from {least:g} to {most:g}")
