"""Kernel ridge against scikit-learn's, against conditioning a Gaussian, and where it has nothing to know."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from baselines.direct import Ridge
from baselines.kernel_ridge import KernelRidge, regularised
from benchmarks import api
from benchmarks.harness.cell import Cell
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.measure import run_cell
from benchmarks.suites.entries import Protocol
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.kernels import KernelLaw
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.random_features import RandomFeatures
from benchmarks.tasks.two_layer_relu import TwoLayerReLU
from memformer.core.problem import Problem
from memformer.core.solver import Solver
from tests.tasks.variants import draw

LAWS = [
    RandomFeatures(d=3, N=12, num_queries=4, noise_std=0.3),
    TwoLayerReLU(d=3, N=12, num_queries=4, noise_std=0.5),
]

every_law = pytest.mark.parametrize("law", LAWS, ids=["random_features", "two_layer_relu"])


def fitted(law: Law) -> KernelRidge:
    return KernelRidge().fit(law.stream(0, Purpose.TRAIN), [1])


def predictions(solver: Solver, problem: Problem, num_steps: int = 1) -> torch.Tensor:
    found = solver.solve(problem, num_steps).predictions
    assert found is not None
    return found


def gram(law: KernelLaw, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The kernel among the points of the contexts, and of the queries with them."""
    return law.kernel(problem.X, problem.X).numpy(), law.kernel(problem.x_query, problem.X).numpy()


@every_law
def test_it_is_that_of_scikit_learn(law: KernelLaw) -> None:
    kernel_ridge = pytest.importorskip("sklearn.kernel_ridge")
    problem = draw(law, 20)
    found = predictions(fitted(law), problem, 2)
    assert found.shape == (3, 20, 4)
    assert not found[0].any()
    assert torch.equal(found[1], found[2])
    for i, (K, across) in enumerate(zip(*gram(law, problem), strict=True)):
        theirs = kernel_ridge.KernelRidge(alpha=law.noise_var, kernel="precomputed").fit(K, problem.y[i].numpy())
        np.testing.assert_allclose(found[1, i].numpy(), theirs.predict(across), atol=1e-8)


@every_law
def test_it_is_the_mean_of_the_joint_gaussian_given_the_labels(law: KernelLaw) -> None:
    """By the precision matrix of labels and query values together, not by the covariance of the labels."""
    problem = draw(law, 20)
    everything = torch.cat([problem.x_query, problem.X], 1)
    joint = law.kernel(everything, everything).numpy() + np.diag([1e-9] * 4 + [law.noise_var] * 12)
    precision = np.linalg.inv(joint)
    means = -np.linalg.solve(precision[:, :4, :4], precision[:, :4, 4:] @ problem.y.numpy()[..., None])[..., 0]
    np.testing.assert_allclose(predictions(fitted(law), problem)[1].numpy(), means, atol=1e-5)


@pytest.mark.parametrize(("N", "features"), [(20, 6), (12, 12), (6, 20)])
def test_without_noise_the_features_that_the_context_shows_are_known(N: int, features: int) -> None:
    law = RandomFeatures(d=4, N=N, features=features, num_queries=3)
    problem = draw(law, 200)
    phi, phi_query = law.kernel.features(problem.X).numpy(), law.kernel.features(problem.x_query).numpy()
    least = (phi_query @ np.linalg.pinv(phi, rcond=1e-12) @ problem.y.numpy()[..., None])[..., 0]
    condition = np.linalg.svd(phi, compute_uv=False)
    well = condition[:, -1] > 1e-4 * condition[:, 0]
    assert well.mean() > 0.5
    found = predictions(fitted(law), problem)[1].numpy()
    np.testing.assert_allclose(found[well], least[well], atol=1e-6)
    if features <= N:
        np.testing.assert_allclose(found[well], problem.y_query.numpy()[well], atol=1e-6)  # pyright: ignore[reportOptionalMemberAccess]
    assert np.isfinite(found).all()


