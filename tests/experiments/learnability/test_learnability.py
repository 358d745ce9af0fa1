"""Learnability: its rules on tables made by hand, empirical risk minimisation, and all of it at a small size."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from baselines.lfom_optimal import LfomOptimal
from benchmarks.catalogue.registry import LAWS
from benchmarks.experiments.learnability.command import measured, report
from benchmarks.experiments.learnability.conclusions import (
    ClassSummary,
    Overtaking,
    beat_sentence,
    overtakings,
    rate_sentence,
    summaries,
)
from benchmarks.experiments.learnability.erm import Unlabelled, minimise, minimise_exactly
from benchmarks.experiments.learnability.rates import Rate, fit_rates, verdict
from benchmarks.experiments.learnability.scoring import (
    Risk,
    closed_floors,
    exact_tasks,
    model_losses,
    risks,
    solver_losses,
)
from benchmarks.experiments.learnability.settings import Class, Fit, Learnability, fits, learnability
from benchmarks.tasks.law import Purpose
from memformer.model.forward import forward
from tests.experiments.requests import asked
from tests.helpers import afresh


def test_a_process_that_scores_knows_the_laws() -> None:
    """A worker has imported nothing but the function it is given."""
    afresh(
        "from benchmarks.experiments.learnability import scoring\n"
        "assert 'anisotropic' in scoring.LAWS and 'cg' in scoring.SOLVERS"
    )


SCALAR = Class(
    name="scalar by search",
    kind="memformer",
    floor="scalar",
    config={"memory": "first_order", "preconditioner": "scalar"},
)
LAW = LAWS.create("anisotropic")


def small() -> Learnability:
    settings = learnability(quick=True)
    sizes = {"sizes": [(10, 2), (100, 2), (200, 2)], "scored": 1000, "evaluations": 4, "floor_tasks": 2000}
    return settings.model_copy(
        update={
            **sizes,
            "reference_tasks": 1000,
            "reference_steps": 2,
            "depths": [1],
            "baselines": ["cg", "pcg"],
        }
    )


def risk(tasks: int, seed: int, excess: float, kind: str = "full Q") -> Risk:
    return Risk(kind, 2, tasks, seed, 53, 0.1, 1.0 + excess, 1.0)


def test_the_rate_of_a_power_law_is_its_exponent():
    settings = learnability().model_copy(update={"depths": [2], "classes": [learnability().classes[3]]})
    rows = [risk(m, s, 30 * m**-0.75 * math.exp(0.1 * (-1) ** s)) for m in (10, 1000, 3000, 10000) for s in range(4)]
    rows += [risk(3000, 9, -0.01)]  # below the floor: no logarithm, not in the fit
    rows += [risk(100_000, s, 1.0) for s in range(3)]  # more than the fresh tasks can tell apart
    (rate,) = fit_rates(rows, settings)
    assert rate.slope == pytest.approx(-0.75, abs=1e-12)
    assert rate.low < -0.75 < rate.high
    assert (rate.least, rate.most, rate.verdict) == (1000, 10000, "between")
    exact = [dataclasses.replace(row, exact=True) for row in rows if row.excess != 1.0]
    exact += [dataclasses.replace(risk(100_000, s, 30 * 1e5**-0.75), exact=True) for s in range(3)]
    (longer,) = fit_rates(exact, settings)
    assert longer.most == 100_000
    (none,) = fit_rates([row for row in rows if row.tasks != 10000], settings)
    assert math.isnan(none.slope)
    assert none.verdict == "too few m"


def test_verdicts_name_what_the_interval_holds():
    assert verdict(-0.4, -0.3) == "slower than m^-1/2"
    assert verdict(-1.4, -1.3) == "faster than m^-1"
    slow = Rate("GD++", 3, "trained", 9, -0.35, -0.4, -0.3, 100, 1000, "slower than m^-1/2")
    assert "Slower than m^-1/2: GD++ at 3" in rate_sentence([slow])
    assert "None is slower" in rate_sentence([slow._replace(verdict="between")])
    own = slow._replace(verdict="m^-1")
    assert "Of 2 rates" in rate_sentence([slow, own])
    assert rate_sentence([slow._replace(slope=math.nan)]) == "No rate could be fitted."


def test_a_class_begins_to_beat_a_baseline_where_it_stays_below():
    def at(tasks: int, high: float) -> ClassSummary:
        return ClassSummary("full Q", 1, tasks, high - 0.1, high - 0.2, high, 0.0, 0.0, 0.0)

    rows = [at(10, -1.0), at(100, 0.5), at(1000, -0.1), at(10000, -0.2)]
    since = {
        o.baseline: o.tasks
        for o in overtakings(rows, {"cg": [9.0, 1.0], "pcg": [9.0, math.exp(-0.15)], "bb": [9.0, 0.1]})
    }
    assert since == {"cg": 1000, "pcg": 10000, "bb": None}
    text = beat_sentence([Overtaking("full Q", 1, "cg", 1000), Overtaking("full Q", 1, "pcg", None)])
    assert text == "`cg` is beaten by full Q at 1 layers. `pcg` is beaten by none of the classes at any m tried."


def test_summaries_leave_out_what_has_no_logarithm():
    (found,) = summaries([risk(10, 0, 0.1), risk(10, 1, 0.1), risk(10, 2, -0.1)])
    assert found.excess == pytest.approx(math.log(0.1))
    assert found.loss == pytest.approx((2 * math.log(1.1) + math.log(0.9)) / 3)


def test_whitened_coefficients_have_an_exact_excess():
    """It is above 0 for every training set, and what many fresh tasks say."""
    kind = next(c for c in learnability().classes if c.exact)
    floors = {(kind.name, depth): float(exact_tasks(LAW).floor(depth)) for depth in (1, 3)}
    found = risks(small(), floors, Fit(kind, [1, 3], 1000, [0, 1]))
    assert [(one.depth, one.seed) for one in found] == [(1, 0), (3, 0), (1, 1), (3, 1)]
    assert all(one.exact and 0 < one.excess < 0.1 * one.floor for one in found)
    method = minimise_exactly(LAW, 3, 1000, 0, preconditioned=True)
    best = LfomOptimal(preconditioned=True).fit(LAW.stream(0, Purpose.TRUTH), [3])
    sampled, floor = (solver_losses(one, LAW, 3, 20_000)[3].item() for one in (method, best))
    assert found[1].loss == pytest.approx(sampled, rel=0.05)
    assert found[1].loss / found[1].floor == pytest.approx(sampled / floor, abs=0.015)


def test_the_floor_of_scalar_coefficients_is_below_every_fit():
    settings = learnability().model_copy(update={"floor_tasks": 100_000, "scored": 20_000})
    floor = closed_floors(settings)["scalar"]
    fitted = solver_losses(minimise_exactly(LAW, 4, 3000, 0), LAW, 4, 20_000).tolist()
    assert all(low < loss for low, loss in zip(floor[1:], fitted[1:], strict=True))


@pytest.mark.parametrize("depth", [1, 2])
def test_the_search_finds_the_minimiser_that_the_closed_form_gives(depth):
    fitted = minimise(SCALAR, LAW, depth, 200, [3, 4], 150)
    for model, seed in enumerate((3, 4)):
        exact = minimise_exactly(LAW, depth, 200, seed)
        train = LAW.stream(seed, Purpose.TRAIN).sample(200)
        predicted = exact.solve(train.blinded(), depth).predict(train.x_query)[-1]
        risk = (predicted - train.y_query).square().mean()
        assert fitted.risk[model].item() == pytest.approx(risk.item(), rel=1e-3)
        scored = solver_losses(exact, LAW, depth, 1000)[-1].item()
        assert model_losses(fitted, LAW, 1000)[model] == pytest.approx(scored, rel=2e-2)


def test_the_diagonal_class_is_diagonal_and_its_axes_stay_fixed():
    kind = next(c for c in learnability().classes if c.kind == "diagonal")
    fitted = minimise(kind, LAW, 1, 100, [0], 40)
    torch.testing.assert_close(fitted.parameters["Q"][0, 0], -torch.diag_embed(torch.eye(5)).double())
    problem = LAW.stream(1, Purpose.SCORE).sample(20)
    weights = forward(fitted.config, fitted.parameters, problem).weights
    gamma = fitted.parameters["gamma"][0, 0, 0]
    torch.testing.assert_close(weights[-1, 0], gamma * problem.moments.b)
    assert len(set(gamma.tolist())) == 5


def test_parameters_are_those_that_are_read():
    counts = {kind.name: kind.parameters(5, 20, 2) for kind in learnability().classes}
    # Q: 2 x 25; gamma of pairs: 3; of tokens: 2 x 21 x 6; diagonal: 3 x 5; P: 2 x 25.
    assert counts == {
        "LFOM scalar": 2,
        "LFOM whitened": 2,
        "LFOM diagonal": 15,
        "full Q": 53,
        "token Γ": 302,
        "GD++": 103,
    }


def test_training_sets_are_independent_and_never_scored():
    streams = {(fit.tasks, seed) for fit in fits(learnability()) for seed in fit.seeds}
    assert len({seed for _, seed in streams}) == len(streams)
    first = LAW.stream(0, Purpose.TRAIN).sample(500).w_star
    scored = LAW.stream(0, Purpose.SCORE).sample(500).w_star
    assert not set(map(tuple, first.tolist())) & set(map(tuple, scored.tolist()))


def test_everything_at_a_small_size_is_written_and_the_same_twice(tmp_path):
    settings = small()
    found = [measured(settings, asked()) for _ in range(2)]
    assert repr(found[0]) == repr(found[1])
    paths = report(settings, found[0]).write(tmp_path)
    names = {"risks.csv", "rates.csv", "baselines.csv", "excess.svg", "loss.svg", "LEARNABILITY.md"}
    assert {path.name for path in paths} == names
    scalar = [r for r in found[0].risks if r.kind == "LFOM scalar" and r.tasks == 200]
    assert scalar
    assert all(r.loss == pytest.approx(r.floor, rel=0.3) for r in scalar)
    assert "GD++" in (tmp_path / "LEARNABILITY.md").read_text()


def test_a_training_set_tells_its_contexts_and_query_labels_and_nothing_that_only_the_law_knows():
    source = Unlabelled(LAWS.create("isotropic").stream(0, Purpose.TRAIN))
    problem = source.sample(3)
    assert problem.y_query is not None
    assert problem.w_star is problem.second_moment is problem.weights is None
    assert source.prior(problem.X) is None
    assert LAWS.create("isotropic").stream(0, Purpose.TRAIN).prior(problem.X) is not None
    assert source.spread(2.1) is source
    assert not source.whitens_to_isotropic
