"""HTML pages from the templates: self-contained, every string from a file escaped."""

import math
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """Return the page that the template makes of `values`; an undefined name in it is an error."""
    return _environment().get_template(template).render(**values)


def source(template: str) -> str:
    """Return a template as it is written."""
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, template)[0]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("genreray"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number, count=count)
    return environment


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share as a percentage, a dash for None."""
    return "–" if share is None else f"{100 * share:.{digits}f}\u202f%"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many decimals, a dash for None, NaN and infinity."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def count(value: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{value:,}"
