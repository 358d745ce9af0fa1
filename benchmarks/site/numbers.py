"""Numbers as pages show them: with a true minus, empty where there is none."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

MINUS = "\N{MINUS SIGN}"


def missing(value: Any) -> bool:
    """Whether a cell of a table holds nothing."""
    return value is None or bool(pd.isna(value))


def fixed(value: Any, digits: int = 2, sign: str = "") -> str:
    """A number with so many decimals.

    Example:
        >>> fixed(-1.005), fixed(0.5, 3, "+"), fixed(None)
        ('−1.00', '+0.500', '')
    """
    return "" if missing(value) else f"{value:{sign}.{digits}f}".replace("-", MINUS)


def significant(value: Any, digits: int = 3) -> str:
    """A number with so many digits that count, without an exponent where it can be read without.

    Example:
        >>> significant(0.012345), significant(12345.6), significant(2.0)
        ('0.0123', '12,346', '2')
    """
    if missing(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}".replace("-", MINUS)


def interval(low: Any, high: Any, digits: int = 2, sign: str = "") -> str:
    """Both ends of an interval, empty where one is missing."""
    return "" if missing(low) or missing(high) else f"[{fixed(low, digits, sign)}, {fixed(high, digits, sign)}]"


def minus(text: str) -> str:
    """Words with a true minus before their numbers.

    Example:
        >>> minus("cg at -1.61, a-1")
        'cg at −1.61, a-1'
    """
    return re.sub(r"(?<![\w-])-(?=[\d.])", MINUS, text)


def slug(text: str) -> str:
    """Letters and digits for the name of a file, whatever the text is.

    Example:
        >>> slug("isotropic, d = 5 <b>"), slug("日本")
        ('isotropic-d-5-b', 'x')
    """
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")[:80] or "x"
