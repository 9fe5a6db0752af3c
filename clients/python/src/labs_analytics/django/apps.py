"""The app `labs_analytics.django`: has no models, checks the settings."""

from __future__ import annotations

import logging
from typing import Any, List

from django.apps import AppConfig
from django.conf import settings
from django.core import checks

from labs_analytics.django import conf
from labs_analytics.tally import logger


class AnalyticsConfig(AppConfig):  # type: ignore[misc]
    name = "labs_analytics.django"
    label = "labs_analytics"
    verbose_name = "Labs Analytics"

    def ready(self) -> None:
        checks.register(check_settings)
        if settings.DEBUG and not _is_heard():
            # As runserver shows Django's own messages: faults of callbacks must be seen.
            logger.addHandler(logging.StreamHandler())


def check_settings(app_configs: Any, **_: Any) -> List[Any]:
    """`manage.py check`: W001 with what is wrong in LABS_ANALYTICS. No Error, which would stop
    migrate, runserver and test."""
    fault = conf.current().fault
    return [] if fault is None else [checks.Warning(fault, id="labs_analytics.W001")]


def _is_heard() -> bool:
    handlers = logger.handlers + logging.getLogger().handlers
    return any(not isinstance(handler, logging.NullHandler) for handler in handlers)
