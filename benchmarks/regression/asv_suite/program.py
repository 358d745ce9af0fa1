"""What a person waits for before anything is computed: imports, the command line, the harness around a cell."""

from __future__ import annotations

import torch

from .helpers import door, lacking, make_law, make_solver


def _first(now: str, then: str) -> str:
    """The first of two imports that the commit under test can do."""
    return f"try:\n    {now}\nexcept ModuleNotFoundError:\n    {then}\n"


class StartUp:
    """In a fresh interpreter each time."""

    version = "1"
    timeout = 120
    rounds, warmup_time, repeat, number = 1, 0.0, 3, 1

    def timeraw_import_memformer(self) -> str:
        """The library, torch included."""
        return _first("import memformer.solvers.memformer", "import memformer.memformer_solver")

    def timeraw_import_torch(self) -> str:
        """Torch alone: what of the former is not ours."""
        return "import torch"

    def timeraw_help(self) -> str:
        """`memformer-bench --help`, which imports nothing heavy."""
        return (
            "import contextlib, io\n"
            + _first("from benchmarks.cli.main import app", "from benchmarks.cli import app")
            + "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
            "    app(['--help'])"
        )


class Harness:
    """A cell of cg on 50 tasks, 4 steps, two seeds, by the harness, and its solves alone: the rest is overhead."""

    version = "1"
    rounds, warmup_time, repeat = 1, 0.05, (10, 100, 0.5)

    def setup(self) -> None:
        if hasattr(self, "run"):
            return
        torch.set_num_threads(1)
        law, self.solver = make_law("isotropic", d=5, N=20), make_solver("cg")
        with lacking():
            self.run = door().harness_cell(self.solver, law, (1, 2, 3, 4), (0, 1), 50)
        self.problems = [door().stream(law, seed, "score").sample(50) for seed in (0, 1)]

    def time_run_cell(self) -> None:
        """Tasks (found again), solves, metrics, outcomes."""
        self.run()

    def time_solves_alone(self) -> None:
        """The same solves without the harness."""
        for problem in self.problems:
            self.solver.solve(problem.blinded(), 4)
