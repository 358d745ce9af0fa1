"""Laws whose labels are no linear function of x: the covariance that they state is that of the labels they draw."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from scipy import integrate

from benchmarks import api
from benchmarks.harness.scores.floors import FloorKey, bayes_losses, describe_floor, floor_losses, has_floor
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.kernels import ArcCosineKernel, FeatureKernel, KernelLaw, KernelStream
from benchmarks.tasks.law import Draw, Purpose
from benchmarks.tasks.random_features import RandomFeatures
from benchmarks.tasks.two_layer_relu import TwoLayerReLU
from memformer.core.solver import Reach
from tests.tasks.variants import assert_mean, draw

LAWS = [TwoLayerReLU(d=3, N=4), TwoLayerReLU(d=3, N=4, hidden=2), RandomFeatures(d=3, N=4, features=7, law_seed=2)]

every_law = pytest.mark.parametrize("law", LAWS, ids=repr)


class Fixed(np.random.Generator):
    """A generator whose arrays of the covariates' shape are the same points for every task."""

    def __init__(self, points: np.ndarray, batch: int) -> None:
        super().__init__(np.random.SFC64(5))
        self.points, self.batch = points, batch

    def standard_normal(self, size=None, *args, **kwargs):
        if size == (self.batch, *self.points.shape):
            return np.broadcast_to(self.points, size)
        return super().standard_normal(size, *args, **kwargs)


def at(law: KernelLaw, points: np.ndarray, batch: int) -> np.ndarray:
    """Labels `(batch, N)` of the same points in many tasks."""
    drawn: Draw = law.draw(batch, Fixed(points, batch))
    assert drawn.y is not None
    np.testing.assert_array_equal(drawn.X[-1], points)
    return drawn.y


def kernel_of(law: KernelLaw, points: np.ndarray) -> np.ndarray:
    X = torch.from_numpy(points)[None]
    return law.kernel(X, X)[0].numpy()


@every_law
def test_the_covariance_of_labels_at_given_points_is_the_kernel(law: KernelLaw) -> None:
    points = np.array([[1.0, 0.5, -0.2], [0.3, -1.2, 0.8], [-1.0, -0.5, 0.2], [2.0, 1.0, -0.4]])
    y = at(law, points, 40_000)
    assert_mean(y, 0.0)
    assert_mean(y[:, :, None] * y[:, None, :], kernel_of(law, points))


def test_the_arc_cosine_kernel_is_the_integral() -> None:
    """Over the two coordinates of w that matter: Gaussian radius 2, an angle over which one relu and both are on."""
    one, other, angle = np.array([2.0, 0.0]), 3.0 * np.array([np.cos(1.1), np.sin(1.1)]), 1.1
    both = (angle - np.pi / 2, np.pi / 2)
    expected = integrate.quad(lambda t: 2 * 2 * 3 * np.cos(t) * np.cos(t - angle) / (2 * np.pi), *both)
    assert kernel_of(TwoLayerReLU(d=2), np.stack([one, other]))[0, 1] == pytest.approx(2 * expected[0], rel=1e-12)


def test_the_arc_cosine_kernel_at_its_ends() -> None:
    points = np.array([[3.0, 4.0], [6.0, 8.0], [-3.0, -4.0], [0.0, 0.0], [-4.0, 3.0]])
    found = kernel_of(TwoLayerReLU(d=2), points)[0]
    np.testing.assert_allclose(found, [25.0, 50.0, 0.0, 0.0, 25 / np.pi], atol=1e-6)
    X = torch.from_numpy(points)[None].requires_grad_()
    (slope,) = torch.autograd.grad(ArcCosineKernel(1.0)(X, X).sum(), X)
    assert slope.isfinite().all()


def test_the_kernel_of_random_features_is_their_product_and_their_mean_the_arc_cosine_kernel() -> None:
    law = RandomFeatures(d=3, N=6, features=5)
    problem = draw(law, 4)
    kernel = law.kernel
    phi = law.scale * np.maximum(problem.X.numpy() @ law.directions.T, 0)
    np.testing.assert_allclose(kernel.features(problem.X).numpy(), phi, atol=1e-14)
    np.testing.assert_allclose(kernel(problem.X, problem.X).numpy(), phi @ phi.transpose(0, 2, 1), atol=1e-13)
    assert kernel(problem.x_query, problem.X).shape == (4, 1, 6)
    many, mean = RandomFeatures(d=3, features=40_000), ArcCosineKernel(np.sqrt(2 / 3))(problem.X, problem.X)
    products = np.maximum(problem.X[0].numpy() @ many.directions.T, 0)
    assert_mean(2 / 3 * (products[:, None] * products[None]).transpose(2, 0, 1), mean[0].numpy())


def test_labels_of_one_task_are_linear_in_the_features() -> None:
    law = RandomFeatures(d=3, N=12, features=4)
    problem = draw(law, 5)
    phi, phi_query = law.kernel.features(problem.X), law.kernel.features(problem.x_query)
    a = torch.linalg.lstsq(phi, problem.y[..., None]).solution
    torch.testing.assert_close((phi_query @ a)[..., 0], problem.y_query, atol=1e-9, rtol=0)


def test_features_of_one_seed_begin_alike_and_others_do_not() -> None:
    np.testing.assert_array_equal(RandomFeatures(features=9).directions[:4], RandomFeatures(features=4).directions)
    assert not np.allclose(RandomFeatures().directions, RandomFeatures(law_seed=1).directions)


@every_law
def test_a_stream_tells_the_kernel_and_so_does_what_stands_in_for_it(law: KernelLaw) -> None:
    stream = law.stream(0, Purpose.TRAIN)
    assert isinstance(stream, KernelStream)
    assert stream.kernel == law.kernel == pickle.loads(pickle.dumps(law.kernel))
    assert hash(stream.kernel) == hash(law.kernel)
    assert not law.linear
    assert law.prior(torch.zeros(1, 4, 3)) is None


def test_kernels_of_other_laws_are_others() -> None:
    assert RandomFeatures().kernel != RandomFeatures(law_seed=1).kernel
    assert FeatureKernel(torch.ones(2, 2), 1.0) != FeatureKernel(torch.ones(2, 2), 2.0)


def test_kernel_ridge_is_the_floor_of_random_features() -> None:
    law = RandomFeatures(d=3, N=8, noise_std=0.3)
    key = FloorKey(law, 0, 500, 2, torch.float64, torch.device("cpu"))
    solver = api.fitted(api.solver("kernel_ridge"), law, [1])
    expected = api.losses(solver, law, seed=0, tasks=500, steps=[1], metric="test_loss")[0]
    floor = bayes_losses(key, "test_loss")
    assert floor is not None
    np.testing.assert_array_equal(floor, np.stack([expected] * 3))
    assert floor_losses(key, Reach.ANY, "test_loss") is not None
    assert bayes_losses(key, "expected_test_loss") is None
    assert describe_floor(key, Reach.ANY, 1)[0] == "kernel_ridge"
    assert {reach for reach in Reach if has_floor(law, reach)} == {Reach.ANY}


def test_where_no_floor_is_known() -> None:
    assert not any(has_floor(TwoLayerReLU(noise_std=0.3), reach) for reach in Reach)
    assert has_floor(RandomFeatures(N=8, features=9), Reach.ANY)
    assert not has_floor(RandomFeatures(N=8, features=8), Reach.ANY), "the context tells the task"
    assert has_floor(Isotropic(d=4, N=4, noise_std=0.1), Reach.ANY)
    assert not has_floor(Isotropic(d=4, N=4), Reach.ANY)
