"""What the code of a plug-in may do while the harness calls it, and what becomes of it if it does more.

A solver or law answers or raises. It leaves what it is given and this process as they are, and does not end it. What
it changed is put back, and a `Misdeed` tells of it: an error as every other, which is a row of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from benchmarks.errors import one_line
from benchmarks.harness.workers.limits import TimeLimitExceeded
from memformer.core.problem import Problem
from memformer.core.solver import Solver
from memformer.core.trace import Outcome, Trace

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_EXIT = os._exit


class Misdeed(Exception):
    """What a plug-in must not do, and did; says so in a sentence."""


@contextmanager
def guarded(*laws: object) -> Iterator[None]:
    """Call a plug-in in this block: it cannot end this process, nor change it or a law for those that come after.

    Args:
        laws: whose tensors, such as the second moment, are put back if they are changed.

    Raises:
        Misdeed: if it tried, unless an exception of its own is already on its way.
    """
    here, known = _state(), [(law, _copies(law)) for law in laws]
    own = os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != own:  # a process that the plug-in forked
            _EXIT(status)
        raise Misdeed(f"it called os._exit({status})")

    os._exit = refuse
    try:
        yield
    except (Exception, KeyboardInterrupt, TimeLimitExceeded):
        raise
    except BaseException as error:
        raise Misdeed(f"it raised {one_line(error)}") from error
    finally:
        os._exit = _EXIT
        changed = [*_restored(here), *(what for law, copies in known for what in _put_back(law, copies))]
    if changed:
        raise Misdeed(f"it changed {' and '.join(changed)}, which others share")


class Seal:
    """What a problem's tensors were, to tell whether a solver changed them.

    torch counts what it writes; sums of the bits, over tasks, tell of what is written past it, by NumPy say. They take
    about as long as reading the tensors.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._found = _prints(problem)

    def check(self) -> None:
        """Raise `Misdeed` if the problem, or what it keeps of its moments, is not what it was."""
        found = _prints(self._problem)
        changed = [name for name, print_ in found.items() if not _same(print_, self._found[name])]
        kept = (vars(self._problem).get(name, ()) for name in ("moments", "spectrum"))
        changed += [f"its {type(part).__name__.lower()}" for part in kept if any(map(_written, part))]
        if changed:
            raise Misdeed(f"it changed {' and '.join(changed)} of the problem, which others share")


def checked(trace: Any, problem: Problem, num_steps: int) -> Trace:
    """The trace, if it is what `Trace` promises; tasks whose iterates or predictions are not finite are marked.

    Raises:
        ValueError: if a type, shape, dtype, device or code is not.
    """
    if not isinstance(trace, Trace):
        raise ValueError(f"the solver returned a {type(trace).__name__}; it must be a Trace")
    if trace.weights is None and trace.predictions is None:
        raise ValueError("the solver's trace has neither weights nor predictions")
    first = None
    for name, last in (("weights", problem.d), ("predictions", problem.x_query.shape[1])):
        values = getattr(trace, name)
        if values is None:
            continue
        _expect(values, name, (num_steps + 1, problem.B, last), problem.device)
        if values.dtype != problem.dtype:
            raise ValueError(f"the solver's trace has {name} in {values.dtype}; they must be {problem.dtype}")
        if not values.sum().isfinite():
            steps = values.isfinite().flatten(2).all(-1).int().cumprod(0).sum(0)
            first = steps if first is None else torch.minimum(first, steps)
    for codes, name, most in ((trace.outcome, "outcome", len(Outcome) - 1), (trace.finished, "finished", num_steps)):
        _expect(codes, name, (problem.B,), problem.device)
        if codes.is_floating_point() or codes.is_complex():
            raise ValueError(f"the solver's trace has {name} in {codes.dtype}; it must be whole numbers")
        for code in codes.aminmax():
            if not 0 <= code <= most:
                raise ValueError(f"the solver's trace has {name} {int(code)}; it must be from 0 to {most}")
    if first is None:
        return trace
    known = (trace.outcome == int(Outcome.DIVERGED)) | (trace.outcome == int(Outcome.NONFINITE))
    bad = (first <= num_steps) & ~(known & (trace.finished <= first))
    outcome = torch.where(bad, int(Outcome.NONFINITE), trace.outcome)
    finished = torch.where(bad, torch.minimum(first, trace.finished), trace.finished)
    return replace(trace, outcome=outcome, finished=finished)


