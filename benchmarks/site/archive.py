"""Files to take away, as one archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time that files in an archive have: the same files give the same archive."""


def archive(files: Mapping[str, Path | str]) -> bytes:
    """A zip of files, or of texts, under the names that are given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, EARLIEST)
            member.external_attr = 0o644 << 16
            packed.writestr(
                member, content if isinstance(content, str) else content.read_bytes(), zipfile.ZIP_DEFLATED, 9
            )
    return buffer.getvalue()
