"""Exact moments and floors, against an independent recursion, sampled tasks and known values."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import pytest
import torch

from baselines.accelerated import HeavyBall
from baselines.direct import OLS
from baselines.exact_law import gaussian_tasks
from baselines.exact_risk import exact_risk, fixed_coefficients
from baselines.gradient import GradientDescent
from baselines.lfom_optimal import LfomOptimal, draw_moments
from baselines.tuning import Tuned
from baselines.wishart import GaussianTasks, trace_moment
from benchmarks.tasks.gaussian import Anisotropic, Isotropic, OODVariance
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.radial import Sphere
from tests.baselines.helpers import training

LOG_FLOORS = {
    (20, 5): (0.1431, -1.0182, -2.0128, -2.9013, -3.6977, -4.4200),
    (40, 10): (0.7687, -0.5213, -1.6889, -2.7691, -3.7810),
    (12, 6): (0.7932, 0.1084, -0.4346, -0.9006, -1.3109, -1.6800),
}


@cache
def mean_of_traces(N: int, d: int, powers: tuple[int, ...]) -> int:
    """`E prod_r tr W^r`, by Stein's identity applied to one factor X of the largest power: no zonal polynomials."""
    if not powers:
        return 1
    if powers[-1] == 0:
        return d * mean_of_traces(N, d, powers[:-1])
    k, rest = powers[0], powers[1:]

    def mean(*changed: int, of: tuple[int, ...] = rest) -> int:
        return mean_of_traces(N, d, tuple(sorted((*changed, *of), reverse=True)))

    total = N * mean(k - 1)
    for m in range(k - 1):
        total += mean(k - 1) + mean(m + 1, k - 2 - m)
    for i, r in enumerate(rest):
        total += 2 * r * mean(k + r - 1, of=rest[:i] + rest[i + 1 :])
    return total


@pytest.mark.parametrize(("N", "d"), [(20, 5), (5, 20), (3, 7), (6, 6), (1, 4), (9, 1)])
def test_moments_equal_those_of_steins_recursion(N, d):
    assert [trace_moment(N, d, j) for j in range(12)] == [mean_of_traces(N, d, (j,)) for j in range(12)]


def test_moments_of_one_column_are_those_of_chi_squared():
    assert trace_moment(7, 1, 4) == 7 * 9 * 11 * 13


