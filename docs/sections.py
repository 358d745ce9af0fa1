"""How the reference reads our docstrings: sections whose names griffe does not know are those that it knows."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

LINES = ("Needs", "Cost", "Guarantee", "Source")
"""Lines that say one thing each."""

NAMES = {"Example": "Examples", "Class attributes": "Attributes"}


class Sections(Extension):
    """Gives sections the names of Google's style."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rename the sections of one docstring, and part its lines."""
        if obj.docstring is not None:
            text = re.sub(rf"^({'|'.join(NAMES)}):$", lambda m: f"{NAMES[m[1]]}:", obj.docstring.value, flags=re.M)
            obj.docstring.value = re.sub(rf"^({'|'.join(LINES)}): ", r"\n**\1:** ", text, flags=re.M)
