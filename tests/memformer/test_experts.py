from __future__ import annotations

import pytest
import torch

from memformer.core.problem import Problem
from memformer.model.config import MemformerConfig
from memformer.model.forward import forward
from memformer.solvers.experts import Mixture, assemble, train_experts
from memformer.solvers.gates import adapt, adapt_each, context_folds
from memformer.training.recipe import Recipe
from tests.memformer.helpers import GaussianSource, assert_close, excess_loss, random_parameters, random_problem

EXPERTS = [
    MemformerConfig(d=3, depth=2),
    MemformerConfig(d=3, depth=2, memory="conjugate", preconditioner="scalar"),
    MemformerConfig(d=3, depth=2, memory="first_order", covariate_update=True, gamma="feature"),
    MemformerConfig(d=3, depth=2, memory="first_order", gamma_sharing="past", gamma="token", num_tokens=6),
    MemformerConfig(d=3, depth=2, memory="conjugate", attention="softmax"),
]


@pytest.mark.parametrize("config", EXPERTS)
def test_one_open_gate_is_that_expert(config):
    experts = random_parameters(config, 3)
    problem = random_problem()
    alone = forward(config, experts, problem).predictions
    for head in range(3):
        gates = torch.eye(3, dtype=torch.float64)[head]
        mixture = assemble(config, experts, gates)
        assert_close(mixture(problem).predictions, alone[:, head])


def test_gates_multiply_what_each_head_adds():
    """One layer: the prediction is the sum of the experts' predictions, weighted by the gates."""
    config = MemformerConfig(d=3, depth=1, memory="conjugate")
    experts, problem = random_parameters(config, 2), random_problem()
    gates = torch.tensor([0.3, -2.0], dtype=torch.float64)
    expected = (gates[:, None, None] * forward(config, experts, problem).predictions[1]).sum(0)
    assert_close(assemble(config, experts, gates)(problem).predictions[1], expected)


def test_folds_cover_the_context_and_read_no_query():
    problem = random_problem(B=2, N=6)
    folded = context_folds(problem, 3)
    assert (folded.B, folded.N, folded.x_query.shape[1]) == (6, 4, 2)
    assert folded.w_star is None
    assert folded.y_query is not None
    for task in range(2):
        rows = slice(3 * task, 3 * task + 3)
        assert_close(folded.y_query[rows].flatten(), problem.y[task])
        assert_close(folded.y[rows].sum(1) + folded.y_query[rows].sum(1), problem.y[task].sum().expand(3))


@pytest.mark.parametrize("folds", [0, 1, 4, 7])
def test_folds_must_divide_the_context(folds):
    with pytest.raises(ValueError, match="must divide N and be from 2 to N"):
        context_folds(random_problem(N=6), folds)


def test_cut_contexts_must_fit_token_weights():
    mixture = assemble(EXPERTS[3], random_parameters(EXPERTS[3], 2))
    with pytest.raises(ValueError, match="made for N = 6 and the problem has N = 5"):
        adapt(mixture, random_problem(), folds=6)


def test_experts_have_one_head():
    with pytest.raises(ValueError, match="one head and no gates"):
        assemble(MemformerConfig(d=3, depth=1, heads=2), {})


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    """Two experts, for small and for large covariates."""
    components = [GaussianSource(seed=1, scales=[s] * 5) for s in (0.5, 2.0)]
    config = MemformerConfig(d=5, depth=2, memory="conjugate", preconditioner="scalar")
    return train_experts(config, components, recipe=Recipe(steps=60, interval=20, tasks=4000, batch=500))


def loss_of(mixture: Mixture, source: GaussianSource, problem: Problem) -> float:
    weights = mixture(problem).weights
    assert weights is not None
    assert problem.w_star is not None
    return excess_loss(source, weights[-1], problem.w_star).mean().item()


@pytest.mark.parametrize(("head", "scale"), [(0, 0.5), (1, 2.0)])
@pytest.mark.parametrize("folds", [None, 5])
def test_gates_find_the_expert_of_the_tasks(mixture, head, scale, folds):
    source = GaussianSource(seed=7, scales=[scale] * 5)
    problem = source.sample(400)
    shown = problem if folds is None else problem.blinded()
    adapted = adapt(mixture, shown, folds=folds)
    expert = Mixture(mixture.config, {**mixture.parameters, "gates": torch.eye(2).double()[head : head + 1]})
    assert loss_of(adapted, source, problem) < 1.05 * loss_of(expert, source, problem)
    assert loss_of(mixture, source, problem) > 1.5 * loss_of(expert, source, problem)


def test_memory_adapts_too_and_gains_where_it_may(mixture):
    source = GaussianSource(seed=7, scales=[1.0] * 5)
    problem = source.sample(400)
    gates, both = adapt(mixture, problem), adapt(mixture, problem, "gates_and_memory")
    assert loss_of(both, source, problem) <= loss_of(gates, source, problem) + 1e-9
    assert_close(gates.parameters["gamma"], mixture.parameters["gamma"])
    assert not torch.equal(both.parameters["gamma"], mixture.parameters["gamma"])


def test_each_task_its_own_gates(mixture):
    """Half of the tasks are of one component, half of the other."""
    sources = [GaussianSource(seed=8, scales=[s] * 5) for s in (0.5, 2.0)]
    problems = [source.sample(50) for source in sources]
    X, y, x_query = (torch.cat([getattr(p, name) for p in problems]) for name in ("X", "y", "x_query"))
    shown = Problem(X, y, x_query)
    own = adapt_each(mixture, shown, "gates", folds=20, steps=60)
    assert own.gates.shape == (100, 2)
    shared = adapt(mixture, shown, folds=20)
    w_own, w_shared = own(shown).weights, shared(shown).weights
    assert w_own is not None
    assert w_shared is not None
    for i, (source, problem) in enumerate(zip(sources, problems, strict=True)):
        rows = slice(50 * i, 50 * i + 50)
        assert problem.w_star is not None
        losses = [excess_loss(source, w[-1, rows], problem.w_star).mean().item() for w in (w_own, w_shared)]
        assert losses[0] < losses[1]
    with pytest.raises(ValueError, match="weights for each task already"):
        adapt(own, shown)