def checked_fit(solvers: Any, count: int) -> list[Solver]:
    """Fitted solvers, if they are what `Solver.fit_many` promises.

    Raises:
        ValueError: if they are not as many, no solvers, or their parameters are not tensors by name.
    """
    found = list(solvers) if isinstance(solvers, Sequence) else []
    if len(found) != count or not all(isinstance(one, Solver) for one in found):
        kind = type(found[0] if found else solvers).__name__
        raise ValueError(f"the solver's fit gave {len(found)} of {kind}; it must give {count} fitted solvers")
    for one in found:
        parameters = getattr(one, "parameters", None) or {}
        if not isinstance(parameters, Mapping) or not all(
            isinstance(name, str) and isinstance(value, Tensor) for name, value in parameters.items()
        ):
            raise ValueError("the parameters that the solver's fit found must be tensors by name")
    return found


def _expect(tensor: Any, name: str, shape: tuple[int, ...], device: torch.device) -> None:
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
        kind = f"a {tensor.layout} tensor" if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
        raise ValueError(f"the solver's trace has {name} that are {kind}; they must be a dense tensor")
    if tuple(tensor.shape) != shape:
        raise ValueError(f"the solver's trace has {name} of shape {tuple(tensor.shape)}; they must be {shape}")
    if tensor.device != device:
        raise ValueError(f"the solver's trace has {name} on {tensor.device}; they must be on {device}")


def _prints(problem: Problem) -> dict[str, tuple[Any, ...]]:
    """What changes with every change of the tensors that a solver sees."""
    return {name: _print(getattr(problem, name)) for name in ("X", "y", "x_query")}


def _print(tensor: Tensor) -> tuple[Any, ...]:
    bits = tensor.detach().view(_BITS[tensor.element_size()]).flatten(1)
    return bits.sum(0), tensor.shape, tensor.requires_grad, None if tensor.is_inference() else tensor._version


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one[1:] == other[1:] and torch.equal(one[0], other[0])


def _written(tensor: Tensor) -> bool:
    """Whether something was written into a tensor after it was made."""
    return not tensor.is_inference() and tensor._version > 0


_SHARED: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the working folder": (os.getcwd, os.chdir),
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (
        torch.get_default_device,
        lambda device: torch.set_default_device(None if device.type == "cpu" else device),
    ),
    "whether torch keeps gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "how NumPy treats errors": (np.geterr, lambda how: np.seterr(**how)),
}
"""What belongs to the whole process: how it is read, and put back."""


def _state() -> dict[str, Any]:
    found = {}
    for name, (read, _) in _SHARED.items():
        with suppress(OSError):  # a working folder that was removed
            found[name] = read()
    return found


def _restored(before: dict[str, Any]) -> list[str]:
    """What is not as it was, put back."""
    after = _state()
    changed = [name for name in before if after.get(name) != before[name]]
    for name in changed:
        with suppress(OSError):
            _SHARED[name][1](before[name])
    return changed


def _equal(copy: Tensor | np.ndarray, now: Any) -> bool:
    if isinstance(copy, np.ndarray):
        return isinstance(now, np.ndarray) and copy.shape == now.shape and copy.tobytes() == now.tobytes()
    same = isinstance(now, Tensor) and now.shape == copy.shape and now.requires_grad == copy.requires_grad
    return same and torch.equal(copy.detach().nan_to_num(), now.detach().nan_to_num())


def _copies(law: Any) -> dict[str, Tensor | np.ndarray]:
    """A law's tensors and arrays, the second moment among them if it has one."""
    if getattr(law, "synthetic", False):
        _ = law.second_moment
    known = {name: part for name, part in vars(law).items() if isinstance(part, Tensor | np.ndarray)}
    return {name: part.detach().clone() if isinstance(part, Tensor) else part.copy() for name, part in known.items()}


def _put_back(law: Any, copies: dict[str, Tensor | np.ndarray]) -> list[str]:
    """What of a law's tensors and arrays is not as it was, put back."""
    changed = [name for name, copy in copies.items() if not _equal(copy, vars(law).get(name))]
    for name in changed:
        vars(law)[name] = copies[name]
    return [f"the law's {name}" for name in changed]
