"""The scored tasks of a seed; a process draws them once, for benchopt as for the harness."""

from __future__ import annotations

from typing import Any

import torch
from benchopt import BaseDataset

from benchmarks.api import law
from benchmarks.harness.scores.protocol import scored_tasks


class Dataset(BaseDataset):
    """Tasks of the law `isotropic`."""

    name = "isotropic"
    parameters = {"d": [3], "N": [8], "tasks": [100], "seed": [0]}

    def get_data(self) -> dict[str, Any]:
        """The tasks."""
        white = law("isotropic", d=self.d, N=self.N)
        return {"problem": scored_tasks(white, self.seed, self.tasks, torch.float64, torch.device("cpu"))}
