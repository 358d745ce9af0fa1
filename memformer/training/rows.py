"""The rows of a batch that trains: of which model, and which of its starts, each is, and which still train."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from memformer.training.search import Search, SearchRecord


class Rows:
    """R rows: the starts of each depth of each seed, seeds first.

    Rows of one depth are dropped alike under every seed, so that all seeds have as many rows at any time: models that
    train on the same tasks stay next to each other.

    Args:
        seeds: G of them.
        depths: D of them; there are `G * D` models.
        search: how many starts, and which share of them goes on when.
        totals: training steps for each depth.

    Attributes:
        active: `(A,)` numbers of the rows that still train, in order.
        seeds, depths: of each row.
        totals: `(R, 1)` training steps of each row.
        steps: `(R,)` steps after which each row ended or was dropped.

    Example:
        >>> rows = Rows([0], [2], Search(starts=2, drops=((0.5, 0.5),)), [10])
        >>> rows.drop(5, torch.tensor([3.0, 1.0])).tolist(), rows.active.tolist(), rows.steps.tolist()
        ([1], [1], [5, 0])
    """

    def __init__(self, seeds: Sequence[int], depths: Sequence[int], search: Search, totals: Sequence[int]) -> None:
        self.starts = search.starts
        self.members = len(depths)
        self.depths = [depth for _ in seeds for depth in depths for _ in range(search.starts)]
        self.seeds = [seed for seed in seeds for _ in range(len(depths) * search.starts)]
        self.totals = torch.tensor([totals[depths.index(depth)] for depth in self.depths])[:, None]
        self.active = torch.arange(len(self.depths))
        self.steps = torch.zeros(len(self.depths), dtype=torch.int64)
        self._due: dict[int, dict[int, int]] = {}
        for member, total in enumerate(totals):
            for when, _ in search.drops:
                self._due.setdefault(math.ceil(when * total), {})[member] = search.kept(when)
            self._due.setdefault(total, {})[member] = 0

    def due(self, step: int) -> bool:
        """Whether rows are dropped, or end, after this step."""
        return step in self._due

    def drop(self, step: int, loss: Tensor, keep: Mapping[int, int] | None = None) -> Tensor:
        """Drop what is due after a step: of each model the rows with the largest loss.

        Args:
            step: after which.
            loss: `(R,)`.
            keep: how many rows go on, by position of the depth; None takes what the search says. At 0 they have ended.

        Returns:
            Positions in the former `active` of the rows that train on.
        """
        models = torch.arange(len(self.depths)) // self.starts
        stays = torch.ones(len(self.active), dtype=torch.bool)
        for member, count in (self._due[step] if keep is None else keep).items():
            for model in range(member, len(models) // self.starts, self.members):
                own = (models[self.active] == model).nonzero()[:, 0]
                # Where losses are equal the first start stays.
                order = loss.cpu()[self.active[own]].argsort(stable=True)
                stays[own[order[count:]]] = False
        self.steps[self.active[~stays]] = step
        going = stays.nonzero()[:, 0]
        self.active = self.active[going]
        return going

    def end(self, step: int) -> None:
        """All rows that still train end after this step."""
        self.steps[self.active] = step
        self.active = self.active[:0]

    def by_model(self, values: Tensor) -> Tensor:
        """`(R,)` to `(G * D, starts)`."""
        return values.view(-1, self.starts)

    def records(self, loss: Tensor) -> list[SearchRecord]:
        """What the starts of each model found, given the validation loss `(R,)` of each row."""
        pairs = zip(self.by_model(loss).tolist(), self.by_model(self.steps).tolist(), strict=True)
        return [SearchRecord(tuple(losses), tuple(steps)) for losses, steps in pairs]

    def names(self, which: Tensor) -> str:
        """The rows in `which` `(R,)` bool, for people; where all starts of a model are, the model alone."""
        found = []
        for model, starts in enumerate(self.by_model(which).tolist()):
            row = model * self.starts
            name = f"the model of seed {self.seeds[row]} and depth {self.depths[row]}"
            if all(starts):
                found.append(name)
            else:
                found += [f"start {start} of {name}" for start, is_in in enumerate(starts, 1) if is_in]
        return ", ".join(found)
