"""The tables of the views, against what is counted by hand from the stored losses."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.errors import UserError
from benchmarks.reports.comparison import Setting, SolverLosses, is_named, settings
from benchmarks.reports.critical_difference import critical_difference_figure, rank_groups
from benchmarks.reports.ecdf import ecdf
from benchmarks.reports.pairwise import pairwise, standing
from benchmarks.reports.pareto import pareto
from benchmarks.reports.profile import profile, speedups
from benchmarks.reports.style import short_names
from benchmarks.reports.targets import steps_needed, target_losses, targets
from benchmarks.runs.read import Run
from benchmarks.runs.standing import ROUNDING

CLASSIC = "heavy_ball"


@pytest.fixture
def setting(run: Run) -> Setting:
    return settings(run, d=4)[0]


def test_dimensions_are_never_pooled(run: Run) -> None:
    first, second = settings(run)
    assert (first.identity["d"], second.identity["d"]) == (4, 6)
    assert first.title == "isotropic, d = 4, N = 12, held_out"
    assert second.title == "isotropic, d = 6, N = 24, noise std 0.5, held_out"
    assert first.slug != second.slug
    assert first.tasks == 300


def test_losses_are_those_of_the_run(run: Run, setting: Setting) -> None:
    rows = run.scores.query("solver == 'cg' and d == 4 and steps == 2 and metric == 'expected_test_loss'")
    pooled = rows[rows["seed"].isna()].iloc[0]
    assert setting.metric == "expected_test_loss"
    assert np.log(setting.entry("cg").pooled(2).mean()) == pytest.approx(pooled["log_mean"], rel=1e-5)


def test_solvers_scored_on_fewer_tasks_are_left_out_and_named(setting: Setting) -> None:
    assert setting.left_out == {"scipy_cg": "scored on fewer tasks"}
    assert "scipy_cg" not in [entry.label for entry in setting.entries]


def test_what_does_not_exist_is_named(run: Run, setting: Setting) -> None:
    for arguments in ({"law": "gmm"}, {"d": 7}, {"solvers": ["sg"]}, {"metric": "hinge"}):
        with pytest.raises(UserError, match="small"):
            settings(run, **arguments)
    with pytest.raises(UserError, match="there are cg, cgls"):
        target_losses(setting, "heavy_ball_tuned")


def test_pairs_and_ties(setting: Setting) -> None:
    pairs = pairwise(setting, 2)
    assert len(pairs) == 10
    assert (pairs["log_ratio"] <= 1e-9).all(), "the better solver of a pair comes first"
    assert (pairs["p_holm"] >= pairs["p_value"]).all()
    same = pairs[pairs["first"].isin(["cg", "cgls"]) & pairs["second"].isin(["cg", "cgls"])]
    assert same["tied"].all()
    table = standing(setting, 2, pairs)
    assert table["solver"].tolist()[0] == "ols"
    marks = dict(zip(table["solver"], table["ties"], strict=True))
    assert marks["cg"] == marks["cgls"] != ""
    assert marks["gradient_descent"] == ""
    assert table["average_rank"].sum() == pytest.approx(15)
    groups = [
        {table.sort_values("average_rank")["solver"].tolist()[i] for i in group}
        for group in rank_groups(table.sort_values("average_rank"))
    ]
    assert {"cg", "cgls"} in groups


def test_steps_to_target(setting: Setting) -> None:
    losses = target_losses(setting, CLASSIC)
    assert list(losses) == [1, 2, 3]
    table = targets(setting, CLASSIC).set_index(["solver", "classic_steps"])
    assert table.loc[CLASSIC, "steps"].tolist() == [1, 2, 3]
    assert table.loc[CLASSIC, "seconds_ratio"].tolist() == [1, 1, 1]
    assert table.loc["ols", "steps"].tolist() == [1, 1, 1]
    cg = setting.entry("cg")
    by_hand = [min(k for k in (1, 2, 3) if cg.pooled(k).mean() <= losses[target]) for target in (1, 2, 3)]
    assert table.loc["cg", "steps"].tolist() == by_hand
    slow = table.loc["gradient_descent"]
    assert pd.isna(slow.loc[3, "steps"])
    assert pd.isna(slow.loc[3, "seconds"])


def test_an_unreachable_target_is_none() -> None:
    entry = SolverLosses("e", "nothing", False, "tasks", {1: [np.ones(3)], 2: [np.full(3, 0.5)]}, {})
    assert steps_needed(entry, 0.5) == 2
    assert steps_needed(entry, 0.4) is None


def test_ecdf_counts_task_target_pairs(setting: Setting) -> None:
    table = ecdf(setting, CLASSIC).set_index(["solver", "steps"])["share"]
    assert table["ols"].tolist() == [1, 1, 1]
    losses, cg = target_losses(setting, CLASSIC), setting.entry("cg")
    best = np.minimum(cg.pooled(1), cg.pooled(2))
    by_hand = np.mean([best <= target for target in losses.values()])
    assert table["cg", 2] == pytest.approx(by_hand)
    assert (table.unstack().diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)


def test_profiles_and_speedups(setting: Setting) -> None:
    curves = profile(setting, CLASSIC).set_index(["solver", "tau"])["share"]
    assert curves["ols", 1.0] == 1, "one step is the least there is"
    pairs = speedups(setting, CLASSIC).set_index(["solver", "over"])
    there, back = pairs.loc[("cg", "gradient_descent")], pairs.loc[("gradient_descent", "cg")]
    assert there["speedup"] == pytest.approx(1 / back["speedup"])
    assert there["speedup"] > 1
    assert there["wins"] == back["losses"]
    assert pairs.loc[("cg", "cgls"), "speedup"] == pytest.approx(1)
    assert set(profile(setting, CLASSIC, "seconds")["cost"]) == {"seconds"}


def test_no_steps_are_no_payment(setting: Setting) -> None:
    def with_none(entry: SolverLosses) -> SolverLosses:
        return replace(entry, losses={0: entry.losses[1], **entry.losses})

    begun = replace(setting, entries=[with_none(entry) for entry in setting.entries])
    pd.testing.assert_frame_equal(profile(begun, CLASSIC), profile(setting, CLASSIC))
    pd.testing.assert_frame_equal(speedups(begun, CLASSIC), speedups(setting, CLASSIC))
    only = replace(setting, entries=[replace(e, losses={0: e.losses[1]}) for e in setting.entries])
    with pytest.raises(UserError, match="scored after no steps alone"):
        profile(only, CLASSIC)


def test_the_front_is_monotone(setting: Setting) -> None:
    table = pareto(setting)
    assert len(table) == 15
    front = table[table["on_front"]].sort_values("seconds")
    assert (front["log_loss"].diff().dropna() < 0).all()
    for row in table[~table["on_front"]].to_dict("records"):
        assert ((table["seconds"] <= row["seconds"]) & (table["log_loss"] <= row["log_loss"])).sum() > 1


def test_a_run_without_timings_says_so(run: Run) -> None:
    untimed = Run(run.path, run.scores, run.timings.iloc[:0], run.meta)
    setting = settings(untimed, d=4)[0]
    with pytest.raises(UserError, match="no timings"):
        pareto(setting)
    with pytest.raises(UserError, match="only count steps"):
        profile(setting, CLASSIC, "seconds")
    assert targets(setting, CLASSIC)["seconds"].isna().all()


def test_a_name_finds_its_solver_whatever_the_hyper_parameters(setting: Setting) -> None:
    twice = [replace(setting.entry("cg"), label=f"cg (rtol={rtol})") for rtol in (0.1, 0.2)]
    one = replace(setting, entries=[twice[0], setting.entry("heavy_ball")])
    assert one.entry("cg") is twice[0]
    assert not is_named("cgls", "cg")
    exact = replace(setting, entries=[twice[0], setting.entry("cg")])
    assert exact.entry("cg") is exact.entries[1]
    with pytest.raises(UserError, match=r"more than one solver on .*; say which: cg \(rtol=0.1\), cg \(rtol=0.2\)"):
        replace(setting, entries=twice).entry("cg")


def test_names_in_figures_say_no_more_than_it_takes_to_tell_solvers_apart() -> None:
    long = "memformer_first_order (batch=125, iterations=100, starts=2)"
    assert short_names(["cg", long, f"{long[:-1]}, trained_on=isotropic)"]) == [
        "cg",
        "memformer_first_order",
        "memformer_first_order (trained_on=isotropic)",
    ]
    assert short_names(["a (means=[1, 2], x=1)", "a (means=[1, 3], x=1)"]) == ["a (means=[1, 2])", "a (means=[1, 3])"]


def test_many_solvers_with_long_names_leave_room_for_the_ranks(setting: Setting) -> None:
    table = standing(setting, 2)
    long = table.assign(solver=[f"a_solver_of_a_long_name_{n} (iterations=300)" for n in range(len(table))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that does not fit
        critical_difference_figure(setting, long).canvas.draw()


def test_times_of_another_machine_are_left_out(run: Run) -> None:
    changed = run.timings.copy()
    changed.loc[changed["solver"] == "cg", "machine"] = "another"
    seconds = {entry.label: entry.seconds for entry in settings(replace(run, timings=changed), d=4)[0].entries}
    assert [label for label, own in seconds.items() if not own] == ["cg"]


def test_what_is_exact_depends_on_the_type(setting: Setting) -> None:
    for dtype, least in (("float64", -58.27), ("float32", -18.07)):
        own = replace(setting, dtype=dtype)
        assert not own.is_exact(least + 0.01)
        assert own.is_exact(least - 0.01)
        raised = [np.full(300, np.exp(ROUNDING[dtype]))]  # as losses below rounding are
        assert own.is_exact(replace(own.entry("cg"), losses={2: raised}).summary(2).log_mean)
