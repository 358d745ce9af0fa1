"""Reading files of arrays that a stranger may have written: no pickles, and nothing larger than it can be."""

from __future__ import annotations

import io
import lzma
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError

HEADER = 4096
"""Bytes that the head of a stored array, and what is said of it elsewhere in the file, may have."""


class Arrays:
    """The arrays of an npz file by name, those that are expected; each is read when it is asked for.

    Args:
        path: of the file.
        most: bytes that each of them may have at most.
        packed: whether the file as a whole is compressed, by xz.

    Attributes:
        names: of the arrays.

    Raises:
        UserError: if it is no such file, or holds something larger; also when an array is asked for that is none.
    """

    def __init__(self, path: Path, most: Mapping[str, int], packed: bool = False) -> None:
        self._path, self.names = path, list[str]()
        with self._readable():
            self._zip = zipfile.ZipFile(_opened(path, sum(most.values()) + HEADER * len(most), packed))
            for member in self._zip.infolist():
                name = member.filename.removesuffix(".npy")
                if name == member.filename or name not in most:
                    continue
                if member.file_size > HEADER + most[name]:
                    raise UserError(f"{path} holds {member.filename!r}, which is larger than the losses of its row")
                self.names.append(name)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        with self._readable(), self._zip.open(f"{name}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # whatever a zip file, its compression, its arrays and their headers can be wrong in
            raise UserError(f"{self._path} is not a file of arrays: {' '.join(str(error).split()):.200}") from None


def _opened(path: Path, most: int, packed: bool) -> Path | BinaryIO:
    if not packed:
        return path
    with lzma.open(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{path} holds more than the losses of its rows")
    return io.BytesIO(content)
