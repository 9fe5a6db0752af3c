"""A WSGI application that records its requests, and that it has been loaded."""

import json
import os

from labs_analytics import AnalyticsClient

client = AnalyticsClient(
    os.environ["URL"], key="la_test", product=10, batch_age=float(os.environ["BATCH_AGE"])
)
client.record("loaded", os.getpid())


def application(environ, start_response):
    client.record("request", environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "queued": client.stats().queued}).encode()]
