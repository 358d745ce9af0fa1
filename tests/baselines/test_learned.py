"""What the docstrings of the learned methods state: identities before training, costs, numbers of parameters."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from baselines.accelerated import HeavyBall
from baselines.gradient import SteepestDescent
from baselines.krylov import ConjugateGradient
from baselines.learned.delta_net import DeltaNet
from baselines.learned.hypernetwork import Hypernetwork
from baselines.learned.lstm import LstmOptimizer
from baselines.learned.preconditioner import LearnedPreconditioner
from baselines.learned.transformer import Transformer
from baselines.learned.unrolled import Unrolled
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.law import Law
from memformer.core.problem import Problem
from memformer.core.solver import Reach
from memformer.ledger import counting
from memformer.solvers.learned import LearnedSolver
from memformer.solvers.readouts import Field
from tests.baselines.helpers import scored, true_weights, weights_of

LAW, STEPS = Isotropic(d=5, N=20), 4


@cache
def problem() -> Problem:
    return scored(LAW, 64)


def module(solver: LearnedSolver, law: Law = LAW) -> nn.Module:
    torch.manual_seed(0)
    return solver.build(law.d, law.N, STEPS).double().requires_grad_(False)


def shaken(solver: LearnedSolver, law: Law = LAW) -> nn.Module:
    """Its module with other parameters than training starts at."""
    made = module(solver, law)
    for parameter in made.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def field(given: Problem) -> Field:
    """Its gradients in its own units."""
    H, b = given.moments
    return Field(given, 1.0, torch.ones_like(b[:, :1]), b, H)


def read(solver: LearnedSolver, given: Problem) -> tuple[Tensor | Field, ...]:
    """What its module is shown of a problem, in the problem's own units."""
    shown = {"context": (given.X, given.y, given.x_query), "moments": given.moments}
    return shown.get(solver.reads) or (field(given),)


def test_what_is_not_trained_yet_is_a_classical_method() -> None:
    steepest, cg = weights_of(SteepestDescent(), problem(), STEPS), weights_of(ConjugateGradient(), problem(), STEPS)
    torch.testing.assert_close(module(LstmOptimizer())(field(problem())), steepest[1:])
    for factor in ("triangular", "diagonal"):
        torch.testing.assert_close(module(LearnedPreconditioner(factor))(*problem().moments), cg[1:])


def test_an_unrolled_method_of_equal_constants_is_heavy_ball() -> None:
    made = module(Unrolled(coordinatewise=False))
    for rate in made.rates:
        rate.fill_(0.4)
    for momentum in made.momenta:
        momentum.fill_(0.3)
    torch.testing.assert_close(made(field(problem())), weights_of(HeavyBall(eta=0.4, beta=0.3), problem(), STEPS)[1:])
    assert Unrolled(coordinatewise=False).reach is Reach.FIXED


def test_iterates_of_the_hypernetwork_are_in_the_krylov_space() -> None:
    H, b = problem().moments
    powers = [b]
    for k, w in enumerate(shaken(Hypernetwork())(H, b)):
        basis = torch.stack(powers, -1)
        nearest = (basis @ torch.linalg.lstsq(basis, w[..., None]).solution)[..., 0]
        torch.testing.assert_close(nearest, w, msg=f"step {k + 1}")
        powers.append((H @ powers[-1][..., None])[..., 0])


@pytest.mark.parametrize("factor", ["triangular", "diagonal"])
def test_cg_with_any_learned_preconditioner_is_exact_after_d_steps(factor) -> None:
    made = shaken(LearnedPreconditioner(factor))
    made.steps = LAW.d
    torch.testing.assert_close(made(*problem().moments)[-1], true_weights(problem()), rtol=1e-6, atol=1e-6)


def test_a_layer_of_delta_rule_not_trained_yet_is_a_sweep_of_kaczmarz() -> None:
    given = scored(LAW, 4000)
    error = module(DeltaNet())(given.X, given.y, given.x_query) - true_weights(given)
    found = error[0].square().sum(-1) / true_weights(given).square().sum(-1)
    assert float(found.mean()) == pytest.approx((1 - 1 / LAW.d) ** LAW.N, rel=0.15)


@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize("attention", ["softmax", "relu"])
def test_answers_of_a_transformer_hang_neither_on_other_queries_nor_on_the_order_of_the_context(attention, looped):
    made = shaken(Transformer(attention=attention, looped=looped, width=8, heads=2))
    X, y = problem().X, problem().y
    queries = torch.randn(problem().B, 3, LAW.d, dtype=X.dtype, generator=torch.Generator().manual_seed(1))
    together, alone = made(X, y, queries), made(X, y, queries[:, 1:2])
    torch.testing.assert_close(together[:, :, 1:2], alone)
    torch.testing.assert_close(made(X.flip(1), y.flip(1), queries), together)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="heads is 5; it must be a divisor of the width, 32"):
        Transformer(heads=5)


@pytest.mark.parametrize(
    "solver",
    [
        Transformer(width=4, heads=2),
        Transformer(width=4, heads=2, attention="relu"),
        Transformer(width=4, heads=2, looped=True),
        LstmOptimizer(hidden=3),
        Unrolled(),
        Unrolled(coordinatewise=False),
        Hypernetwork(width=4, products=2),
        LearnedPreconditioner(width=4),
        LearnedPreconditioner("diagonal", width=4),
        DeltaNet(width=3),
    ],
    ids=lambda solver: type(solver).__name__,
)
def test_gradients_in_the_inputs_are_those_of_finite_differences(solver) -> None:
    law = Isotropic(d=3, N=6)
    given = scored(law, 2)
    made = shaken(solver, law)

    def answers(X: Tensor, y: Tensor, x_query: Tensor) -> Tensor:
        return made(*read(solver, replace(given, X=X, y=y, x_query=x_query)))

    inputs = [one.clone().requires_grad_() for one in (given.X, given.y, given.x_query)]
    assert torch.autograd.gradcheck(answers, inputs)


@pytest.mark.parametrize(
    ("solver", "number"),
    [
        (Transformer(), 34_820),
        (Transformer(looped=True), 8_897),
        (LstmOptimizer(), 4 * 20 * 24 + 2 * 21),
        (Unrolled(), 7 * 5),
        (Unrolled(coordinatewise=False), 7),
        (Hypernetwork(), 64 * 9 + 64 * 65 + 65 * 10),
        (LearnedPreconditioner(), 64 * 16 + 64 * 65 + 65 * 15),
        (DeltaNet(), 4 * (5 * 16 + 1)),
    ],
)
def test_numbers_of_parameters_are_as_stated(solver, number) -> None:
    assert sum(parameter.numel() for parameter in module(solver).parameters()) == number


@pytest.mark.parametrize(
    ("solver", "products"),
    [
        (LstmOptimizer(), 2 * STEPS - 1),
        (Unrolled(), STEPS - 1),
        (Hypernetwork(), 3 + 2 + (STEPS - 1) + STEPS),
        (LearnedPreconditioner(), 3 + 3 * STEPS),
        (LearnedPreconditioner("diagonal"), 3 + STEPS),
        (DeltaNet(), STEPS * (2 + 2 * LAW.N)),
    ],
)
def test_products_are_counted_as_stated(solver, products) -> None:
    made, given = module(solver), problem()
    shown = read(solver, given)
    with counting() as ledger:
        made(*shown)
    assert ledger.products == products * given.B
