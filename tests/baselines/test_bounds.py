"""The bounds of the classical methods on diagonal quadratics, and identities between methods."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.accelerated import Chebyshev, HeavyBall, MarchenkoPastur, Nesterov, fista_t
from baselines.gradient import BarzilaiBorwein, GradientDescent, SteepestDescent
from baselines.krylov import CGLS, ConjugateGradient, PreconditionedCG
from baselines.newton import NewtonSchulz
from baselines.scipy_solvers import Scipy
from benchmarks.tasks.gaussian import Isotropic
from memformer.core.problem import Problem
from memformer.core.trace import Outcome
from tests.baselines.helpers import quadratic, scored, true_weights, weights_of

K = 12
MU, L = 0.1, 2.0
KAPPA = L / MU
SLACK = 1 + 1e-9


def one_eigenvalue_each() -> Problem:
    """Each task starts with error 1 along one eigenvalue of [mu, L], so the trace shows |P_k(lambda)| itself.

    A second coordinate holds the other end of the spectrum for `mu` and `L` with no error along it.
    """
    inner = torch.linspace(MU, L, 41, dtype=torch.float64)
    eigenvalues = torch.stack([torch.full_like(inner, MU), torch.full_like(inner, L), inner], -1)
    return quadratic(eigenvalues, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(41, -1))


def spread() -> Problem:
    """Tasks with the whole spectrum excited."""
    generator = torch.Generator().manual_seed(0)
    inner = MU + (L - MU) * torch.rand(60, 4, generator=generator, dtype=torch.float64)
    ends = torch.tensor([MU, L], dtype=torch.float64).expand(60, -1)
    w_star = torch.randn(60, 6, generator=generator, dtype=torch.float64)
    # A third of the tasks are the worst case of steepest descent: error only at the two ends, in proportion 1/lambda.
    w_star[:20] = torch.tensor([1 / MU, 1 / L, 0, 0, 0, 0], dtype=torch.float64)
    return quadratic(torch.cat([ends, inner], -1), w_star)


def polynomial(solver) -> torch.Tensor:
    """`max |P_k(lambda)|` over the grid, for k = 0 ... K."""
    problem = one_eigenvalue_each()
    return (weights_of(solver, problem, K) - true_weights(problem))[..., 2].abs().amax(1)


def excess(solver, problem: Problem) -> torch.Tensor:
    """`f(w_k) - f*`, `(K + 1, B)`."""
    error = weights_of(solver, problem, K) - true_weights(problem)
    return torch.einsum("kbi,bij,kbj->kb", error, problem.moments.H, error) / 2


@pytest.mark.parametrize(
    ("solver", "bound"),
    [
        (GradientDescent(), lambda k: ((KAPPA - 1) / (KAPPA + 1)) ** k),
        (GradientDescent("L"), lambda k: (1 - 1 / KAPPA) ** k),
        (Chebyshev(), lambda k: 1 / math.cosh(k * math.acosh((L + MU) / (L - MU)))),
    ],
    ids=["gradient_descent", "gradient_descent_l", "chebyshev"],
)
def test_worst_case_equals_its_formula(solver, bound):
    worst = polynomial(solver)
    for k in range(K + 1):
        assert worst[k].item() == pytest.approx(bound(k), rel=1e-9)


def test_heavy_ball_stays_below_its_bound_and_nearly_attains_it():
    rho = (math.sqrt(KAPPA) - 1) / (math.sqrt(KAPPA) + 1)
    worst = polynomial(HeavyBall())
    for k in range(K + 1):
        bound = rho**k * (1 + k * (1 - rho**2) / (1 + rho**2))
        assert 0.99 * bound <= worst[k] <= bound * SLACK


def test_heavy_ball_starts_with_a_gradient_step():
    first = weights_of(HeavyBall(), spread(), 1)[1]
    torch.testing.assert_close(first, weights_of(GradientDescent(), spread(), 1)[1], rtol=1e-12, atol=0)


def test_steepest_descent_rate_and_that_it_is_attained():
    rate = ((KAPPA - 1) / (KAPPA + 1)) ** 2
    values = excess(SteepestDescent(), spread())
    for k in range(K + 1):
        assert (values[k] <= rate**k * values[0] * SLACK).all()
    assert values[K, 0] == pytest.approx(float(rate**K * values[0, 0]), rel=1e-6)


def test_nesterov_strongly_convex_bound():
    problem = spread()
    values = excess(Nesterov(), problem)
    assert problem.w_star is not None
    start = values[0] + MU / 2 * problem.w_star.square().sum(-1)
    for k in range(K + 1):
        assert (values[k] <= (1 - math.sqrt(1 / KAPPA)) ** k * start * SLACK).all()


def test_nesterov_quadratic_spectral_radius():
    problem = one_eigenvalue_each()
    error = (weights_of(Nesterov("quadratic"), problem, 120) - true_weights(problem))[..., 2].abs().amax(1)
    radius = 1 - 2 / math.sqrt(3 * KAPPA + 1)
    # A double root makes the error k * radius^k, so the rate is approached like 1/k.
    rate = float((error[120] / error[60]) ** (1 / 60))
    assert radius <= rate <= radius * (1 + 2 / 60)


def test_fista_bound():
    problem = spread()
    values = excess(Nesterov("convex"), problem)
    assert problem.w_star is not None
    radius = problem.w_star.square().sum(-1)
    for k in range(1, K + 1):
        assert (values[k] <= L * radius / (2 * fista_t(k) ** 2) * SLACK).all()


def test_cg_bound_and_finite_termination():
    problem = spread()
    s = (math.sqrt(KAPPA) - 1) / (math.sqrt(KAPPA) + 1)
    values = excess(ConjugateGradient(), problem)
    for k in range(1, 6):
        assert (values[k].sqrt() <= 2 / (s**k + s**-k) * values[0].sqrt() * SLACK).all()
    # What is left is rounding, which two close eigenvalues amplify: one task of the sixty has 1e-24, the others 1e-26.
    assert (values[6] < 1e-23 * values[0]).all()
    assert (values[6] < 1e-26 * values[0]).float().mean() > 0.95


def test_newton_schulz_squares_its_residual():
    problem = scored(Isotropic(d=4, N=12), 20)
    H = problem.moments.H
    state = NewtonSchulz().init(problem)
    unit = torch.eye(4, dtype=H.dtype)
    for k in range(6):
        residual = unit - H @ state.inverse
        state, _ = NewtonSchulz().step(problem, state, k)
        torch.testing.assert_close(unit - H @ state.inverse, residual @ residual, rtol=0, atol=1e-10)


def test_marchenko_pastur_is_near_the_floor_in_high_dimension():
    # r = 1/4, so the asymptotic error sequence is known: compare with the best polynomial found by cg on one task.
    problem = scored(Isotropic(d=400, N=1600), 1)
    errors = [(weights_of(solver, problem, 4) - true_weights(problem)).square().sum(-1) for solver in _average_and_cg()]
    assert (errors[0][1:] < 1.1 * errors[1][1:]).all()


def _average_and_cg():
    return MarchenkoPastur(), ConjugateGradient()


def test_marchenko_pastur_rises_after_three_steps_in_low_dimension():
    problem = scored(Isotropic(), 20_000)
    loss = (weights_of(MarchenkoPastur(), problem, 5) - true_weights(problem)).square().sum(-1).mean(-1)
    assert loss[1] > loss[2] > loss[3]
    assert loss[5] > loss[4] > loss[3]


GIVEN = scored(Isotropic(d=5, N=12, noise_std=0.3), 8)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ConjugateGradient(), CGLS()),
        (ConjugateGradient(), Scipy("cg")),
        (ConjugateGradient(), PreconditionedCG({"preconditioner": torch.eye(5, dtype=torch.float64)})),
    ],
    ids=["cgls", "scipy_cg", "pcg_identity"],
)
def test_these_take_the_same_steps(one, other):
    torch.testing.assert_close(weights_of(one, GIVEN, 5), weights_of(other, GIVEN, 5), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (CGLS(), Scipy("lsqr")),
        (Scipy("minres"), Scipy("lsmr")),
        (Scipy("minres"), Scipy("gmres")),
    ],
    ids=["cgls=lsqr", "minres=lsmr", "minres=gmres"],
)
def test_these_arrive_at_the_same_point(one, other, steps):
    ours, theirs = weights_of(one, GIVEN, steps)[-1], weights_of(other, GIVEN, steps)[-1]
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_barzilai_borwein_takes_the_cauchy_step_of_the_iterate_before():
    H, b = GIVEN.moments
    w = weights_of(BarzilaiBorwein(), GIVEN, 4)
    g = torch.einsum("bij,kbj->kbi", H, w) - b
    cauchy = g.square().sum(-1) / torch.einsum("kbi,bij,kbj->kb", g, H, g)
    for k in range(1, 4):
        taken = (w[k] - w[k + 1]) / g[k]
        torch.testing.assert_close(taken, cauchy[k - 1][:, None].expand_as(taken), rtol=1e-6, atol=0)


def test_preconditioning_is_cg_in_other_coordinates():
    generator = torch.Generator().manual_seed(3)
    root = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    C = root @ root.T
    turned = Problem(GIVEN.X @ root, GIVEN.y, GIVEN.x_query)
    through = weights_of(ConjugateGradient(), turned, 4) @ root.T
    torch.testing.assert_close(
        weights_of(PreconditionedCG({"preconditioner": C}), GIVEN, 4), through, rtol=1e-7, atol=1e-9
    )


def test_cg_breaks_down_where_its_curvature_underflows():
    tiny = Problem(
        torch.full((2, 1, 1), 1e-170, dtype=torch.float64), torch.ones(2, 1).double(), torch.ones(2, 1, 1).double()
    )
    trace = ConjugateGradient().solve(tiny, 3)
    assert (trace.outcome == Outcome.BREAKDOWN).all()
    assert trace.weights is not None
    assert not trace.weights.any()


def test_a_task_on_which_scipy_raises_is_a_breakdown(monkeypatch):
    import scipy.optimize

    real = scipy.optimize.minimize
    calls = []

    def sometimes(fun, x0, **options):
        calls.append(1)
        if len(calls) == 2:
            options["callback"](x0 + 1)
            raise FloatingPointError("no")
        return real(fun, x0, **options)

    monkeypatch.setattr(scipy.optimize, "minimize", sometimes)
    trace = Scipy("CG").solve(GIVEN.first(3), 3)
    assert trace.outcome.tolist() == [Outcome.MAX_STEPS, Outcome.BREAKDOWN, Outcome.MAX_STEPS]
    assert trace.weights is not None
    assert trace.weights[-1, 1].tolist() == [1.0] * 5


@pytest.mark.parametrize("method", ["BFGS", "CG", "L-BFGS-B", "Newton-CG", "minres"])
def test_scipy_that_stops_at_the_level_of_rounding_has_converged(method):
    given = scored(Isotropic(d=5, N=20), 50).blinded()
    trace = Scipy(method).solve(given, 40)
    assert (trace.outcome == Outcome.CONVERGED).all()
    assert (trace.finished < 40).all()


@pytest.mark.parametrize("method", ["lsqr", "lsmr", "gmres"])
def test_scipy_that_stops_early_took_the_steps_it_took(method):
    given = scored(Isotropic(d=5, N=20), 50).blinded()
    trace = Scipy(method).solve(given, 40)
    assert (trace.outcome == Outcome.CONVERGED).all()
    assert trace.finished.max() < 15
    assert trace.weights is not None
    assert trace.weights[1 : int(trace.finished.min())].count_nonzero() == 0


def test_scipy_that_gives_up_too_early_is_a_breakdown():
    """lsqr takes labels of 1e-35 for solved after a step, 60 % off; lsmr does not. Those of 1e-100 are rescaled."""
    given = scored(Isotropic(d=5, N=20), 3).blinded()
    tiny = Problem(given.X, given.y * 1e-35, given.x_query)
    gave_up = Scipy("lsqr").solve(tiny, 40)
    assert (gave_up.outcome == Outcome.BREAKDOWN).all()
    assert (gave_up.finished == 1).all()
    assert (Scipy("lsmr").solve(tiny, 40).outcome == Outcome.CONVERGED).all()
    tinier = Problem(given.X, given.y * 1e-100, given.x_query)
    assert (Scipy("lsqr").solve(tinier, 40).outcome == Outcome.CONVERGED).all()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: GradientDescent(eta=-1.0),
        lambda: GradientDescent("2/L"),  # type: ignore[arg-type]
        lambda: HeavyBall(eta=0.1),
        lambda: HeavyBall(eta=0.1, beta=1.0),
        lambda: Nesterov("fast"),  # type: ignore[arg-type]
        lambda: BarzilaiBorwein("middle"),  # type: ignore[arg-type]
        lambda: Scipy("bicg"),  # type: ignore[arg-type]
    ],
)
def test_wrong_hyper_parameters_are_refused_in_one_sentence(wrong):
    with pytest.raises(ValueError, match=r"^[^\n]*(must|give)[^\n]*$"):
        wrong()
