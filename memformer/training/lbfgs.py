"""L-BFGS for many independent problems at once, each with its own line search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from memformer.ledger import is_counting

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From `theta` `(S, n)` to values `(S,)` and their gradients `(S, n)`."""

_ARMIJO = 1e-4
_SHRINK = 0.3
_LEAST_STEP = 1e-10


@dataclass
class BatchedLbfgs:
    """Minimises S functions of n variables; one evaluation serves all of them.

    After every evaluation each function for itself either accepts its trial point (Armijo's rule) and takes a new
    direction, or shrinks its step. A pair whose curvature is not positive is not stored.

    Args:
        theta: `(S, n)` start.
        evaluate: values and gradients of all S functions.
        history: pairs kept for each function.

    Attributes:
        theta: `(S, n)` the best points found.
        value: `(S,)` their values.
        stalled: `(S,)`, where no step along the gradient lowers the value any more.

    Source: Nocedal & Wright, Numerical Optimization, 2nd edition, algorithms 7.4 and 3.1.

    Example:
        >>> target = torch.tensor([[1.0, 2.0], [3.0, -4.0]], dtype=torch.float64)
        >>> scale = torch.tensor([1.0, 50.0], dtype=torch.float64)
        >>> search = BatchedLbfgs(
        ...     torch.zeros_like(target),
        ...     lambda x: ((scale * (x - target) ** 2).sum(1), 2 * scale * (x - target)),
        ... )
        >>> for _ in range(30):
        ...     search.step()
        >>> bool((search.theta - target).abs().max() < 1e-6)
        True
    """

    theta: Tensor
    evaluate: Evaluate
    history: int = 20

    def __post_init__(self) -> None:
        self.value, self.gradient = self.evaluate(self.theta)
        # An accelerator does all of the work rather than be asked how much there is, unless that is what is counted.
        self._asks, self._steps = self.theta.device.type == "cpu" or is_counting(), 0
        S, n = self.theta.shape
        self.stalled = torch.zeros(S, dtype=torch.bool, device=self.theta.device)
        self._s, self._y = self.theta.new_zeros(2, S, self.history, n)
        self._rho = self.theta.new_zeros(S, self.history)
        self._stored = torch.zeros(S, dtype=torch.int64, device=self.theta.device)
        self._direction = self.theta.new_zeros(S, n)
        self._t = self.theta.new_zeros(S)
        self._turn(torch.ones_like(self.stalled))

    def step(self) -> None:
        """One evaluation."""
        trial = self.theta + self._t[:, None] * self._direction
        value, gradient = self.evaluate(trial)
        slope = (self.gradient * self._direction).sum(1)
        good = gradient.isfinite().all(1) & (value <= self.value + _ARMIJO * self._t * slope) & ~self.stalled
        self._store(good, trial - self.theta, gradient - self.gradient)
        self.theta = torch.where(good[:, None], trial, self.theta)
        self.gradient = torch.where(good[:, None], gradient, self.gradient)
        self.value = torch.where(good, value, self.value)
        self._t = torch.where(good, self._t, _SHRINK * self._t)
        stuck = self._t < _LEAST_STEP
        # A direction along which nothing is gained: forget the past once, then give up.
        self.stalled = self.stalled | (stuck & (self._stored == 0))
        self._stored = torch.where(stuck, 0, self._stored)
        self._rho = torch.where(stuck[:, None], 0.0, self._rho)
        turn, self._steps = good | stuck, self._steps + 1
        if not self._asks or bool(turn.any()):
            self._turn(turn)

    def _store(self, good: Tensor, s: Tensor, y: Tensor) -> None:
        curvature = (s * y).sum(1)
        good = good & (curvature > 1e-12 * s.norm(dim=1) * y.norm(dim=1))
        rows = good.nonzero()[:, 0] if self._asks else slice(None)
        # A ring would save the shift, but then functions would be out of step with each other in the two loops.
        for store, new in ((self._s, s[rows]), (self._y, y[rows]), (self._rho, 1 / curvature[rows])):
            shifted = torch.cat([store[rows, 1:], new[:, None]], 1)
            if not self._asks:
                shifted = torch.where(good.view(-1, *[1] * (store.ndim - 1)), shifted, store)
            store[rows] = shifted
        self._stored = (self._stored + good).clamp(max=self.history)

    def _turn(self, turn: Tensor) -> None:
        """New directions and unit steps for the functions in `turn`; the two loops, with rho = 0 for empty places."""
        most = int(self._stored.max()) if self._asks else min(self._steps, self.history)
        q = self.gradient.clone()
        taken = []
        for i in range(self.history - 1, self.history - 1 - most, -1):
            a = self._rho[:, i] * (self._s[:, i] * q).sum(1)
            q = q - a[:, None] * self._y[:, i]
            taken.append(a)
        y, rho = self._y[:, -1], self._rho[:, -1]
        fresh = self._stored == 0
        # Without a past, a first step of length at most 0.1.
        scale = torch.where(
            fresh, 0.1 / self.gradient.norm(dim=1).clamp(min=1e-30), 1 / (rho * (y * y).sum(1)).clamp(min=1e-300)
        )
        q = q * scale[:, None]
        for i, a in zip(range(self.history - most, self.history), reversed(taken), strict=True):
            back = self._rho[:, i] * (self._y[:, i] * q).sum(1)
            q = q + (a - back)[:, None] * self._s[:, i]
        self._direction = torch.where(turn[:, None], -q, self._direction)
        self._t = torch.where(turn, torch.ones_like(self._t), self._t)
