"""Ranks: shared by solvers that cannot be told apart, never across groups, and the same from what is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.runs.cells import rows_of
from benchmarks.runs.read import read_run
from benchmarks.runs.schema import SCORED_ON, SOLVER
from benchmarks.runs.standing import standings, takes_no_steps
from tests.helpers import call

TASKS = 400
BASE = np.random.default_rng(0).exponential(size=TASKS)


class Losses:
    """Rows of one law, built one solver at a time, with their stored losses."""

    def __init__(self) -> None:
        self.rows: list[dict] = []
        self.arrays: dict[int, NDArray[np.float32]] = {}

    def add(self, solver: str, losses: NDArray, *, needs: str = "nothing", steps: int = 1, **changed: object) -> int:
        row = dict.fromkeys((*SCORED_ON, *SOLVER), "")
        row |= {"solver": solver, "needs": needs, "steps": steps, "dtype": "float64", "learned": False}
        row |= {"metric": "expected_test_loss", "shown": True, "seed": 0, "levels": "tasks", "num_tasks": len(losses)}
        row |= {"mean": float(losses.mean()), "row": len(self.rows), **changed}
        self.rows.append(row)
        with np.errstate(over="ignore"):
            self.arrays[row["row"]] = losses.astype(np.float32)
        return row["row"]

    def ranks(self) -> dict[int, int]:
        return standings(self.rows, self.arrays.__getitem__)


def test_those_that_paired_tests_cannot_tell_apart_share_a_rank() -> None:
    law, noise = Losses(), np.random.default_rng(1).normal(size=TASKS)
    best = law.add("best", BASE)
    same = law.add("same", BASE + 1e-4 * (noise - noise.mean()) + 1e-6)  # better on some tasks, worse on others
    worse = law.add("worse", 1.01 * BASE)  # its interval overlaps that of the best, and it is worse on every task
    last = law.add("last", 2 * BASE)
    assert law.ranks() == {best: 1, same: 1, worse: 3, last: 4}


def test_groups_have_ranks_of_their_own_and_what_takes_no_steps_is_one() -> None:
    law = Losses()
    told = law.add("told", BASE / 2, needs="law")
    nothing = law.add("nothing", BASE)
    closed = [law.add("closed", BASE / 3, needs="law", steps=k) for k in (1, 2)]
    later = law.add("told", BASE / 4, needs="law", steps=2)
    assert takes_no_steps(law.rows) == set(closed)
    assert set(law.ranks().values()) == {1}
    assert set(law.ranks()) == {told, nothing, *closed, later}


def test_a_solver_on_fewer_tasks_or_without_a_loss_has_no_rank() -> None:
    law = Losses()
    best = law.add("best", BASE)
    law.add("few", BASE[:100] / 2)
    law.add("failed", BASE, mean=None)
    assert law.ranks() == {best: 1}


@pytest.mark.parametrize("scale", [1e38, 1e60])
def test_a_loss_that_float32_does_not_hold_ties_nobody_with_the_best(scale: float) -> None:
    law = Losses()
    best = law.add("best", BASE)
    worst = law.add("worst", scale * BASE)
    assert law.ranks() == {best: 1, worst: 2}


def test_what_has_converged_by_the_smallest_number_of_steps_takes_steps() -> None:
    law = Losses()
    steps = [law.add("cg", BASE / 2, steps=k) for k in (10, 20)]
    better = [law.add("told", BASE / 3, steps=k) for k in (10, 20)]
    direct = [law.add("solve", BASE / 4, steps=k, needs="direct") for k in (10, 20)]
    assert takes_no_steps(law.rows) == set(direct)
    assert [law.ranks()[row] for row in (*steps, *better, *direct)] == [2, 2, 1, 1, 1, 1]


def test_what_takes_no_steps_is_told_by_the_digits_that_are_written() -> None:
    law, mean = Losses(), float(BASE.mean())
    same = [law.add("closed", BASE, steps=k, mean=mean * (1 + k * 1e-13)) for k in (1, 2)]
    assert takes_no_steps(law.rows) == set(same)


def test_solvers_without_a_common_metric_are_not_told_apart() -> None:
    law = Losses()
    law.add("weights", BASE)
    law.add("predictions", 3 * BASE, metric="test_loss")
    assert list(law.ranks().values()) == [1, 1]
    law.add("weights", BASE * np.random.default_rng(2).chisquare(1, TASKS), metric="test_loss", shown=False)
    assert list(law.ranks().values()) == [1, 2]


def test_a_difference_in_the_seventh_digit_is_rounding() -> None:
    law = Losses()
    law.add("one", BASE)
    law.add("same in other words", BASE * (1 + 1e-7))
    law.add("worse on every task", BASE * (1 + 1e-5))
    assert list(law.ranks().values()) == [1, 1, 3]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_exact_but_for_rounding_is_tied(dtype: str) -> None:
    law = Losses()
    law.add("one", 1e-26 * BASE if dtype == "float64" else 1e-9 * BASE, dtype=dtype)
    law.add("other", 1e-30 * BASE if dtype == "float64" else 1e-12 * BASE, dtype=dtype)
    assert list(law.ranks().values()) == [1, 1]


def test_a_run_is_stored_with_the_ranks_that_its_losses_give(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'schema = 1\nsteps = [1, 2]\nseeds = [0, 1]\nsolvers = ["cg", "cgls", "gradient_descent", "ols"]\n'
        '[scores]\ntasks = 60\n[timings]\nbatch = 2\nrepeats = 1\n[[tasks]]\nlaw = "isotropic"\nd = 3\nN = 6\n'
    )
    assert call("run", tmp_path / "s.toml", "--results", tmp_path, "--name", "r").code == 0
    run = read_run(tmp_path / "runs" / "r")
    stored = {row: int(rank) for row, rank in run.scores["rank"].dropna().items()}
    assert stored == standings(rows_of(run.scores), run.stored)
    assert set(run.scores.loc[list(stored), "solver"]) == {"cg", "cgls", "gradient_descent", "ols"}
    assert run.scores.loc[list(stored), "seed"].isna().all()
    assert call("results", "validate", "r", "--results", tmp_path).code == 0
    path = run.path / "scores.csv"
    changed = run.scores.assign(rank=run.scores["rank"] + 1)
    changed.to_csv(path, index=False)
    done = call("results", "validate", "r", "--results", tmp_path)
    assert done.code == 1
    assert "rank" in done.output


def test_rows_of_which_none_is_shown_have_no_rank() -> None:
    law = Losses()
    law.add("hidden", BASE, shown=False)
    assert law.ranks() == {}


def test_seeds_that_lie_far_apart_tie_nobody_with_what_is_worse_or_better_under_every_seed() -> None:
    law, generator = Losses(), np.random.default_rng(3)
    tasks = [generator.exponential(size=4000) for _ in range(3)]
    learned = {"levels": "seeds_and_tasks", "learned": True, "needs": "law"}

    def add(solver: str, scales: tuple[float, float, float]) -> int:
        own = [scale * losses for scale, losses in zip(scales, tasks, strict=True)]
        for seed, losses in enumerate(own):
            law.add(solver, losses, seed=seed, **learned)
        return law.add(solver, np.concatenate(own), seed=None, **learned)

    leader, following = add("leader", (1e-9, 1e-5, 1e-7)), [add("next", (1.0,) * 3), add("like", (1.0, 1.1, 0.95))]
    wild = add("wild", (1e6, 1e8, 1e7))
    assert law.ranks() == {leader: 1, **dict.fromkeys(following, 2), wild: 4}
