"""The search over starts: deterministic, honest about its starts, and it never drops what would have been kept."""

from __future__ import annotations

import math

import pytest
import torch

from memformer.core.checkpoint import load, save
from memformer.model.config import MemformerConfig
from memformer.solvers.memformer import Memformer
from memformer.training.adam import BatchedAdam
from memformer.training.recipe import Recipe, TrainingError
from memformer.training.rows import Rows
from memformer.training.search import Search, SearchRecord
from memformer.training.train import train
from memformer.training.whitening import Coordinates, chebyshev_steps, initial_theta, random_theta
from tests.memformer.helpers import GaussianSource, assert_close

QUICK = Recipe(steps=40, interval=10, tasks=800, batch=100, validation=400)


def quick(**search) -> Recipe:
    return Recipe(steps=40, interval=10, tasks=800, batch=100, validation=400, search=Search(**search))


def test_same_seed_same_search_other_seed_other_search():
    config = MemformerConfig(d=3, depth=2, memory="first_order", covariate_update=True)
    recipe = quick(starts=4, drops=((0.5, 0.6),))

    def run(seed):
        return train(config, [GaussianSource(N=8, d=3)], [1, 2], [seed], recipe)

    one, again, other = run(5), run(5), run(6)
    assert one.searches == again.searches != other.searches
    assert all(torch.equal(one.parameters[name], again.parameters[name]) for name in one.parameters)


@pytest.mark.parametrize("covariate_update", [False, True])
def test_seeds_and_depths_searched_together_find_what_each_finds_alone(covariate_update):
    config = MemformerConfig(d=3, depth=2, memory="conjugate", covariate_update=covariate_update)
    recipe = quick(starts=3, drops=((0.5, 0.6),))
    sources = [GaussianSource(N=8, d=3, seed=s) for s in (1, 2)]
    together = train(config, sources, [2, 1], [1, 2], recipe)
    for row, (seed, depth) in enumerate([(1, 2), (1, 1), (2, 2), (2, 1)]):
        alone = train(config, [GaussianSource(N=8, d=3, seed=seed)], [depth], [seed], recipe)
        found, wanted = together.searches[row], alone.searches[0]
        assert found.steps == wanted.steps
        assert_close(torch.tensor(found.losses).double(), torch.tensor(wanted.losses).double(), atol=1e-8)
        assert_close(together.parameters["Q"][row, :depth], alone.parameters["Q"][0, :depth], atol=1e-8)


def test_the_best_start_is_the_model_and_drops_leave_their_losses():
    config = MemformerConfig(d=3, depth=2, covariate_update=True)
    trained = train(config, [GaussianSource(N=8, d=3)], [2], [0], quick(starts=5, drops=((0.25, 0.8), (0.5, 0.6))))
    (search,) = trained.searches
    assert sorted(search.steps) == [10, 20, 40, 40, 40]
    assert trained.loss.item() == min(search.losses)
    assert search.steps[search.losses.index(min(search.losses))] == 40


def test_more_starts_are_no_worse_and_begin_with_the_same():
    config = MemformerConfig(d=3, depth=2, covariate_update=True)
    few, many = (
        train(config, [GaussianSource(N=8, d=3)], [2], [0], quick(starts=starts)).searches[0] for starts in (2, 5)
    )
    assert_close(torch.tensor(many.losses[:2]).double(), torch.tensor(few.losses).double(), atol=1e-8)
    assert many.best <= few.best + 1e-8


def test_drops_keep_the_leaders_of_each_model():
    """Two seeds, depths 1 and 2, four starts; the losses are made up so that another start leads each model."""
    rows = Rows([0, 1], [1, 2], Search(starts=4, drops=((0.5, 0.5),)), [10, 20])
    loss = torch.tensor([[4, 1, 3, 2], [1, 2, 3, 4], [2, 4, 1, 3], [math.inf, 3, 1, 2]]).flatten()
    assert not rows.due(4)
    assert rows.due(5)
    # Models of one layer are half way after 5 steps, those of two after 10, when models of one layer end.
    assert rows.drop(5, loss).tolist() == [1, 3, 4, 5, 6, 7, 8, 10, 12, 13, 14, 15]
    rows.drop(10, loss)
    assert rows.active.tolist() == [4, 5, 14, 15]
    rows.drop(20, loss)
    assert not len(rows.active)
    assert rows.steps.view(4, 4).tolist() == [[5, 10, 5, 10], [20, 20, 10, 10], [10, 5, 10, 5], [10, 10, 20, 20]]
    # What ends best in each model was never dropped before its end.
    best = rows.by_model(loss).argmin(1)
    assert rows.steps.view(4, 4)[range(4), best].tolist() == [10, 20, 10, 20]


def test_dropped_vectors_leave_adam_as_it_was():
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(6, 4, 3, generator=generator)
    whole, part = BatchedAdam(torch.zeros(4, 3)), BatchedAdam(torch.zeros(4, 3))
    kept = torch.tensor([0, 2])
    for step, gradient in enumerate(gradients):
        if step == 3:
            part.keep(kept)
        whole.step(gradient, 0.1)
        part.step(gradient if step < 3 else gradient[kept], 0.1)
    assert torch.equal(part.theta, whole.theta[kept])


