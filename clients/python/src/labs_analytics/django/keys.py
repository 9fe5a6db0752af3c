"""How views and functions are called in keys."""

from __future__ import annotations

from typing import Any


def prefix_of(request: Any) -> str:
    """The name of the request's URL with its namespaces, as `clubs.detail_view`; of an unnamed
    URL that of its view, as `clubs.views.Detail`. Raises if the request was not resolved."""
    name: str = request.resolver_match.view_name
    return name.replace(":", ".").replace("-", "_")
