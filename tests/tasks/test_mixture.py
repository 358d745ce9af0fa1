"""The Gaussian mixture: components, moments given the component, and the posterior of the component."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from scipy.special import logsumexp

from benchmarks.tasks.mixture import GaussianMixture
from tests.tasks.variants import arrays, assert_mean, draw

MEANS, VARIANCES, WEIGHTS = (2.5, 0.0, -1.0), (0.5, 1.0, 2.0), (0.2, 0.3, 0.5)


def components(second_moment: np.ndarray) -> np.ndarray:
    """Each task's component, told by its second moment at d = 1: 6.75, 1 or 3."""
    values = second_moment[:, 0, 0]
    index = np.argmin(np.abs(values[:, None] - np.array([6.75, 1.0, 3.0])), axis=1)
    np.testing.assert_allclose(values, np.array([6.75, 1.0, 3.0])[index], rtol=1e-12)
    return index


def test_defaults_are_the_papers() -> None:
    law = GaussianMixture()
    assert (law.means, law.variances, law.weights, law.level) == (MEANS, VARIANCES, WEIGHTS, "task")


def test_components_of_tasks() -> None:
    a = arrays(draw(GaussianMixture(d=1, N=3), 30_000))
    index = components(a["second_moment"])
    assert_mean(index[:, None] == np.arange(3), WEIGHTS)
    for c in range(3):
        for name in ("X", "x_query", "w_star"):
            values = a[name][index == c].reshape(-1, 1)
            assert_mean(values, MEANS[c])
            assert_mean((values - MEANS[c]) ** 2, VARIANCES[c])


def test_coordinates_of_a_task_share_its_component() -> None:
    a = arrays(draw(GaussianMixture(d=40, N=1, means=(-50, 50), variances=(1, 1), weights=(0.5, 0.5)), 200))
    sign = np.sign(a["w_star"])
    assert (sign == sign[:, :1]).all()
    assert (np.sign(a["X"][:, 0]) == sign).all()
    assert (np.sign(a["x_query"][:, 0]) == sign).all()
    assert len(np.unique(sign)) == 2


def test_points_pick_their_own_component() -> None:
    law = GaussianMixture(d=3, N=4, means=(-50, 50), variances=(1, 1), weights=(0.5, 0.5), level="point")
    a = arrays(draw(law, 4000))
    signs = np.sign(np.concatenate([a["X"], a["x_query"], a["w_star"][:, None]], axis=1))
    assert (signs == signs[:, :, :1]).all()
    pairs = np.einsum("bi,bj->bij", signs[:, :, 0], signs[:, :, 0])
    assert_mean(pairs[:, ~np.eye(6, dtype=bool)], 0.0)
    assert a["second_moment"].shape == (3, 3)


def test_point_level_weights() -> None:
    law = GaussianMixture(d=1, N=5, means=(-50, 0, 50), variances=(1, 1, 1), weights=(0.2, 0.3, 0.5), level="point")
    a = arrays(draw(law, 10_000))
    for name in ("X", "x_query", "w_star"):
        first = np.round(a[name].reshape(10_000, -1)[:, 0] / 50)
        assert_mean(first[:, None] == np.array([-1, 0, 1]), (0.2, 0.3, 0.5))


def test_posterior_of_the_component_is_calibrated() -> None:
    law = GaussianMixture(d=1, N=2)
    p = draw(law, 40_000)
    prior = law.prior(p.X)
    assert prior is not None
    posterior, truth = prior.log_weights.exp().numpy(), np.eye(3)[components(arrays(p)["second_moment"])]
    for low, high in [(0.0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.0)]:
        for c in range(3):
            chosen = (posterior[:, c] >= low) & (posterior[:, c] < high)
            if chosen.sum() > 300:
                assert_mean((truth - posterior)[chosen, c], 0.0)
    # Informed: better than the prior weights alone.
    assert (truth * np.log(posterior)).sum(1).mean() > (truth * np.log(WEIGHTS)).sum(1).mean() + 0.3


def test_posterior_equals_the_sum_of_log_densities() -> None:
    law = GaussianMixture(d=3, N=7)
    X = draw(law, 50).X
    prior = law.prior(X)
    assert prior is not None
    evidence = stats.norm.logpdf(X.numpy()[..., None], MEANS, np.sqrt(VARIANCES)).sum((1, 2)) + np.log(WEIGHTS)
    expected = evidence - logsumexp(evidence, axis=1, keepdims=True)
    np.testing.assert_allclose(prior.log_weights, expected, rtol=1e-9, atol=1e-9)


def test_posterior_of_a_long_context_is_stable() -> None:
    law = GaussianMixture(d=20, N=2000)
    for dtype in (torch.float32, torch.float64):
        for scale in (0.0, 1.0, 1e4):
            prior = law.prior(torch.full((2, 2000, 20), scale, dtype=dtype))
            assert prior is not None
            assert not prior.log_weights.isnan().any()
            np.testing.assert_allclose(prior.log_weights.exp().sum(1), 1.0, rtol=1e-5)


def test_point_level_prior_ignores_the_covariates() -> None:
    law = GaussianMixture(d=2, level="point")
    prior = law.prior(draw(law, 4).X)
    assert prior is not None
    np.testing.assert_allclose(prior.log_weights, np.log(WEIGHTS))
    np.testing.assert_allclose(prior.mean, np.repeat(MEANS, 2).reshape(3, 2))
    np.testing.assert_allclose(prior.covariance, np.array(VARIANCES)[:, None, None] * np.eye(2))
