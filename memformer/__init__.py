"""Memformers: linear Transformers with memory, what a regression problem is, and what a solver is.

The names below are the library; the rooms behind them may move. They are imported when they are first used, since
torch takes seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memformer.core.iterative import IterativeSolver, State
    from memformer.core.problem import Moments, Prior, Problem, Spectrum, TaskSource, matvec
    from memformer.core.solver import Fitting, Needs, Reach, Solver
    from memformer.core.trace import Outcome, Trace
    from memformer.ledger import matmul, reports
    from memformer.model.config import MemformerConfig
    from memformer.model.forward import forward
    from memformer.solvers.adaptive import AdaptiveMemformer
    from memformer.solvers.learned import LearnedSolver
    from memformer.solvers.memformer import Memformer
    from memformer.solvers.module import MemformerModule
    from memformer.training.recipe import Recipe
    from memformer.training.train import train

__version__ = "0.1.0"

_HOME = {
    "core.iterative": ("IterativeSolver", "State"),
    "ledger": ("matmul", "reports"),
    "core.problem": ("Moments", "Prior", "Problem", "Spectrum", "TaskSource", "matvec"),
    "core.solver": ("Fitting", "Needs", "Reach", "Solver"),
    "core.trace": ("Outcome", "Trace"),
    "model.config": ("MemformerConfig",),
    "model.forward": ("forward",),
    "solvers.adaptive": ("AdaptiveMemformer",),
    "solvers.learned": ("LearnedSolver",),
    "solvers.memformer": ("Memformer",),
    "solvers.module": ("MemformerModule",),
    "training.recipe": ("Recipe",),
    "training.train": ("train",),
}

__all__ = [
    "AdaptiveMemformer",
    "Fitting",
    "IterativeSolver",
    "LearnedSolver",
    "Memformer",
    "MemformerConfig",
    "MemformerModule",
    "Moments",
    "Needs",
    "Outcome",
    "Prior",
    "Problem",
    "Reach",
    "Recipe",
    "Solver",
    "Spectrum",
    "State",
    "TaskSource",
    "Trace",
    "forward",
    "matmul",
    "matvec",
    "reports",
    "train",
]


def __getattr__(name: str) -> Any:
    room = next((room for room, names in _HOME.items() if name in names), None)
    if room is None:
        raise AttributeError(f"memformer has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"memformer.{room}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
