"""Truth lines, and what no method with fixed coefficients may beat."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from baselines.direct import OLS
from baselines.exact_risk import exact_risk
from baselines.lfom import Lfom
from baselines.lfom_optimal import LfomOptimal, draw_moments
from baselines.newton import NewtonSchulzLaw
from baselines.objective import excess_loss
from baselines.truth_lines import krylov_oracle, lfom_floor, relative_excess
from baselines.tuning import Tuned
from baselines.wishart import GaussianTasks
from benchmarks.tasks.gaussian import Anisotropic, Isotropic
from benchmarks.tasks.law import Purpose
from memformer.core.problem import SPREAD, Problem
from memformer.training.recipe import TrainingError
from tests.baselines.helpers import scored, training, true_weights, weights_of

LAW = Isotropic()
FLOOR = (0.143, -1.019, -2.014, -2.90)
ORACLE = (-0.18, -1.96, -4.00, -6.64)
TOLERANCE = (0.01, 0.015, 0.03, 0.07)
"""Means over millions of tasks; the losses are heavy-tailed, so later steps are known less well."""


@pytest.fixture(scope="module")
def fresh() -> Problem:
    return scored(LAW, 60_000)


@pytest.fixture(scope="module")
def optimal() -> LfomOptimal:
    return LfomOptimal().fit(training(LAW), [4])


def log_losses(solver, problem: Problem, steps: int) -> list[float]:
    return excess_loss(problem, weights_of(solver, problem, steps)).mean(-1).log().tolist()[1:]


def test_lfom_optimal_has_the_known_values(optimal, fresh):
    for found, known, tolerance in zip(log_losses(optimal, fresh, 4), FLOOR, TOLERANCE, strict=True):
        assert found == pytest.approx(known, abs=2 * tolerance)


def test_the_floor_has_the_known_values_and_says_how_sure_it_is():
    estimate = lfom_floor(LAW.stream(0, Purpose.TRUTH), 4, num_tasks=60_000)
    for k in range(1, 5):
        relative_error = float(estimate.standard_error[k] / estimate.loss[k])
        assert relative_error < TOLERANCE[k - 1]
        assert estimate.loss[k].log().item() == pytest.approx(FLOOR[k - 1], abs=4 * relative_error)


def test_an_estimated_floor_knows_about_how_far_it_lies_above_the_exact_one():
    exact = GaussianTasks(LAW.N, LAW.d)
    estimates, truths = [], []
    for seed in range(8):
        tasks = draw_moments(LAW.stream(seed, Purpose.TRUTH), 4000)
        estimates.append(relative_excess(*tasks, 4))
        fitted = LfomOptimal().fitted(*tasks, 4)
        truths.append([float(exact_risk(fitted, exact, k) / exact.floor(k)) - 1 for k in range(1, 5)])
    estimate, truth = torch.stack(estimates)[:, 1:].median(0).values, torch.tensor(truths).median(0).values
    assert (estimate > truth / 4).all()
    assert (estimate < truth * 20).all()
    assert torch.stack(estimates)[:, 0].max() == 0


def test_a_law_that_preconditioning_makes_isotropic_has_the_isotropic_floor():
    # The same tasks in coordinates stretched by `scale`, w_star by its inverse: C = Sigma^-1 undoes it exactly.
    class Stretched:
        d, N, noise_var = 5, 20, 0.0
        scale = torch.tensor([1.0, 1.0, 0.5, 0.25, 1.0], dtype=torch.float64)
        second_moment = torch.diag(scale**2)

        def __init__(self):
            self.stream = LAW.stream(0, Purpose.TRUTH).spread(SPREAD)

        def spread(self, width):
            return self

        def sample(self, batch):
            p = self.stream.sample(batch)
            assert p.w_star is not None
            told = {"w_star": p.w_star / self.scale, "second_moment": self.second_moment, "weights": p.weights}
            return Problem(p.X * self.scale, p.y, p.x_query * self.scale, p.y_query, **told)

        def prior(self, X):
            return None

    stretched = lfom_floor(Stretched(), 4, num_tasks=20_000, preconditioned=True)
    plain = lfom_floor(LAW.stream(0, Purpose.TRUTH), 4, num_tasks=20_000)
    torch.testing.assert_close(stretched.loss, plain.loss, rtol=1e-8, atol=0)


def test_nested_coefficients_equal_the_normal_equations():
    # The monomial least-squares problem (normal equations in b, Hb, H^2 b) is still well conditioned at k = 3.
    fit = training(LAW).spread(SPREAD).sample(4096)
    assert fit.weights is not None
    assert fit.weights.std() > 0.3
    fitted = LfomOptimal().fitted(*draw_moments(training(LAW), 4096), 3)
    H, b = fit.moments
    V = [b]
    for _ in range(2):
        V.append((H @ V[-1][..., None])[..., 0])
    V = torch.stack(V, -1)
    weighted = V.mT * fit.weights[:, None, None]
    c = torch.linalg.solve((weighted @ V).mean(0), (weighted @ true_weights(fit)[..., None]).mean(0))
    torch.testing.assert_close(weights_of(fitted, fit, 3)[-1], (V @ c)[..., 0], rtol=1e-8, atol=1e-9)


def test_fifty_steps_are_stable():
    law = Isotropic(d=5, N=40)
    fitted = LfomOptimal().fitted(*draw_moments(training(law), 20_000), 50)
    loss = log_losses(fitted, training(law).sample(20_000), 50)
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(loss))
    assert loss[-1] < -15


def test_an_exhausted_krylov_space_stops_gracefully():
    given = scored(LAW, 1)

    class OneTask:
        d, N, noise_var, second_moment = 5, 20, 0.0, torch.eye(5, dtype=torch.float64)

        def spread(self, width):
            return self

        def sample(self, batch):
            return given

        def prior(self, X):
            return None

    fitted = LfomOptimal(num_tasks=1).fit(OneTask(), [9])
    loss = excess_loss(given, weights_of(fitted, given, 9))[:, 0]
    assert loss[5] < 1e-20
    assert (loss[5:] < 1e-20).all()


@pytest.mark.parametrize(
    "solver",
    [Tuned("gradient_descent"), Tuned("heavy_ball"), Tuned("nesterov"), Lfom(iterations=150)],
    ids=["gradient_descent", "heavy_ball", "nesterov", "lfom"],
)
def test_no_fixed_coefficients_beat_the_floor(solver, optimal, fresh):
    best = excess_loss(fresh, weights_of(optimal, fresh, 4))
    fitted = solver.fit(training(LAW, seed=2), [1, 2, 3, 4])
    for k in range(1, 5):
        # Paired over tasks, so that heavy tails cancel.
        gap = excess_loss(fresh, weights_of(fitted, fresh, k)[-1]) - best[k]
        assert gap.mean() > -4 * gap.std() / fresh.B**0.5
        if solver.__class__ is Lfom:
            assert gap.mean() < 0.25 * best[k].mean()


@pytest.mark.parametrize(
    ("method", "known"),
    [("heavy_ball", (0.141, -1.014, -2.013, -2.928)), ("nesterov", (0.141, -1.014, -1.871, -2.574))],
)
def test_tuned_constants_reach_the_known_values(method, known, fresh):
    fitted = Tuned(method).fit(training(LAW), [1, 2, 4])
    for k in (1, 2, 4):
        found = excess_loss(fresh, weights_of(fitted, fresh, k)[-1]).mean().log().item()
        assert found == pytest.approx(known[k - 1], abs=0.06)


def test_lfom_learns_what_a_diagonal_can_and_a_scalar_cannot():
    class Stretched:
        d, N, noise_var = 3, 12, 0.0
        scale = torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)
        second_moment = torch.diag(scale**2)

        def __init__(self):
            self.stream = training(Isotropic(d=3, N=12))

        def spread(self, width):
            return self

        def sample(self, batch):
            p = self.stream.sample(batch)
            assert p.w_star is not None
            return Problem(p.X * self.scale, p.y, p.x_query, None, p.w_star / self.scale, self.second_moment)

        def prior(self, X):
            return None

    test = Stretched().sample(4000)
    loss = {
        gamma: excess_loss(test, weights_of(Lfom(gamma, iterations=200).fit(Stretched(), [2]), test, 2)[-1]).mean()
        for gamma in ("scalar", "diagonal")
    }
    assert loss["diagonal"] < 0.5 * loss["scalar"]


def test_lfom_learns_many_sources_at_once_as_well_as_one():
    laws = [Isotropic(d=3, N=12), Isotropic(d=3, N=12, noise_std=0.5)]
    solver = Lfom(iterations=60, batch=64)
    together = solver.fit_many([training(law) for law in laws], [1, 3], [0, 0])
    for law, one in zip(laws, together, strict=True):
        alone = solver.fit(training(law), [1, 3])
        assert isinstance(one, Lfom)
        assert isinstance(alone, Lfom)
        assert one.parameters is not None
        assert alone.parameters is not None
        torch.testing.assert_close(one.parameters["gamma"], alone.parameters["gamma"], rtol=1e-6, atol=1e-8)


def test_the_oracle_has_the_known_values(fresh):
    few = fresh.first(20_000)
    oracle = krylov_oracle(few, 5)
    for k, known in enumerate(ORACLE, 1):
        relative_error = (oracle[k].std() / oracle[k].mean() / few.B**0.5).item()
        assert oracle[k].mean().log().item() == pytest.approx(known, abs=4 * relative_error)
    assert oracle[5].max() < 1e-12


def test_the_oracle_ends_with_the_rows_of_the_context():
    problem = Isotropic(d=20, N=5).stream(0, Purpose.SCORE).sample(200)
    exact, rounded = (krylov_oracle(one, 12).double() for one in (problem, problem.to(torch.float32)))
    assert bool((exact[5:] == exact[5]).all())
    direct = OLS().solve(problem.blinded(), 1).weights  # of all that interpolates, that of the row space
    torch.testing.assert_close(exact[5].mean(), excess_loss(problem, direct)[1].mean(), rtol=1e-3, atol=0)
    torch.testing.assert_close(rounded.mean(1), exact.mean(1), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("solver", [Tuned("heavy_ball", num_tasks=100), Lfom(iterations=2, batch=8)])
def test_a_fit_without_any_finite_loss_is_no_fit(solver):
    class Lost:
        def __init__(self, tasks):
            self.tasks, self.d = tasks, tasks.d

        def spread(self, width):
            return self

        def sample(self, batch):
            problem = self.tasks.sample(batch)
            return dataclasses.replace(problem, y=problem.y * 1e200, w_star=problem.w_star * 1e200)

    with pytest.raises(TrainingError, match="finite loss"):
        solver.fit(Lost(training(LAW)), [2])


@pytest.mark.parametrize("name", ["cg", "steepest_descent", "chebyshev", "lfom_optimal"])
def test_no_first_order_method_beats_the_oracle_on_any_task(name, optimal, fresh):
    from benchmarks.catalogue.registry import SOLVERS

    few = fresh.first(3000)
    solver = optimal if name == "lfom_optimal" else SOLVERS.create(name)
    assert (excess_loss(few, weights_of(solver, few, 4)) >= krylov_oracle(few, 4) * (1 - 1e-6) - 1e-14).all()


def test_one_layer_closed_form(optimal, fresh):
    loss = excess_loss(fresh, weights_of(optimal, fresh, 1)[1]).mean().item()
    assert loss == pytest.approx(LAW.d * (LAW.d + 1) / (LAW.N + 1 + LAW.d), rel=0.03)


@pytest.mark.parametrize("method", ["heavy_ball", "nesterov"])
def test_preconditioned_constants_are_those_of_white_covariates(method):
    """The anisotropic law whitened is the isotropic one, task by task: same constants, same losses."""
    law, steps = Anisotropic(), [1, 3]
    problem = law.stream(3, Purpose.SCORE).sample(500)
    C = torch.linalg.inv(law.second_moment)
    values, vectors = torch.linalg.eigh(C)
    root = vectors * values.sqrt() @ vectors.mT
    white = Problem(problem.X @ root, problem.y, problem.x_query @ root)
    fitted = Tuned(method, num_tasks=3000, preconditioned=True).fit(law.stream(0, Purpose.TRAIN), steps)
    assert fitted.parameters is not None
    constants = {name: fitted.parameters[name] for name in ("steps", "eta", "beta")}
    for k in steps:
        own = weights_of(fitted, problem, k)
        plain = weights_of(Tuned(method, parameters=constants), white, k)
        torch.testing.assert_close(own, plain @ root, rtol=1e-9, atol=1e-10)
        exact = GaussianTasks(20, 5).log_floor(k)
        assert excess_loss(problem, own[-1]).mean().log().item() == pytest.approx(exact, abs=0.3)


def test_newton_schulz_from_the_law_reaches_the_known_values():
    """Two steps are a polynomial of degree 4: near the floor of four first-order steps; three steps pass it by far."""
    law = Anisotropic()
    fitted = NewtonSchulzLaw().fit(law.stream(0, Purpose.TRAIN), [2, 3])
    fresh = law.stream(1, Purpose.SCORE).sample(100_000)
    two, three = (excess_loss(fresh, weights_of(fitted, fresh, k)[-1]).mean().log().item() for k in (2, 3))
    assert two == pytest.approx(-2.87, abs=0.06)
    assert three == pytest.approx(-5.45, abs=0.25)
    best = LfomOptimal(preconditioned=True).fit(law.stream(0, Purpose.TRAIN), [4])
    floor = excess_loss(fresh, weights_of(best, fresh, 4)[-1]).mean().log().item()
    assert floor < two < floor + 0.1, "no polynomial of degree 4 is better"


@pytest.mark.parametrize("solver", [Tuned("gradient_descent", num_tasks=8192), Lfom(iterations=300)])
def test_one_step_is_fitted_to_the_weighted_loss_of_spread_tasks(solver):
    """At one step the best step size is E tr H / E tr H^2 = N / (N + d + 1); spread tasks without weights give less."""
    fitted = solver.fit(training(LAW), [1])
    problem = training(LAW).spread(SPREAD).sample(100_000)
    (_, b), w_star = problem.moments, true_weights(problem)
    unweighted = float((b * w_star).sum() / (b * b).sum())
    eta = float((weights_of(fitted, problem, 1)[-1] / b).mean())
    assert eta == pytest.approx(LAW.N / (LAW.N + LAW.d + 1), rel=0.01)
    assert abs(unweighted / eta - 1) > 0.1
