"""Figures as the site has them: without what nobody sees, digits that no screen shows among it."""

from __future__ import annotations

from pathlib import Path
from xml.parsers.expat import ExpatError

from scour import scour

_OPTIONS = scour.sanitizeOptions()
for _name, _value in {
    "digits": 5,
    "indent_type": "none",
    "newlines": False,
    "quiet": True,
    "remove_metadata": True,
    "shorten_ids": True,
    "strip_comments": True,
    "strip_ids": True,
}.items():
    setattr(_OPTIONS, _name, _value)


def shrunk(figure: Path) -> str:
    """An SVG that looks the same and is little more than half as large; as it is, if it is none."""
    text = figure.read_text(encoding="utf-8", errors="replace")
    try:
        return scour.scourString(text, _OPTIONS)
    except (ExpatError, ValueError):
        return text
