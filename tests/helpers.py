"""The command line as tests call it: in this process, or in one of its own where that is what is tested."""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple
from unittest import mock

import pytest
import typer.main

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


made_once = functools.cache(typer.main.get_command)
"""Making the whole command line takes longer than many a command."""


TUNED = '{ name = "heavy_ball_tuned", params = { num_tasks = 300 } }'
"""Of a suite's solvers, one that is fitted at once: by default it draws 20,000 tasks."""


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
        mock.patch("typer.main.get_command", made_once),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return Done(int(ended.value.code or 0), output.getvalue(), error.getvalue())


def apart(*words: object, folder: Path) -> Done:
    """The same in a copy of this process: for what a process keeps, such as plug-ins."""
    (said,) = forked(lambda: print(tuple(call(*words, folder=folder))))
    return Done(*ast.literal_eval(said))


def process(*words: object, folder: Path, **options: Any) -> Done:
    """The same in a process of its own: for what hangs on how an interpreter starts or ends.

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


def fork(function: Callable[[], object], written: IO[str]) -> int:
    """Call a function in a copy of this process, which ends with it; returns the copy's number.

    For what a process keeps, and what it leaves, where importing everything anew is not what is tested: that takes
    seconds.

    Args:
        function: what to do; the copy's status is 1 if it raises.
        written: gets what it prints.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process wait for pytest-xdist
        child = os.fork()
    if child:
        return child
    with contextlib.redirect_stdout(written):
        try:
            function()
            status = 0
        except BaseException:
            traceback.print_exc(file=written)
            status = 1
        written.flush()
        os._exit(status)


def wait(child: int) -> int:
    """The status that a copy of this process ends with, which must be within two minutes."""
    for _ in range(6000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("a copy of this process does not end")


def forked(*functions: Callable[[], object]) -> list[str]:
    """What each function prints in a copy of this process of its own, all at once; each must end well."""
    with contextlib.ExitStack() as files:
        outputs = [files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in functions]
        children = [fork(function, written) for function, written in zip(functions, outputs, strict=True)]
        said = []
        for child, written in zip(children, outputs, strict=True):
            status = wait(child)
            written.seek(0)
            said.append(written.read())
            assert status == 0, said[-1]
        return said


def afresh(code: str) -> str:
    """What code prints in a copy of this process that has imported nothing of `baselines` and `benchmarks`."""

    def run() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("baselines", "benchmarks")]:
            del sys.modules[name]
        exec(code, {})

    (said,) = forked(run)
    return said


def mistake(*words: object, folder: Path | None = None) -> str:
    """The one sentence that a command ends with, status 2, when what was asked cannot be."""
    done = call(*words, folder=folder)
    assert done.code == 2, done
    *notices, sentence = done.error.splitlines()
    assert all(line.startswith("left out: ") for line in notices), done.error
    assert sentence.startswith("error: ")
    return sentence.removeprefix("error: ")
