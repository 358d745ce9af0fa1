"""What every law states of itself holds for the tasks it draws; by Monte Carlo, within 5 standard errors."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tasks.variants import LABEL_POWER, arrays, assert_mean, draw, every_law, every_linear_law, make

TASKS = 20_000


@every_law
def test_label_power(variant: str) -> None:
    a = arrays(draw(make(variant), TASKS))
    assert_mean((a["y"] ** 2).mean(1), LABEL_POWER[variant])
    assert_mean(a["y_query"][:, 0] ** 2, LABEL_POWER[variant])


@every_law
def test_second_moment_of_the_law(variant: str) -> None:
    law = make(variant)
    a = arrays(draw(law, TASKS))
    assert_mean(np.einsum("bni,bnj->bij", a["X"], a["X"]) / law.N, law.second_moment.numpy())
    assert_mean(np.einsum("bni,bnj->bij", a["x_query"], a["x_query"]), law.second_moment.numpy())
    if a["second_moment"].ndim == 3:
        assert_mean(a["second_moment"], law.second_moment.numpy())
    else:
        np.testing.assert_array_equal(a["second_moment"], law.second_moment.numpy())


@pytest.mark.parametrize("noise_std", [0.0, 0.7])
@every_linear_law
def test_expected_loss_is_the_mean_sampled_loss(variant: str, noise_std: float) -> None:
    law = make(variant, noise_std=noise_std, num_queries=4)
    a = arrays(draw(law, TASKS))
    # Weights that depend on the task, w_star and its second moment: one gradient step from 0 with a small ridge.
    w = np.einsum("bni,bn->bi", a["X"], a["y"]) / (0.1 + np.einsum("bni,bni->b", a["X"], a["X"]))[:, None]
    error, moments = w - a["w_star"], np.broadcast_to(a["second_moment"], (TASKS, 5, 5))
    expected = np.einsum("bi,bij,bj->b", error, moments, error) + noise_std**2
    sampled = ((np.einsum("bqi,bi->bq", a["x_query"], w) - a["y_query"]) ** 2).mean(1)
    assert_mean(sampled - expected, 0.0)
    # Not on average only: also where the stated loss is low and where it is high.
    for half in (expected <= np.median(expected), expected > np.median(expected)):
        if half.any():
            assert_mean((sampled - expected)[half], 0.0)


@every_linear_law
def test_prior_agrees_with_the_weights_drawn(variant: str) -> None:
    # A short context, so that the covariates leave the component of a mixture in doubt; noise, without which the prior
    # of some laws has no density.
    law = make(variant, d=2, N=1, noise_std=0.5)
    p = draw(law, TASKS)
    prior = law.prior(p.X)
    assert (prior is None) == ("per_task" in variant)
    if prior is None:
        return
    assert p.w_star is not None
    w, mean, covariance = p.w_star.numpy(), prior.mean.numpy(), prior.covariance.numpy()
    weights = np.exp(np.broadcast_to(prior.log_weights.numpy(), (TASKS, len(mean))))
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-12)
    moments = covariance + np.einsum("ci,cj->cij", mean, mean)
    # Given X, so also when weighted by something of X.
    for factor in (np.ones(TASKS), np.tanh(p.X.numpy()[:, 0, 0])):
        assert_mean((w - weights @ mean) * factor[:, None], 0.0)
        second = np.einsum("bi,bj->bij", w, w) - np.einsum("bc,cij->bij", weights, moments)
        assert_mean(second * factor[:, None, None], 0.0)


@pytest.mark.parametrize("variant", ["isotropic", "anisotropic", "anisotropic-power", "anisotropic-geometric"])
def test_one_layer_loss_in_closed_form(variant: str) -> None:
    # Where w_star ~ N(0, Σ^-1), the best w = C b is C = N/(N+1+d) Σ^-1 and its loss d(d+1)/(N+1+d), for every Σ.
    law = make(variant, N=20, d=5)
    a = arrays(draw(law, 4 * TASKS))
    b = np.einsum("bni,bn->bi", a["X"], a["y"]) / 20
    error = 20 / 26 * b @ np.linalg.inv(a["second_moment"]) - a["w_star"]
    assert_mean(np.einsum("bi,ij,bj->b", error, a["second_moment"], error), 5 * 6 / 26)
