"""The gate, driven as a person would, on a clone with planted changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.regression.gate.pair import started
from tests.regression.gate.conftest import git


def run_check(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "benchmarks.cli.main", "check", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def change(clone: Path, old: str, new: str, file: str = "baselines/krylov.py") -> None:
    path = clone / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--against", "nothing"], "there is no commit 'nothing' in this checkout"),
        (["--against", "HEAD", "--solver", "nestrov"], "the gate has no case of a solver 'nestrov'"),
        (["--against", "HEAD", "--output", "no/where.md"], "there is no folder 'no' to write the report to"),
    ],
)
def test_each_mistake_is_one_sentence_and_status_2(clone: Path, words: list[str], sentence: str) -> None:
    done = run_check(clone, *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    done = run_check(tmp_path, "--against", "HEAD")
    assert done.returncode == 2
    assert "not in a git checkout" in done.stderr


def test_a_worse_step_size_is_stopped_and_a_comment_is_not(clone: Path) -> None:
    change(clone, "class ConjugateGradient", "# a comment\nclass ConjugateGradient")
    words = ("--against", "HEAD", "--only", "losses", "--solver", "cg", "--solver", "gradient_descent_l")
    passed = run_check(clone, *words)
    assert passed.returncode == 0, passed.stderr
    assert "**Passed.**" in passed.stdout
    change(clone, "column(1 / L if", "column(0.9 / L if", "baselines/gradient.py")
    stopped = run_check(clone, *words, "--output", "report.md")
    assert stopped.returncode == 1, stopped.stderr
    report = (clone / "report.md").read_text()
    assert "loss of gradient_descent_l on isotropic after 1 steps: worse" in report
    assert "loss of cg" not in report
    assert git(clone, "worktree", "list").count("\n") == 0  # the base's tree is gone


def test_a_solver_that_fails_now_is_stopped_and_one_that_is_new_is_not(clone: Path) -> None:
    words = ("--only", "losses", "--solver", "cg")
    change(clone, 'SOLVERS.add("cg"', 'SOLVERS.add("other"', "benchmarks/catalogue/solvers.py")
    git(clone, "commit", "-qam", "without cg")
    gone = run_check(clone, "--against", "HEAD~1", *words)
    assert gone.returncode == 0, gone.stderr
    git(clone, "checkout", "-q", "HEAD~1")
    change(clone, "from dataclasses", "raise ValueError('alas')\nfrom dataclasses")
    broken = run_check(clone, "--against", "HEAD", *words)
    assert broken.returncode == 1
    assert "broken, head: ValueError: alas" in broken.stderr


def test_an_arm_runs_the_code_of_its_own_tree(clone: Path) -> None:
    change(clone, 'SOLVERS.add("cg"', 'SOLVERS.add("other"', "benchmarks/catalogue/solvers.py")
    case = {"kind": "solve", "solver": "cg", "params": {}, "law": "isotropic", "law_params": {"d": 2, "N": 5}}
    case |= {"batch": 3, "steps": 1}
    with started(Path(__file__).parents[3], clone, None) as pair:
        assert pair.base.ask("prepare", key="x", case=case)["seconds"] > 0
        assert pair.head.ask("prepare", key="x", case=case) == {"missing": "no solver 'cg'"}
        assert pair.base.ask("time", key="x", calls=2)["seconds"] > 0
        slowed = pair.base.ask("prepare", key="y", case=case, slowed=50.0)["seconds"]
        assert slowed > 5 * pair.base.ask("time", key="x", calls=20)["seconds"]
