"""Laws, solvers and problems for the asv benchmarks; `NotImplementedError` for what the commit under test lacks.

They come through the door of the commit under test, `benchmarks.api`, or through the one for commits that have none.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from .catalogue import NEED_PRIOR, NO_PRIOR

_LACKING = (ImportError, AttributeError, TypeError, LookupError)


@contextmanager
def lacking(errors: tuple[type[Exception], ...] = _LACKING) -> Iterator[None]:
    """Whatever says that a name, a module or a parameter does not exist becomes asv's "skip this".

    Args:
        errors: what says so beside the registry's own error; by default all that may, where nothing is computed.
    """
    try:
        yield
    except NotImplementedError:
        raise
    except errors as error:
        raise NotImplementedError(f"this commit lacks it: {error}") from error
    except Exception as error:
        if type(error).__name__ == "RegistryError":
            raise NotImplementedError(str(error)) from error
        raise


@cache
def door() -> ModuleType:
    """`benchmarks.api`, or what stands for it; not at import, when asv computes nothing."""
    sys.path.append(str(Path(__file__).parents[1]))  # the last: everything else is the tree's
    legacy = importlib.import_module("legacy_door")
    with lacking():
        return legacy.open_door()


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
        return door().law(name, **parameters)


def make_solver(name: str, **parameters: Any) -> Any:
    """A registered solver, not fitted."""
    with lacking():
        return door().solver(name, **parameters)


def check_applies(solver: Any, law: Any, name: str) -> None:
    """Skip a solver, registered as `name`, that leaves a law out."""
    if hasattr(solver, "skip"):
        skipped, why = solver.skip(door().stream(law, 0, "train"))
    else:
        skipped = name in NEED_PRIOR and law.metadata.name in NO_PRIOR
        why = "it needs the prior of the weights"
    if skipped:
        raise NotImplementedError(f"{name} leaves out {law.metadata.name}: {why}")


def fitted(solver: Any, law: Any, steps: tuple[int, ...], seed: int = 0) -> Any:
    """The solver, fitted on the law's training tasks if it has to be."""
    return door().fitted(solver, law, steps, seed)


def timed_problem(law: Any, batch: int, device: torch.device) -> Any:
    """A batch of tasks without what a solver must not see, on the device."""
    return door().stream(law, 0, "timing", "float64", str(device)).sample(batch).blinded()
