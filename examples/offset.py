from dataclasses import dataclass
from functools import cached_property

import torch

from benchmarks.api import LAWS, Draw, Law, Metadata, gaussian_prior


@LAWS.register("offset", "x ~ N(mean 1, I), w* ~ N(0, I)")
@dataclass(frozen=True, kw_only=True)
class Offset(Law):
    metadata = Metadata("offset", version=1, reference="examples/offset.py")
    mean: float = 1.0

    def draw(self, batch, generator):
        w_star = generator.standard_normal((batch, self.d))
        X = self.mean + generator.standard_normal((batch, self.N, self.d))
        x_query = self.mean + generator.standard_normal((batch, self.num_queries, self.d))
        return Draw(X, x_query, w_star)

    @cached_property
    def second_moment(self):
        return torch.eye(self.d, dtype=torch.float64) + self.mean**2

    def prior(self, X):
        return gaussian_prior(torch.eye(self.d, dtype=X.dtype, device=X.device))
