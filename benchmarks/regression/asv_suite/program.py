"""What a person waits for before anything is computed: imports, the command line, the harness around a cell."""

from __future__ import annotations

from typing import Any

import torch

from .making import lacking, make_law, make_solver


class StartUp:
    """In a fresh interpreter each time."""

    version = "1"
    timeout = 120
    rounds, warmup_time, repeat, number = 1, 0.0, 3, 1

    def timeraw_import_memformer(self) -> str:
        """The library, torch included."""
        return "import memformer.solvers.memformer"

    def timeraw_import_torch(self) -> str:
        """Torch alone: what of the former is not ours."""
        return "import torch"

    def timeraw_help(self) -> str:
        """`memformer-bench --help`, which imports nothing heavy."""
        return (
            "import contextlib, io\n"
            "from benchmarks.cli.main import app\n"
            "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
            "    app(['--help'])"
        )


class Harness:
    """A cell of cg on 50 tasks, 4 steps, two seeds, by the harness, and its solves alone: the rest is overhead."""

    version = "1"
    rounds, warmup_time, repeat = 1, 0.05, (10, 100, 0.5)

    def setup(self) -> None:
        if hasattr(self, "cell"):
            return
        torch.set_num_threads(1)
        with lacking():
            from benchmarks.harness.cell import Cell, run_cell, scored_tasks
            from benchmarks.harness.scores.fitting import ParameterStore

            law, solver = make_law("isotropic", d=5, N=20), make_solver("cg")
            shared: dict[str, Any] = {"steps": (1, 2, 3, 4), "seeds": (0, 1), "tasks": 50, "time_limit": 60.0}
            place = {"dtype": torch.float64, "device": torch.device("cpu")}
            self.cell = Cell("isotropic", law, "cg", solver, {}, **shared, **place)
        self.run, self.store = run_cell, ParameterStore(None)
        self.problems = [scored_tasks(law, seed, 50, torch.float64, torch.device("cpu")) for seed in (0, 1)]

    def time_run_cell(self) -> None:
        """Tasks (found again), solves, metrics, outcomes."""
        self.run(self.cell, self.store)

    def time_solves_alone(self) -> None:
        """The same solves without the harness."""
        for problem in self.problems:
            self.cell.solver.solve(problem.blinded(), 4)
