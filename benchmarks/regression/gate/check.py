"""The whole gate: two trees, speed and losses, one verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from benchmarks.errors import UserError
from benchmarks.regression.gate.cases import LossCase, SpeedCase, loss_cases, speed_cases
from benchmarks.regression.gate.losses import compare_losses
from benchmarks.regression.gate.paired_processes import Process, a_cpu
from benchmarks.regression.gate.report import Verdict
from benchmarks.regression.gate.speed import compare_speed
from benchmarks.regression.gate.trees import checkout_root, resolve, tree_of
from benchmarks.runs.environment import cpu_name

Half = Literal["speed", "losses"]


def check(
    ref: str,
    folder: Path,
    tick: Callable[[str], None],
    only: Half | None = None,
    solvers: Sequence[str] = (),
) -> Verdict:
    """Compare the checkout that a folder lies in, uncommitted changes included, with another commit of it.

    Args:
        ref: the commit to compare with.
        folder: in a checkout of this project.
        tick: told of progress.
        only: leave the other half out.
        solvers: only cases of these; empty for all.

    Raises:
        UserError: if there is no such checkout, commit or case.
    """
    start = time.perf_counter()
    head = checkout_root(folder)
    commit = resolve(head, ref)
    timed, scored = _cases(solvers)
    cpu = a_cpu()
    with tree_of(head, commit) as base:
        speed = compare_speed(base, head, timed, cpu, tick) if only != "losses" else []
        losses = compare_losses(base, head, scored, tick) if only != "speed" else []
        uncovered = () if solvers else _uncovered(base, timed)
    where = f"{cpu_name()}, one thread, " + ("both sides on one CPU" if cpu is not None else "CPUs not pinned")
    words = f"working tree at {resolve(head, 'HEAD')[:12]}"
    return Verdict(f"{ref} ({commit[:12]})", words, where, time.perf_counter() - start, speed, losses, uncovered)


def _uncovered(base: Path, cases: Sequence[SpeedCase]) -> Sequence[str]:
    """Solvers of base's registry that head has no case of: it dropped or renamed them."""
    with Process(base, None) as side:
        side.wait()
        known = side.ask("names", kind="solver").get("names", [])
    return sorted(set(known) - {case.solver for case in cases})


def _cases(solvers: Sequence[str]) -> tuple[list[SpeedCase], list[LossCase]]:
    timed, scored = speed_cases(), loss_cases()
    if not solvers:
        return timed, scored
    known = {case.solver for case in timed}
    unknown = next((name for name in solvers if name not in known), None)
    if unknown is not None:
        raise UserError(f"the gate has no case of a solver {unknown!r}; 'memformer-bench list solvers' shows them all")
    return [case for case in timed if case.solver in solvers], [case for case in scored if case.solver in solvers]
