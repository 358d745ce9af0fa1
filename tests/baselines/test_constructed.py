"""Memformers that are written down: their roots, and that they lose nothing against the exact floor."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.constructed import ConstructedMemformer, step_table
from baselines.exact_law import gaussian_tasks
from baselines.exact_risk import exact_risk, fixed_coefficients
from baselines.lfom_optimal import LfomOptimal
from baselines.residual_roots import count_real_roots, fitted_roots, leja_order, residual_roots
from baselines.tuning import Tuned
from baselines.wishart import GaussianTasks
from benchmarks.tasks.gaussian import Anisotropic, Isotropic
from benchmarks.tasks.law import Law
from benchmarks.tasks.mixture import GaussianMixture
from benchmarks.tasks.radial import Sphere
from tests.baselines.helpers import scored, training, weights_of

NOISY = Isotropic(d=5, N=10, noise_std=1.0)
DEPTHS = range(1, 11)


def test_roots_without_noise_are_real_and_have_the_known_values():
    known = [(1.3,), (0.8003, 1.9404), (0.5834, 1.4511, 2.3674), (0.4675, 1.1249, 1.9212, 2.762)]
    law = GaussianTasks(20, 5)
    for k, roots in enumerate(known, 1):
        assert [root.real for root in residual_roots(law, k)] == pytest.approx(roots, abs=5e-5)
    assert [count_real_roots(law, k) for k in DEPTHS] == list(DEPTHS)


def test_roots_with_noise_come_in_the_known_complex_pairs():
    law = GaussianTasks(10, 5, noise_var=1)
    assert [count_real_roots(law, k) for k in range(1, 7)] == [1, 2, 3, 4, 3, 4]
    for k, pair in ((5, 0.7435 + 0.1836j), (6, 0.5962 + 0.2644j)):
        (found,) = (root for root in residual_roots(law, k) if root.imag > 0)
        assert found == pytest.approx(pair, abs=5e-5)


@pytest.mark.parametrize("law", [Isotropic(), NOISY, Isotropic(d=7, N=3)])
def test_roots_of_the_fitted_method_are_the_exact_ones(law):
    fitted = LfomOptimal().fit(training(law), [10]).parameters
    exact = gaussian_tasks(training(law))
    assert fitted is not None
    assert exact is not None
    for k in DEPTHS:
        found = sorted(fitted_roots(fitted, k), key=lambda z: (z.real, z.imag))
        assert found == pytest.approx(residual_roots(exact, k), rel=1e-12)


@pytest.mark.parametrize(
    ("law", "preconditioned"),
    [(Isotropic(), False), (NOISY, False), (Anisotropic(noise_std=0.3), True), (Isotropic(d=7, N=3), False)],
)
def test_the_constructed_model_is_the_floors_polynomial(law, preconditioned):
    exact = gaussian_tasks(training(law), preconditioned)
    assert exact is not None
    fitted = ConstructedMemformer(preconditioned=preconditioned).fit(training(law), DEPTHS)
    second_moment = law.second_moment if preconditioned else None
    for k in DEPTHS:
        assert float(exact_risk(fitted, exact, k, second_moment) / exact.floor(k)) == pytest.approx(1, abs=1e-12)
        found = [float(c) for c in fixed_coefficients(fitted, exact, k, second_moment)]
        assert found == pytest.approx([float(c) for c in exact.coefficients(k)], rel=1e-9)


def test_memory_is_used_where_roots_are_complex_and_only_there():
    assert ConstructedMemformer().fit(training(Isotropic()), DEPTHS).model.memory == "none"
    assert ConstructedMemformer().fit(training(NOISY), [1, 2, 3, 4]).model.memory == "none"
    assert ConstructedMemformer().fit(training(NOISY), [4, 5]).model.memory == "first_order"


@pytest.mark.parametrize("law", [Anisotropic(), Sphere(d=4, N=9), GaussianMixture(d=1, N=6)])
def test_a_law_without_exact_moments_gets_the_estimated_method(law):
    fitted = ConstructedMemformer().fit(training(law), [1, 3])
    problem = scored(law, 50)
    for k in (1, 3):
        best = weights_of(LfomOptimal().fit(training(law), [1, 3]), problem, k)[-1]
        torch.testing.assert_close(weights_of(fitted, problem, k)[-1], best, rtol=1e-7, atol=1e-9)


def test_tasks_that_fewer_steps_solve_leave_the_other_layers_empty():
    law: Law = Sphere(d=1, N=4)  # x is 1 or -1, so H = 1 and one step is exact
    fitted = ConstructedMemformer().fit(training(law), [3])
    problem = scored(law, 5)
    torch.testing.assert_close(weights_of(fitted, problem, 3)[-1], problem.w_star)


@pytest.mark.parametrize("method", ["chebyshev", "heavy_ball"])
@pytest.mark.parametrize(("law", "preconditioned"), [(Isotropic(), False), (Anisotropic(noise_std=0.3), True)])
def test_known_methods_with_conjugate_memory_lie_close_above_the_floor(method, law, preconditioned):
    exact = gaussian_tasks(training(law), preconditioned)
    assert exact is not None
    fitted = ConstructedMemformer(method, preconditioned).fit(training(law), [1, 2, 4])
    assert fitted.model.memory == "conjugate"
    second_moment = law.second_moment if preconditioned else None
    gaps = [float(exact_risk(fitted, exact, k, second_moment) / exact.floor(k)) - 1 for k in (1, 2, 4)]
    assert gaps[0] == pytest.approx(0, abs=1e-9)
    assert 0 < gaps[2] < 0.5


def test_constants_found_exactly_are_no_worse_than_those_tuned_on_tasks():
    law = GaussianTasks(20, 5)
    tuned = Tuned("heavy_ball").fit(training(Isotropic()), [4])
    constructed = ConstructedMemformer("heavy_ball").fit(training(Isotropic()), [4])
    assert exact_risk(constructed, law, 4) < 1.01 * exact_risk(tuned, law, 4)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method is 'nestrov'"):
        ConstructedMemformer("nestrov")  # type: ignore[arg-type]


def test_step_tables_have_the_given_residual_polynomial():
    roots = [0.5, 1 + 2j, 1 - 2j, 3.0]
    table = step_table(roots)
    at = torch.linspace(0, 3, 7, dtype=torch.float64)
    w, gradients = torch.zeros_like(at), []
    for row in table:
        gradients.append(at * w - 1)
        w = w - sum(c * g for c, g in zip(row, gradients, strict=False))
    expected = torch.tensor([math.prod(1 - t / root for root in roots).real for t in at.tolist()])
    torch.testing.assert_close(1 - at * w, expected.double())


def test_leja_order_keeps_partial_products_small():
    roots = [root.real for root in residual_roots(GaussianTasks(20, 5), 10)]
    at = torch.linspace(0, max(roots), 200, dtype=torch.float64)

    def largest(order):
        return torch.stack([1 - at / root for root in order]).cumprod(0).abs().max()

    assert sorted(leja_order(roots)) == sorted(roots)
    assert largest(leja_order(roots)) < 20
    assert largest(sorted(roots)) > 1000
