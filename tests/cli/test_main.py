"""The command line, driven as a person would."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.catalogue.registry import SOLVERS
from tests.conftest import Command
from tests.helpers import apart, mistake
from tests.ready import ROOT


def test_a_newcomer_runs_lists_shows_and_ranks(command: Command, small_suite: Path, tmp_path: Path) -> None:
    done = command("run", small_suite, "--name", "mine")
    assert done.code == 0, done.error
    assert "written to results/runs/mine" in done.output
    assert re.search(r"scores: 3 done in [\d.]+ s", done.error)  # no bar where there is no terminal
    assert "mine" in command("list", "runs").output
    assert '"suite_hash"' in command("show", "mine").output
    assert "cg" in command("leaderboard").output
    written = command("leaderboard", "mine", "--format", "markdown", "--output", "board.md")
    assert written.code == 0
    assert (tmp_path / "board.md").read_text().startswith("# Leaderboard")


@pytest.mark.parametrize("name", ["cg", "anisotropic", "expected_test_loss", "smoke"])
def test_show_explains(command: Command, name: str) -> None:
    done = command("show", name)
    assert done.code == 0, done.error
    assert len(done.output.splitlines()) > 4


def test_list_shows_everything(command: Command) -> None:
    shown = command("list").output
    for name in ("smoke", "core", "learnability", "isotropic", "gmm", "cg", "bayes", "scipy_lsqr", "test_loss"):
        assert re.search(rf"^  {name}\b", shown, re.MULTILINE), name


def test_env_is_json_with_versions(command: Command) -> None:
    shown = json.loads(command("env").output)
    assert shown["packages"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("words", "heavy", "said"),
    [
        (["run", "--help"], ["torch", "pandas", "scipy", "numpy"], "memformer-bench run smoke"),
        (["list", "solvers"], ["torch", "pandas", "scipy"], "preconditioned"),
        (["list", "suites"], ["torch", "pandas", "scipy"], "core"),
        (["list", "runs"], ["torch", "scipy"], "core-reference"),
    ],
)
def test_what_is_asked_often_waits_for_no_torch(words: list[str], heavy: list[str], said: str) -> None:
    code = (
        f"import sys\nfrom benchmarks.cli.main import app\ntry:\n app({words})\nexcept SystemExit: pass\n"
        f"heavy = {set(heavy)} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "cor"], "no suite 'cor'"),
        (["run", "smoke", "--plugin", "nothing.py"], "no plug-in file 'nothing.py'"),
        (["run", "smoke", "--results", "/proc/nowhere"], "results cannot be written to"),
        (["run", "smoke", "--name", "../out"], "cannot name a run"),
        (["leaderboard"], "there is no run"),
        (["leaderboard", "nothing"], "no run 'nothing'"),
        (["show", "nothing"], "nothing is called 'nothing'"),
        (["fit", "cg"], "the solver 'cg' learns nothing"),
        (["fit", "nestrov"], "unknown solver 'nestrov'; did you mean 'nesterov'?"),
        (["fit", "heavy_ball_tuned", "isotopic"], "unknown law 'isotopic'; did you mean 'isotropic'?"),
        (["fit", "heavy_ball_tuned", "--d", "0"], "d is 0; it must be a whole number"),
        (["fit", "heavy_ball_tuned", "--noise-std", "-1"], "noise_std is -1.0"),
        (["fit", "heavy_ball_tuned", "--noise-std", "nan"], "noise_std: Input should be a finite number"),
        (["fit", "heavy_ball_tuned", "--params", "{"], "--params is not JSON"),
    ],
)
def test_each_mistake_is_one_sentence_and_status_2(tmp_path: Path, words: list[str], sentence: str) -> None:
    assert sentence in mistake(*words, folder=tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_the_machine_lacks_is_refused(small_suite: Path) -> None:
    small_suite.write_text('device = "cuda"\n' + small_suite.read_text())
    assert mistake("run", small_suite) == "this machine has no device 'cuda'; it has cpu"


def test_a_plugin_that_raises_leaves_a_row_and_status_1(command: Command, small_suite: Path, tmp_path: Path) -> None:
    (tmp_path / "unlucky.py").write_text(
        "from dataclasses import dataclass\n"
        "from benchmarks.catalogue.registry import SOLVERS\n"
        "from memformer.core.solver import Needs, Solver\n"
        "@SOLVERS.register('unlucky')\n"
        "@dataclass(frozen=True)\n"
        "class Unlucky(Solver):\n"
        "    needs = Needs.NOTHING\n"
        "    def solve(self, problem, num_steps):\n"
        "        raise ArithmeticError('alas')\n"
    )
    small_suite.write_text(small_suite.read_text().replace('"cg"', '"unlucky", "cg"'))
    done = apart("run", small_suite, "--plugin", "unlucky.py", "--name", "mine", folder=tmp_path)
    assert done.code == 1
    assert "failed: isotropic d=3 unlucky: error: ArithmeticError: alas" in done.error
    assert "Traceback" not in done.error
    board = command("leaderboard").output
    assert re.search(r"unlucky +error", board)
    assert re.search(r"cg +-?\d", board)


def test_a_plugin_that_cannot_be_imported_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    said = mistake("run", "smoke", "--plugin", "broken.py", folder=tmp_path)
    assert said.startswith("the plug-in 'broken.py' cannot be imported: ModuleNotFoundError")


def test_an_interrupted_run_that_finished_nothing_leaves_nothing(small_suite: Path, tmp_path: Path) -> None:
    small_suite.write_text(small_suite.read_text().replace("tasks = 60", "tasks = 2000000"))
    line = [sys.executable, "-m", "benchmarks.cli.main", "run", str(small_suite)]
    # A shell in the background has its children ignore the signal; this one must not.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    started = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    runs = tmp_path / "results" / "runs"
    while not (runs.is_dir() and os.listdir(runs)):
        assert started.poll() is None
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "interrupted: finished cells are kept; the same command with --resume goes on" in errors
    assert "Traceback" not in errors
    assert os.listdir(runs) == []


def test_two_processes_give_the_numbers_of_one_plugins_included(
    command: Command, small_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "halves.py").write_text(
        "from dataclasses import dataclass\n"
        "from baselines.gradient import GradientDescent\n"
        "from benchmarks.catalogue.registry import SOLVERS\n"
        "@SOLVERS.register('halves')\n"
        "@dataclass(frozen=True)\n"
        "class Halves(GradientDescent):\n"
        "    eta: float | None = 0.5\n"
    )
    small_suite.write_text(small_suite.read_text().replace('"cg"', '"halves", "cg"'))
    texts = []
    without = {name: SOLVERS[name] for name in SOLVERS}
    for name, jobs in {"one": [], "two": ["--jobs", "2"]}.items():
        monkeypatch.setattr(SOLVERS, "_entries", dict(without))  # a plug-in is loaded once a process
        done = command("run", small_suite, "--plugin", "halves.py", *jobs, "--name", name)
        assert done.code == 0, done.error
        texts.append((tmp_path / "results/runs" / name / "scores.csv").read_bytes())
    assert texts[0] == texts[1]
