"""Training reaches what theory says, the same bits each time, and survives what goes wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from memformer.core.problem import Problem
from memformer.model.config import MemformerConfig
from memformer.training.lbfgs import BatchedLbfgs
from memformer.training.objective import draw, losses
from memformer.training.recipe import Progress, Recipe, TrainingError
from memformer.training.search import Search
from memformer.training.train import train
from tests.memformer.helpers import GaussianSource, assert_close, random_parameters

SCALES = [1.0, 1.0, 0.5, 0.25, 1.0]
FLOOR = [0.143, -1.019, -2.014]
SCALAR_FLOOR = [0.810, 0.443, 0.151]
QUICK = Recipe(steps=200, interval=100, validation=4000)


@cache
def fresh(scales):
    """100,000 tasks, of which every model without tokens reads the same."""
    source = GaussianSource(seed=1000, scales=scales)
    return draw(MemformerConfig(d=5, depth=1), [source], 100_000, 4000, "auto")


def fresh_log_loss(config, trained, depths, scales=None):
    """Log of the mean expected loss on tasks that training has not seen."""
    assert config.reducible
    batches = fresh(scales and tuple(scales))
    depth = torch.tensor(depths)[:, None]
    live = (torch.arange(config.depth) < depth).double()
    return torch.stack([losses(config, trained.parameters, batch, live) for batch in batches]).mean(0).log().tolist()


def test_one_layer_is_the_closed_form():
    """`Q* = -N/(N+1+d) Sigma^{-1}`, loss `d (d+1)/(N+1+d)`, whatever Sigma."""
    source = GaussianSource(seed=3, scales=SCALES)
    config = MemformerConfig(d=5, depth=1)
    recipe = Recipe(steps=150, interval=25, tasks=40_000, passes=1, whiten=True)
    trained = train(config, [source], [1], [0], recipe)
    Q = trained.parameters["Q"][0, 0, 0]
    whitened = Q * torch.outer(torch.tensor(SCALES), torch.tensor(SCALES)).double()
    # Four million tasks would be needed to see Q itself to 1e-3; the loss is flat there and shows it.
    assert_close(whitened, -20 / 26 * torch.eye(5).double(), atol=0.01)
    assert_close(_one_layer_loss(whitened), torch.tensor(30 / 26).double(), atol=1e-3)


def _one_layer_loss(Q, N=20):
    """Exact loss of `w = -Q b` for white covariates: `tr(I + 2 Q + E[H Q^T Q H])`, `E[H A H]` of Wishart H."""
    d = len(Q)
    A = Q.T @ Q
    second = ((N + 1) * A + A.trace() * torch.eye(d).double()) / N
    return d + 2 * Q.trace() + second.trace()


@pytest.mark.parametrize("memory", ["none", "conjugate", "first_order"])
def test_full_Q_reaches_the_floor(memory):
    config = MemformerConfig(d=5, depth=3, memory=memory)
    trained = train(config, [GaussianSource(scales=SCALES)], [1, 2, 3], [0], QUICK)
    for found, floor in zip(fresh_log_loss(config, trained, [1, 2, 3], SCALES), FLOOR, strict=True):
        assert floor - 0.03 < found < floor + 0.03


def test_scalar_Q_reaches_its_own_floor():
    config = MemformerConfig(d=5, depth=3, memory="conjugate", preconditioner="scalar")
    trained = train(config, [GaussianSource(scales=SCALES)], [1, 2, 3], [0], QUICK)
    for found, floor in zip(fresh_log_loss(config, trained, [1, 2, 3], SCALES), SCALAR_FLOOR, strict=True):
        assert floor - 0.03 < found < floor + 0.03


def test_lbfgs_reaches_the_floor():
    config = MemformerConfig(d=5, depth=3, memory="first_order")
    recipe = Recipe(method="lbfgs", steps=120, tasks=10_000, validation=4000)
    trained = train(config, [GaussianSource()], [1, 2, 3], [0], recipe)
    for found, floor in zip(fresh_log_loss(config, trained, [1, 2, 3]), FLOOR, strict=True):
        assert floor - 0.03 < found < floor + 0.03


def test_free_P_goes_below_the_floor_of_fixed_coefficients():
    config = MemformerConfig(d=5, depth=2, covariate_update=True)
    trained = train(config, [GaussianSource()], [2], [0], Recipe(steps=200, interval=100, batch=500))
    assert fresh_log_loss(config, trained, [2])[0] < -2.2


def test_query_loss_trains_too():
    config = MemformerConfig(d=5, depth=1)
    trained = train(config, [GaussianSource(know_w_star=False)], [1], [0], QUICK)
    assert fresh_log_loss(config, trained, [1])[0] < 0.16


@pytest.mark.parametrize(
    "config",
    [
        MemformerConfig(d=3, depth=2, memory="first_order", gamma="token", num_tokens=8),
        MemformerConfig(d=3, depth=2, memory="conjugate", attention="relu", heads=2, gates="layer"),
        MemformerConfig(d=3, depth=2, memory="conjugate", attention="softmax"),
    ],
)
def test_models_that_need_tokens_learn(config):
    source = GaussianSource(N=8, d=3)
    recipe = Recipe(steps=100, interval=50, learning_rate=0.1, tasks=1000, batch=200, validation=1000)
    trained = train(config, [source], [2], [0], recipe)
    assert trained.loss[0].item() < 0.95 * trained.history.records[0].validation[0]


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_same_seed_same_bits_other_seed_other_bits(method):
    config = MemformerConfig(d=3, depth=2, memory="first_order", covariate_update=True, heads=2)
    recipe = Recipe(method=method, steps=8, interval=4, tasks=400, batch=100, validation=200)

    def run(seed):
        return train(config, [GaussianSource(N=8, d=3)], [1, 2], [seed], recipe).parameters

    one, again, other = run(5), run(5), run(6)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["Q"], other["Q"])


def test_tasks_drawn_ahead_are_the_same():
    """With two threads the next tasks are drawn while these are used; the first drop of starts falls in between."""
    config = MemformerConfig(d=2, depth=2, covariate_update=True)
    recipe = Recipe(method="adam", steps=40, tasks=64, batch=32, validation=64)
    found = {}
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found[threads] = train(config, [GaussianSource(N=8, d=2)], [1, 2], [0], recipe).parameters
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[1][name], found[2][name]) for name in found[1])


def test_models_trained_together_are_those_trained_alone():
    """Seeds and depths only share operations, not numbers."""
    config = MemformerConfig(d=3, depth=2, memory="first_order")
    recipe = Recipe(steps=20, interval=10, tasks=800, batch=100, validation=200)
    sources = [GaussianSource(N=8, d=3, seed=s) for s in (1, 2)]
    together = train(config, sources, [2, 1], [1, 2], recipe).parameters
    for row, (seed, depth) in enumerate([(1, 2), (1, 1), (2, 2), (2, 1)]):
        source = GaussianSource(N=8, d=3, seed=seed)
        alone = train(config, [source], [depth], [seed], recipe).parameters
        assert_close(together["Q"][row, :depth], alone["Q"][0, :depth], atol=1e-8)


def test_start_is_kept_if_nothing_is_better():
    config = MemformerConfig(d=5, depth=1)
    best = {"Q": (-20 / 26 * torch.eye(5).double()).view(1, 1, 1, 5, 5)}
    recipe = Recipe(steps=3, interval=1, learning_rate=0.5, warmup=0.0, schedule="constant", tasks=500, batch=100)
    trained = train(config, [GaussianSource()], [1], [0], recipe, start=best)
    assert trained.history.records[-1].validation[0] > trained.loss[0].item()
    assert_close(trained.parameters["Q"], best["Q"])


def test_plateau_stops_and_patience_0_does_not():
    config = MemformerConfig(d=3, depth=1, preconditioner="scalar")

    def last_step(patience):
        recipe = Recipe(steps=60, interval=2, patience=patience, tolerance=0.5, tasks=500, batch=100, validation=200)
        return train(config, [GaussianSource(N=8, d=3)], [1], [0], recipe).history.records[-1].step

    assert last_step(3) < 30
    assert last_step(0) == 60


class Poisoned(GaussianSource):
    """Every so often a draw holds a context that is not finite."""

    def __init__(self, poisoned, **settings):
        super().__init__(**settings)
        self.poisoned, self.draws = poisoned, 0

    def validation(self) -> GaussianSource:
        return Poisoned(self.poisoned, **self.settings) if self.poisoned(0) else super().validation()

    def sample(self, batch: int) -> Problem:
        problem = super().sample(batch)
        self.draws += 1
        if self.poisoned(self.draws):
            problem.X[0, 0, 0] = math.inf
        return problem


def test_nonfinite_steps_are_rolled_back_reported_and_survived():
    config = MemformerConfig(d=3, depth=1)
    recipe = Recipe(steps=40, interval=10, tasks=100, batch=50, validation=200, passes=1, search=Search())
    trained = train(config, [Poisoned(lambda draw: draw == 6, N=8, d=3)], [1], [0], recipe)
    assert trained.history.events == [
        f"the model of seed 0 and depth 1 became nonfinite at step {step} and went back" for step in (11,)
    ]
    assert trained.loss.isfinite().all()
    assert trained.parameters["Q"].isfinite().all()


def test_a_model_that_never_trains_is_an_error_in_one_sentence():
    config = MemformerConfig(d=3, depth=1)
    recipe = Recipe(steps=40, interval=10, tasks=100, batch=50, validation=200, passes=1)
    with pytest.raises(TrainingError, match="seed 0 and depth 1 had no finite loss at the start"):
        train(config, [Poisoned(lambda draw: draw < 2, N=8, d=3)], [1], [0], recipe)
    with pytest.raises(TrainingError, match="became nonfinite again and again"):
        train(config, [Poisoned(lambda draw: draw > 2, N=8, d=3)], [1], [0], recipe)


def test_progress_is_told():
    told: list[Progress] = []
    recipe = Recipe(method="lbfgs", steps=20, tasks=1000, batch=500, validation=1000)
    config, start = MemformerConfig(d=3, depth=3), {"Q": -0.1 * torch.eye(3).double().expand(1, 3, 1, 3, 3)}
    train(config, [GaussianSource(N=8, d=3)], [3], [0], recipe, start, told.append)
    assert [(p.done, p.total) for p in told] == [(0, 20), (10, 20), (20, 20)]
    assert told[-1].loss < told[0].loss


@pytest.mark.parametrize(("depths", "seeds"), [([3], [0]), ([0], [0]), ([1], []), ([], [0])])
def test_train_refuses_what_does_not_fit(depths, seeds):
    with pytest.raises(ValueError, match="depths"):
        train(MemformerConfig(d=5, depth=2), [GaussianSource()], depths, seeds)


@pytest.mark.parametrize("kind", ["expected", "query"])
def test_gradient_of_the_loss(kind):
    config = MemformerConfig(d=2, depth=2, memory="conjugate")
    batch = draw(config, [GaussianSource(N=4, d=2, scales=[1.0, 0.5], seed=s) for s in (1, 2)], 5, 5, kind)[0]
    parameters = random_parameters(config, 4)
    names = list(parameters)

    def loss(*tensors):
        return losses(config, dict(zip(names, tensors, strict=True)), batch)

    assert torch.autograd.gradcheck(loss, [parameters[name].requires_grad_() for name in names])


def test_expected_loss_is_the_mean_over_queries():
    """The exact loss agrees with sampled queries, for moments and for tokens."""
    source = GaussianSource(N=8, d=2, scales=[1.0, 0.5])
    drawn = source.sample(64)
    many = torch.randn(64, 4000, 2, generator=torch.Generator().manual_seed(0)).double() * source.scales
    assert drawn.w_star is not None
    sampled = Problem(drawn.X, drawn.y, many, (many @ drawn.w_star[..., None])[..., 0])

    class Fixed(GaussianSource):
        def __init__(self, problem):
            super().__init__()
            self.problem = problem

        def sample(self, batch):
            return self.problem

    for token in (False, True):
        config = MemformerConfig(d=2, depth=2, memory="first_order")
        if token:
            config = replace(config, gamma="token", num_tokens=8)
        parameters = random_parameters(config, 3)
        exact, mean = (
            losses(config, parameters, draw(config, [Fixed(p)], 64, 64, "auto")[0]) for p in (drawn, sampled)
        )
        torch.testing.assert_close(exact, mean, rtol=0.02, atol=0)


def test_lbfgs_solves_badly_scaled_quadratics_and_rosenbrock():
    def rosenbrock(x):
        x = x.detach().requires_grad_()
        value = (100 * (x[:, 1::2] - x[:, ::2] ** 2) ** 2 + (1 - x[:, ::2]) ** 2).sum(1)
        return value.detach(), torch.autograd.grad(value.sum(), x)[0]

    start = torch.tensor([[-1.2, 1.0, -1.2, 1.0], [0.0, 0.0, 3.0, -2.0]], dtype=torch.float64)
    search = BatchedLbfgs(start, rosenbrock)
    for _ in range(200):
        search.step()
    assert_close(search.theta, torch.ones(2, 4).double(), atol=1e-6)


def test_lbfgs_never_goes_up_and_steps_over_nonfinite_values():
    def barrier(x):
        return torch.where((x > 0).all(1), (x - x.log()).sum(1), torch.nan), 1 - 1 / x

    search = BatchedLbfgs(torch.tensor([[1e-3, 5.0]], dtype=torch.float64), barrier)
    values = []
    for _ in range(60):
        search.step()
        values.append(search.value.item())
    assert values == sorted(values, reverse=True)
    assert_close(search.theta, torch.ones(1, 2).double(), atol=1e-5)


def test_checkpoints_are_the_steps_of_the_validations():
    config = MemformerConfig(d=5, depth=1)
    recipe = Recipe(steps=20, checkpoints=(3, 7), tasks=100, batch=50, validation=100, passes=1)
    trained = train(config, [GaussianSource()], [1], [0], recipe)
    assert [record.step for record in trained.history.records] == [0, 3, 7, 20]
    with pytest.raises(ValueError, match="checkpoints"):
        Recipe(checkpoints=(0, 3))
