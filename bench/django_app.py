"""The Django app of django_requests.py, for gunicorn: a view of Django REST framework that takes a
transaction's JSON and answers with a summary of it.

With LABS_ANALYTICS in the environment, as JSON, it has the client's middleware and decorator, as a
product would; without it, nothing of the client.

With STORE in the environment, as the JSON of one of Django's DATABASES, it is what products are:
the middleware that `startproject` gives them, users who log in by token, and an answer out of the
database. `python django_app.py` fills that; USER_TOKEN then logs in.
"""

import json
import os

import django
from django.conf import settings

GIVEN = os.environ.get("LABS_ANALYTICS")
STORE = os.environ.get("STORE")
USER_TOKEN = "of-a-measurement"
RULES = [{"url_name": "visit", "key": "club.visit", "argument": "code"}]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
APPS = ["rest_framework"]
if STORE:
    MIDDLEWARE = [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
    contrib = ["auth", "contenttypes", "sessions", "messages"]
    APPS += ["rest_framework.authtoken", *(f"django.contrib.{name}" for name in contrib)]

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
    INSTALLED_APPS=[*APPS, *(["labs_analytics.django"] if GIVEN else [])],
    MIDDLEWARE=[
        *(["labs_analytics.django.AnalyticsMiddleware"] if GIVEN else []),
        *MIDDLEWARE,
    ],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "UNAUTHENTICATED_USER": None,
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": json.loads(STORE)} if STORE else {},
    **({"LABS_ANALYTICS": json.loads(GIVEN) | {"RULES": RULES}} if GIVEN else {}),
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402 (needs the settings)
from django.urls import path  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


def summary_of(data):
    points = data["data"]
    areas = sorted({point["key"].split(".")[0] for point in points})
    return {"points": len(points), "areas": areas}


if STORE:
    from django.contrib.auth.models import Group, User
    from django.shortcuts import get_object_or_404
    from rest_framework.authentication import TokenAuthentication
    from rest_framework.permissions import IsAuthenticated
    from rest_framework.serializers import ModelSerializer

    class BearerAuthentication(TokenAuthentication):
        keyword = "Bearer"

    class MemberSerializer(ModelSerializer):
        class Meta:
            model = User
            fields = ("id", "username", "first_name", "last_name", "email")

    class ClubSerializer(ModelSerializer):
        members = MemberSerializer(source="user_set", many=True)

        class Meta:
            model = Group
            fields = ("id", "name", "members")

    class Visit(APIView):
        authentication_classes = (BearerAuthentication,)
        permission_classes = (IsAuthenticated,)

        def post(self, request, code):
            club = get_object_or_404(Group.objects.prefetch_related("user_set"), name=code)
            return Response({**ClubSerializer(club).data, **summary_of(request.data)})

else:

    class Visit(APIView):
        def post(self, request, code):
            return Response({"club": code, **summary_of(request.data)})


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


def fill():
    """The tables, a club with ten members, and the first one's token."""
    from django.core.management import call_command
    from rest_framework.authtoken.models import Token

    call_command("migrate", verbosity=0)
    club = Group.objects.create(name="penn-labs")
    for number in range(10):
        member = User.objects.create(
            username=f"member{number}",
            first_name="Ada",
            last_name=f"Lovelace {number}",
            email=f"member{number}@upenn.edu",
        )
        club.user_set.add(member)
    Token.objects.create(user=club.user_set.first(), key=USER_TOKEN)


if __name__ == "__main__":
    fill()
