"""The published package and this one, each as what a product imports and what it then sends.

A Kit has the names that products import, `recorder`, and sent(): the transactions that went over
the wire since the last call, as the engine understands them.
"""

import contextlib
import json
import time
from types import SimpleNamespace

from django.test import override_settings


class Kit(SimpleNamespace):
    def sent(self):
        self.see_through()
        bodies = [request.transactions for request in self.server.requests]
        self.server.requests.clear()
        # The published package posts objects, this one arrays of them.
        told = [one for body in bodies for one in (body if isinstance(body, list) else [body])]
        return [_understood(one) for one in told]


def _understood(transaction):
    """Without the id that only one of them gives, and with what is left out."""
    return {
        "product": transaction["product"],
        "pennkey": transaction.get("pennkey"),
        "timestamp": transaction["timestamp"],
        "data": [(point["key"], point["value"]) for point in transaction["data"]],
    }


class _Jwt:
    """In place of the token that the identity service would have given."""

    claims = json.dumps({"exp": time.time() + 86400})

    def serialize(self):
        return "token"


class _AtOnce:
    """In place of the published recorder's pool of threads, so that sent() has nothing to await."""

    def submit(self, call, *arguments):
        call(*arguments)


@contextlib.contextmanager
def published(scripted, product=10):
    from analytics import analytics, entries
    from identity.identity import container

    server = scripted(default=lambda _: (200, {}))
    kind = analytics.LabsAnalyticsRecorder
    container.access_jwt = _Jwt()
    address = kind.ANALYTICS_URL
    kind.ANALYTICS_URL = server.url + "/analytics"
    try:
        yield _kit(analytics, entries, server, product, lambda: None)
    finally:
        kind.ANALYTICS_URL = address
        del kind.instance
        container.access_jwt = None


@contextlib.contextmanager
def ours(scripted, product=10):
    from labs_analytics.django import analytics, entries, get_client

    server = scripted()
    settings = {"URL": server.url, "KEY": "la_test", "RETRY_MIN": 0.02}
    with override_settings(LABS_ANALYTICS=settings):
        yield _kit(analytics, entries, server, product, lambda: get_client().flush(30))


def _kit(analytics, entries, server, product, see_through):
    recorder = analytics.get_analytics_recorder(analytics.Product(product))
    assert type(recorder).__name__ == "LabsAnalyticsRecorder"
    if hasattr(recorder, "executor"):
        recorder.executor.shutdown()
        recorder.executor = _AtOnce()
        recorder.session.trust_env = False
    return Kit(
        recorder=recorder,
        server=server,
        see_through=see_through,
        Product=analytics.Product,
        AnalyticsTxn=analytics.AnalyticsTxn,
        AnalyticsRecorder=analytics.AnalyticsRecorder,
        get_analytics_recorder=analytics.get_analytics_recorder,
        ViewEntry=entries.ViewEntry,
        FuncEntry=entries.FuncEntry,
        UnaryFuncEntry=entries.UnaryFuncEntry,
        LocalAnalyticsRecorder=analytics.LocalAnalyticsRecorder,
    )
