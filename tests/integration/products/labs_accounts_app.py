"""A product as Penn Labs run them, in a process of its own: Django with the published package
django-labs-accounts, unmodified, which asks the identity provider for its tokens when Django
starts and records through `LabsAnalyticsRecorder`.

    labs_accounts_app.py PROVIDER_URL ENGINE_PORT CA_FILE

The package posts to https://analytics.pennlabs.org/analytics. Here that name leads to the engine
on this machine, whose certificate bears it. Commands come in on stdin, one a line, and each is
answered by one line of JSON on stdout:

    submit N     N transactions by submit(), with awkward values among them
    function N   N calls of a function with @record_function
    view N       N requests to an APIView with @record_apiview
    end          waits for the package's own threads
"""

import json
import os
import socket
import sys

HOST = "analytics.pennlabs.org"
AWKWARD = ["it's", 'say "hi"', "päälle", "a\\b", "', DROP TABLE event; --", "🎓", ""]

provider_url, engine_port, ca_file = sys.argv[1:]
os.environ["REQUESTS_CA_BUNDLE"] = ca_file
system_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host, port, *arguments, **named):
    if host == HOST:
        host, port = "127.0.0.1", int(engine_port)
    return system_getaddrinfo(host, port, *arguments, **named)


socket.getaddrinfo = getaddrinfo

import django  # noqa: E402
from django.conf import settings  # noqa: E402

settings.configure(
    SECRET_KEY="only for this test",
    ALLOWED_HOSTS=["*"],
    USE_TZ=True,
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "identity.apps.IdentityConfig",
        "analytics.apps.AnalyticsConfig",
    ],
    PLATFORM_ACCOUNTS={
        "PLATFORM_URL": provider_url,
        "CLIENT_ID": "clubs",
        "CLIENT_SECRET": "the secret of clubs",
    },
)
django.setup()

from analytics.analytics import (  # noqa: E402
    LabsAnalyticsRecorder,
    Product,
    get_analytics_recorder,
)
from analytics.entries import FuncEntry, ViewEntry  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from django.urls import path, resolve  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

recorder = get_analytics_recorder(Product.CLUBS)
assert isinstance(recorder, LabsAnalyticsRecorder), "the package fell back to printing"


@recorder.record_function(
    FuncEntry(name="searched", get_value=lambda arguments, found: arguments[0]),
    get_username=lambda arguments, found: "jdoe",
)
def search(words):
    return len(words)


@recorder.record_apiview(ViewEntry(name="visit"), ViewEntry.time, ViewEntry.status)
class Clubs(APIView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, request):
        return Response([])


urlpatterns = [path("clubs/", Clubs.as_view(), name="clubs-list")]


def submit(count):
    for n in range(count):
        value = AWKWARD[n % len(AWKWARD)]
        recorder.submit([{"key": f"submit.{n}", "value": value}], pennkey=f"user{n}")


def function(count):
    for n in range(count):
        search(f"words {n}")


def view(count):
    for _ in range(count):
        request = RequestFactory().get("/clubs/")
        request.resolver_match = resolve("/clubs/")
        Clubs.as_view()(request)


for line in sys.stdin:
    command, _, count = line.strip().partition(" ")
    if command == "end":
        recorder.executor.shutdown(wait=True)
        print(json.dumps({"done": command}), flush=True)
        break
    {"submit": submit, "function": function, "view": view}[command](int(count))
    print(json.dumps({"done": command}), flush=True)
