"""Pages that are mostly words: Jinja templates, beside the code that computes what they say."""

from __future__ import annotations

from functools import cache
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from tabulate import tabulate

from benchmarks.reports import escape


def render(package: str, name: str, **facts: Any) -> str:
    """A page.

    Args:
        package: in whose folder the template is.
        name: of the template; what it shows is escaped if the name ends in `.html.jinja`.
        facts: what the template may show. Its filter `table(headers, format)` makes a table of rows or of a DataFrame.
    """
    return _templates(package).get_template(name).render(facts)


@cache
def _templates(package: str) -> Environment:
    templates = Environment(
        loader=PackageLoader(package, ""),
        autoescape=lambda name: str(name).endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {"table": table, "markdown": escape.markdown}
    return templates


def table(rows: Any, headers: Any, tablefmt: str = "github") -> str:
    """A Markdown table of cells that are shown as they are, a pipe in them too."""
    cells = rows.map(escape.cell) if isinstance(rows, pd.DataFrame) else [[*map(escape.cell, row)] for row in rows]
    return tabulate(cells, headers, tablefmt=tablefmt, showindex=False, disable_numparse=True)
