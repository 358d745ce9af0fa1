"""Where the seconds of the long commands go, worst first: what should be made faster next.

    python -m benchmarks.validation.where_time_goes [--only tests]

py-spy samples each command and all processes that it starts, fifty times a second. A sample belongs to the innermost
function of this project that was running; what has none, or was busy importing or compiling, is named by that.
Results in results/studies/where_time_goes.csv and .md; `--only` measures one command anew and keeps the others. Needs
the extra `profile`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
from typer import BadParameter, Option, run

from benchmarks.errors import UserError
from benchmarks.reports.template import render
from benchmarks.runs.environment import machine
from benchmarks.runs.git import git
from benchmarks.runs.source import ROOT
from benchmarks.validation.committed import RESULTS

TOOL = [sys.executable, "-m", "benchmarks.cli.main"]
COMMANDS = {
    "`memformer-bench run core`": [*TOOL, "run", "core", "--name", "profiled"],
    "`memformer-bench run paper`": [*TOOL, "run", "paper"],
    "`memformer-bench run memory`": [*TOOL, "run", "memory"],
    "`pytest`": [sys.executable, "-m", "pytest", "-q", "-n", "auto", "--dist", "worksteal"],
    "`memformer-bench check --all`": [*TOOL, "check", "--against", "HEAD", "--all"],
}
"""By what the table calls them."""

RATE = 50
"""Samples a second."""

SHOWN = 12
"""Rows of a table."""

ROOMS = ("memformer", "baselines", "benchmarks", "tests")

_TELLS_STATUS = "import subprocess, sys; open(sys.argv[1], 'w').write(str(subprocess.call(sys.argv[2:])))"
"""Runs a command and leaves its exit status in a file: the sampler's is its own."""

_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>.*?)(:\d+)?\)$")


def owner(stack: str) -> str:
    """Whose a sample is: a function of this project, or what was done for it.

    Args:
        stack: frames `function (file:line)`, outermost first, between semicolons.

    Example:
        >>> owner("main (benchmarks/cli/run.py:3);solve (baselines/krylov.py:9);norm (torch/functional.py:1)")
        'baselines/krylov.py: solve'
        >>> owner("main (benchmarks/cli/run.py:3);_find_and_load (<frozen importlib._bootstrap>:1);f (torch/x.py:2)")
        'imports'
    """
    found = "another library"
    for match in (_FRAME.match(frame) for frame in stack.split(";")):
        if match is None:
            continue
        file, function = match["file"], match["function"]
        if "importlib._bootstrap" in file:
            found = "imports"
        elif "numba/core" in file:
            return "compiling (numba)"
        elif file.startswith(ROOMS):
            found = f"{file}: {function}"
        elif found == "another library" and "_pytest" in file:
            found = "pytest itself"
    return found


def shares(raw: Iterable[str]) -> list[tuple[str, float]]:
    """Share of all samples of each owner, largest first.

    Args:
        raw: lines of py-spy's raw format, a stack and a count.
    """
    counts: Counter[str] = Counter()
    for line in raw:
        stack, _, count = line.rpartition(" ")
        counts[owner(stack)] += int(count)
    total = counts.total()
    return [(name, count / total) for name, count in counts.most_common()]


def profile(command: list[str], folder: Path) -> tuple[float, float, list[tuple[str, float]]]:
    """Wall-clock seconds of a command, CPU seconds of all its processes, and the shares.

    Raises:
        UserError: if the command cannot be sampled.
    """
    spy, raw = shutil.which("py-spy", path=str(Path(sys.executable).parent)), folder / "raw"
    if spy is None:
        raise UserError("py-spy is not installed: pip install -e '.[profile]'")
    about = ["record", "--subprocesses", "--format", "raw", "--rate", str(RATE), "--output", str(raw), "--"]
    start = time.perf_counter()
    line = [spy, *about, sys.executable, "-c", _TELLS_STATUS, str(status := folder / "status"), *command]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if status.is_file() and status.read_text(encoding="utf-8") != "0":
        raise UserError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-300:]}")
    if not raw.is_file() or not raw.read_text(encoding="utf-8").strip():
        raise UserError(f"{' '.join(command)} left no samples: {done.stderr.strip()[-300:]}")
    lines = [line.replace(f"{ROOT}/", "") for line in raw.read_text(encoding="utf-8").splitlines()]
    busy = sum(int(line.rpartition(" ")[2]) for line in lines) / RATE
    return seconds, busy, shares(lines)


def keep(folder: Path, name: str, seconds: float, busy: float, owners: list[tuple[str, float]]) -> None:
    """Put what a command took in place of what it took before, and write the page of all of them."""
    file = folder / "where_time_goes.csv"
    columns = ["command", "seconds", "cpu_seconds", "where", "share"]
    known = pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=columns)
    rows = [(name, round(seconds), round(busy), who, round(share, 4)) for who, share in owners[:SHOWN]]
    table: Any = pd.concat([known[known["command"] != name], pd.DataFrame(rows, columns=columns)])
    table = table.sort_values("command", key=lambda each: each.map(list(COMMANDS).index), kind="stable")
    table.to_csv(file, index=False, lineterminator="\n")
    parts = [
        {
            "name": command,
            "seconds": part["seconds"].iloc[0],
            "busy": part["cpu_seconds"].iloc[0],
            "rows": [
                (f"{row.share * row.cpu_seconds:.1f}", f"{row.share:.1%}", f"`{row.where}`")
                for row in part.itertuples()
            ],
        }
        for command, part in table.groupby("command", sort=False)
    ]
    here = machine(torch.device("cpu"))
    text = render("benchmarks.validation", "where_time_goes.md.jinja", commands=parts, machine=here)
    (folder / "where_time_goes.md").write_text(text, encoding="utf-8")


def main(
    only: Annotated[list[str], Option(metavar="TEXT", help="commands with this in their name; repeatable")] = [],  # noqa: B006
    output: Annotated[Path, Option(help="folder of the table")] = RESULTS / "studies",
) -> None:
    """Profile the long commands and write the table."""
    chosen = {name: words for name, words in COMMANDS.items() if not only or any(one in name for one in only)}
    if not chosen:
        raise BadParameter(f"no command is named so; there are {', '.join(COMMANDS)}", param_hint="--only")
    for name, words in chosen.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            if "pytest" in name or "check" in name:
                folder = folder / "tree"
                git(ROOT, "clone", "-q", ".", str(folder))
            keep(output, name, *profile(words, folder))


if __name__ == "__main__":
    run(main)
