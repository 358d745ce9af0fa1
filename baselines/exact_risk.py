"""The exact expected loss of any solver that is a fixed polynomial in H, read off from the solver itself."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from baselines.wishart import GaussianTasks
from memformer.core.problem import Problem, matvec
from memformer.core.roots import symmetric_roots
from memformer.core.solver import Solver
from memformer.core.tensors import in_double
from memformer.core.trace import Outcome

TOLERANCE = 1e-6
"""Relative difference on tasks drawn at random beyond which a solver is not the polynomial that was read off."""

CHECKED_TASKS = 4


def exact_risk(solver: Solver, law: GaussianTasks, num_steps: int, second_moment: Tensor | None = None) -> Fraction:
    """Expected test loss of a solver after `num_steps` steps, over all tasks of a law.

    Args:
        solver: a method with fixed scalar coefficients, fitted if it trains.
        law: the tasks; with `second_moment`, as they are in whitened coordinates.
        num_steps: steps to take.
        second_moment: S, `(d, d)`, of a law that is `law` in the coordinates `S^-1/2 x`; None is `law` itself.

    Returns:
        The loss of the coefficients that float64 arithmetic leaves of the solver, with no further error.

    Raises:
        ValueError: if the solver's weights are not one polynomial of H times b for every task.

    Example:
        >>> from baselines.gradient import GradientDescent
        >>> round(float(exact_risk(GradientDescent(eta=20 / 26), GaussianTasks(20, 5), 1)), 12)
        1.153846153846
    """
    return law.risk(fixed_coefficients(solver, law, num_steps, second_moment))


def fixed_coefficients(
    solver: Solver, law: GaussianTasks, num_steps: int, second_moment: Tensor | None = None
) -> list[Fraction]:
    """`c_j` of a solver whose iterate is `w = sum_{j<num_steps} c_j H^j b`, whitened by `second_moment` if given.

    The solver runs on tasks whose H is diagonal. Their eigenvalues are the Chebyshev points of the interval where
    those of the law lie, and b is 1, so that its weights are values of the polynomial. These are interpolated in exact
    arithmetic, and the polynomial is held against the solver on random tasks.

    Raises:
        ValueError: as `exact_risk`.
    """
    # The largest eigenvalue of H lies near this bound, and half as far again almost never.
    largest = 1.5 * float(law.scale) * (1 + math.sqrt(law.d / law.N)) ** 2
    angles = [math.pi * (2 * i + 1) / (4 * max(num_steps, 1)) for i in range(num_steps)]
    nodes = [largest * math.cos(angle) ** 2 for angle in angles]
    values = _polynomial_values(solver, law, nodes, num_steps, second_moment)
    coefficients = _interpolate([Fraction(node) for node in nodes], [Fraction(value) for value in values])

    generator = torch.Generator().manual_seed(0)
    X = torch.randn(CHECKED_TASKS, law.N, law.d, generator=generator, dtype=torch.float64, device="cpu")
    y = torch.randn(CHECKED_TASKS, law.N, generator=generator, dtype=torch.float64, device="cpu")
    X = math.sqrt(law.scale) * X
    H, b = Problem(X, y, X[:, :1]).moments
    expected = torch.zeros_like(b)
    for coefficient in reversed(coefficients):
        expected = matvec(H, expected) + float(coefficient) * b
    found = _weights(solver, X, y, num_steps, second_moment)
    if not torch.linalg.vector_norm(found - expected) <= TOLERANCE * torch.linalg.vector_norm(expected):
        raise ValueError(
            f"{type(solver).__name__} is no method with fixed scalar coefficients on these tasks: after {num_steps} "
            "steps its weights are not the same polynomial of H times b for every task"
        )
    return coefficients


def _polynomial_values(
    solver: Solver, law: GaussianTasks, nodes: list[float], num_steps: int, second_moment: Tensor | None
) -> list[float]:
    """Values `q(node)` of the polynomial with `w = q(H) b`."""
    if not nodes:
        return []
    rank = min(law.N, law.d)
    tasks = -(-len(nodes) // rank)
    eigenvalues = torch.tensor([nodes[i % len(nodes)] for i in range(tasks * rank)], dtype=torch.float64, device="cpu")
    roots = (law.N * eigenvalues.reshape(tasks, rank)).sqrt()
    X = torch.zeros(tasks, law.N, law.d, dtype=torch.float64, device="cpu")
    X[:, range(rank), range(rank)] = roots
    y = torch.zeros(tasks, law.N, dtype=torch.float64, device="cpu")
    y[:, :rank] = law.N / roots
    return _weights(solver, X, y, num_steps, second_moment)[:, :rank].flatten()[: len(nodes)].tolist()


def _weights(solver: Solver, X: Tensor, y: Tensor, num_steps: int, second_moment: Tensor | None) -> Tensor:
    """A solver's last weights `(B, d)` on tasks given in whitened coordinates, in these coordinates."""
    root = torch.eye(X.shape[-1], dtype=X.dtype, device=X.device)
    if second_moment is not None:
        root, _ = symmetric_roots(in_double(second_moment))
    X = X @ root
    trace = solver.solve(Problem(X, y, torch.zeros_like(X[:, :1])), num_steps)
    if trace.weights is None:
        raise ValueError(f"{type(solver).__name__} has no weights, and so no coefficients")
    if bool((trace.outcome != int(Outcome.MAX_STEPS)).any()):
        ends = {Outcome(code).sentence for code in trace.outcome.tolist()} - {Outcome.MAX_STEPS.sentence}
        raise ValueError(f"{type(solver).__name__} did not take {num_steps} steps on every task: {'; '.join(ends)}")
    return trace.weights[-1] @ root


def _interpolate(nodes: list[Fraction], values: list[Fraction]) -> list[Fraction]:
    """Coefficients, lowest power first, of the polynomial through `(node, value)`: Newton's divided differences."""
    table = list(values)
    for level in range(1, len(nodes)):
        for i in range(len(nodes) - 1, level - 1, -1):
            table[i] = (table[i] - table[i - 1]) / (nodes[i] - nodes[i - level])
    coefficients: list[Fraction] = []
    for node, difference in zip(reversed(nodes), reversed(table), strict=True):
        shifted = [Fraction(0), *coefficients]
        for power, coefficient in enumerate(coefficients):
            shifted[power] -= node * coefficient
        shifted[0] += difference
        coefficients = shifted
    return coefficients
