"""What training minimises: pools of tasks, brought once into the shape a model reads, and the loss on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memformer.core.problem import Problem, TaskSource
from memformer.kernels import first_order_loss, gdpp
from memformer.kernels.first_order import first_order_iterates
from memformer.kernels.judge import Judge
from memformer.ledger import Entry, is_counting, reports, uncounted
from memformer.model.config import MemformerConfig
from memformer.model.definition import token_forward
from memformer.model.from_moments import step_coefficients
from memformer.model.memory import layer_weights, register_window

LossKind = Literal["auto", "expected", "query"]

_DRAWN_AT_ONCE = 8192


@dataclass(frozen=True)
class Batch:
    """n tasks for each of G groups of models: what a model reads, and what it is judged by. Tasks are last.

    Attributes:
        H: `(G, d, d, n)`; None for a model that needs tokens.
        b: `(G, d, n)`; likewise.
        X: `(G, N, d, n)`; None for a model that needs moments only.
        y: `(G, N, n)`; likewise.
        w_star: `(G, d, n)`, for the expected loss.
        metric: `(G, d, d)` or `(G, d, d, n)`, `E[x x^T]` of a query point, for the expected loss.
        x_query: `(G, q, d, n)`, for the query loss.
        y_query: `(G, q, n)`, for the query loss.
        task_weights: `(G, n)`, what each task counts; None if all count alike.
    """

    H: Tensor | None = None
    b: Tensor | None = None
    X: Tensor | None = None
    y: Tensor | None = None
    w_star: Tensor | None = None
    metric: Tensor | None = None
    x_query: Tensor | None = None
    y_query: Tensor | None = None
    task_weights: Tensor | None = None

    def map(
        self, change: Callable[[str, Tensor], Tensor], of_shared: Callable[[Tensor], Tensor] = lambda metric: metric
    ) -> Batch:
        """The batch with each tensor that it holds changed, given its name.

        A metric that all tasks share has no dimension of tasks: `of_shared` changes it, or nothing does.
        """
        found = {}
        for name, tensor in vars(self).items():
            if tensor is not None:
                shared = name == "metric" and self.w_star is not None and tensor.ndim == self.w_star.ndim
                found[name] = of_shared(tensor) if shared else change(name, tensor)
        return Batch(**found)

    def of(self, *names: str) -> list[Tensor]:
        """The tensors of these names, which a batch of its kind holds."""
        return [getattr(self, name) for name in names]

    @staticmethod
    def stack(groups: Sequence[Batch]) -> Batch:
        """One batch of G groups from G without the dimension of groups, as `read` gives them."""

        def stacked(name: str) -> Tensor:
            return torch.stack([getattr(group, name) for group in groups]).contiguous()

        return groups[0].map(lambda name, _: stacked(name), lambda _: stacked("metric"))


def losses(
    config: MemformerConfig, parameters: Mapping[str, Tensor], batch: Batch, live: Tensor | None = None
) -> Tensor:
    """Mean loss of each of S models on its group's tasks, after its last layer: `(S,)`.

    The expected loss is `(w - w_star)^T E[x x^T] (w - w_star)`: the squared error of a query averaged exactly, less
    the variance of label noise. The query loss is the mean of `(prediction - y_query)^2`.
    """
    if config.attention != "linear":
        X, y, x_query, y_query = batch.of("X", "y", "x_query", "y_query")
        tokens = (tensor.movedim(-1, 1) for tensor in (X, y, x_query))
        predictions = token_forward(config, parameters, *tokens, live=live)[-1].mT
        squares = (_group(predictions, len(y_query)) - y_query[:, None]).square()
        if batch.task_weights is not None:
            squares = squares * batch.task_weights[:, None, None]
        return squares.mean(dim=(2, 3)).flatten()
    judge = Judge(batch.w_star, batch.metric, batch.x_query, batch.y_query, batch.task_weights)
    tokens = batch.H is None
    seen, labels = batch.of("X", "y") if tokens else batch.of("H", "b")
    if not tokens and not config.covariate_update:
        with uncounted():  # parameters alone, once for all tasks
            C = step_coefficients(config, parameters, live)
        if first_order_loss.serves(C):
            return first_order_loss.first_order_loss(C, seen, labels, judge, register_window(config))
        weights = first_order_iterates(C, seen, labels, register_window(config))[-1]
    else:
        layers = layer_weights(config, parameters, live)
        if gdpp.serves(layers) and not is_counting():
            return gdpp.layers_loss(layers, seen, labels, judge, tokens)
        weights = (gdpp.token_method if tokens else gdpp.covariate_method)(layers, seen, labels)[-1]
    if torch.compiler.is_compiling():
        return _loss_and_slope(weights, batch)[0]
    return _Loss.apply(weights, batch)  # pyright: ignore[reportReturnType]


@reports(lambda weights, batch: Entry((1 if batch.x_query is None else 2) * weights[:, 0].numel()))
def _loss_and_slope(weights: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Loss `(S,)` of weights `(S, d, n)`, and its gradient `(S, d, n)` in them."""
    n = weights.shape[-1]
    if batch.w_star is None:
        x_query, y_query = batch.of("x_query", "y_query")
        x, w = x_query[:, None], _group(weights, len(y_query))
        error = (x * w[:, :, None]).sum(3) - y_query[:, None]
        weighted = error if batch.task_weights is None else error * batch.task_weights[:, None, None]
        loss, slope = (error * weighted).mean(dim=(2, 3)), (x * weighted[:, :, :, None]).sum(2)
        n *= error.shape[2]
    else:
        w_star, metric = batch.of("w_star", "metric")
        error = _group(weights, len(w_star)) - w_star[:, None]
        slope = metric[:, None] @ error if metric.ndim == 3 else (metric[:, None] * error[:, :, None]).sum(3)
        if batch.task_weights is not None:
            slope *= batch.task_weights[:, None, None]
        loss = (error * slope).sum(2).mean(-1)
    return loss.flatten(), (2 / n) * slope.view_as(weights)