def test_random_starts_are_as_wide_as_stated_and_not_gradient_descent():
    config = MemformerConfig(d=20, depth=4, memory="first_order", covariate_update=True)
    coordinates = Coordinates(config, torch.diag(torch.linspace(0.1, 1, 20)).double()[None])
    search = Search(starts=1)
    drawn = random_theta(coordinates, search.generators(0, 4), 0.9, 0.09, torch.zeros(1).double())
    found = dict(zip(coordinates.shapes, drawn.split(coordinates.sizes, 1), strict=True))
    for name in ("Q", "P"):
        assert found[name].mean().abs().item() < 0.02
        assert found[name].std().item() == pytest.approx(0.9 / 20**0.5, rel=0.1)
    deviation = found["gamma"].view(4, 4) - torch.eye(4)
    assert 0.03 < deviation.std().item() < 0.2
    descent = chebyshev_steps(coordinates, torch.eye(20).double().expand(1, 2, 20, 20), [4], 4)
    near = initial_theta(coordinates, descent, search.generators(0, 4), 1e-2)
    cosine = torch.nn.functional.cosine_similarity(drawn[:, : coordinates.sizes[0]], near[:, : coordinates.sizes[0]])
    assert cosine.abs().item() < 0.1


def test_generators_do_not_depend_on_how_many_starts_there_are():
    few, many = ([g.initial_seed() for g in Search(starts=n).generators(3, 2)] for n in (2, 4))
    assert many[:2] == few
    assert len({*many, *(g.initial_seed() for g in Search(starts=4).generators(2, 3))}) == 8


def test_descent_may_be_the_first_start():
    """With nothing left to train, its loss is that of the training without a search."""
    config = MemformerConfig(d=3, depth=2)
    recipe = {"steps": 1, "learning_rate": 0.0, "tasks": 400, "batch": 100, "validation": 400}
    losses = [
        train(config, [GaussianSource(N=8, d=3)], [2], [0], Recipe(**recipe, search=search)).searches[0].losses
        for search in (Search(descent=True), Search(starts=3, descent=True), Search(starts=3))
    ]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-9)
    assert losses[1][1:] == pytest.approx(losses[2][1:], rel=1e-9)
    assert losses[1][0] < 0.9 * min(losses[2])


def test_record_by_hand():
    record = SearchRecord((math.e, 1.0, math.exp(0.04), math.e**3), (10, 10, 10, 4))
    assert record.logs == pytest.approx([0.0, 0.04, 1.0, 3.0])
    assert (record.best, record.spread, record.near_best) == pytest.approx((0.0, 3.0, 0.5))
    assert record.median == pytest.approx(0.52)


def test_median_counts_dropped_starts_as_worse_or_is_not_known():
    """A start that was dropped early with a small loss is not the median's."""
    assert SearchRecord((5.0, 1.0, 2.0), (10, 10, 4)).median == pytest.approx(math.log(5.0))
    assert SearchRecord((5.0, 1.0, 2.0), (4, 10, 4)).median is None
    assert SearchRecord((3.0, 1.0, 2.0, 9.0), (10, 10, 4, 4)).median is None
    assert SearchRecord((math.inf, 1.0), (10, 10)).median == math.inf


def test_search_is_kept_with_the_parameters_and_found_again(tmp_path):
    solver = Memformer(memory="conjugate", preconditioner="scalar", starts=3, iterations=20, tasks=400, batch=100)
    fitted = solver.fit(GaussianSource(N=8, d=3), [1, 3], 0)
    assert fitted.parameters is not None
    save(tmp_path / "fit.safetensors", fitted.parameters, {})
    again = Memformer(memory="conjugate", preconditioner="scalar", parameters=load(tmp_path / "fit.safetensors")[0])
    for steps in (1, 3):
        search = fitted.search(steps)
        assert search is not None
        assert again.search(steps) == search
        assert (search.starts, search.steps) == (3, (20, 20, 20))
        record = fitted.training_record(steps)
        assert record is not None
        assert (record.starts, record.median, record.tasks) == (3, search.median, 1200)
    assert fitted.search(2) is None
    assert Memformer().search(1) is None


def test_parameters_without_a_search_still_solve():
    """Parameters of a model that was made by hand, or kept by an older version."""
    eta = {"Q": -torch.ones(1, 1, 1).double(), "depths": torch.tensor([1]), "made_for": torch.tensor([3, 8])}
    solver = Memformer(preconditioner="scalar", parameters=eta)
    assert solver.search(1) is None
    assert solver.training_record(1) is None
    problem = GaussianSource(N=8, d=3).sample(2)
    weights = solver.solve(problem, 1).weights
    assert weights is not None
    assert_close(weights[1], problem.moments.b)


def test_lbfgs_drops_between_its_stages():
    config = MemformerConfig(d=3, depth=2)
    recipe = Recipe(
        method="lbfgs", steps=40, tasks=2000, batch=100, validation=400, search=Search(starts=4, drops=((0.5, 0.5),))
    )
    (search,) = train(config, [GaussianSource(N=8, d=3)], [2], [0], recipe).searches
    assert sorted(step == max(search.steps) for step in search.steps) == [False, False, True, True]


def test_a_search_survives_a_start_that_does_not(monkeypatch):
    def broken(*given):
        theta = random_theta(*given)
        theta[0] = math.nan
        return theta

    monkeypatch.setattr("memformer.training.run.random_theta", broken)
    config, source = MemformerConfig(d=3, depth=2), GaussianSource(N=8, d=3)
    trained = train(config, [source], [2], [0], quick(starts=3))
    assert trained.loss.isfinite().all()
    assert trained.history.events[0] == (
        "start 1 of the model of seed 0 and depth 2 had no finite loss at the start, now halved"
    )
    with pytest.raises(TrainingError, match="depth 2 had no finite loss at the start"):
        train(config, [source], [2], [0], quick(starts=1))


@pytest.mark.parametrize(
    "wrong", [{"starts": 0}, {"scale": -1.0}, {"drops": ((1.0, 0.5),)}, {"drops": ((0.5, 0.0),)}, {"memory_scale": "a"}]
)
def test_search_refuses_what_makes_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Search(**wrong)
