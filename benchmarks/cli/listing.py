"""What there is: lines for `memformer-bench list`, descriptions for `memformer-bench show`.

What takes seconds to import is imported where it is asked for: names of laws and solvers need none of it.
"""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.catalogue.registry import LAWS, METRICS, SOLVERS, Registry
from benchmarks.errors import UserError, one_line
from benchmarks.reports.escape import plain

REGISTRIES: dict[str, Registry] = {"laws": LAWS, "solvers": SOLVERS, "metrics": METRICS}


def lines(kind: str, runs: Path) -> Iterator[tuple[str, str]]:
    """Name and summary of everything of a kind."""
    if kind == "runs":
        from benchmarks.runs.read import list_runs, read_meta

        for path in list_runs(runs):
            try:
                meta = read_meta(path)
            except UserError as error:
                yield plain(path.name), f"cannot be read: {plain(error)}"
            else:
                yield plain(path.name), f"{plain(meta.get('measured_at', ''))}  {plain(meta.get('command', ''))}"
    elif kind == "suites":
        from benchmarks.suites.suite import built_in_suites

        for name, file in built_in_suites().items():
            yield name, tomllib.loads(file.read_text(encoding="utf-8")).get("description", "")
    elif kind == "experiments":
        from benchmarks.experiments.experiment import EXPERIMENTS, load_experiment

        for name in EXPERIMENTS:
            yield name, load_experiment(name).summary
    else:
        for name in REGISTRIES[kind]:
            entry = REGISTRIES[kind][name]
            yield name, entry.summary + ("" if entry.origin == "built in" else f" ({entry.origin})")


def describe(name: str, runs: Path) -> str:
    """What a law, solver, metric, suite, experiment or run is.

    Raises:
        UserError: if nothing has that name.
    """
    from benchmarks.experiments.experiment import EXPERIMENTS, load_experiment
    from benchmarks.runs.read import read_run
    from benchmarks.suites.suite import built_in_suites

    found = [_describe_entry(registry, name) for registry in REGISTRIES.values() if name in registry]
    if name in EXPERIMENTS:
        found.append(load_experiment(name).describe())
    if name in built_in_suites():
        found.append(built_in_suites()[name].read_text(encoding="utf-8").rstrip())
    if found:  # a law, a suite and an experiment may share a name
        return "\n\n".join(found)
    path = next((path for path in (runs / name, Path(name)) if path.is_dir()), None)
    if path is not None:
        run = read_run(path)
        summary = {"scores": len(run.scores), "timings": len(run.timings), **run.meta}
        return json.dumps(summary, indent=1)
    raise UserError(f"nothing is called {name!r}; 'memformer-bench list' shows everything there is")


def find_runs(names: Sequence[str] | None, runs: Path) -> list[Path]:
    """Folders of the named runs; of the latest run if none is named.

    Raises:
        UserError: if there is no run.
    """
    if names:
        return [runs / name if (runs / name).is_dir() else Path(name) for name in names]
    from benchmarks.runs.read import list_runs

    found = list_runs(runs)
    if not found:
        raise UserError(f"there is no run in {runs} yet; 'memformer-bench run core' makes one")
    return found[-1:]


def _describe_entry(registry: Registry, name: str) -> str:
    entry = registry[name]
    try:
        target = entry.load()
    except (Exception, SystemExit) as error:
        raise UserError(
            f"the {registry.kind} {name!r} ({entry.origin}) cannot be imported: {one_line(error)}"
        ) from None
    parts = [f"{registry.kind} {name}: {entry.summary}", f"{target.__module__}.{target.__qualname__}"]
    if inspect.isclass(target):
        parameters = inspect.signature(target).parameters.values()
        shown = [str(parameter).split(":")[0] + _default(parameter, entry.defaults) for parameter in parameters]
        parts.append(f"parameters: {', '.join(shown) or 'none'}")
        if registry is SOLVERS:
            parts += _traits(name)
    return "\n".join([*parts, "", inspect.getdoc(target) or ""])


def _traits(name: str) -> list[str]:
    """What a solver declares, or why it cannot be made here."""
    from benchmarks.harness.resolve import build_solver
    from benchmarks.suites.entries import SolverEntry

    try:
        built = build_solver(SolverEntry(name=name))
    except UserError as error:
        return [f"cannot be made here: {plain(error)}"]
    return [
        f"needs: {built.needs.sentence}",
        f"reach: {built.reach.sentence}",
        f"fitting: {built.fitting.sentence}",
        f"learned: {'yes' if built.learned else 'no'}",
        f"tasks: {'a batch at once' if built.batched else 'one after another, in a loop'}",
    ]


def _default(parameter: inspect.Parameter, implied: Mapping[str, object]) -> str:
    value = implied.get(parameter.name, parameter.default)
    return "" if value is inspect.Parameter.empty else f" = {value!r}"
