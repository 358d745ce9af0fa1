"""The rules of the gate on numbers whose verdict is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.regression.gate.cases import LossCase, SpeedCase, loss_cases, speed_cases
from benchmarks.regression.gate.losses import TOLERANCE, LossResult, judge
from benchmarks.regression.gate.report import Verdict, markdown
from benchmarks.regression.gate.speed import SpeedResult
from benchmarks.regression.gate.status import CaseStatus, of_unpaired

RNG = np.random.default_rng(0)
LOSSES = RNG.exponential(size=(2, 1, 4000))
CASE = LossCase("cg", {}, "isotropic", {"d": 5, "N": 20}, 4000, (0, 1), (2,))
FIXED, LEARNED = ({"random_fit": random_fit, "fingerprint": "abc"} for random_fit in (False, True))


def slow(ratio: float = 1.1) -> SpeedResult:
    return SpeedResult(SpeedCase("solve", "cg"), [ratio] * 6, status="slower")


def same() -> SpeedResult:
    return SpeedResult(SpeedCase("solve", "cg"), [1.0, 1.0])


@pytest.mark.parametrize("about", [FIXED, LEARNED])
def test_equal_losses_are_the_same_and_so_is_rounding(about: dict[str, object]) -> None:
    for factor in (1.0, 1 + 1e-13):
        (result,) = judge(CASE, LOSSES, LOSSES * factor, about)
        assert result.status == "same"


@pytest.mark.parametrize("about", [FIXED, LEARNED])
def test_two_percent_on_every_task_is_worse_and_less_than_the_tolerance_is_not(about: dict[str, object]) -> None:
    (worse,) = judge(CASE, LOSSES, 1.02 * LOSSES, about)
    assert (worse.status, worse.log_ratio) == ("worse", pytest.approx(np.log(1.02)))
    assert judge(CASE, LOSSES, LOSSES * (1 + TOLERANCE / 2), about)[0].status == "changed"
    assert judge(CASE, LOSSES, 0.98 * LOSSES, about)[0].status == "better"


def test_a_difference_that_a_few_tasks_make_by_chance_is_not_worse() -> None:
    head = LOSSES * RNG.lognormal(0.005 - 0.5, 1.0, LOSSES.shape)
    (result,) = judge(CASE, LOSSES, head, FIXED)
    assert result.status == "changed"
    assert result.low < 0 < result.high


def test_a_task_that_lost_its_finite_loss_is_worse() -> None:
    head = LOSSES.copy()
    head[0, 0, 7] = np.nan
    (result,) = judge(CASE, LOSSES, head, FIXED)
    assert (result.status, result.reason) == ("worse", "1 tasks have no finite loss any more")
    assert judge(CASE, head, LOSSES, FIXED)[0].status == "better"
    assert judge(CASE, head, head, FIXED)[0].status == "same"


def test_losses_at_the_level_of_rounding_are_alike() -> None:
    assert judge(CASE, 1e-30 * LOSSES, 1e-27 * LOSSES, FIXED)[0].status == "same"


def table(mean: float) -> pd.DataFrame:
    row = {"solver": "cg", "law": "isotropic", "d": 5, "N": 20, "noise_std": 0, "fingerprint": "abc", "steps": 2}
    return pd.DataFrame([{**row, "num_tasks": LOSSES.size, "mean": mean, "law_params": '{"law_seed": 0}'}])


def test_slow_drift_is_held_to_the_committed_table() -> None:
    mean = float(LOSSES.mean())
    assert judge(CASE, LOSSES, LOSSES, FIXED, table(mean))[0].against_table == pytest.approx(0)
    (drifted,) = judge(CASE, LOSSES, LOSSES, FIXED, table(0.98 * mean))
    assert (drifted.status, drifted.reason) == ("worse", "worse than the committed table")
    for other in (table(0.98 * mean).assign(fingerprint="x"), table(0.98 * mean).assign(num_tasks=3)):
        assert judge(CASE, LOSSES, LOSSES, FIXED, other)[0].status == "same"
    assert judge(CASE, LOSSES, LOSSES, LEARNED, table(0.98 * mean))[0].status == "same"


def test_the_report_says_first_what_stops_the_change() -> None:
    worse = judge(CASE, LOSSES, 1.02 * LOSSES, FIXED)
    verdict = Verdict("main (abc)", "working tree", "a machine", 1.0, [slow()], worse)
    assert len(verdict.failures) == 2
    page = markdown(verdict)
    assert "**Stopped**: 2 of the checks fail." in page
    assert "- solve cg: slower, 1.100 (1.100 to 1.100) as long" in page
    passed = Verdict("main (abc)", "working tree", "a machine", 1.0, [same()], [])
    assert "**Passed.**" in markdown(passed)
    assert not passed.failures


LACKS, RAN = {"lacks": "no solver 'cg'"}, {"seconds": 1.0}
FAILED, IMPORT, PACKAGE = ({"error": "alas", "cause": cause} for cause in ("run", "import", "package"))


@pytest.mark.parametrize(
    ("base", "head", "status"),
    [
        (LACKS, RAN, "new"),
        (LACKS, LACKS, "absent"),
        (LACKS, FAILED, "broken"),  # new, and does not work
        (RAN, LACKS, "gone"),
        (RAN, FAILED, "broken"),
        (RAN, IMPORT, "broken"),
        (RAN, PACKAGE, "broken"),  # it needs now what this machine does not have
        (FAILED, FAILED, "broken"),
        (FAILED, RAN, "unpaired"),  # head mends it
        (IMPORT, RAN, "broken"),  # base was not reached: nothing is known
        (PACKAGE, PACKAGE, "unpaired"),
    ],
)
def test_what_cannot_be_compared_counts_unless_base_lacks_it(
    base: dict[str, object], head: dict[str, object], status: str
) -> None:
    assert of_unpaired(base, head)[0] == status


@pytest.mark.parametrize(
    ("statuses", "unjudged"),
    [
        (["same"] * 9 + ["unpaired"], []),
        (["same"] * 8 + ["unpaired"] * 2, ["speed: 2 of 10 cases could not be compared, more than 10%"]),
        (["same"] * 9 + ["new"] * 9 + ["broken"], []),
        (
            ["same"] * 8 + ["new"] * 9 + ["broken", "gone"],
            ["speed: 2 of 10 cases could not be compared, more than 10%"],
        ),
        (["new", "absent"], ["speed: nothing was compared"]),
        ([], ["there was nothing to compare"]),
    ],
)
def test_a_verdict_needs_nine_comparisons_in_ten(statuses: list[CaseStatus], unjudged: list[str]) -> None:
    results = [SpeedResult(SpeedCase("solve", f"solver {i}"), status=status) for i, status in enumerate(statuses)]
    verdict = Verdict("main (abc)", "working tree", "a machine", 1.0, results, [])
    assert verdict.unjudged == unjudged
    assert ("**Not judged**" in markdown(verdict)) == bool(unjudged)
    assert verdict.passed == (not unjudged and "broken" not in statuses)


def test_losses_are_counted_by_case_and_each_half_is_judged() -> None:
    lost = LossResult(CASE, 2, status="broken", reason="head: alas")
    verdict = Verdict("main (abc)", "working tree", "a machine", 1.0, [same()], [lost])
    assert verdict.unjudged == ["losses: nothing was compared"]
    both = [LossResult(CASE, steps) for steps in (1, 2)]
    assert Verdict("a", "b", "c", 1.0, [], both).counts() == "Cases compared: losses 1 of 1."


def test_what_fails_for_one_reason_is_said_once() -> None:
    results = [SpeedResult(SpeedCase("solve", str(i)), status="broken", reason="head: alas") for i in range(9)]
    assert Verdict("a", "b", "c", 1.0, results, []).failures == ["9 cases: broken, head: alas"]


def test_each_case_has_a_name_of_its_own() -> None:
    for cases in (speed_cases(), loss_cases()):
        names = [case.name for case in cases]
        assert len(set(names)) == len(names) > 40
