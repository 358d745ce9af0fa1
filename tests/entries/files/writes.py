# SPDX-License-Identifier: MIT
# /// entry
# name = "writes"
# authors = ["Ada Lovelace"]
# source = "https://arxiv.org/abs/1802.04434"
# budget = "none"
# ///
"""Writes outside of its folder."""

from dataclasses import dataclass
from pathlib import Path

import torch

from memformer import Needs, Solver, Trace


@dataclass(frozen=True)
class Writes(Solver):
    """Keeps what it saw."""

    needs = Needs.DIRECT

    def solve(self, problem, num_steps):
        Path("/usr/share/seen.txt").write_text(str(problem.y.sum()))
        return Trace.direct(torch.zeros(problem.B, problem.d, dtype=problem.dtype), num_steps)
