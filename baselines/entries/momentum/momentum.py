# SPDX-License-Identifier: MIT
# /// entry
# name = "momentum"
# authors = ["The memformer-bench developers"]
# source = "https://doi.org/10.1016/0041-5553(64)90863-5"
# budget = "none"
# ///
"""Heavy ball with two constants."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from memformer import IterativeSolver, Needs


class S(NamedTuple):
    w: torch.Tensor
    g: torch.Tensor
    p: torch.Tensor


@dataclass(frozen=True)
class Momentum(IterativeSolver):
    """w + 0.5 g + 0.3 p."""

    needs = Needs.NOTHING

    def init(self, problem):
        b = problem.moments.b
        return S(torch.zeros_like(b), -b, torch.zeros_like(b))

    def step(self, problem, s, k):
        p = 0.3 * s.p - 0.5 * s.g
        w = s.w + p
        H, b = problem.moments
        return S(w, (H @ w[..., None])[..., 0] - b, p), None
