"""Train-law by test-law: the driver on a solver that learns one number, and the view of its table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.errors import UserError
from benchmarks.experiments.experiment import read_settings
from benchmarks.experiments.transfer.command import ROOM, Transfer, transfer
from benchmarks.experiments.transfer.matrix import read_transfer, transfer_figure, transfer_matrix
from benchmarks.tasks.gaussian import Isotropic, OODVariance
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Fitting, Needs, Solver
from memformer.core.trace import Trace
from tests.experiments.requests import asked
from tests.helpers import call, mistake


@dataclass(frozen=True)
class OneStep(Solver):
    """`w = b / c` with c the mean diagonal of H: right only for the variance it was fitted on."""

    needs = Needs.LAW
    fitting = Fitting.RANDOM
    parameters: dict[str, torch.Tensor] | None = None

    def fit(self, tasks: TaskSource, steps: Sequence[int], seed: int = 0) -> Solver:
        H = tasks.sample(200).moments.H
        return replace(self, parameters={"c": H.diagonal(dim1=-2, dim2=-1).mean()})

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        assert self.parameters is not None
        weights = [torch.zeros_like(problem.moments.b)] + [problem.moments.b / self.parameters["c"]] * num_steps
        return Trace.of_weights(torch.stack(weights))


def settings(steps: list[int], tasks: int, seeds: list[int]) -> Transfer:
    return Transfer(solvers=[], laws={}, steps=steps, tasks=tasks, seeds=seeds)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    laws = {
        "isotropic": Isotropic(d=3, N=12),
        "wide": OODVariance(d=3, N=12, variance=4.0, rotation="none"),
    }
    return transfer({"one_step": OneStep()}, laws, settings([1, 2], 100, [0, 1]), asked())


def test_a_law_it_was_fitted_on_has_no_gap_and_another_has(table: pd.DataFrame) -> None:
    assert len(table) == 8
    one = transfer_matrix(table[table["steps"] == 1])
    assert list(one.index) == list(one.columns) == ["isotropic", "wide"]
    np.testing.assert_array_equal(np.diag(one), [0, 0])
    assert one.loc["isotropic", "wide"] > 1, "a step four times too long"
    assert one.loc["wide", "isotropic"] > 0.1
    off = table[table["train_law"] != table["test_law"]]
    assert ((off["log_low"] < off["log_gap"]) & (off["log_gap"] < off["log_high"])).all()


def test_another_dimension_is_an_empty_cell_and_not_an_error() -> None:
    laws = {"d = 3": Isotropic(d=3, N=12), "d = 4": Isotropic(d=4, N=12)}

    @dataclass(frozen=True)
    class Fixed(OneStep):
        def solve(self, problem: Problem, num_steps: int) -> Trace:
            if problem.d != 3:
                raise ValueError("fitted at d = 3")
            return super().solve(problem, num_steps)

    matrix = transfer_matrix(transfer({"fixed": Fixed()}, laws, settings([1], 50, [0]), asked()))
    assert matrix.loc["d = 3", "d = 3"] == 0
    assert np.isnan(matrix.loc["d = 3", "d = 4"])
    assert transfer_figure(matrix.stack(future_stack=True).rename("log_gap").reset_index()) is not None


@pytest.mark.parametrize("quick", [False, True])
def test_the_laws_of_the_settings_differ_in_everything_they_name(quick: bool) -> None:
    laws = read_settings(Transfer, ROOM, quick).laws
    assert len({entry.model_dump_json() for entry in laws.values()}) == len(laws) == 11
    assert {entry.d for entry in laws.values()} == {5}


@pytest.mark.usefixtures("two_workers")
def test_the_table_is_the_same_however_many_processes_share_the_work(table: pd.DataFrame) -> None:
    laws = {"isotropic": Isotropic(d=3, N=12), "wide": OODVariance(d=3, N=12, variance=4.0, rotation="none")}
    again = transfer({"one_step": OneStep()}, laws, settings([1, 2], 100, [0, 1]), asked(jobs=2))
    pd.testing.assert_frame_equal(table, again, check_exact=True)


def test_the_experiment_writes_a_table_and_a_figure_of_the_solver_chosen(tmp_path: Path) -> None:
    done = call("run", "transfer", "--quick", "--only", "pcg", "--jobs", "1", "--results", tmp_path)
    assert done.code == 0, done.error
    folder = tmp_path / "transfer-quick-pcg"
    assert {path.name for path in folder.iterdir()} == {"transfer_pcg.csv", "transfer_pcg_3.svg"}
    table = pd.read_csv(folder / "transfer_pcg.csv")
    assert len(table) == 11 * 11
    assert (table.loc[table["train_law"] == table["test_law"], "log_gap"] == 0).all()
    assert set(table["tasks"]) == {1000}


def test_the_command_draws_one_heat_map_for_each_number_of_steps(table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "transfer.csv", index=False)
    done = call("views", "transfer", tmp_path / "transfer.csv", "--output", tmp_path)
    assert done.code == 0, done.error
    assert {path.name for path in tmp_path.glob("*.png")} == {"transfer_one_step_1.png", "transfer_one_step_2.png"}


def test_a_table_without_gaps_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("train_law,test_law\na,b\n")
    with pytest.raises(UserError, match="no column 'log_gap'"):
        read_transfer(str(tmp_path / "t.csv"))


def test_two_rows_of_the_same_laws_are_a_mistake(table: pd.DataFrame, tmp_path: Path) -> None:
    pd.concat([table, table.assign(d=4)]).to_csv(tmp_path / "t.csv", index=False)
    said = mistake("views", "transfer", tmp_path / "t.csv", "--output", tmp_path)
    assert "is there twice; give tables of several d or runs one by one" in said


def test_what_cannot_be_fitted_on_a_law_is_a_sentence(tmp_path: Path) -> None:
    done = call("run", "transfer", "--quick", "--only", "kernel_ridge", "--jobs", "1", "--results", tmp_path)
    assert done.code == 2
    sentence = done.error.splitlines()[-1]
    assert sentence.startswith("error: kernel_ridge on isotropic: ValueError: kernel_ridge needs a law")


def test_what_needs_a_package_that_is_not_there_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sklearn", "sklearn.linear_model"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "baselines.lasso", raising=False)
    assert "has no 'nothing'" in mistake("run", "transfer", "--only", "nothing")
    assert "the solver 'lasso' (built in) cannot be imported: ImportError: lasso needs" in mistake("show", "lasso")
