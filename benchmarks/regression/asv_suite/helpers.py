"""Laws, solvers and problems for the asv benchmarks; `NotImplementedError` for what the commit under test lacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .catalogue import NEED_PRIOR, NO_PRIOR


@contextmanager
def lacking() -> Iterator[None]:
    """Whatever says that a name, a module or a parameter does not exist becomes asv's "skip this"."""
    try:
        yield
    except NotImplementedError:
        raise
    except (ImportError, AttributeError, TypeError, LookupError) as error:
        raise NotImplementedError(f"this commit lacks it: {error}") from error
    except Exception as error:
        if type(error).__name__ == "RegistryError":
            raise NotImplementedError(str(error)) from error
        raise


def make_device(name: str) -> torch.device:
    """The device, if this machine has it."""
    if name == "cuda" and not torch.cuda.is_available():
        raise NotImplementedError("this machine has no CUDA device")
    return torch.device(name)


def synchronise(device: torch.device) -> None:
    """Wait for the device: without it, a GPU's time is that of the launch."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_law(name: str, **parameters: Any) -> Any:
    """A registered law."""
    with lacking():
        from benchmarks.catalogue import laws  # noqa: F401 -- it fills the registry
        from benchmarks.catalogue.registry import LAWS

        return LAWS.create(name, **parameters)


def make_solver(name: str, **parameters: Any) -> Any:
    """A registered solver, not fitted."""
    with lacking():
        from benchmarks.catalogue import solvers  # noqa: F401 -- it fills the registry
        from benchmarks.catalogue.registry import SOLVERS

        return SOLVERS.create(name, **parameters)


def check_applies(solver: str, law: str) -> None:
    """Skip a solver that needs more than a law tells."""
    if solver in NEED_PRIOR and law in NO_PRIOR:
        raise NotImplementedError(f"{solver} needs the prior of the weights, which {law} does not state")


def fitted(solver: Any, law: Any, steps: tuple[int, ...], seed: int = 0) -> Any:
    """The solver, fitted on the law's training tasks if it has to be."""
    with lacking():
        from benchmarks.tasks.law import Purpose
    return solver.fit(law.stream(seed, Purpose.TRAIN), steps, seed=seed) if solver.fitting.required else solver


def timed_problem(law: Any, batch: int, device: torch.device) -> Any:
    """A batch of tasks without what a solver must not see, on the device."""
    with lacking():
        from benchmarks.tasks.law import Purpose
    return law.stream(0, Purpose.TIMING, torch.float64, device).sample(batch).blinded()
