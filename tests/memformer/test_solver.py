from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from memformer.core import checkpoint
from memformer.core.trace import Outcome
from memformer.solvers.memformer import Memformer
from tests.memformer.helpers import GaussianSource, assert_close, excess_loss, random_problem

SMALL = Memformer(iterations=30, tasks=1000, batch=200)
VARIANTS = [
    SMALL,
    replace(SMALL, memory="conjugate", preconditioner="scalar"),
    replace(SMALL, memory="first_order", covariate_update=True, heads=2, gates="shared"),
    replace(SMALL, memory="first_order", gamma="token", gamma_sharing="past"),
    replace(SMALL, memory="conjugate", attention="softmax"),
]


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda v: f"{v.memory}-{v.gamma}-{v.attention}")
def fitted(request) -> Memformer:
    return request.param.fit(GaussianSource(N=8, d=3), [0, 1, 3], seed=1)


def test_solves_each_depth_it_was_fitted_for(fitted):
    problem = GaussianSource(N=8, d=3, seed=9).sample(50)
    for k in (0, 1, 3):
        trace = fitted.solve(problem, k)
        values = trace.predictions if trace.weights is None else trace.weights
        assert values is not None
        assert values.shape[:2] == (k + 1, 50)
        assert trace.predict(problem.x_query).shape == (k + 1, 50, 1)
        assert (trace.outcome == int(Outcome.MAX_STEPS)).all()


def test_only_the_context_matters(fitted):
    problem = GaussianSource(N=8, d=3, seed=9).sample(5)
    one, other = (fitted.solve(p, 3).predict(problem.x_query) for p in (problem, problem.blinded()))
    assert_close(one, other)


def test_refuses_depths_and_sizes_it_was_not_fitted_for(fitted):
    with pytest.raises(ValueError, match=r"fitted for \[1, 3\] layers and cannot take 2"):
        fitted.solve(random_problem(N=8, d=3), 2)
    with pytest.raises(ValueError, match="made for d = 3 and the problem has d = 4"):
        fitted.solve(random_problem(N=8, d=4), 1)
    if fitted.gamma == "token":
        with pytest.raises(ValueError, match="made for N = 8 and the problem has N = 9"):
            fitted.solve(random_problem(N=9, d=3), 1)
    else:
        fitted.solve(random_problem(N=9, d=3), 1)


def test_parameters_make_the_round_trip_through_a_file(fitted, tmp_path):
    assert fitted.parameters is not None
    checkpoint.save(tmp_path / "p", fitted.parameters, {})
    again = replace(fitted, parameters=checkpoint.load(tmp_path / "p").parameters)
    problem = random_problem(N=8, d=3)
    assert torch.equal(
        again.solve(problem, 3).predict(problem.x_query), fitted.solve(problem, 3).predict(problem.x_query)
    )


def test_nonfinite_tasks_are_marked_and_leave_the_others_alone(fitted):
    problem = random_problem(B=3, N=8, d=3)
    clean = fitted.solve(problem, 3)
    problem.X[1, 0, 0] = torch.nan
    trace = fitted.solve(replace(problem), 3)
    assert trace.outcome.tolist() == [0, int(Outcome.NONFINITE), 0]
    found, expected = (t.predict(problem.x_query)[:, ::2] for t in (trace, clean))
    assert_close(found, expected)


def test_fit_many_trains_seeds_together():
    sources = [GaussianSource(N=8, d=3, seed=seed) for seed in (1, 2)]
    many = SMALL.fit_many(sources, [1, 2], [1, 2])
    one = SMALL.fit(GaussianSource(N=8, d=3, seed=2), [1, 2], 2)
    problem = random_problem(N=8, d=3)
    assert_close(many[1].solve(problem, 2).weights, one.solve(problem, 2).weights, atol=1e-8)
    assert not torch.allclose(
        many[0].solve(problem, 2).predict(problem.x_query), one.solve(problem, 2).predict(problem.x_query)
    )


def test_float32_fit_solves_float64_and_back():
    class Single(GaussianSource):
        @property
        def second_moment(self):
            return super().second_moment.float()

        def sample(self, batch):
            # Only the tasks' numbers are drawn in float64.
            return GaussianSource.sample(self.double, batch).to(torch.float32)

        def validation(self):
            return Single(seed=1)

        @property
        def double(self):
            source = GaussianSource(seed=0)
            source.generator = self.generator
            return source

    fitted = replace(SMALL, memory="first_order", iterations=150).fit(Single(), [2])
    assert fitted.parameters is not None
    assert fitted.parameters["Q"].dtype == torch.float32
    source = GaussianSource(seed=4)
    problem = source.sample(500)
    weights = fitted.solve(problem, 2).weights
    assert weights is not None
    assert weights.dtype == torch.float64
    assert problem.w_star is not None
    assert excess_loss(source, weights[-1], problem.w_star).mean() < 0.6


def test_must_be_fitted_first():
    with pytest.raises(ValueError, match="no parameters yet; call fit first"):
        Memformer().solve(random_problem(), 1)
