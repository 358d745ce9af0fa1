"""Reading files of arrays that a stranger may have written: no pickles, and nothing larger than it can be."""

from __future__ import annotations

import io
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError

HEADER = 4096
"""Bytes that the head of a stored array, and what is said of it elsewhere in the file, may have."""


def read_arrays(path: Path, most: Mapping[str, int], packed: bool = False) -> dict[str, NDArray[np.float32]]:
    """The arrays of an npz file by name, those that are expected.

    Args:
        path: of the file.
        most: bytes that each of them may have at most.
        packed: whether the file as a whole is compressed, by xz.

    Raises:
        UserError: if it is no such file, or holds something larger.
    """
    limits = {f"{name}.npy": HEADER + size for name, size in most.items()}
    try:
        with _opened(path, sum(limits.values()), packed) as file, np.lib.npyio.NpzFile(file) as arrays:
            # np.load would take other kinds of files too
            members = [] if arrays.zip is None else arrays.zip.infolist()
            stored = [member for member in members if member.filename in limits]
            for member in stored:
                if member.file_size > limits[member.filename]:
                    raise UserError(f"{path} holds {member.filename!r}, which is larger than the losses of its row")
            read = {name: arrays[name] for name in (member.filename.removesuffix(".npy") for member in stored)}
            if not all(isinstance(array, np.ndarray) for array in read.values()):
                raise ValueError("a member of it is no array")
            return read
    except UserError:
        raise
    except Exception as error:  # whatever a zip file, its compression, its arrays and their headers can be wrong in
        raise UserError(f"{path} is not a file of arrays: {' '.join(str(error).split()):.200}") from None


def _opened(path: Path, most: int, packed: bool) -> BinaryIO:
    if not packed:
        return open(path, "rb")
    with lzma.open(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{path} holds more than the losses of its rows")
    return io.BytesIO(content)
