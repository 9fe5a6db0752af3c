"""Sends analytics events to the Labs Analytics Engine. README.md tells how to begin."""

from labs_analytics.aio import AsyncAnalyticsClient
from labs_analytics.client import AnalyticsClient
from labs_analytics.products import Product
from labs_analytics.tokens import IdentityTokens, TokenError
from labs_analytics.types import (
    Data,
    OnDrop,
    ProductLike,
    Stats,
    Timestamp,
    TokenProvider,
    Transaction,
    Value,
    ValueLike,
)

__all__ = [
    "AnalyticsClient",
    "AsyncAnalyticsClient",
    "Data",
    "IdentityTokens",
    "OnDrop",
    "Product",
    "ProductLike",
    "Stats",
    "Timestamp",
    "TokenError",
    "TokenProvider",
    "Transaction",
    "Value",
    "ValueLike",
]
