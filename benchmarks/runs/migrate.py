"""Reading what older versions wrote: a step from each schema version to the next, applied before a run is checked.

A step is never changed or removed once a release wrote its version; `tests/runs/fixtures` holds a run of each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from benchmarks.runs.environment import machine_name
from benchmarks.runs.schema import SCHEMA_VERSION


@dataclass(frozen=True)
class Tables:
    """A run as it was read, not checked yet: two tables and `meta.json`."""

    scores: pd.DataFrame
    timings: pd.DataFrame
    meta: dict[str, Any]


Step = Callable[[Tables], Tables]


def _from_1(tables: Tables) -> Tables:
    """Version 2 added a status that version 1 cannot hold; everything else is as it was."""
    return tables


def _from_2(tables: Tables) -> Tables:
    """Version 3 added three columns to the timings, which nobody had counted before."""
    timings = tables.timings.copy()
    place = timings.columns.get_loc("status") if "status" in timings else len(timings.columns)
    for number, name in enumerate(("products", "flops", "peak_bytes")):
        if name not in timings:
            timings.insert(int(place) + number, name, float("nan"))  # type: ignore[arg-type]
    return replace(tables, timings=timings)


def _from_3(tables: Tables) -> Tables:
    """Version 4 added what solvers declare and rows keep of it; most of it follows from what version 3 knew.

    Names decided in version 3, so here they must. Of a solver that is not in `_FITTED_3`, a plug-in's, nothing is known
    but whether its fit was timed. The column `levels` says what an interval holds that was computed then: two levels
    wherever there was a `fit`.
    """
    fitted = set(tables.timings.loc[tables.timings["train_seconds"].notna(), "solver"])
    machines = [_machines_3(about) for about in tables.meta.get("merged_from", [tables.meta])]
    scores, timings = (_with_traits_3(table.copy(), fitted) for table in (tables.scores, tables.timings))
    timings.insert(_after(timings, "dtype"), "machine", [_machine_3(machines, kind) for kind in timings["device"]])
    cells = scores.groupby(["law", "law_params", "d", "N", "noise_std", *_SOLVER_3], sort=False, dropna=False)
    best = cells["metric"].transform(lambda names: next((n for n in _SHOWN_3 if n in set(names)), names.iloc[0]))
    pooled, known = scores["seed"].isna() & scores["metric"].notna(), scores["gap_to_floor"].notna()
    anew = (scores["fitting"] != "none") | (scores["law"] == "real")
    floors = scores["reach"].map(_FLOORS_3.get).where(known)
    exact = (~floors.isin(_ESTIMATED_3)).astype(object).where(known)
    shown = (scores["metric"] == best) | scores["metric"].isna()
    levels = ["seeds_and_tasks" if yes else "tasks" for yes in pooled & anew]
    for place, added in {
        "metric": {"shown": shown, "draw": "plain"},
        "num_tasks": {"levels": levels},
        "q99": {"tail_limited": None},
        "reach": {"floor": floors, "floor_exact": exact, "floor_error": None},
        "nonfinite": dict.fromkeys(_TRAINING_4),
    }.items():
        for number, (name, values) in enumerate(added.items()):
            scores.insert(_after(scores, place) + number, name, values)
    return replace(tables, scores=scores, timings=timings)


def _from_4(tables: Tables) -> Tables:
    """Version 5 says where parameters are from (before it, all from fits of that source), and who shares a rank."""
    scores = tables.scores.copy()
    fitted = ["" if kind == "none" else "fitted" for kind in scores["fitting"]]
    scores.insert(_after(scores, "nonfinite"), "parameters", fitted)
    scores.insert(_after(scores, "median_start"), "rank", None)
    return replace(tables, scores=scores)


def _from_5(tables: Tables) -> Tables:
    """Version 6 added a status that version 5 cannot hold; everything else is as it was."""
    return tables


_SHOWN_3 = ("expected_test_loss", "test_loss")
_SOLVER_3 = ("solver", "solver_params", "trained_on", "protocol", "device", "dtype", "steps")
_TRAINING_4 = ("train_steps", "train_tasks", "train_flops")
_TRAINING_4 += ("starts", "starts_spread", "starts_near_best", "median_start")
_ESTIMATED_3 = ("lfom_optimal", "lfom_optimal_preconditioned")
_FLOORS_3 = {
    "fixed coefficients": "lfom_optimal",
    "fixed coefficients, preconditioned": "lfom_optimal_preconditioned",
    "Krylov": "krylov_oracle",
    "Krylov, preconditioned": "krylov_oracle_preconditioned",
    "any": "bayes",
}
_FITTED_3 = {
    "closed_form": "pcg lfom_optimal lfom_optimal_preconditioned ridge ridge_cholesky bayes",
    "random": "gradient_descent_tuned heavy_ball_tuned nesterov_tuned",
    "learned": "lfom lfom_diagonal linear_transformer memformer_conjugate memformer_conjugate_scalar "
    "memformer_first_order memformer_first_order_scalar memformer_gdpp memformer_gated memformer_adaptive",
}
_LOOPS_3 = (
    "scipy_cg scipy_minres scipy_gmres scipy_lsqr scipy_lsmr scipy_lstsq scipy_solve scipy_minimize_cg "
    "scipy_minimize_bfgs scipy_minimize_lbfgsb scipy_minimize_newton_cg"
)
"""The solvers of version 3: how they were fitted (the learned ones at random), and which looped over tasks."""


def _with_traits_3(table: pd.DataFrame, fitted: set[str]) -> pd.DataFrame:
    """With the law trained on in a column of its own, and the traits of each row's solver."""
    kind = {name: kind for kind, names in _FITTED_3.items() for name in names.split()}
    kinds = [kind.get(name, "learned" if name in fitted else "none") for name in table["solver"]]
    params = [json.loads(text) for text in table["solver_params"]]
    trained_on = [given.pop("trained_on", None) for given in params]
    table["solver_params"] = [json.dumps(given, sort_keys=True) for given in params]
    table.insert(_after(table, "solver_params"), "trained_on", trained_on)
    place = _after(table, "needs")
    table.insert(place, "fitting", ["random" if one == "learned" else one for one in kinds])
    table.insert(place + 1, "learned", [one == "learned" for one in kinds])
    table.insert(place + 2, "batched", ~table["solver"].isin(_LOOPS_3.split()))
    return table


