"""A Memformer's forward pass: S models, as functions of their parameters, after every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from memformer.core.problem import Problem, matvec
from memformer.ledger import Entry, reports
from memformer.model.config import MemformerConfig
from memformer.model.definition import token_forward
from memformer.model.from_moments import reduced_forward
from memformer.model.from_tokens import associative_forward

Form = Literal["definition", "associative", "reduced"]


class Output(NamedTuple):
    """What S models say of B tasks after 0, 1, ..., depth layers.

    Attributes:
        weights: `(depth + 1, S, B, d)`, such that the prediction is `x_query^T w`; None without linear attention.
        predictions: `(depth + 1, S, B, q)` labels predicted at the queries.
    """

    weights: Tensor | None
    predictions: Tensor


def forward(
    config: MemformerConfig,
    parameters: Mapping[str, Tensor],
    problem: Problem,
    form: Form | None = None,
    depths: Sequence[int] | None = None,
) -> Output:
    """Run S models on the tasks of one problem.

    Args:
        config: what the models are made of.
        parameters: S models, stacked in front of the shapes of `config.shapes()`; of the problem's dtype.
        problem: B tasks.
        form: how to compute it: all exact forms give the same numbers. None takes the cheapest that is exact:
            `"reduced"` (`O(d^2)` a layer for P = 0, else `O(d^3)`) where weights are not token-shaped,
            `"associative"` (`O(N d^2)`) for any linear attention, `"definition"` (`O(N^2 d)`) always.
        depths: for each model how many layers it has, at most `config.depth`; the others do nothing. None: all.

    Returns:
        Weights (where attention is linear, so that predictions are linear in the query) and predictions.

    Raises:
        ValueError: if parameters do not fit, the form is not exact, or d or N is not the problem's.

    Example:
        >>> problem = Problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2))
        >>> config = MemformerConfig(d=2, depth=2, preconditioner="scalar")
        >>> forward(config, {"Q": torch.full((1, 2, 1), -1.0)}, problem).predictions.flatten().tolist()
        [0.0, 1.0, 1.5]
    """
    form = _checked_form(config, problem, form)
    live = live_layers(config, depths, config.check(parameters), problem.X)
    return _run(config, parameters, problem, form, 0, live)


def forward_paired(config: MemformerConfig, parameters: Mapping[str, Tensor], problem: Problem) -> Output:
    """Run model s on task s alone: B models, each with parameters of its own task.

    Args:
        config: what the models are made of.
        parameters: B models.
        problem: B tasks.

    Returns:
        Like `forward`, without the dimension of models: `(depth + 1, B, d)` and `(depth + 1, B, q)`.

    Raises:
        ValueError: if there are not as many models as tasks, or d or N is not the problem's.
    """
    form = _checked_form(config, problem, None)
    models = config.check(parameters)
    if models != problem.B:
        raise ValueError(f"there are {models} models for {problem.B} tasks; each task needs its own")
    weights, predictions = _run(config, parameters, problem, form, 1)
    return Output(None if weights is None else weights[:, :, 0], predictions[:, :, 0])


def _checked_form(config: MemformerConfig, problem: Problem, form: Form | None) -> Form:
    check_fits(config, problem.N, problem.d)
    best = cheapest_form(config)
    if (form == "reduced" and not config.reducible) or (form == "associative" and config.attention != "linear"):
        raise ValueError(
            f"the {form} form is not exact for attention={config.attention!r} with gamma={config.gamma!r}; {best!r} is"
        )
    return form or best


def _run(
    config: MemformerConfig,
    parameters: Mapping[str, Tensor],
    problem: Problem,
    form: Form,
    dim: int,
    live: Tensor | None = None,
) -> Output:
    """All tasks are one group of models' (dim 0), or each task is a group of its own (dim 1)."""
    X, y, x_query = (tensor.unsqueeze(dim) for tensor in (problem.X, problem.y, problem.x_query))
    if form != "definition":
        reduced = form == "reduced"
        run = reduced_forward if reduced else associative_forward
        given = problem.moments if reduced else (problem.X, problem.y)
        weights = _from_zero(run(config, parameters, *_tasks_last(dim, *given), live=live))
        return Output(weights, _predicted(x_query, weights))
    if config.attention != "linear":
        return Output(None, token_forward(config, parameters, X, y, x_query, live))
    # Predictions are linear in the query, so those at the unit vectors are the weights.
    unit = torch.eye(config.d, dtype=X.dtype, device=X.device).expand(*X.shape[:2], -1, -1)
    found = token_forward(config, parameters, X, y, torch.cat([unit, x_query], 2), live)
    return Output(found[..., : config.d], found[..., config.d :])


@reports(lambda x_query, weights: Entry(0, 0))  # what a model says at its queries is no part of finding the weights
def _predicted(x_query: Tensor, weights: Tensor) -> Tensor:
    return matvec(x_query, weights)


def _tasks_last(dim: int, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors `(B, ...)` as `(1, ..., B)` (dim 0) or `(B, ..., 1)` (dim 1).

    With tasks last in memory too, every later operation runs over contiguous numbers.
    """
    return tuple(tensor[..., None] if dim else tensor.movedim(0, -1).contiguous()[None] for tensor in tensors)


def _from_zero(iterates: Sequence[Tensor]) -> Tensor:
    """Iterates `(S, d, n)` as `(depth + 1, S, n, d)`, with `w_0 = 0` in front."""
    return torch.stack([torch.zeros_like(iterates[0]), *iterates]).mT


def reduced_weights(
    config: MemformerConfig, parameters: Mapping[str, Tensor], problem: Problem, live: Tensor | None = None
) -> Tensor:
    """`Output.weights` alone, in the reduced form: `(depth + 1, S, B, d)`; nothing is checked."""
    return _from_zero(reduced_forward(config, parameters, *_tasks_last(0, *problem.moments), live=live))


def first_layers(
    config: MemformerConfig, parameters: Mapping[str, Tensor], depth: int
) -> tuple[MemformerConfig, dict[str, Tensor]]:
    """The models that the first `depth` layers are."""
    shorter = replace(config, depth=depth)
    found = dict(parameters)
    for name, shape in shorter.shapes().items():
        for dim, size in enumerate(shape, 1):
            if found[name].shape[dim] != size:
                found[name] = found[name].narrow(dim, 0, size)
    return shorter, found


def cheapest_form(config: MemformerConfig) -> Form:
    """The cheapest exact form."""
    if config.reducible:
        return "reduced"
    return "associative" if config.attention == "linear" else "definition"


def check_fits(config: MemformerConfig, N: int, d: int) -> None:
    """Raise ValueError unless a model of `config` can read contexts of N points in d dimensions."""
    if d != config.d:
        raise ValueError(f"the Memformer was made for d = {config.d} and the problem has d = {d}")
    if config.num_tokens not in (None, N):
        made = f"token-shaped memory weights were made for N = {config.num_tokens}"
        raise ValueError(f"{made} and the problem has N = {N}")


def live_layers(config: MemformerConfig, depths: Sequence[int] | None, models: int, like: Tensor) -> Tensor | None:
    """`(S, depth)`, 1 for the layers a model has; None if each has all of them."""
    if depths is None or all(depth == config.depth for depth in depths):
        return None
    if len(depths) != models or not all(0 <= depth <= config.depth for depth in depths):
        raise ValueError(f"depths are {list(depths)}; they must be {models} numbers from 0 to {config.depth}")
    layers = torch.arange(config.depth, device=like.device)
    return (layers < torch.tensor(list(depths), device=like.device)[:, None]).to(like.dtype)
