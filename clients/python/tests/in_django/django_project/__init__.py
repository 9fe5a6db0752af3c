"""A small product with Django and DRF. start() is for tests in this process; gunicorn serves
`django_project.wsgi`, which takes LABS_ANALYTICS from the environment, as JSON."""

import os

import django


def start():
    os.environ["DJANGO_SETTINGS_MODULE"] = "django_project.settings"
    django.setup()
