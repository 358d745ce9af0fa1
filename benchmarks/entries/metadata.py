"""What an entry says of itself: a block of comments at the top of its file, in the form of Python's inline metadata.

# SPDX-License-Identifier: MIT
# /// entry
# name = "sign_descent"
# authors = ["Ada Lovelace"]
# source = "https://arxiv.org/abs/1802.04434"
# budget = "small"
# ///
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, ValidationError

from benchmarks.errors import UserError
from benchmarks.suites.entries import Strict

BLOCK = re.compile(r"(?m)^# /// entry\n(?P<content>(^#(| .*)\n)+?)^# ///$")
LICENCE = re.compile(r"(?m)^# SPDX-License-Identifier: (?P<licence>[A-Za-z0-9 .()+-]+)$")
MOST_BYTES = 200_000


class Tier(NamedTuple):
    """What one fit may use, for one law and seed: training tasks drawn, and seconds of the processor."""

    tasks: int
    seconds: float


TIERS = {"none": Tier(0, 5.0), "small": Tier(500_000, 120.0), "large": Tier(5_000_000, 1200.0)}
"""By name; `none` is for what learns nothing."""


class Metadata(Strict):
    """The block.

    Attributes:
        name: the entry's id, of small letters, digits and underscores.
        authors: of the entry.
        source: where the method is described: an address or a reference.
        budget: a name in `TIERS`.
        solver: of the class, where a file has several.
        licence: of the file, an SPDX identifier, from its own line.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
    authors: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    budget: Literal["none", "small", "large"]
    solver: str = ""
    licence: str

    @property
    def tier(self) -> Tier:
        """What a fit may use."""
        return TIERS[self.budget]


def read_metadata(file: Path) -> Metadata:
    """What a file says of itself.

    Raises:
        UserError: if it says nothing, or not what it must.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the entry {str(file)!r} cannot be read: {error}") from None
    if len(text) > MOST_BYTES:
        raise UserError(f"the entry {str(file)!r} has {len(text):,} letters; it may have {MOST_BYTES:,}")
    licence, blocks = LICENCE.search(text), list(BLOCK.finditer(text))
    if licence is None:
        raise UserError(f"{file.name} names no licence; it must have a line such as '# SPDX-License-Identifier: MIT'")
    if len(blocks) != 1:
        raise UserError(f"{file.name} has {len(blocks)} blocks '# /// entry'; it must have one (see docs/enter.md)")
    content = "\n".join(line.removeprefix("#").removeprefix(" ") for line in blocks[0]["content"].splitlines())
    try:
        return Metadata(**tomllib.loads(content), licence=licence["licence"])
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"the block '# /// entry' of {file.name} is no TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"the block '# /// entry' of {file.name}: {where}: {first['msg'].lower()}") from None
    except TypeError:
        raise UserError(f"the block '# /// entry' of {file.name} names a licence; that is the line above it") from None
