"""The client in a Django project: settings, a middleware, decorators. README.md tells how.

`record` and `submit` use the one client that LABS_ANALYTICS describes; `get_client` gives it.
"""

from labs_analytics.django.conf import get_client, record, submit
from labs_analytics.django.middleware import AnalyticsMiddleware

__all__ = ["AnalyticsMiddleware", "get_client", "record", "submit"]
