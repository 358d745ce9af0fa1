"""A model in a folder: `config.json` says what it is made of, `model.safetensors` holds its parameters."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from memformer.core import checkpoint
from memformer.core.checkpoint import CheckpointError
from memformer.core.checks import near
from memformer.model.config import MemformerConfig

CONFIG = "config.json"
PARAMETERS = "model.safetensors"

KIND = {"model_type": "memformer", "format_version": 1}
"""How every `config.json` begins. The version goes up when an older reader would misunderstand a newer file."""


def write_pretrained(folder: Path, config: MemformerConfig, parameters: Mapping[str, Tensor]) -> None:
    """Write one model's two files, each whole or not at all.

    Raises:
        ValueError: if a parameter is not finite; nothing is written.
        OSError: if a file cannot be written.
    """
    wrong = next((name for name, tensor in parameters.items() if not tensor.isfinite().all()), None)
    if wrong is not None:
        raise ValueError(f"{wrong} holds values that are not finite; such a model is not saved")
    checkpoint.save(folder / PARAMETERS, parameters, _header(config))
    temporary = folder / f".{CONFIG}.{uuid.uuid4().hex}"
    try:
        temporary.write_text(json.dumps(KIND | asdict(config), indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, folder / CONFIG)
    finally:
        temporary.unlink(missing_ok=True)


def read_pretrained(folder: Path) -> tuple[MemformerConfig, dict[str, Tensor]]:
    """The config and the parameters of one model, on the CPU.

    Raises:
        FileNotFoundError: if a file is missing.
        CheckpointError: if a file is damaged, or the two do not fit each other.
    """
    config = _config(folder / CONFIG)
    path = folder / PARAMETERS
    # Not only shapes must fit: models of one shape can mean different things.
    parameters = checkpoint.load(path, _header(config), config.shapes()).parameters
    dtypes = {tensor.dtype for tensor in parameters.values()}
    if len(dtypes) > 1 or not all(dtype.is_floating_point for dtype in dtypes):
        found = ", ".join(sorted(map(str, dtypes)))
        raise CheckpointError(f"{path} holds {found}, and floating-point numbers of one type are wanted")
    for name, tensor in parameters.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path} holds {name} with values that are not finite")
    return config, parameters


def _header(config: MemformerConfig) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(config).items()}


def _config(path: Path) -> MemformerConfig:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged or no JSON: {error}") from error
    if not isinstance(content, dict) or content.get("model_type") != KIND["model_type"]:
        raise CheckpointError(f"{path} is not the config.json of a Memformer")
    if content.get("format_version") != KIND["format_version"]:
        version = content.get("format_version")
        raise CheckpointError(f"{path} has format version {version!r}; this memformer reads {KIND['format_version']}")
    try:
        return MemformerConfig(**_parts({name: value for name, value in content.items() if name not in KIND}))
    except ValueError as error:
        raise CheckpointError(f"{path} does not fit: {error}") from error


def _parts(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a config, no more and no fewer, as far as `MemformerConfig` does not check them itself."""
    known = {one.name: one for one in fields(MemformerConfig)}
    for name in given:
        if name not in known:
            raise ValueError(f"it has an unknown entry {name!r}{near(name, list(known))}")
    for name, one in known.items():
        if name not in given:
            raise ValueError(f"it has no entry {name!r}")
        if isinstance(one.default, bool) and not isinstance(given[name], bool):
            raise ValueError(f"{name} is {given[name]!r}; it must be true or false")
    return given
