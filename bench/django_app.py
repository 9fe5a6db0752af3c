"""The Django app of django_requests.py, for gunicorn: a view of Django REST framework that takes a
transaction's JSON and answers with a summary of it.

With LABS_ANALYTICS in the environment, as JSON, it has the client's middleware and decorator, as a
product would; without it, nothing of the client.
"""

import json
import os

import django
from django.conf import settings

GIVEN = os.environ.get("LABS_ANALYTICS")
RULES = [{"url_name": "visit", "key": "club.visit", "argument": "code"}]

settings.configure(
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"stderr": {"class": "logging.StreamHandler"}},
        "loggers": {"labs_analytics": {"handlers": ["stderr"], "level": "WARNING"}},
    },
    SECRET_KEY="of a measurement",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["rest_framework", *(["labs_analytics.django"] if GIVEN else [])],
    MIDDLEWARE=[
        *(["labs_analytics.django.AnalyticsMiddleware"] if GIVEN else []),
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "UNAUTHENTICATED_USER": None,
    },
    **({"LABS_ANALYTICS": json.loads(GIVEN) | {"RULES": RULES}} if GIVEN else {}),
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402 (needs the settings)
from django.urls import path  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class Visit(APIView):
    def post(self, request, code):
        points = request.data["data"]
        areas = sorted({point["key"].split(".")[0] for point in points})
        return Response({"club": code, "points": len(points), "areas": areas})


if GIVEN:
    from labs_analytics.django.analytics import Product, get_analytics_recorder
    from labs_analytics.django.entries import ViewEntry

    Visit = get_analytics_recorder(Product.CLUBS).record_apiview(
        ViewEntry(),
        ViewEntry(name="points", get_value=lambda request, _: len(request.data["data"])),
        ViewEntry.time,
    )(Visit)

urlpatterns = [path("visit/<str:code>/", Visit.as_view(), name="visit")]
application = get_wsgi_application()