def test_moments_equal_those_of_a_million_sampled_tasks():
    N, d, count = 8, 4, 1_000_000
    generator = torch.Generator().manual_seed(0)
    sums, squares = torch.zeros(2, 5, dtype=torch.float64)
    for _ in range(10):
        X = torch.randn(count // 10, N, d, generator=generator, dtype=torch.float64)
        H = X.mT @ X / N
        power = torch.eye(d, dtype=H.dtype).expand_as(H)
        for j in range(1, 5):
            power = power @ H
            trace = power.diagonal(dim1=1, dim2=2).sum(-1)
            sums[j] += trace.sum()
            squares[j] += trace.square().sum()
    for j in range(1, 5):
        mean = sums[j] / count
        error = ((squares[j] / count - mean**2) / count).sqrt()
        assert abs(mean - float(GaussianTasks(N, d).moment(j))) < 4 * error
        assert error < 0.003 * mean


@pytest.mark.parametrize(("N", "d"), LOG_FLOORS)
def test_floors_have_the_known_values(N, d):
    known = LOG_FLOORS[N, d]
    assert [GaussianTasks(N, d).log_floor(k) for k in range(1, len(known) + 1)] == pytest.approx(known, abs=5e-5)


@pytest.mark.parametrize(("N", "d"), [(20, 5), (2, 5), (1, 1)])
def test_one_step_has_its_closed_form(N, d):
    assert GaussianTasks(N, d).floor(1) == Fraction(d * (d + 1), N + d + 1)


@pytest.mark.parametrize("law", [GaussianTasks(10, 5), GaussianTasks(3, 7, 2, Fraction(1, 3), Fraction(1, 4))])
def test_best_coefficients_are_a_minimum_and_give_the_floor(law):
    for k in (1, 2, 5):
        best = list(law.coefficients(k))
        assert law.risk(best) == law.floor(k)
        for j in range(k):
            # The risk is a parabola along each coefficient: its vertex is exactly there.
            up, down = ([*best[:j], best[j] + sign, *best[j + 1 :]] for sign in (1, -1))
            assert law.risk(up) == law.risk(down) > law.floor(k)


def test_many_steps_below_d_approach_least_squares_of_least_norm():
    # X w_star is all that the context tells, so d - N of the d prior variances stay.
    floors = [float(GaussianTasks(2, 6).floor(k)) for k in (1, 4, 16)]
    assert floors[0] > floors[1] > floors[2] > 4
    assert floors[2] == pytest.approx(4, abs=0.3)
    problem = Isotropic(d=6, N=2).stream(0, Purpose.SCORE).sample(20_000)
    weights = OLS().solve(problem, 1).weights
    assert weights is not None
    assert problem.w_star is not None
    assert (weights[-1] - problem.w_star).square().sum(-1).mean().item() == pytest.approx(4, rel=0.02)


def test_scaling_covariates_and_weights_scales_the_floor():
    plain = GaussianTasks(12, 4, noise_var=Fraction(1, 2))
    scaled = GaussianTasks(12, 4, scale=3, prior_var=5, noise_var=Fraction(15, 2))
    assert scaled.floor(3) == 15 * plain.floor(3)


@pytest.mark.parametrize(("name", "value"), [("N", 0), ("d", 2.5), ("scale", 0), ("noise_var", -1), ("prior_var", 0)])
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        GaussianTasks(**{"N": 4, "d": 2, name: value})


LAWS: list[tuple[Law, bool, GaussianTasks | None]] = [
    (Isotropic(d=4, N=9, noise_std=0.5), False, GaussianTasks(9, 4, noise_var=Fraction(1, 4))),
    (Isotropic(d=4, N=9), True, GaussianTasks(9, 4)),
    (Anisotropic(d=5, N=9, noise_std=0.1), True, GaussianTasks(9, 5, noise_var=Fraction(1, 100))),
    (Anisotropic(d=5, N=9), False, None),
    (Anisotropic(d=5, N=9, rotation="per_task"), True, None),
    (OODVariance(d=5, N=9, variance=3), True, GaussianTasks(9, 5, prior_var=9)),
    (OODVariance(d=3, N=9, variance=3, spectrum="geometric", kappa=1), False, GaussianTasks(9, 3, 3, 3)),
    (Sphere(d=4, N=9), False, None),
]


@pytest.mark.parametrize(("law", "preconditioned", "known"), LAWS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_which_laws_are_known_exactly(law, preconditioned, known, dtype):
    assert gaussian_tasks(law.stream(0, Purpose.TRAIN, dtype), preconditioned) == known


@pytest.mark.parametrize(("law", "preconditioned", "known"), [row for row in LAWS if row[2] is not None])
def test_exact_floors_are_those_of_sampled_tasks(law, preconditioned, known):
    tasks = law.stream(3, Purpose.SCORE).sample(40_000)
    fitted = LfomOptimal(preconditioned).fit(law.stream(0, Purpose.TRAIN), [2])
    weights = fitted.solve(tasks, 2).weights
    assert weights is not None
    error = weights[1:] - tasks.w_star
    losses = torch.einsum("kbi,ij,kbj->kb", error, tasks.second_moment, error) + law.noise_var
    for k in (1, 2):
        standard_error = losses[k - 1].std() / len(losses[k - 1]) ** 0.5
        assert abs(losses[k - 1].mean() - float(known.floor(k))) < 4 * standard_error
        assert standard_error < 0.02 * losses[k - 1].mean()


@pytest.mark.parametrize(("law", "preconditioned", "known"), [row for row in LAWS if row[2] is not None])
def test_the_optimal_method_has_the_exact_floor_and_one_fitted_on_tasks_lies_above(law, preconditioned, known):
    second_moment = law.second_moment if preconditioned else None
    exact = LfomOptimal(preconditioned).fit(law.stream(0, Purpose.TRAIN), [8])
    C = None if exact.parameters is None else exact.parameters.get("preconditioner")
    sampled = LfomOptimal(preconditioned).fitted(*draw_moments(law.stream(0, Purpose.TRAIN), 2000), 5, C)
    for k in range(1, 9):
        assert float(exact_risk(exact, known, k, second_moment) / known.floor(k)) == pytest.approx(1, abs=1e-12)
    for k in range(1, 6):
        assert 1 < exact_risk(sampled, known, k, second_moment) / known.floor(k) < (1.5 if k < 4 else 100)


def test_coefficients_read_off_are_those_of_gradient_descent():
    eta = 0.25
    found = fixed_coefficients(GradientDescent(eta=eta), GaussianTasks(9, 2), 4)
    known = [eta * 4, -(eta**2) * 6, eta**3 * 4, -(eta**4)]
    assert [float(c) for c in found] == pytest.approx(known, abs=1e-14)


def test_tuned_methods_have_exact_risks_above_the_floor():
    law = GaussianTasks(20, 5)
    tuned = Tuned("heavy_ball", num_tasks=5000).fit(training(Isotropic()), [2, 4])
    for k in (2, 4):
        assert 0 < math.log(exact_risk(tuned, law, k)) - law.log_floor(k) < 0.2


@pytest.mark.parametrize("solver", [HeavyBall(), OLS()])
def test_solvers_without_fixed_coefficients_are_refused(solver):
    with pytest.raises(ValueError, match=r"no method with fixed scalar coefficients|did not take 3 steps"):
        exact_risk(solver, GaussianTasks(20, 5), 3)
