"""Self-contained HTML pages from the templates beside this file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jinja2

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def number(value: float | None, digits: int = 4) -> str:
    """A dash for what was not measured; counts stay whole."""
    if value is None or math.isnan(value):
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


_TEMPLATES.filters |= {"number": number, "percent": _percent, "milliseconds": lambda value: number(value, 1)}


def render(template: str, **context: Any) -> str:
    """The page as text; whatever is in the context is escaped."""
    return _TEMPLATES.get_template(template).render(**context)
