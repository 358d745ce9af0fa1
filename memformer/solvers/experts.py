"""Mixtures of experts: Memformers trained on one component each, joined as gated heads, gates adapted afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from memformer.core.checks import require_choice
from memformer.core.modes import learns
from memformer.core.problem import Problem, TaskSource
from memformer.core.tensors import ordinary
from memformer.model.config import MemformerConfig
from memformer.model.forward import Output, check_fits, forward, forward_paired
from memformer.training.lbfgs import BatchedLbfgs
from memformer.training.objective import losses, read
from memformer.training.recipe import ProgressCallback, Recipe
from memformer.training.train import train

Adapt = Literal["gates", "gates_and_memory"]


@dataclass(frozen=True, eq=False)
class Mixture:
    """Experts as the heads of one Memformer.

    Attributes:
        config: of the whole, with a gate and memory weights for every head.
        parameters: one model, or one for each task of the problem it was adapted to.
    """

    config: MemformerConfig
    parameters: dict[str, Tensor]

    @property
    def gates(self) -> Tensor:
        """`(S, heads)`."""
        return self.parameters["gates"]

    def __call__(self, problem: Problem) -> Output:
        """Weights `(depth + 1, B, d)` and predictions `(depth + 1, B, q)` after every layer."""
        if len(self.gates) > 1:
            return forward_paired(self.config, self.parameters, problem)
        weights, predictions = forward(self.config, self.parameters, problem)
        return Output(None if weights is None else weights[:, 0], predictions[:, 0])


@learns
def train_experts(
    config: MemformerConfig,
    components: Sequence[TaskSource],
    seed: int = 0,
    recipe: Recipe | None = None,
    progress: ProgressCallback | None = None,
) -> Mixture:
    """Train one expert for each component of a law, all as one batch, and join them with equal gates.

    Args:
        config: of one expert: one head, no gates.
        components: training tasks of each component, alike in N, d, dtype and device.
        seed: of the random start, which all experts share.
        recipe: how to train.
        progress: called now and then.

    Raises:
        TrainingError: if an expert never trained.

    Source: Dutta & Sra, arXiv 2410.07263, section 4.3.
    """
    _require_expert(config)
    trained = train(config, components, [config.depth], [seed] * len(components), recipe, progress=progress)
    return assemble(config, trained.parameters)


def assemble(config: MemformerConfig, experts: Mapping[str, Tensor], gates: Tensor | None = None) -> Mixture:
    """Join experts: `Z_{l+1} = Z_l + sum_h g_h T_{l,h}`, with `T_{l,h}` what expert h's memory makes of its attention.

    Args:
        config: of one expert: one head, no gates.
        experts: H models of that config.
        gates: `(H,)`; None is 1/H each.

    Returns:
        A mixture of H heads. With one gate 1 and the others 0 it is that expert.

    Raises:
        ValueError: if the config is not of a single expert, or parameters do not fit.

    Example:
        >>> config = MemformerConfig(d=1, depth=1, preconditioner="scalar")
        >>> assemble(config, {"Q": torch.tensor([[[-1.0]], [[-3.0]]])}).parameters["Q"].tolist()
        [[[-1.0, -3.0]]]
    """
    _require_expert(config)
    heads = config.check(experts)
    joined = {}
    for name, tensor in experts.items():
        if name in ("Q", "P"):
            joined[name] = tensor[:, :, 0].movedim(0, 1)[None]
        else:
            # Heads come after the layers: two dimensions of them where weights belong to pairs of layers.
            joined[name] = tensor.movedim(0, tensor.ndim - len(config.gamma_shape) - 1)[None]
    if gates is None:
        gates = torch.full_like(experts["Q"].flatten()[:heads], 1 / heads)
    joined["gates"] = gates[None]
    whole = replace(config, heads=heads, gates="shared", gamma_per_head=config.memory != "none")
    whole.check(joined)
    return Mixture(whole, joined)


@learns
def adapt(
    mixture: Mixture,
    problem: Problem,
    what: Adapt = "gates",
    folds: int | None = None,
    per_task: bool = False,
    steps: int = 60,
) -> Mixture:
    """Fit gates (variant A of the paper), or gates and memory weights (variant B), to tasks.

    Args:
        mixture: one model.
        problem: B tasks.
        what: `"gates"` or `"gates_and_memory"`.
        folds: None fits the tasks' `w_star` or query labels: right for training tasks, transductive for scored ones.
            A number reads the tasks' *context* alone: it is cut into so many folds, each predicted from the rest;
            N folds leave one out.
        per_task: whether each task gets weights of its own, from its own folds.
        steps: evaluations of L-BFGS.

    Returns:
        The adapted mixture: one model, or with `per_task` one for each task.

    Raises:
        ValueError: if `what` is unknown, folds do not divide the context, or contexts cut short do not fit.
    """
    require_choice("what", what, get_args(Adapt))
    if len(mixture.gates) > 1:
        raise ValueError("the mixture has weights for each task already; adapt the one it came from")
    tasks = replace(problem) if folds is None else context_folds(problem, folds)
    check_fits(mixture.config, tasks.N, tasks.d)
    models = problem.B if per_task else 1
    # Consecutive tasks belong to a group.
    batch = read(mixture.config, tasks, "auto").map(
        lambda _, tensor: tensor.unflatten(-1, (models, -1)).movedim(-2, 0).contiguous(),
        lambda metric: metric.expand(models, -1, -1),
    )
    free = ["gates"] + [name for name in ("alpha", "gamma") if name in mixture.parameters and what != "gates"]
    parameters = {name: ordinary(one).expand(models, *one.shape[1:]) for name, one in mixture.parameters.items()}
    sizes = [parameters[name][0].numel() for name in free]

    def put(theta: Tensor) -> dict[str, Tensor]:
        parts = zip(free, theta.split(sizes, 1), strict=True)
        return {**parameters, **{name: part.view_as(parameters[name]) for name, part in parts}}

    scale = tasks.y.square().mean().clamp(min=torch.finfo(tasks.dtype).tiny)

    def evaluate(theta: Tensor) -> tuple[Tensor, Tensor]:
        theta = theta.detach().requires_grad_()
        loss = losses(mixture.config, put(theta), batch) / scale
        (gradient,) = torch.autograd.grad(loss.sum(), theta)
        return loss.detach(), gradient

    search = BatchedLbfgs(torch.cat([parameters[name].flatten(1) for name in free], 1), evaluate)
    for _ in range(steps):
        search.step()
        if bool(search.stalled.all()):
            break
    return Mixture(mixture.config, put(search.theta))


def context_folds(problem: Problem, folds: int) -> Problem:
    """Tasks made of contexts alone: each fold of a context is to be predicted from the rest of it.

    Args:
        problem: B tasks; neither queries nor true weights are read.
        folds: how many, a divisor of N from 2 to N.

    Returns:
        `B * folds` tasks with contexts of `N - N/folds` points and `N/folds` queries; those of the first task first.

    Raises:
        ValueError: if `folds` is no such number.

    Example:
        >>> problem = Problem(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[3.0, 4.0]]), torch.zeros(1, 1, 1))
        >>> folded = context_folds(problem, folds=2)
        >>> folded.y.tolist(), folded.y_query.tolist()
        ([[4.0], [3.0]], [[3.0], [4.0]])
    """
    N = problem.N
    if not 2 <= folds <= N or N % folds:
        raise ValueError(f"folds is {folds}; with contexts of N = {N} points it must divide N and be from 2 to N")
    fold = torch.arange(N, device=problem.device) // (N // folds)
    inside = torch.stack([(fold == i).nonzero()[:, 0] for i in range(folds)])
    outside = torch.stack([(fold != i).nonzero()[:, 0] for i in range(folds)])
    X, y = problem.X, problem.y
    return Problem(
        X[:, outside].flatten(0, 1), y[:, outside].flatten(0, 1), X[:, inside].flatten(0, 1), y[:, inside].flatten(0, 1)
    )


def _require_expert(config: MemformerConfig) -> None:
    if config.heads != 1 or config.gates != "none":
        raise ValueError(f"an expert has one head and no gates; this config has heads={config.heads}, {config.gates!r}")
