"""How far above the floor that theory gives trained Memformers end, on fresh tasks.

Every variant trains its depths 1 to 4 as one batch by the default recipe, and is scored on tasks it has not seen, as is
the best linear first-order method with fixed coefficients (`lfom_optimal`), the floor for models with P = 0.

Run it: `python -m benchmarks.studies.memformer_quality [--tasks 200000] [--seed 0] [--threads 2]`.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

import benchmarks.laws  # noqa: F401 - registers the laws
from baselines.lfom_optimal import LfomOptimal
from benchmarks.registry import LAWS
from benchmarks.tasks.law import Law, Purpose
from memformer.memformer_solver import Memformer
from memformer.problem import Problem
from memformer.solver import Solver

DEPTHS = [1, 2, 3, 4]
AT_A_TIME = 20_000

FULL_FLOOR = (0.143, -1.019, -2.014, -2.90)
SCALAR_FLOOR = (0.810, 0.443, 0.151, -0.136)
GDPP_TARGET = (0.14, -2.29, -4.05, -5.97)
WITHIN = (0.03, 0.03, 0.03, 0.08)


@dataclass(frozen=True)
class Case:
    """A variant on a law, and what is asked of it: log losses, within a tolerance or at most."""

    law: str
    solver: Memformer
    asked: tuple[float, ...]
    tolerance: tuple[float, ...] | None = WITHIN

    @property
    def name(self) -> str:
        """For the table."""
        Q = f"{self.solver.preconditioner} Q"
        P = "GD++" if self.solver.covariate_update else "P = 0"
        return f"{self.law}, {self.solver.memory}, {Q}, {P}"


def cases() -> list[Case]:
    """What the issue asks for."""
    memories = ("none", "conjugate", "first_order")
    full = [Case(law, Memformer(memory=m), FULL_FLOOR) for law in ("isotropic", "anisotropic") for m in memories]
    scalar = [Case("anisotropic", Memformer(memory=m, preconditioner="scalar"), SCALAR_FLOOR) for m in memories]
    free = [Case("anisotropic", Memformer(memory=m, covariate_update=True), GDPP_TARGET, None) for m in memories]
    return full + scalar + free


def excess_losses(solver: Solver, law: Law, k: int, tasks: int) -> Tensor:
    """Expected loss of each of `tasks` fresh tasks, `(tasks,)`."""
    stream, found = law.stream(seed=10_000, purpose=Purpose.SCORE), []
    for start in range(0, tasks, AT_A_TIME):
        problem = stream.sample(min(AT_A_TIME, tasks - start))
        weights = solver.solve(problem, k).weights
        assert weights is not None
        found.append(excess(problem, weights[-1]))
    return torch.cat(found)


def excess(problem: Problem, w: Tensor) -> Tensor:
    """`(w - w_star)^T E[x x^T] (w - w_star)`, `(B,)`."""
    assert problem.w_star is not None
    assert problem.second_moment is not None
    error = w - problem.w_star
    return (error * (problem.second_moment @ error.unsqueeze(-1)).squeeze(-1)).sum(-1)


def report(case: Case, tasks: int, seed: int) -> bool:
    """Train, score, print four rows; whether all meet what is asked."""
    law = LAWS.create(case.law)
    began = time.perf_counter()
    fitted = case.solver.fit(law.stream(seed, Purpose.TRAIN), DEPTHS, seed)
    seconds = (time.perf_counter() - began) / len(DEPTHS)
    preconditioned = case.law == "anisotropic" and case.solver.preconditioner == "full"
    floor = LfomOptimal(preconditioned=preconditioned).fit(law.stream(seed, Purpose.TRUTH), DEPTHS)
    good = True
    for i, k in enumerate(DEPTHS):
        losses = excess_losses(fitted, law, k, tasks)
        best = excess_losses(floor, law, k, tasks).mean().log().item()
        mean, error = losses.mean(), losses.std() / math.sqrt(tasks)
        log = mean.log().item()
        met = log <= case.asked[i] + (case.tolerance[i] if case.tolerance else 0.005)
        good = good and met
        print(
            f"{case.name:44} {k:2d} {log:8.3f} ±{(error / mean).item():.3f} {losses.median().log().item():8.3f} "
            f"{case.asked[i]:8.3f} {best:8.3f} {seconds:7.2f}  {'met' if met else 'NOT MET'}",
            flush=True,
        )
    return good


def main() -> None:
    """Train, score and print all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="one is as fast as two here, and safe on a busy machine")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"N=20, d=5, float64, log test loss on {options.tasks} fresh tasks, {options.threads} threads")
    print(f"{'variant':44} {'k':>2} {'log mean':>8} {'':6} {'median':>8} {'asked':>8} {'floor':>8} {'s/depth':>7}")
    good = [report(case, options.tasks, options.seed) for case in cases()]
    print(
        "'floor': lfom_optimal on the same tasks, the best with P = 0; 's/depth': training time of all depths, over 4"
    )
    print(f"{sum(good)} of {len(good)} variants meet what is asked")


if __name__ == "__main__":
    main()
