"""Importance sampling: weights of mean 1, exact moments, and nothing else of a law changed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from baselines.wishart import trace_moment
from benchmarks.tasks import importance
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.importance import LARGEST_WEIGHT, PROBABILITIES, STRETCHES, weights
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.stream import MAX_BLOCK
from memformer.core.problem import SPREAD, Problem
from tests.tasks.variants import LABEL_POWER, VARIANTS, arrays, assert_mean, every_law, make

GAUSSIAN = [name for name in VARIANTS if name.startswith(("iso", "aniso", "ood", "sparse", "task_pool"))]

TASKS = 20_000


def drawn(law: Law, batch: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Problem:
    return law.stream(seed, Purpose.SCORE, dtype, draw="importance").sample(batch)


def weights_of(problem: Problem) -> np.ndarray:
    assert problem.weights is not None
    return problem.weights.numpy()


def whitened_eigenvalues(law: Law, problem: Problem) -> np.ndarray:
    """Eigenvalues of `X S^-1 X^T`, `(B, N)`: those of `Z^T Z` and zeros, or the other way round."""
    inverse = np.linalg.inv(arrays(problem)["second_moment"])
    X = problem.X.numpy()
    return np.linalg.eigvalsh(X @ inverse @ X.transpose(0, 2, 1))


@every_law
def test_laws_say_whether_they_can_be_drawn_so(variant: str) -> None:
    assert make(variant).gaussian_covariates == (variant in GAUSSIAN)
    if variant not in GAUSSIAN:
        with pytest.raises(ValueError, match="importance sampling needs linear labels of Gaussian covariates"):
            drawn(make(variant), 1)


@pytest.mark.parametrize(("N", "d"), [(20, 5), (3, 5), (6, 6), (1, 4), (7, 1), (40, 10)])
def test_moments_of_the_context_are_exact(N: int, d: int) -> None:
    law = make("isotropic", N=N, d=d)
    problem = drawn(law, TASKS)
    w, values = weights_of(problem), whitened_eigenvalues(law, problem).clip(0)
    assert_mean(w, 1.0)
    assert w.min() > 0
    assert w.max() <= LARGEST_WEIGHT
    for j in range(1, 9):
        traces = w * (values**j).sum(1)
        assert_mean(traces, trace_moment(N, d, j))
        if j >= 4 and min(N, d) > 1:  # known to within a few percent, which a plain sample of this size is not always
            assert traces.std() / traces.mean() < 6


@pytest.mark.parametrize("variant", GAUSSIAN)
@pytest.mark.parametrize("N", [3, 8])
def test_every_gaussian_law_is_drawn_through_its_whitened_form(variant: str, N: int) -> None:
    law = make(variant, N=N, num_queries=2)
    problem = drawn(law, TASKS)
    w, values = weights_of(problem), whitened_eigenvalues(law, problem).clip(0)
    assert_mean(w, 1.0)
    for j in (1, 4):
        assert_mean(w * (values**j).sum(1), trace_moment(N, 5, j))
    a = arrays(problem)
    np.testing.assert_allclose(a["y"], np.einsum("bnd,bd->bn", a["X"], a["w_star"]), atol=1e-12)
    assert_mean(w * (a["y"] ** 2).mean(1), LABEL_POWER[variant])


def test_weights_are_the_ratio_of_the_densities() -> None:
    """Against the density of two eigenvalues, integrated numerically, with every factor's push-forward done by hand."""
    n = 6

    def density(largest: np.ndarray, other: np.ndarray) -> np.ndarray:
        return (largest * other) ** ((n - 3) / 2) * np.exp(-(largest + other) / 2) * (largest - other).clip(0)

    pairs = np.array([[2.0, 9.0], [1.0, 30.0], [4.5, 5.0], [0.01, 1.0]])
    other, largest = pairs.T
    mixed = sum(p * density(largest / s, other) / s for s, p in zip(STRETCHES, PROBABILITIES, strict=True))
    assert weights(pairs, n) == pytest.approx(density(largest, other) / mixed, rel=1e-12)

    def nodes(*ends: float) -> tuple[np.ndarray, np.ndarray]:
        """Of Gauss's rule with 50 nodes between every two ends."""
        x, w = np.polynomial.legendre.leggauss(50)
        halves = [((high - low) / 2, (high + low) / 2) for low, high in itertools.pairwise(ends)]
        return np.concatenate([half * x + middle for half, middle in halves]), np.concatenate(
            [h * w for h, _ in halves]
        )

    # The density of the mixture has a kink wherever the other eigenvalue is the largest one over a factor.
    largest, of_largest = nodes(0, 5, 10, 20, 40, 80, 160, 300)
    shares, of_shares = nodes(0, *sorted({1 / s for s in STRETCHES} | {1.0}))
    areas = np.outer(of_largest * largest, of_shares).ravel()
    largest, other = np.repeat(largest, len(shares)), np.outer(largest, shares).ravel()
    total = density(largest, other)
    mixture = total / weights(np.stack([other, largest], 1), n)
    assert (mixture @ areas) / (total @ areas) == pytest.approx(1.0, abs=1e-6)


