"""The whole gate: two trees, speed and losses, one verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from benchmarks.errors import UserError
from benchmarks.regression.gate.accepted import accept, messages, read_lines
from benchmarks.regression.gate.cases import LossCase, SpeedCase, loss_cases, plugin_cases, speed_cases
from benchmarks.regression.gate.losses import compare_losses
from benchmarks.regression.gate.paired_processes import Process, lanes, plugins_of
from benchmarks.regression.gate.report import Verdict
from benchmarks.regression.gate.sequential import PINNED, UNPINNED
from benchmarks.regression.gate.speed import compare_speed, rule_text
from benchmarks.regression.gate.trees import checkout_root, resolve, tree_of
from benchmarks.regression.gate.untouched import touched
from benchmarks.runs.environment import cpu_name

Half = Literal["speed", "losses"]


MINUTES = 4.0
"""A check that finds nothing is to take at most this long."""

CLEARING = 8.0
"""Seconds that a pair of processes that is under way and the report may take after the last one is begun."""


def check(
    ref: str,
    folder: Path,
    tick: Callable[[str], None],
    only: Half | None = None,
    solvers: Sequence[str] = (),
    plugins: Sequence[str] = (),
    message: str = "",
    minutes: float = MINUTES,
    every: bool = False,
) -> Verdict:
    """Compare the checkout that a folder lies in, uncommitted changes included, with another commit of it.

    Args:
        ref: the commit to compare with.
        folder: in a checkout of this project.
        tick: told of progress.
        only: leave the other half out.
        solvers: only cases of these; empty for all.
        plugins: Python files or modules whose solvers and laws are compared too. Of a file in the checkout, base has
            its own; any other is the same on both sides.
        message: text of the pull request, whose lines accept slowdowns as those of commit messages do.
        minutes: after which only what looks slower is timed further.
        every: measure the cases too that run no file which differs.

    Raises:
        UserError: if there is no such checkout, commit, case or plug-in.
    """
    start, until = time.perf_counter(), time.monotonic() + 60 * minutes - CLEARING
    head = checkout_root(folder)
    commit = resolve(head, ref)
    lines, notes = read_lines(f"{message}\n{messages(head, commit)}")
    with tree_of(head, commit) as base:
        cases = _cases(solvers, _brought(head, plugins) if plugins else None)
        cpus = lanes()
        asked = cases[0] if only != "losses" else [], cases[1] if only != "speed" else []
        timed, scored = asked if every else (touched(base, head, asked[0]), touched(base, head, asked[1]))
        untouched = len(asked[0]) - len(timed), len(asked[1]) - len(scored)
        losses = compare_losses(base, head, scored, tick, plugins) if scored else []
        uncovered = () if solvers else _uncovered(base, head, cases[0], plugins)
        speed = compare_speed(base, head, timed, cpus, tick, until=until, plugins=plugins) if timed else []
    if not cpus and speed:
        notes.insert(0, f"this system lets no process choose its CPU: only {UNPINNED.effect - 1:.0%} are looked for")
    speed, losses, idle = accept(lines, speed, losses)
    where = f"{cpu_name()}, one thread, " + ("both sides of a case on one CPU" if cpus else "CPUs not pinned")
    words = f"working tree at {resolve(head, 'HEAD')[:12]}"
    seconds = time.perf_counter() - start
    rule = rule_text(PINNED if cpus else UNPINNED)
    return Verdict(
        f"{ref} ({commit[:12]})", words, where, seconds, speed, losses, uncovered, [*notes, *idle], rule, untouched
    )


def _brought(head: Path, plugins: Sequence[str]) -> tuple[list[str], list[str]]:
    """Solvers and laws of plug-ins.

    Raises:
        UserError: if one cannot be found or imported, or if they bring nothing.
    """
    missing = next((name for name in plugins if name.endswith(".py") and not Path(name).is_file()), None)
    if missing is not None:
        raise UserError(f"no plug-in file {missing!r}")
    with Process(head, None, plugins_of(head, head, plugins)) as side:
        side.wait()
        solvers, laws = (side.ask("added", kind=kind) for kind in ("solver", "law"))
    if "error" in solvers:
        raise UserError(f"the plug-ins cannot be imported: {solvers['error']}")
    if not solvers["names"] and not laws["names"]:
        raise UserError("the plug-ins add nothing; they must register a solver or a law")
    return solvers["names"], laws["names"]


def _uncovered(base: Path, head: Path, cases: Sequence[SpeedCase], plugins: Sequence[str]) -> Sequence[str]:
    """Solvers of base's registry that head has no case of: it dropped or renamed them."""
    with Process(base, None, plugins_of(base, head, plugins)) as side:
        side.wait()
        known = side.ask("names", kind="solver").get("names", [])
    return sorted(set(known) - {case.solver for case in cases})


def _cases(
    solvers: Sequence[str], brought: tuple[Sequence[str], Sequence[str]] | None
) -> tuple[list[SpeedCase], list[LossCase]]:
    timed, scored = speed_cases(), loss_cases()
    if brought is not None:
        more = plugin_cases(*brought)
        timed, scored = [*timed, *more[0]], [*scored, *more[1]]
    if not solvers:
        return timed, scored
    known = {case.solver for case in timed}
    unknown = next((name for name in solvers if name not in known), None)
    if unknown is not None:
        raise UserError(f"the gate has no case of a solver {unknown!r}; 'memformer-bench list solvers' shows them all")
    return [case for case in timed if case.solver in solvers], [case for case in scored if case.solver in solvers]
