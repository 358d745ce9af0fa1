"""A run's provenance, and the run itself to take away."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.runs.read import SCORES, TIMINGS, Run
from benchmarks.site.archive import archive
from benchmarks.site.numbers import significant, slug


@dataclass(frozen=True)
class RunPage:
    """A run: its name, what it says of itself in words, all of `meta.json`, and the archive it can be had in."""

    name: str
    facts: Sequence[tuple[str, str]]
    meta: str
    archive: str
    size: str
    content: bytes


def run_pages(runs: Sequence[Run]) -> list[RunPage]:
    """A page's worth of each run, with all of its files but per-task losses in an archive of a name of its own."""
    names: list[str] = []
    made = []
    for run in runs:
        wanted = slug(run.name)
        names.append(wanted if wanted not in names else f"{wanted}-{len(names)}")
        content = archive({f"{names[-1]}/{name}": run.path / name for name in ("meta.json", SCORES, TIMINGS)})
        meta = json.dumps(run.meta, indent=1, ensure_ascii=False)
        size = f"{len(content) / 1e6:.1f} MB"
        made.append(RunPage(run.name, list(_facts(run)), meta, f"data/runs/{names[-1]}.zip", size, content))
    return made


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    meta: dict[str, Any] = run.meta
    suite = meta.get("suite")
    sources = [one for one in meta.get("merged_from", []) if isinstance(one, dict)]
    facts: dict[str, Any] = {
        "suite": suite.get("name") if isinstance(suite, dict) else suite,
        "command": meta.get("command"),
        "measured": meta.get("measured_at"),
        "took": f"{significant(meta['seconds'])} s" if isinstance(meta.get("seconds"), int | float) else None,
        "merged from": ", ".join(str(one.get("name", one.get("measured_at", "a run"))) for one in sources),
        "source": _git(meta.get("git")),
        "system": meta.get("system"),
        "processor": f"{meta['cpu']}, {meta.get('cores', '?')} cores" if meta.get("cpu") else None,
        "accelerators": ", ".join(map(str, meta["gpus"])) if isinstance(meta.get("gpus"), list) else None,
        "python": meta.get("python"),
        "packages": _pairs(meta.get("packages")),
        "linear algebra": _pairs(meta.get("blas")),
        "rows": f"{len(run.scores):,} scores, {len(run.timings):,} timings",
    }
    for name, value in facts.items():
        if value:
            yield name, str(value)


def _git(value: Any) -> str:
    if not isinstance(value, dict) or not value.get("commit"):
        return ""
    return f"commit {value['commit']}" + (", with changes that were not committed" if value.get("dirty") else "")


def _pairs(value: Any) -> str:
    return ", ".join(f"{name} {version}" for name, version in value.items()) if isinstance(value, dict) else ""
