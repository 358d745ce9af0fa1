"""Spread tasks are tasks of the law: weighted means are its means, contexts and labels belong together."""

from __future__ import annotations

import pytest
import torch

from benchmarks import api
from benchmarks.tasks.importance import PROBABILITIES, stretches_to, weights
from benchmarks.tasks.law import Purpose
from benchmarks.tasks.stream import SpreadStream
from memformer.core.problem import matvec
from memformer.core.roots import symmetric_roots


def spread(law, width=2.1, seed=0):
    return law.stream(seed, Purpose.SCORE).spread(width)


@pytest.mark.parametrize(("N", "d"), [(20, 5), (6, 5), (5, 5), (4, 1), (400, 3)])
def test_weighted_moments_are_those_of_the_law(N, d):
    """`E[tr W] = N d`, `E[tr W^2] = N d (N + d + 1)` for `W = Z^T Z`, Z `(N, d)` standard normal."""
    law = api.law("anisotropic", N=N, d=d)
    problem = spread(law).sample(40_000 if N < 100 else 5_000)
    white = problem.X @ symmetric_roots(law.second_moment).inverse_root
    values = torch.linalg.eigvalsh(white.mT @ white)
    assert problem.weights is not None
    for statistic, expected in (
        (torch.ones(len(values)), 1.0),
        (values.sum(1), N * d),
        (values.square().sum(1), N * d * (N + d + 1)),
    ):
        weighted = problem.weights * statistic
        error = weighted.std().item() / len(weighted) ** 0.5
        assert abs(weighted.mean().item() - expected) < 4 * error + 1e-9 * expected


def test_high_moments_have_less_variance_than_from_plain_draws():
    """`tr H^8`, which four steps' losses are made of: the same mean, a quarter of the variance."""
    law = api.law("isotropic")
    plain, wide = law.stream(0, Purpose.SCORE).sample(100_000), spread(law, seed=1).sample(100_000)
    assert wide.weights is not None
    moments = [torch.linalg.eigvalsh(problem.moments.H).pow(8).sum(1) for problem in (plain, wide)]
    moments[1] = moments[1] * wide.weights
    difference = moments[0].mean() - moments[1].mean()
    assert difference.abs() < 4 * sum(one.var() / len(one) for one in moments).sqrt()
    assert moments[1].var() < moments[0].var() / 4


def test_labels_are_those_of_the_spread_contexts_and_noise_is_kept():
    for noise in (0.0, 0.5):
        law = api.law("anisotropic", noise_std=noise)
        problem, plain = spread(law).sample(500), law.stream(0, Purpose.SCORE).sample(500)
        assert problem.w_star is not None
        assert plain.w_star is not None
        residual = problem.y - matvec(problem.X, problem.w_star)
        torch.testing.assert_close(residual, plain.y - matvec(plain.X, plain.w_star))
        assert torch.equal(problem.x_query, plain.x_query)
        changed = (problem.X - plain.X).abs().amax((1, 2)) > 1e-9
        assert 0.3 < changed.double().mean().item() < 0.6


def test_weights_by_hand_for_one_dimension():
    """One eigenvalue l of N = 3: density `l^(1/2) exp(-l/2)`."""
    values, width = torch.tensor([[2.0], [9.0]], dtype=torch.float64), 1.5

    def density(value):
        return value**0.5 * torch.exp(-value / 2)

    drawn = sum(
        share / factor * density(values[:, 0] / factor)
        for factor, share in zip(stretches_to(width), PROBABILITIES, strict=True)
    )
    found = torch.from_numpy(weights(values.numpy(), 3, stretches_to(width)))
    torch.testing.assert_close(found, density(values[:, 0]) / drawn)


def test_width_1_and_laws_that_do_not_know_the_weights():
    """They give plain tasks, from the first on."""
    laws = [api.law("gmm"), api.law("anisotropic", rotation="per_task"), api.law("isotropic", N=3, d=5)]
    for law, width in [(api.law("isotropic"), 1.0), *((law, 2.1) for law in laws)]:
        stream = law.stream(0, Purpose.TRAIN)
        first = stream.sample(10)
        again = stream.spread(width).sample(10)
        assert again.weights is None
        assert torch.equal(again.X, first.X)


def test_validation_is_spread_alike_the_same_at_every_call_and_no_training_task():
    stream = spread(api.law("isotropic"))
    validation = stream.validation()
    assert isinstance(validation, SpreadStream)
    one, again, training = (source.sample(50) for source in (validation, stream.validation(), stream))
    assert torch.equal(one.X, again.X)
    assert not torch.equal(one.X, training.X)
    assert one.weights is not None


def test_requests_of_any_size_give_the_same_tasks():
    law = api.law("isotropic")
    whole, parts = spread(law).sample(300), spread(law)
    first, second = parts.sample(7), parts.sample(293)
    torch.testing.assert_close(torch.cat([first.X, second.X]), whole.X)