def test_matrices_that_are_singular_leave_the_others_alone() -> None:
    root = torch.linalg.qr(torch.arange(16.0, dtype=torch.float64).reshape(4, 4).cos())[0]
    regular = root @ torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)) @ root.mT
    y = torch.ones(3, 4, dtype=torch.float64)
    found = regularised(torch.stack([regular, torch.ones_like(regular), torch.zeros_like(regular)]), y, 0.0)
    torch.testing.assert_close(found[0], torch.linalg.solve(regular, y[0]))
    torch.testing.assert_close(found[1], y[1] / 4)
    assert not found[2].any()
    noisy = regularised(torch.ones(1, 4, 4, dtype=torch.float64), y[:1], 1e-20)
    torch.testing.assert_close(noisy[0], y[0] / 4)


def test_a_part_at_a_time_changes_no_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    solver, problem = fitted(LAWS[1]), draw(LAWS[1], 72)
    whole = predictions(solver, problem)
    monkeypatch.setattr("baselines.kernel_ridge.PAIRS", 40 * 12**2)
    assert torch.equal(predictions(solver, problem), whole)


def test_under_a_network_it_beats_least_squares_and_nearest_neighbours() -> None:
    law = TwoLayerReLU(d=5, N=40)
    losses = {}
    for name in ("kernel_ridge", "ols", "nearest_neighbours"):
        solver = api.fitted(api.solver(name), law, [1])
        losses[name] = api.losses(solver, law, seed=0, tasks=1000, steps=[1], metric="test_loss")[0]
    for other in ("ols", "nearest_neighbours"):
        better = losses[other] - losses["kernel_ridge"]
        assert better.mean() > 5 * better.std() / len(better) ** 0.5


@every_law
def test_it_can_be_sent_to_another_process(law: KernelLaw) -> None:
    solver, problem = fitted(law), draw(law, 3)
    again = pickle.loads(pickle.dumps(solver))
    assert again == solver
    assert again != dataclasses.replace(solver, noise_var=1.0)
    assert torch.equal(predictions(again, problem), predictions(solver, problem))


def test_a_law_that_states_no_kernel_is_left_out() -> None:
    stream = Isotropic().stream(0, Purpose.TRAIN)
    skipped, why = KernelRidge().skip(stream)
    assert skipped
    assert why == "kernel_ridge needs a law that states the covariance of its labels, and this one does not"
    with pytest.raises(ValueError, match=why):
        KernelRidge().fit(stream, [1])
    assert KernelRidge().skip(LAWS[0].stream(0, Purpose.TRAIN)) == (False, "")


def outcome(name: str, law: Law, trained: Law | None = None, protocol: Protocol = "held_out") -> tuple[str, str]:
    """Status of a cell of a run, and the reason."""
    place = (torch.float64, torch.device("cpu"), 60.0)
    cell = Cell("law", law, name, api.solver(name), {}, (1,), (0,), 30, *place, protocol=protocol, training_law=trained)
    result = run_cell(cell, ParameterStore())
    return result.status, result.reason


@every_law
def test_solvers_that_need_a_prior_are_left_out_of_runs_and_others_are_not(law: KernelLaw) -> None:
    without_prior = {name: outcome(name, law) for name in ("ridge", "ridge_cholesky", "bayes")}
    assert {status for status, _ in without_prior.values()} == {"skipped"}
    assert without_prior["ridge"][1] == "ridge needs a law that states its prior, or training tasks with true weights"
    for name in ("kernel_ridge", "ridge_loo", "lfom_optimal", "heavy_ball_tuned", "pcg"):
        assert outcome(name, law) == ("ok", ""), name
    assert outcome("kernel_ridge", law, protocol="transductive") == ("ok", "")
    assert outcome("kernel_ridge", Isotropic())[0] == "skipped"


def test_what_was_fitted_on_another_law_need_not_know_the_one_it_is_scored_on() -> None:
    plain = Isotropic(d=3, N=12, noise_std=0.3)
    assert outcome("ridge", LAWS[0], plain) == ("ok", "")
    assert outcome("ridge", plain, LAWS[0])[0] == "skipped"
    assert outcome("kernel_ridge", plain, LAWS[0]) == ("ok", "")


def test_ridge_says_so_itself() -> None:
    with pytest.raises(ValueError, match="ridge needs a law that states its prior, or training tasks"):
        Ridge().fit(LAWS[0].stream(0, Purpose.TRAIN), [1])
    assert Ridge().skip(Isotropic().stream(0, Purpose.TRAIN)) == (False, "")
