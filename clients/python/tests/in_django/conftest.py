"""product    makes products whose LABS_ANALYTICS points to a Scripted server: product(RULES=...)"""

import django_project
import pytest

django_project.start()


class Product:
    """LABS_ANALYTICS points to a server; sent() gives what this was sent since the last time."""

    def __init__(self, server, settings):
        from django.test import Client

        self.server = server
        self.settings = settings
        self.client = Client(raise_request_exception=False)

    def get(self, path, **headers):
        return self._seen_through(self.client.get(path, **headers))

    def post(self, path, **headers):
        return self._seen_through(self.client.post(path, **headers))

    @staticmethod
    def _seen_through(response):
        """A stream is closed by who reads it."""
        b"".join(response)
        return response

    def sent(self):
        from labs_analytics.django import get_client

        client = get_client()
        if client is not None:
            assert client.flush(30), client.stats()
        told = [one for request in self.server.requests for one in request.transactions]
        self.server.requests.clear()
        return told

    def points(self):
        """All datapoints as (key, value)."""
        return [(one["key"], one["value"]) for sent in self.sent() for one in sent["data"]]


@pytest.fixture
def product(scripted):
    from django.test import override_settings

    from labs_analytics.django import guard

    stacked = []
    guard._told.clear()

    def make(**given):
        server = scripted()
        settings = {"URL": server.url, "KEY": "la_test", "PRODUCT": "CLUBS", "RETRY_MIN": 0.02}
        stacked.append(override_settings(LABS_ANALYTICS=settings | given))
        stacked[-1].enable()
        return Product(server, settings | given)

    yield make
    for overriding in reversed(stacked):
        overriding.disable()
