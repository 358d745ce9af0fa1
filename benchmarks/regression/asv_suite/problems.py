"""What every solve and every score rests on: drawing tasks, their moments and spectra, and the truth lines."""

from __future__ import annotations

import torch

from .catalogue import DEVICES, LAWS
from .helpers import door, lacking, make_device, make_law, synchronise, timed_problem


class Moments:
    """`H`, `b` and the extreme eigenvalues of 1,000 tasks, N = 4 d."""

    version = "1"
    params = ([5, 20, 50], DEVICES)
    param_names = ("d", "device")
    rounds, warmup_time, repeat = 1, 0.02, (10, 200, 0.2)

    def setup(self, d: int, device: str) -> None:
        if getattr(self, "ready", None) == (d, device):
            return
        self.device = make_device(device)
        torch.set_num_threads(1)
        self.problem = timed_problem(make_law("isotropic", d=d, N=4 * d), 1000, self.device)
        self.ready = (d, device)

    def time_moments(self, d: int, device: str) -> None:
        """`H = X^T X / N`, `b = X^T y / N`."""
        self.problem.blinded().moments  # noqa: B018 -- computed when read
        synchronise(self.device)

    def time_spectrum(self, d: int, device: str) -> None:
        """Moments, `mu` and `L`."""
        self.problem.blinded().spectrum  # noqa: B018 -- computed when read
        synchronise(self.device)


class Drawing:
    """Drawing 1,000 tasks of a law, d = 5, N = 20, label noise 0.1."""

    version = "1"
    params = LAWS
    param_names = ("law",)
    rounds, warmup_time, repeat = 1, 0.02, (10, 100, 0.2)

    def setup(self, law: str) -> None:
        self.stream, self.law = door().stream, make_law(law, d=5, N=20, noise_std=0.1)

    def time_sample(self, law: str) -> None:
        """A new stream and its first 1,000 tasks."""
        self.stream(self.law, 0, "timing").sample(1000)


class TruthLines:
    """What is possible: 4 steps, isotropic, d = 5, N = 20."""

    version = "1"
    timeout = 120
    rounds, warmup_time, repeat = 1, 0.0, (3, 20, 0.5)

    def setup(self) -> None:
        torch.set_num_threads(1)
        with lacking():
            from baselines.truth_lines import krylov_oracle, lfom_floor
        self.floor, self.oracle = lfom_floor, krylov_oracle
        self.stream, self.law = door().stream, make_law("isotropic", d=5, N=20)
        self.problem = self.stream(self.law, 0, "truth").sample(1000)

    def time_krylov_oracle(self) -> None:
        """The best point of each task's Krylov space, 1,000 tasks."""
        self.oracle(self.problem, 4)

    def time_lfom_floor(self) -> None:
        """Fit and judge fixed coefficients, 10,000 tasks drawn anew."""
        self.floor(self.stream(self.law, 0, "truth"), 4, 10_000)
