"""Tables of schema 3 as the present schema reads them: what they say of traits, intervals, floors and machines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.errors import UserError
from benchmarks.runs.read import Run, read_run

FIXTURE = Path(__file__).parent / "fixtures" / "schema-3"


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run(FIXTURE)


def test_traits_are_those_that_solvers_declare_now(run: Run) -> None:
    for table in (run.scores, run.timings):
        assert set(table["solver"]) == {"cg", "pcg", "scipy_lsqr", "lfom", "heavy_ball_tuned"}
        for row in table.to_dict("records"):
            solver = SOLVERS.create(row["solver"])
            declared = (solver.needs, solver.fitting, solver.learned, solver.batched)
            assert (row["needs"], row["fitting"], row["learned"], row["batched"]) == declared, row["solver"]


def test_levels_say_what_an_interval_holds_that_was_computed_then(run: Run) -> None:
    rows = run.scores[run.scores["steps"] == 5].set_index(["solver", "metric"])
    two = set(rows.index[rows["seed"].isna() & (rows["levels"] == "seeds_and_tasks")].get_level_values("solver"))
    assert two == {"pcg", "lfom", "heavy_ball_tuned"}
    assert set(run.scores.loc[run.scores["seed"].notna(), "levels"]) == {"tasks"}


def test_the_law_trained_on_moves_into_its_column(run: Run) -> None:
    rows = run.scores.drop_duplicates("solver").set_index("solver")
    assert rows["trained_on"].to_dict() == dict.fromkeys(rows.index, "") | {"heavy_ball_tuned": "anisotropic"}
    assert rows.loc["heavy_ball_tuned", "solver_params"] == '{"num_tasks": 500}'


def test_floors_are_named_where_there_was_a_gap(run: Run) -> None:
    assert (run.scores["floor"] != "").equals(run.scores["gap_to_floor"].notna())
    known = run.scores[run.scores["gap_to_floor"].notna()].drop_duplicates(["solver", "floor"])
    assert known.set_index("solver")["floor"].to_dict() == {
        "cg": "krylov_oracle",
        "pcg": "krylov_oracle_preconditioned",
        "scipy_lsqr": "krylov_oracle",
        "lfom": "lfom_optimal",
        "heavy_ball_tuned": "lfom_optimal",
    }
    assert known.set_index("solver")["floor_exact"].astype(bool).to_dict() == {
        "cg": True, "pcg": True, "scipy_lsqr": True, "lfom": False, "heavy_ball_tuned": False,
    }  # fmt: skip


def test_what_nobody_wrote_down_is_empty(run: Run) -> None:
    assert set(run.scores["draw"]) == {"plain"}
    assert set(run.scores.loc[run.scores["shown"], "metric"]) == {"expected_test_loss"}
    for name in ("tail_limited", "floor_error", "train_steps", "train_flops", "starts", "median_start"):
        assert run.scores[name].isna().all(), name


def test_times_belong_to_the_machine_of_the_run(run: Run) -> None:
    assert set(run.timings["machine"]) == {f"{run.meta['cpu']}, {run.meta['cores']} cores"}


def test_of_runs_merged_from_two_machines_nobody_knows_which_timed(tmp_path: Path) -> None:
    for cpus, machine in ((("a", "a"), "a, 2 cores"), (("a", "b"), "unknown")):
        shutil.copytree(FIXTURE, path := tmp_path / machine)
        meta = json.loads((path / "meta.json").read_text())
        meta["merged_from"] = [{"cpu": cpu, "cores": 2, "gpus": []} for cpu in cpus]
        (path / "meta.json").write_text(json.dumps(meta))
        assert set(read_run(path).timings["machine"]) == {machine}


def test_a_plugin_counts_as_fitted_if_its_fit_was_timed(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, path := tmp_path / "run")
    for name in ("scores.csv", "timings.csv"):
        table = pd.read_csv(path / name, dtype=str, keep_default_na=False)
        table["solver"] = table["solver"].replace({"lfom": "transformer", "cg": "my_former"})
        table.to_csv(path / name, index=False)
    rows = read_run(path).scores.drop_duplicates("solver").set_index("solver")
    assert rows.loc["transformer", ["fitting", "learned"]].tolist() == ["random", True]
    assert rows.loc["my_former", ["fitting", "learned"]].tolist() == ["none", False]


@pytest.mark.parametrize("column", ["solver_params", "needs", "gap_to_floor", "solver"])
def test_a_damaged_table_is_one_sentence(column: str, tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, path := tmp_path / "run")
    table = pd.read_csv(path / "scores.csv", dtype=str, keep_default_na=False)
    table.drop(columns=column).to_csv(path / "scores.csv", index=False)
    with pytest.raises(UserError, match="does not hold the tables of schema version 3") as caught:
        read_run(path)
    assert column in str(caught.value)
    assert "\n" not in str(caught.value)


def test_schema_4_gets_where_parameters_are_from_and_no_ranks() -> None:
    run = read_run(FIXTURE.with_name("schema-4"))
    found = run.scores.drop_duplicates("solver").set_index("solver")["parameters"].to_dict()
    assert found == {"cg": "", "lfom_optimal": "fitted", "scipy_lsqr": "", "linear_transformer": "fitted"}
    assert run.scores["rank"].isna().all()
