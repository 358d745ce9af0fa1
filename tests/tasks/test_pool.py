"""The law of a pool of tasks, and the posterior mean over it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from baselines.direct import Bayes
from baselines.pool import Dmmse
from benchmarks import api
from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.law import Purpose
from benchmarks.tasks.pool import TaskPool
from tests.tasks.variants import arrays, draw


def fitted(law: TaskPool) -> Dmmse:
    return Dmmse().fit(law.stream(0, Purpose.TRAIN), [1])


def test_every_task_is_of_the_pool_and_each_as_often() -> None:
    law = TaskPool(d=3, N=2, pool=5)
    w_star = arrays(draw(law, 5000))["w_star"]
    nearest = np.abs(w_star[:, None] - law.tasks).sum(2).argmin(1)
    np.testing.assert_array_equal(w_star, law.tasks[nearest])
    assert np.abs(np.bincount(nearest) - 1000).max() < 5 * 1000**0.5


def test_pools_of_one_seed_begin_alike_and_others_do_not() -> None:
    np.testing.assert_array_equal(TaskPool(pool=9).tasks[:4], TaskPool(pool=4).tasks)
    assert not np.allclose(TaskPool(pool=4).tasks, TaskPool(pool=4, law_seed=1).tasks)


def test_dmmse_is_the_posterior_mean_over_the_pool() -> None:
    law = TaskPool(d=4, N=3, pool=6, noise_std=0.5)
    problem = draw(law, 50)
    found = fitted(law).solve(problem, 1).weights
    assert found is not None
    X, y = problem.X.numpy(), problem.y.numpy()
    misfit = ((y[:, None] - np.einsum("bnd,md->bmn", X, law.tasks)) ** 2).sum(2)
    np.testing.assert_allclose(found[-1].numpy(), softmax(-misfit / 0.5, axis=1) @ law.tasks, atol=1e-9)
    bayes = Bayes().fit(law.stream(0, Purpose.TRAIN), [1]).solve(problem, 1).weights
    assert bayes is not None
    torch.testing.assert_close(found[-1], bayes[-1], atol=1e-9, rtol=0)


def test_without_noise_the_task_itself_is_found() -> None:
    law = TaskPool(d=4, N=2, pool=300)
    problem = draw(law, 100)
    found = fitted(law).solve(problem, 1).weights
    assert found is not None
    assert problem.w_star is not None
    assert torch.equal(found[-1], problem.w_star)


def test_on_its_pool_it_beats_ridge_and_on_fresh_tasks_ridge_beats_it() -> None:
    pool, fresh = TaskPool(d=4, N=8, pool=8, noise_std=0.5), Isotropic(d=4, N=8, noise_std=0.5)
    ridge, dmmse = api.fitted(api.solver("ridge"), fresh, [1]), fitted(pool)
    losses = {
        (name, law.metadata.name): api.losses(solver, law, seed=0, tasks=2000, steps=[1])[-1].mean() - 0.25
        for name, solver in (("ridge", ridge), ("dmmse", dmmse))
        for law in (pool, fresh)
    }
    assert losses["dmmse", "task_pool"] < 0.5 * losses["ridge", "task_pool"]
    assert losses["ridge", "isotropic"] < 0.5 * losses["dmmse", "isotropic"]


def test_a_law_without_a_pool_gives_training_tasks() -> None:
    stream = Isotropic().stream(0, Purpose.TRAIN)
    parameters = Dmmse(num_tasks=7).fit(stream, [1]).parameters
    drawn = Isotropic().stream(0, Purpose.TRAIN).sample(7).w_star
    assert parameters is not None
    assert drawn is not None
    assert torch.equal(parameters["pool"], drawn)


def test_a_law_without_true_weights_is_refused() -> None:
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="dmmse needs a law with a pool of tasks, or training tasks with true weights"):
        Dmmse().fit(api.law("real", d=3, N=8).stream(0, Purpose.TRAIN), [1])
