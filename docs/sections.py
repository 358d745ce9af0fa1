"""How the reference reads our docstrings: sections whose names griffe does not know are those that it knows."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

NAMES = {"Example": "Examples", "Class attributes": "Attributes"}


class Sections(Extension):
    """Gives sections the names of Google's style."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rename the sections of one docstring."""
        if obj.docstring is not None:
            pattern = rf"^({'|'.join(NAMES)}):$"
            obj.docstring.value = re.sub(pattern, lambda m: f"{NAMES[m[1]]}:", obj.docstring.value, flags=re.MULTILINE)