def test_weights_of_long_contexts_are_numbers() -> None:
    for N, d in ((60, 3), (3000, 2), (5000, 5)):
        weights = Isotropic(d=d, N=N).stream(0, Purpose.TRAIN).spread(SPREAD).sample(300).weights
        assert weights is not None
        assert bool(((weights > 0) & (weights <= LARGEST_WEIGHT)).all()), (N, d)
        assert float(weights.mean()) == pytest.approx(1.0, abs=0.25)


def test_weights_by_logarithms_are_those_by_products(monkeypatch: pytest.MonkeyPatch) -> None:
    Z = np.random.default_rng(0).normal(size=(200, 20, 5))
    eigenvalues = np.linalg.eigvalsh(Z.transpose(0, 2, 1) @ Z)
    expected = importance.weights(eigenvalues, 20)
    monkeypatch.setattr(importance.np, "where", lambda small, plain, by_logs: by_logs)
    assert importance.weights(eigenvalues, 20) == pytest.approx(expected, rel=1e-11)


def test_the_stretch_changes_one_singular_value_and_no_singular_vector() -> None:
    law = make("isotropic", d=3, N=7)
    plain, other = law.stream(0, Purpose.SCORE).sample(300), drawn(law, 300)
    before, after = (torch.linalg.svd(problem.X, full_matrices=False) for problem in (plain, other))
    factors = (after.S[:, 0] / before.S[:, 0]).square().numpy()
    counts = [int(np.isclose(factors, s).sum()) for s in STRETCHES]
    assert sum(counts) == 300
    assert np.abs(np.array(counts) / 300 - PROBABILITIES).max() < 0.12
    torch.testing.assert_close(after.S[:, 1:], before.S[:, 1:])
    torch.testing.assert_close(after.U[:, :, 0].abs(), before.U[:, :, 0].abs())
    torch.testing.assert_close(after.Vh[:, 0].abs(), before.Vh[:, 0].abs())


@pytest.mark.parametrize("variant", GAUSSIAN)
def test_all_but_the_contexts_is_as_in_a_plain_draw(variant: str) -> None:
    law = make(variant, noise_std=0.5)
    plain, other = arrays(law.stream(0, Purpose.SCORE).sample(300)), arrays(drawn(law, 300))
    for name in ("x_query", "y_query", "w_star", "second_moment"):
        np.testing.assert_array_equal(plain[name], other[name])
    assert (plain["X"] != other["X"]).any()
    assert law.stream(0, Purpose.SCORE).sample(3).weights is None


def test_the_first_tasks_do_not_depend_on_the_requests_and_seeds_tell_draws_apart() -> None:
    law = make("anisotropic", noise_std=0.5)
    whole = drawn(law, 2 * MAX_BLOCK + 40)
    stream = law.stream(0, Purpose.SCORE, draw="importance")
    parts = [stream.sample(size) for size in (1, 2, MAX_BLOCK - 3, 1, MAX_BLOCK + 39)]
    for name in ("X", "y", "weights"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    again, other = drawn(law, 40), drawn(law, 40, seed=1)
    assert torch.equal(again.X, whole.X[:40])
    assert not torch.isin(other.X, again.X).any()


def test_dtype_and_blindness() -> None:
    law = make("isotropic")
    rounded, exact = drawn(law, 300, dtype=torch.float32), drawn(law, 300)
    assert rounded.weights is not None
    assert rounded.weights.dtype == torch.float32
    np.testing.assert_array_equal(rounded.weights.numpy(), weights_of(exact).astype(np.float32))
    assert exact.blinded().weights is None
    chosen = exact.select(torch.tensor([3, 1]))
    assert weights_of(chosen).tolist() == weights_of(exact)[[3, 1]].tolist()
    assert exact.weighted(torch.ones(2, 300)).tolist() == [weights_of(exact).tolist()] * 2
    with pytest.raises(ValueError, match="weights has shape"):
        Problem(exact.X, exact.y, exact.x_query, weights=torch.ones(2, dtype=torch.float64))


def test_fingerprints_tell_draws_apart() -> None:
    law = make("isotropic")
    assert law.fingerprint_of("plain") == law.fingerprint
    assert law.fingerprint_of("importance") == "6f182e253c55"
    prints = [make(name).fingerprint_of("importance") for name in GAUSSIAN] + [
        make(name).fingerprint for name in GAUSSIAN
    ]
    assert all(one != other for one, other in itertools.combinations(prints, 2))
