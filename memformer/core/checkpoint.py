"""Fitted parameters on disk: safetensors with a header that says what they are; no pickle is ever loaded."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

FORMAT = "memformer-bench parameters"
FORMAT_VERSION = 1
"""Goes up when an older reader would misunderstand a newer file."""


class CheckpointError(ValueError):
    """A file of parameters that cannot be used; says in one sentence why."""


class Checkpoint(NamedTuple):
    """What a file holds: tensors by name, and the header it was saved with."""

    parameters: dict[str, Tensor]
    header: dict[str, str]


def save(
    path: str | os.PathLike[str],
    parameters: Mapping[str, Tensor],
    header: Mapping[str, str],
    scratch: Path | None = None,
    durable: bool = True,
) -> None:
    """Write parameters so that the file is there whole or not at all.

    Args:
        path: of the file; its folder is made if it is missing.
        parameters: tensors by name.
        header: what they are: solver, its version and settings, the law, the seed, as strings.
        scratch: folder where the file is written before it gets its place; the file's own folder by default, and where
            that is on another file system.
        durable: whether to wait until the disk has it, so that it outlasts a loss of power.

    Raises:
        ValueError: if the header uses a name of this module's own.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> folder = tempfile.mkdtemp()
        >>> save(f"{folder}/model.safetensors", {"eta": torch.ones(1)}, {"solver": "heavy_ball"})
        >>> load(f"{folder}/model.safetensors", expect={"solver": "heavy_ball"}).parameters["eta"].item()
        1.0
    """
    reserved = {"format", "format_version"} & set(header)
    if reserved:
        raise ValueError(f"the header must not use the reserved name {sorted(reserved)[0]!r}")
    metadata = {"format": FORMAT, "format_version": str(FORMAT_VERSION), **header}
    # A tensor that is a view is written as what it shows, not as what it is a view of.
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in parameters.items()}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = (scratch or path.parent) / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with temporary.open("wb") as file:
            file.write(to_bytes(whole, metadata))
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if scratch is None or not isinstance(error, OSError) or error.errno != errno.EXDEV:
            raise
        save(path, parameters, header, None, durable)


def load(
    path: str | os.PathLike[str],
    expect: Mapping[str, str] | None = None,
    shapes: Mapping[str, tuple[int | None, ...]] | None = None,
) -> Checkpoint:
    """Read parameters, on the CPU, or refuse.

    Args:
        path: of the file.
        expect: entries that the header must have, with these values.
        shapes: the tensors there must be, no more and no fewer; None in a shape stands for any size.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is damaged, is not one of ours, or does not fit `expect` or `shapes`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of parameters {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            parameters = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from error
    if header.pop("format", None) != FORMAT:
        raise CheckpointError(f"{path} is a safetensors file, but not one that memformer-bench wrote")
    version = header.pop("format_version", "?")
    if version != str(FORMAT_VERSION):
        raise CheckpointError(f"{path} has format version {version}; this memformer-bench reads {FORMAT_VERSION}")
    for name, value in (expect or {}).items():
        if header.get(name) != value:
            raise CheckpointError(f"{path} was made with {name}={header.get(name)!r}, and {value!r} is wanted")
    if shapes is not None and set(parameters) != set(shapes):
        raise CheckpointError(f"{path} holds {sorted(parameters)}, and {sorted(shapes)} are wanted")
    for name, wanted in (shapes or {}).items():
        found = tuple(parameters[name].shape)
        if len(found) != len(wanted) or any(size not in (None, have) for size, have in zip(wanted, found, strict=True)):
            raise CheckpointError(f"{path} holds {name} of shape {found}, and {wanted} is wanted")
    return Checkpoint(parameters, header)
