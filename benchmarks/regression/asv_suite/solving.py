"""Time of one solve: every solver on every law, and by dimension and number of steps."""

from __future__ import annotations

from typing import Any

import torch

from .catalogue import DEVICES, LAWS, SLOW, SOLVERS, TIMED_BUDGET
from .helpers import check_applies, fitted, make_device, make_law, make_solver, synchronise, timed_problem

BATCH, SLOW_BATCH = 200, 20


class _Solve:
    """A solve of a fresh problem, its moments included; fitting is not timed."""

    version = "1"
    timeout = 120
    rounds, warmup_time, repeat = 1, 0.01, (5, 100, 0.05)

    def _prepare(self, solver: str, law: str, d: int, steps: int, device: str) -> None:
        # asv calls setup before every sample.
        if getattr(self, "ready", None) == (solver, law, d, steps, device):
            return
        self.device = make_device(device)
        torch.set_num_threads(1)
        drawn, unfitted = make_law(law, d=d, N=4 * d), make_solver(solver, **TIMED_BUDGET.get(solver, {}))
        check_applies(unfitted, drawn, solver)
        self.solver = fitted(unfitted, drawn, (steps,))
        self.problem = timed_problem(drawn, SLOW_BATCH if solver in SLOW else BATCH, self.device)
        self.steps = steps
        self.time_solve()
        self.ready = (solver, law, d, steps, device)

    def time_solve(self, *_: object) -> Any:
        """One solve."""
        trace = self.solver.solve(self.problem.blinded(), self.steps)
        synchronise(self.device)
        return trace


class SolveByLaw(_Solve):
    """4 steps at d = 5, N = 20 on 200 tasks (20 for solvers that loop over them)."""

    params = (SOLVERS, LAWS, DEVICES)
    param_names = ("solver", "law", "device")

    def setup(self, solver: str, law: str, device: str) -> None:
        self._prepare(solver, law, 5, 4, device)


class SolveBySize(_Solve):
    """Anisotropic tasks, N = 4 d."""

    params = (SOLVERS, [5, 20], [1, 16], DEVICES)
    param_names = ("solver", "d", "steps", "device")

    def setup(self, solver: str, d: int, steps: int, device: str) -> None:
        self._prepare(solver, "anisotropic", d, steps, device)


class LargeBatch:
    """Memory of a large batch, where it is more than what importing torch takes."""

    version = "1"
    params = ("cg", "gradient_descent", "lfom_optimal", "bayes")
    param_names = ("solver",)

    def setup(self, solver: str) -> None:
        torch.set_num_threads(1)
        law = make_law("anisotropic", d=20, N=40)
        self.solver = fitted(make_solver(solver, **TIMED_BUDGET.get(solver, {})), law, (8,))
        self.problem = timed_problem(law, 20_000, torch.device("cpu"))

    def peakmem_solve(self, solver: str) -> None:
        """8 steps on 20,000 tasks, d = 20, N = 40 (128 MB of contexts)."""
        self.solver.solve(self.problem, 8)
