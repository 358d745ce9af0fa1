"""The command line as tests call it: in this process, or in one of its own where that is what is tested."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

from benchmarks.cli.main import main

SMALL = """
schema = 1
steps = [1, 2]
seeds = [0, 1]
solvers = ["cg", "ols", "heavy_ball"]
[scores]
tasks = 60
[timings]
batch = 5
repeats = 3
[[tasks]]
law = "isotropic"
d = 3
N = 8
"""
"""A suite that takes a fraction of a second."""


class Done(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    output: str
    error: str


def call(*words: object, folder: Path | None = None) -> Done:
    """`memformer-bench WORDS` in this process and in a folder, through the entry point that people start.

    An exception that the entry point lets through is the test's failure, as a traceback would be a person's.
    """
    line = ["memformer-bench", *map(str, words)]
    output, error = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(error),
        contextlib.chdir(folder or Path.cwd()),
        mock.patch.object(sys, "argv", line),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return Done(int(ended.value.code or 0), output.getvalue(), error.getvalue())


def process(*words: object, folder: Path, **options: Any) -> Done:
    """The same in a process of its own: for what a process keeps, such as plug-ins, or never comes back from.

    Args:
        words: of the command.
        folder: it is started in.
        options: of `subprocess.run`, `stdout` say; what an environment `env` says is added to this one.
    """
    line = [sys.executable, "-m", "benchmarks.cli.main", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    pipes["env"] = {**os.environ, **options.get("env", {})}
    done = subprocess.run(line, cwd=folder, encoding="utf-8", errors="replace", timeout=120, check=False, **pipes)
    return Done(done.returncode, done.stdout or "", done.stderr or "")


def mistake(*words: object, folder: Path | None = None) -> str:
    """The one sentence that a command ends with, status 2, when what was asked cannot be."""
    done = call(*words, folder=folder)
    assert done.code == 2, done
    *notices, sentence = done.error.splitlines()
    assert all(line.startswith("left out: ") for line in notices), done.error
    assert sentence.startswith("error: ")
    return sentence.removeprefix("error: ")
