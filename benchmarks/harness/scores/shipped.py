"""Fitted parameters that come with the project, for fits by search: found by what they were fitted to and how."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.errors import UserError
from memformer.core import checkpoint

SHIPPED = Path(__file__).resolve().parents[2] / "catalogue" / "checkpoints"
"""Where they are: safetensors, and `INDEX`."""

INDEX = "index.json"
"""Of each file by its name: SHA-256, what it is, and the loss that it reaches."""

BOUND = ("solver", "solver_version", "settings", "law", "law_version", "law_settings", "fingerprint", "steps", "seed")
"""Of a header (see `benchmarks.harness.scores.fitting.header_of`), what must be the same. The source that fitted them,
the versions of libraries, the dtype and the device may be others: a number that could have changed raises a version."""


def bound(header: Mapping[str, str]) -> dict[str, str]:
    """The part of a header that names shipped parameters."""
    return {key: header[key] for key in BOUND}


def file_name(header: Mapping[str, str]) -> str:
    """Name of the file of parameters with that header."""
    digest = hashlib.sha256(json.dumps(bound(header), sort_keys=True).encode()).hexdigest()[:12]
    return f"{header['solver']}-{header['law']}-{digest}.safetensors"


def shipped_parameters(folder: Path, header: Mapping[str, str]) -> checkpoint.Checkpoint | None:
    """Parameters that come with the project, in the dtype that a header asks for; None if there are none.

    Args:
        folder: `SHIPPED`, or another.
        header: of what is to be fitted.

    Raises:
        UserError: if the file is not the one that the index names.
    """
    name = file_name(header)
    known = index(folder).get(name)
    if known is None or header["plugin"]:
        return None
    path = folder / name
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != known["sha256"]:
        raise UserError(f"{path} is not the file that came with the project; install it again, or fit with --refit")
    found = checkpoint.load(path, expect=bound(header))
    dtype = getattr(torch, header["dtype"])
    cast = {key: one.to(dtype) if one.is_floating_point() else one for key, one in found.parameters.items()}
    return checkpoint.Checkpoint(cast, found.header)


@cache
def index(folder: Path) -> dict[str, dict[str, Any]]:
    """What is there, by the name of the file."""
    path = folder / INDEX
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