def _after(table: pd.DataFrame, name: str) -> int:
    return int(table.columns.get_loc(name)) + 1  # type: ignore[arg-type]


def _machines_3(meta: dict[str, Any]) -> dict[str, str]:
    """Name of the machine that a run was measured on, by kind of device."""
    cpu, gpus = machine_name(str(meta.get("cpu", "unknown")), meta.get("cores")), meta.get("gpus") or ["unknown"]
    return {"cpu": cpu, "mps": cpu, "cuda": str(gpus[0])}


def _machine_3(machines: Sequence[dict[str, str]], kind: str) -> str:
    """That of a row; of runs merged from several machines, nobody knows which."""
    found = {of_run.get(kind, "unknown") for of_run in machines}
    return found.pop() if len(found) == 1 else "unknown"


STEPS: dict[int, Step] = {1: _from_1, 2: _from_2, 3: _from_3, 4: _from_4, 5: _from_5}
"""The step from each older version to the one after it."""


def migrated(tables: Tables, version: int) -> Tables:
    """Tables of an older version as the present one writes them; `meta` still says which version was read."""
    for older in range(version, SCHEMA_VERSION):
        tables = STEPS[older](tables)
    return tables


def readable(version: Any) -> bool:
    """Whether this version can be read here."""
    known = type(version) is int and 1 <= version <= SCHEMA_VERSION
    return known and all(older in STEPS for older in range(version, SCHEMA_VERSION))
