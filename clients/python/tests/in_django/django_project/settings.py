import json
import os

SECRET_KEY = "of tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "django_project.urls"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "labs_analytics.django",
]
MIDDLEWARE = [
    "labs_analytics.django.AnalyticsMiddleware",
    "django_project.users.LazyUserMiddleware",
]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["django_project.users.Authentication"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
if "LABS_ANALYTICS" in os.environ:
    LABS_ANALYTICS = json.loads(os.environ["LABS_ANALYTICS"])
