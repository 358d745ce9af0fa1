"""Tasks that do not fit into memory at once are solved a block at a time, and no digit of a score changes."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.harness.cell import Cell
from benchmarks.harness.scores import floors, gaps, protocol
from benchmarks.harness.scores.fitting import ParameterStore
from benchmarks.harness.scores.measure import run_cell
from benchmarks.harness.scores.table import summarised
from benchmarks.tasks.gaussian import Anisotropic, Isotropic
from benchmarks.tasks.law import Law

CPU = torch.device("cpu")

CLASSICAL = ("cg", "pcg", "cgls", "heavy_ball", "chebyshev", "newton_schulz", "ols", "ridge", "bayes", "scipy_cg")
TUNED, LEARNED = (
    ("lfom_optimal", "heavy_ball_tuned"),
    ("memformer_conjugate_scalar", "memformer_first_order", "memformer_gdpp"),
)
NAMES: dict[str, dict[str, int]] = {
    **{name: {} for name in CLASSICAL},
    **{name: {"num_tasks": 50} for name in TUNED},
    **{name: {"tasks": 40, "batch": 20, "iterations": 5} for name in LEARNED},
}


def cell_of(name: str, law: Law, dtype: torch.dtype = torch.float64) -> Cell:
    solver = SOLVERS.create(name, **NAMES[name])
    return Cell("law", law, name, solver, NAMES[name], (1, 3), (0, 1), 97, dtype, CPU, 60.0)


def budget(law: Law, tasks: int, size: int = 8) -> int:
    """Bytes that so many tasks need."""
    return tasks * size * law.d * (law.N + law.d)


def forget() -> None:
    for cached in (protocol.scored_tasks, floors.floor_losses, floors._bayes, gaps.best_losses):
        cached.cache_clear()


@pytest.mark.usefixtures("rough_floors")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "law",
    [Isotropic(d=5, N=20, noise_std=0.5), Anisotropic(d=16, N=32), Anisotropic(d=7, N=5, rotation="per_task")],
    ids=lambda law: f"d={law.d},N={law.N}",
)
def test_scores_in_blocks_are_those_of_the_whole(name: str, law: Law, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "bayes" and law.prior(torch.zeros(1, law.N, law.d)) is None:
        pytest.skip("the law states no prior")
    cell = cell_of(name, law)
    forget()
    whole, rows = run_cell(cell, ParameterStore()), []
    assert whole.status == "ok", whole.reason
    rows.append(summarised(whole).rows)
    monkeypatch.setattr(protocol, "BLOCK_BYTES", budget(law, 40))
    forget()
    assert protocol.block_sizes(law, cell.tasks, cell.dtype) == [32, 32, 33]
    split = run_cell(cell, ParameterStore())
    rows.append(summarised(split).rows)
    exact = name not in LEARNED
    for one, other in zip(whole.measured, split.measured, strict=True):
        assert (one.outcomes == other.outcomes).all()
        for metric, losses in one.losses.items():
            if exact:
                assert (other.losses[metric] == losses).all()
            np.testing.assert_allclose(other.losses[metric], losses, rtol=1e-11, atol=1e-28)
    if exact:
        assert rows[0] == rows[1], "floors and gaps are computed in blocks too"


def test_single_precision_and_odd_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = cell_of("cg", Isotropic(d=3, N=7), torch.float32)
    whole = run_cell(cell, ParameterStore()).measured[1]
    monkeypatch.setattr(protocol, "BLOCK_BYTES", budget(cell.law, 16, 4))
    assert len(protocol.block_sizes(cell.law, cell.tasks, cell.dtype)) == 6
    split = run_cell(cell, ParameterStore()).measured[1]
    assert all((split.losses[name] == losses).all() for name, losses in whole.losses.items())
    assert (split.outcomes == whole.outcomes).all()


def test_large_tasks_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = dataclasses.replace(cell_of("cg", Isotropic(d=80, N=160)), tasks=9)
    whole = run_cell(cell, ParameterStore()).measured[0]
    monkeypatch.setattr(protocol, "BLOCK_BYTES", 1)
    assert protocol.block_sizes(cell.law, cell.tasks, cell.dtype) == [2, 2, 2, 3]
    split = run_cell(cell, ParameterStore()).measured[0]
    assert all((split.losses[name] == losses).all() for name, losses in whole.losses.items())


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 33, 64, 97])
@pytest.mark.parametrize("fitting", [0, 3, 16, 40, 1000])
def test_blocks_hold_every_task_once_and_none_alone(fitting: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    law = Isotropic(d=3, N=7)
    monkeypatch.setattr(protocol, "BLOCK_BYTES", budget(law, fitting))
    sizes = protocol.block_sizes(law, count, torch.float64)
    assert sum(sizes) == count
    assert min(sizes) > 1 or count == 1
    assert max(sizes) <= max(2, fitting) + 1


def test_what_adapts_to_all_contexts_at_once_is_not_split(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = SOLVERS.create("memformer_gated", tasks=40, batch=20, iterations=5)
    cell = dataclasses.replace(cell_of("cg", Isotropic()), solver=solver, protocol="context_adapted")
    monkeypatch.setattr(protocol, "BLOCK_BYTES", 1)
    result = run_cell(cell, ParameterStore())
    assert result.status == "ok", result.reason
    assert result.measured[0].outcomes.shape == (2, 97)