class _Loss(torch.autograd.Function):
    """The loss with its gradient written by hand: a step of small models is mostly autograd's bookkeeping."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, batch: Batch) -> Tensor:
        loss, slope = _loss_and_slope(weights, batch)
        ctx.save_for_backward(slope)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (slope,) = ctx.saved_tensors
        return grad[:, None, None] * slope, None


def _group(tensor: Tensor, groups: int) -> Tensor:
    """`(S, ...)` to `(G, S / G, ...)`."""
    return tensor.unflatten(0, (groups, -1))


def draw(config: MemformerConfig, sources: Sequence[TaskSource], count: int, size: int, kind: LossKind) -> list[Batch]:
    """The next `count` tasks of each source, in batches of `size` (the last may be smaller).

    Args:
        config: decides between moments and tokens.
        sources: one for each group of models, alike in N and d.
        count: tasks of each source.
        size: tasks of a batch.
        kind: `"expected"` needs linear attention and tasks with `w_star` and `second_moment`; `"auto"` takes it
            where it can.

    Raises:
        ValueError: if the loss asked for cannot be computed from these tasks.
    """
    groups = []
    for source in sources:
        drawn, left = [], count
        while left:
            # Contexts are reduced to moments a block at a time, so that no pool of contexts is ever held.
            problem = source.sample(min(left, _DRAWN_AT_ONCE))
            drawn.append(read(config, problem, kind))
            left -= problem.B
        groups.append(drawn[0].map(lambda name, _, parts=drawn: torch.cat([getattr(one, name) for one in parts], -1)))
    whole = Batch.stack(groups)
    # Contiguous: a training step reads tasks from the first to the last.
    parts = [slice(start, start + size) for start in range(0, count, size)]
    return [whole.map(lambda _, tensor, part=part: tensor[..., part].contiguous()) for part in parts]


def read(config: MemformerConfig, problem: Problem, kind: LossKind) -> Batch:
    """What `config` needs of a problem, and what it is judged by: a `Batch` without the dimension of groups.

    Raises:
        ValueError: if the loss asked for cannot be computed from these tasks.
    """
    w_star, metric = problem.w_star, problem.second_moment
    if kind != "query" and config.attention == "linear" and w_star is not None and metric is not None:
        judge = {"w_star": w_star.mT, "metric": metric if metric.ndim == 2 else metric.movedim(0, -1)}
    elif kind == "expected":
        raise ValueError(
            "the expected loss needs linear attention and tasks with w_star and second_moment; use loss='query'"
        )
    elif problem.y_query is None:
        raise ValueError("the query loss needs tasks with y_query")
    else:
        judge = {"x_query": problem.x_query.movedim(0, -1), "y_query": problem.y_query.mT}
    names, given = (("H", "b"), problem.moments) if config.reducible else (("X", "y"), (problem.X, problem.y))
    seen = {name: tensor.movedim(0, -1) for name, tensor in zip(names, given, strict=True)}
    return Batch(**seen, **judge, task_weights=problem.weights)
