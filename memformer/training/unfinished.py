"""Training that was interrupted: what it hangs on is kept in files, and found again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.core import checkpoint
from memformer.training.start import Start

EVERY = 5.0
"""Seconds of training that a kill may cost; how often its state is kept changes no number."""


SUFFIX = ".unfinished.safetensors"


class Point(NamedTuple):
    """Where training is: after so many steps, with so many validations in a row that gained nothing.

    Attributes:
        running: places of the starts that go on.
        ended: whether no step follows.
    """

    step: int = 0
    idle: int = 0
    running: tuple[int, ...] = ()
    ended: bool = False


@dataclass
class Unfinished:
    """Files of the state of training, written now and then, and removed by whoever has what was trained.

    Attributes:
        path: of the file, or of the files of several trainings without what `of` adds; safetensors, no pickle.
        header: what is trained, and by what; a file of anything else is not taken up.
    """

    path: Path
    header: Mapping[str, str]
    _written: float = field(default_factory=time.monotonic)

    def of(self, name: str) -> Unfinished:
        """The file of one of several trainings."""
        return Unfinished(self.path.with_suffix(f".{name}{SUFFIX}"), {**self.header, "training": name})

    def keep(self, point: Point, starts: Sequence[Start]) -> None:
        """Write the state, unless it was written a moment ago and training goes on."""
        if not point.ended and time.monotonic() - self._written < EVERY:
            return
        tensors = {
            f"{place}.{name}": one for place, start in enumerate(starts) for name, one in start.tensors().items()
        }
        numbers = [point.step, point.idle, int(point.ended), *point.running]
        checkpoint.save(self.path, {"point": torch.tensor(numbers), **tensors}, self.header, durable=False)
        self._written = time.monotonic()

    def take_up(self, starts: Sequence[Start]) -> Point | None:
        """Bring the starts to where they were; None if there is no such file, or it is another training's."""
        try:
            tensors = checkpoint.load(self.path, expect=self.header).parameters
        except (FileNotFoundError, checkpoint.CheckpointError):
            return None
        step, idle, ended, *running = tensors.pop("point").tolist()
        each: list[dict[str, Tensor]] = [{} for _ in starts]
        for key, value in tensors.items():
            place, _, name = key.partition(".")
            each[int(place)][name] = value
        for start, mine in zip(starts, each, strict=True):
            start.restore(mine)
        return Point(step, idle, tuple(running), bool(ended))

    def remove(self) -> None:
        """Remove all of them."""
        for path in self.path.parent.glob(f"{escape(self.path.stem)}.*{SUFFIX}"):
            path.unlink(missing_ok=True)
