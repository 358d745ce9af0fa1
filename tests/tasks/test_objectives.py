"""Laws with an objective of their own: what their labels are, what knows them best, and what they refuse."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from baselines.logistic_bayes import LogisticBayes
from benchmarks import api
from benchmarks.harness.scores.floors import MOST_ERROR, FloorKey, bayes_error, bayes_losses, describe_floor, has_floor
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.logistic import LogisticLaw
from benchmarks.tasks.outliers import Outliers
from memformer.core.objective import Huber, Logistic
from memformer.core.problem import Problem
from memformer.core.solver import Reach
from tests.tasks.variants import assert_mean

FINGERPRINTS = {
    "logistic": (LogisticLaw(), 1, "2d26689fca7f"),
    "logistic-wide": (LogisticLaw(d=3, N=2, scale=4.0), 1, "f8207aefe16c"),
    "outliers": (Outliers(), 1, "4aec39626c26"),
    "outliers-noise": (Outliers(d=3, N=9, noise_std=0.5, share=0.3), 1, "eb2afbb251f9"),
}
"""As in `test_fingerprint`."""


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_numbers_have_not_changed(name: str) -> None:
    law, version, fingerprint = FINGERPRINTS[name]
    assert (law.metadata.version, law.fingerprint) == (version, fingerprint)


@pytest.mark.parametrize(
    "law", [LogisticLaw(d=3, N=30, scale=1.5), Outliers(d=3, N=30)], ids=lambda law: law.metadata.name
)
def test_a_longer_context_begins_like_a_shorter_one_and_sizes_of_requests_do_not_matter(law: Law) -> None:
    whole = law.stream(0, Purpose.SCORE).sample(50)
    stream = law.stream(0, Purpose.SCORE)
    parts = [stream.sample(size) for size in (1, 20, 29)]
    for name in ("X", "y", "x_query", "y_query", "w_star"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
    short = dataclasses.replace(law, N=7, longest=30).stream(0, Purpose.SCORE).sample(50)
    assert torch.equal(short.X, whole.X[:, :7])
    assert torch.equal(short.y, whole.y[:, :7])
    assert short.y_query is not None
    assert whole.y_query is not None
    assert torch.equal(short.y_query, whole.y_query)


def test_the_chance_of_a_label_is_logistic() -> None:
    p = LogisticLaw(d=2, N=3, num_queries=2).stream(0, Purpose.SCORE).sample(40_000)
    assert p.w_star is not None
    assert p.y_query is not None
    for x, y in ((p.X, p.y), (p.x_query, p.y_query)):
        assert set(y.unique().tolist()) == {0.0, 1.0}
        predictor = (x @ p.w_star[..., None])[..., 0]
        left = (y - torch.sigmoid(predictor)).numpy()
        assert_mean(left, 0.0)
        assert_mean(left * predictor.numpy(), 0.0)
        assert_mean(left * np.sign(x[..., 0].numpy()), 0.0)
    assert p.objective == Logistic(ridge=1 / 3)


def test_outliers_are_as_many_and_as_large_as_stated_and_queries_have_none() -> None:
    p = Outliers(d=2, N=10, share=0.2, size=3.0).stream(0, Purpose.SCORE).sample(20_000)
    assert p.w_star is not None
    assert p.y_query is not None
    added = (p.y - (p.X @ p.w_star[..., None])[..., 0]).numpy()
    assert_mean((np.abs(added) > 1e-9).mean(1), 0.2)
    assert_mean((added**2).mean(1), 0.2 * 9)
    torch.testing.assert_close(p.y_query, (p.x_query @ p.w_star[..., None])[..., 0])
    assert p.objective == Huber(threshold=1.0)


def test_in_one_dimension_the_posterior_predictive_is_that_of_quadrature() -> None:
    law = LogisticLaw(d=1, N=6, scale=2.0)
    p = law.stream(0, Purpose.SCORE).sample(8)
    found = LogisticBayes(points=2**14).fit(law.stream(0, Purpose.TRAIN), [1]).solve(p.blinded(), 1).predictions
    assert found is not None
    for X, y, x, mine in zip(p.X[..., 0].numpy(), p.y.numpy(), p.x_query[:, 0, 0].numpy(), found[1, :, 0], strict=True):

        def density(w: float, X: np.ndarray = X, y: np.ndarray = y) -> float:
            return float(stats.norm.pdf(w, scale=2.0) * np.exp(-(np.logaddexp(0, X * w) - y * X * w).sum()))

        def weighted(w: float, x: float = x, X: np.ndarray = X, y: np.ndarray = y) -> float:
            return density(w, X, y) / (1 + np.exp(-x * w))

        whole, part = (integrate.quad(f, -20, 20, limit=400)[0] for f in (density, weighted))
        assert torch.sigmoid(mine).item() == pytest.approx(part / whole, abs=2e-4)


def test_the_posterior_predictive_is_a_floor_of_what_is_fitted_and_of_the_weights_behind_the_posterior() -> None:
    law = LogisticLaw(d=3, N=8, scale=3.0)
    key = FloorKey(law, 0, 1000, 2, torch.float64, torch.device("cpu"))
    floor = bayes_losses(key, "test_loss")
    assert floor is not None
    assert has_floor(law, Reach.ANY)
    assert not has_floor(law, Reach.FIXED)
    assert not has_floor(law, Reach.KRYLOV)
    assert bayes_losses(key, "expected_test_loss") is None  # it has no weights
    for name, params in (("newton", {}), ("lfom", {"iterations": 50, "batch": 64}), ("gradient_descent", {})):
        solver = api.fitted(api.solver(name, **params), law, [2])
        losses = api.losses(solver, law, 0, 1000, [2])[0]
        assert losses.mean() > floor[2].mean() + 2 * (losses - floor[2]).std() / 1000**0.5


def test_outliers_have_no_floor() -> None:
    assert not any(has_floor(Outliers(), reach) for reach in Reach)


def test_least_squares_follow_outliers_and_huber_does_not() -> None:
    law = Outliers(d=5, N=40)
    p = law.stream(0, Purpose.SCORE).sample(500)
    assert p.w_star is not None
    huber = api.solver("nesterov_convex").solve(p, 40).weights
    squares = api.solver("ols").solve(Problem(p.X, p.y, p.x_query), 1).weights
    assert huber is not None
    assert squares is not None
    errors = [(one[-1] - p.w_star).square().sum(-1).mean() for one in (huber, squares)]
    assert errors[0] < errors[1] / 5


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LogisticLaw(noise_std=0.1), "noise_std is 0.1; labels of the logistic law are random"),
        (lambda: LogisticLaw(scale=0), "scale is 0"),
        (lambda: Outliers(share=1.5), "share is 1.5; it must be from 0 to 1"),
        (lambda: Outliers(share=-0.1), "share is -0.1"),
        (lambda: Outliers(threshold=0), "threshold is 0"),
        (lambda: Outliers(N=5, longest=4), "longest is 4; with contexts of N = 5 it must be 5 or more"),
    ],
)
def test_parameters_out_of_range_are_refused(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def _by_walks(p: Problem, scale: float, walks: int = 24, steps: int = 120, burn: int = 100) -> torch.Tensor:
    """Mean chances at the queries `(B, q)` by elliptical slice sampling, which has nothing to tune, many walks a task.

    Source: Murray, Adams & MacKay, AISTATS 2010.
    """
    p = Problem(*(one.repeat_interleave(walks, 0) for one in (p.X, p.y, p.x_query)), objective=p.objective)
    generator = torch.Generator().manual_seed(0)
    normal = lambda: scale * torch.randn(p.B, p.d, generator=generator, dtype=torch.float64)  # noqa: E731
    uniform = lambda: torch.rand(p.B, generator=generator, dtype=torch.float64)  # noqa: E731
    log_likelihood = lambda w: -Logistic().loss((p.X @ w[..., None])[..., 0], p.y).sum(-1)  # noqa: E731
    w, total = normal(), torch.zeros_like(p.x_query[..., 0])
    for step in range(burn + steps):
        other, bar = normal(), log_likelihood(w) + uniform().log()
        angle = 2 * torch.pi * uniform()
        low, high, moved, open_ = angle - 2 * torch.pi, angle, w, torch.ones(p.B, dtype=torch.bool)
        while bool(open_.any()):
            proposal = w * angle.cos()[:, None] + other * angle.sin()[:, None]
            good = open_ & (log_likelihood(proposal) > bar)
            moved = torch.where(good[:, None], proposal, moved)
            open_ = open_ & ~good
            low, high = torch.where(angle < 0, angle, low), torch.where(angle >= 0, angle, high)
            angle = low + (high - low) * uniform()
        w = moved
        if step >= burn:
            total += torch.sigmoid((p.x_query @ w[..., None])[..., 0])
    return (total / steps).unflatten(0, (-1, walks)).mean(1)


@pytest.mark.parametrize(("d", "N", "scale"), [(5, 20, 1.0), (10, 20, 1.0), (20, 40, 0.5)])
def test_the_posterior_predictive_is_that_of_another_sampler(d: int, N: int, scale: float) -> None:
    law = LogisticLaw(d=d, N=N, scale=scale, num_queries=5)
    p = law.stream(0, Purpose.SCORE).sample(12)
    solver = LogisticBayes().fit(law.stream(0, Purpose.TRAIN), [1])
    found = solver.solve(p.blinded(), 1).predictions
    assert found is not None
    off = torch.sigmoid(found[1]) - _by_walks(p, scale)
    assert off.abs().mean() < 0.02  # the walks' own error is most of it
    assert off.mean().abs() < 0.005
    assert solver.sampling_error(p) < 1e-3


def test_a_posterior_predictive_that_is_sampled_badly_is_no_floor() -> None:
    hard, easy = LogisticLaw(d=20, N=40, scale=4.0), LogisticLaw(d=3, N=8, scale=3.0)
    assert bayes_error(hard) > MOST_ERROR
    assert not has_floor(hard, Reach.ANY)
    assert 0 < bayes_error(easy) < MOST_ERROR / 10
    key = FloorKey(easy, 0, 50, 2, torch.float64, torch.device("cpu"))
    assert describe_floor(key, Reach.ANY, 1)[:2] == ("logistic_bayes", False)
