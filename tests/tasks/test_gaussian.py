"""Spectra and rotations of the Gaussian laws, and the variance-shifted one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.tasks.gaussian import Anisotropic, OODVariance
from benchmarks.tasks.randomness import make_generator, paper_rotation, rand_rotations
from tests.tasks.variants import arrays, assert_mean, draw, make


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"d": 1}, [1]),
        ({"d": 5}, [1, 1, 1 / 4, 1 / 16, 1]),
        ({"d": 12}, [1, 1, 1 / 4, 1 / 16, 1, 1, 1, 1 / 4, 1 / 16, 1, 1, 1]),
        ({"d": 3, "spectrum": "power"}, [1, 1 / 2, 1 / 3]),
        ({"d": 3, "spectrum": "power", "exponent": 2}, [1, 1 / 4, 1 / 9]),
        ({"d": 3, "spectrum": "power", "exponent": 0}, [1, 1, 1]),
        ({"d": 1, "spectrum": "geometric", "kappa": 100}, [1]),
        ({"d": 3, "spectrum": "geometric"}, [1, 1 / 4, 1 / 16]),
        ({"d": 3, "spectrum": "geometric", "kappa": 100}, [1, 1 / 10, 1 / 100]),
    ],
)
@pytest.mark.parametrize("rotation", ["shared", "none", "per_task"])
def test_spectra(parameters: dict, expected: list[float], rotation: str) -> None:
    law = Anisotropic(rotation=rotation, **parameters)
    np.testing.assert_allclose(law.eigenvalues, expected, rtol=1e-12)
    moments = arrays(draw(law, 3))["second_moment"]
    spectra = np.broadcast_to(np.linalg.eigvalsh(moments), (3, law.d))
    np.testing.assert_allclose(spectra, np.broadcast_to(np.sort(expected), (3, law.d)), rtol=1e-9)


def test_labels_depend_on_neither_spectrum_nor_rotation() -> None:
    expected = arrays(draw(make("isotropic"), 300))
    for variant in ("anisotropic", "anisotropic-power", "anisotropic-geometric", "anisotropic-per_task"):
        labels = arrays(draw(make(variant), 300))
        for name in ("y", "y_query"):
            np.testing.assert_allclose(labels[name], expected[name], atol=1e-11)


def test_shared_rotation_is_one_for_all_streams_and_follows_the_law_seed() -> None:
    first, again, other = (Anisotropic(law_seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.U, again.U)
    np.testing.assert_allclose(first.U @ first.U.T, np.eye(5), atol=1e-12)
    assert np.abs(first.U - other.U).max() > 0.1
    assert np.abs(first.U - np.eye(5)).max() > 0.1


def test_rotations_have_a_fixed_sign() -> None:
    U = paper_rotation(6, 3)
    assert (U[np.abs(U).argmax(0), range(6)] > 0).all()
    matrix = make_generator(3, 255).uniform(-1, 1, (6, 6))
    # U diagonalises A A^T with decreasing eigenvalues: it is the left factor of A's singular value decomposition.
    diagonal = U.T @ matrix @ matrix.T @ U
    np.testing.assert_allclose(diagonal, np.diag(np.linalg.svd(matrix)[1] ** 2), atol=1e-12)


def test_per_task_rotations_are_uniform_and_differ() -> None:
    U = rand_rotations(20_000, 3, make_generator(0))
    np.testing.assert_allclose(U @ U.transpose(0, 2, 1), np.broadcast_to(np.eye(3), U.shape), atol=1e-12)
    assert_mean(U, 0.0)
    assert_mean(U**2, 1 / 3)
    # E[u^4] = 3/(d(d+2)) for a coordinate of a uniform unit vector.
    assert_mean(U**4, 3 / 15)
    assert_mean(np.linalg.det(U), 0.0)


def test_per_task_moments_belong_to_their_task() -> None:
    a = arrays(draw(Anisotropic(rotation="per_task", N=4000, d=3), 20))
    empirical = np.einsum("bni,bnj->bij", a["X"], a["X"]) / 4000
    assert np.abs(empirical - a["second_moment"]).max() < 0.15
    assert np.abs(empirical - a["second_moment"][::-1]).max() > 0.5


def test_all_rotations_share_the_normal_numbers() -> None:
    plain, shared, fresh = (Anisotropic(rotation=rotation) for rotation in ("none", "shared", "per_task"))
    norms = [np.linalg.norm(arrays(draw(law, 50))["X"], axis=-1) for law in (plain, shared, fresh)]
    np.testing.assert_allclose(norms[1], norms[0])
    np.testing.assert_allclose(norms[2], norms[0])


@pytest.mark.parametrize("rotation", ["shared", "none", "per_task"])
def test_variance_shift_scales_every_draw(rotation: str) -> None:
    base = arrays(draw(Anisotropic(rotation=rotation), 300))
    same, third = (arrays(draw(OODVariance(rotation=rotation, variance=v), 300)) for v in (1, 3))
    power = {"X": 0.5, "x_query": 0.5, "w_star": 0.5, "y": 1.0, "y_query": 1.0, "second_moment": 1.0}
    for name, exponent in power.items():
        np.testing.assert_array_equal(same[name], base[name])
        np.testing.assert_allclose(third[name], 3**exponent * base[name], rtol=1e-12, atol=1e-12)


def test_variance_shift_scales_the_prior() -> None:
    X = torch.ones(1, 20, 5, dtype=torch.float64)
    base, third = Anisotropic().prior(X), OODVariance(variance=3).prior(X)
    assert base is not None
    assert third is not None
    np.testing.assert_allclose(third.covariance, 3 * base.covariance)
    np.testing.assert_allclose(base.covariance[0] @ Anisotropic().second_moment, np.eye(5), atol=1e-12)
    assert OODVariance(rotation="per_task").prior(X) is None
