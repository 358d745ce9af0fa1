"""The gate, driven as a person would, on projects with planted changes."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.regression.gate import check
from benchmarks.regression.gate.paired_processes import started
from benchmarks.regression.gate.trees import checkout_root, resolve, tree_of
from tests.helpers import mistake
from tests.regression.gate.conftest import ROOT, TINY, TINY_OF_OLD, change, commit, git, rename, run_check, write

LOSSES = ("--against", "HEAD", "--only", "losses")
REGISTRY = "benchmarks/registry.py"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--against", "nothing"], "there is no commit 'nothing' in this checkout"),
        (["--against", "HEAD", "--solver", "nestrov"], "the gate has no case of a solver 'nestrov'"),
        (
            ["--against", "HEAD", "--output", "no/where.md"],
            "the report cannot be written to no/where.md: No such file or directory",
        ),
        (["--against", "HEAD", "--output", "benchmarks"], "the report cannot be written to benchmarks: Is a directory"),
    ],
)
def test_each_mistake_is_one_sentence_and_status_2(tiny: Path, words: list[str], sentence: str) -> None:
    assert sentence in mistake("check", *words, folder=tiny)


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_measured(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "check", lambda *_: pytest.fail("it was measured"))
    said = mistake("check", "--against", "HEAD", "--output", "/proc/report.md", folder=tiny)
    assert said == "the report cannot be written to /proc/report.md: No such file or directory"


@pytest.mark.usefixtures("few_cases")
def test_a_report_that_cannot_be_written_after_all_loses_no_verdict(tiny: Path) -> None:
    change(tiny, ", two=Solver", "", REGISTRY)
    done = run_check(tiny, *LOSSES, "--output", "/dev/full")
    assert done.code == 2
    assert "loss of two on isotropic: gone, head has no solver 'two'" in done.error
    assert done.error.splitlines()[-1] == "error: the report cannot be written to /dev/full: No space left on device"


@pytest.mark.usefixtures("few_cases")
def test_a_file_for_the_report_is_made_only_with_the_report_in_it(tiny: Path) -> None:
    mistake("check", "--against", "nothing", "--output", "report.md", folder=tiny)
    assert not (tiny / "report.md").exists()


@pytest.mark.parametrize(
    ("end", "half"),
    [(signal.SIGTERM, ()), (signal.SIGHUP, ()), (signal.SIGTERM, ("--all", "--only", "speed", "--solver", "cg"))],
)
def test_the_end_that_a_system_asks_for_leaves_neither_folder_nor_process(
    end: signal.Signals, half: tuple[str, ...], tiny: Path, tmp_path: Path
) -> None:
    temporary, pids = tmp_path / "tmp", tmp_path / "pids"
    temporary.mkdir()
    (tiny / "torch.py").write_text(
        f"import os, time\nopen({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(600)\n"
    )
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    commit(tiny, "a torch that takes for ever")
    line = [sys.executable, "-P", "-m", "benchmarks.cli.main", "check", "--against", "HEAD", *half]
    heed = functools.partial(signal.signal, end, signal.SIG_DFL)  # whatever started this may have it ignored
    with subprocess.Popen(line, cwd=tiny, env=environment, preexec_fn=heed) as started:
        while not pids.exists() or pids.read_text().count("\n") < 2:
            assert started.poll() is None
            time.sleep(0.05)
        assert os.listdir(temporary)
        started.send_signal(end)
        assert started.wait(timeout=8) == 130
    assert os.listdir(temporary) == []
    assert not any(psutil.pid_exists(int(pid)) for pid in pids.read_text().split())


def test_a_check_in_a_hook_of_git_leaves_the_commit_as_it_is(tiny: Path, tmp_path: Path) -> None:
    change(tiny, "factor=1.0", "factor=1.5", "benchmarks/objects.py")
    commit(tiny, "one more")
    line = f"{sys.executable} -P -m benchmarks.cli.main check --against HEAD~1 --only losses --solver cg"
    hook = tiny / ".git/hooks/pre-commit"
    hook.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT} {line} > {tmp_path}/said 2>&1\nexit 0\n")
    hook.chmod(0o755)
    change(tiny, "factor=1.5", "factor=2.5", "benchmarks/objects.py")
    git(tiny, "commit", "-q", "-am", "an edit")
    assert "**Not judged**: losses: nothing was compared." in (tmp_path / "said").read_text()
    assert git(tiny, "show", "--format=", "--name-only", "HEAD") == "benchmarks/objects.py"
    assert "factor=2.5" in git(tiny, "show", "HEAD:benchmarks/objects.py")
    assert git(tiny, "status", "--porcelain") == ""


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    assert "not in a git checkout" in mistake("check", "--against", "HEAD", folder=tmp_path)


@pytest.mark.usefixtures("few_laws")
def test_a_worse_step_size_is_stopped_and_a_module_of_another_name_is_not(clone: Path) -> None:
    rename(clone, "catalogue", "what_there_is")
    change(clone, "return 1 / L if", "return 0.9 / L if", "baselines/gradient.py")
    stopped = run_check(clone, *LOSSES, "--solver", "cg", "--solver", "gradient_descent_l", "--output", "report.md")
    assert stopped.code == 1, stopped.error
    report = (clone / "report.md").read_text()
    assert "losses 2 of 2" in report
    assert "loss of gradient_descent_l on isotropic after 1 steps: worse" in report
    assert "loss of cg" not in report


@pytest.mark.usefixtures("few_cases")
def test_every_case_is_compared_with_a_base_that_has_no_door(tiny: Path) -> None:
    write(tiny, TINY_OF_OLD)
    commit(tiny, "as it was before")
    write(tiny, TINY)
    done = run_check(tiny, *LOSSES)
    assert (done.code, "losses 2 of 2" in done.output) == (0, True), done.error
    change(tiny, "factor=1.0", "factor=1.1", "benchmarks/objects.py")
    worse = run_check(tiny, *LOSSES)
    assert (worse.code, "worse" in worse.error) == (1, True)


@pytest.mark.usefixtures("few_cases")
@pytest.mark.parametrize("half", ["losses", "speed"])
def test_a_base_that_cannot_be_reached_is_not_judged(tiny: Path, half: str) -> None:
    rename(tiny, "api", "entrance")
    rename(tiny, "registry", "register")
    commit(tiny, "no door, and no name that is known")
    git(tiny, "checkout", "-q", "HEAD~1")
    done = run_check(tiny, "--against", "HEAD@{1}", "--only", half)
    assert done.code == 1
    assert f"**Not judged**: {half}: nothing was compared." in done.output
    assert "broken, base: ModuleNotFoundError" in done.error


@pytest.mark.usefixtures("few_cases")
def test_a_case_that_base_lacks_is_new_and_one_that_head_lacks_fails(tiny: Path) -> None:
    change(tiny, ", two=Solver", "", REGISTRY)
    fails = run_check(tiny, *LOSSES)
    assert fails.code == 1
    assert "loss of two on isotropic: gone, head has no solver 'two'" in fails.error
    commit(tiny, "without it")
    change(tiny, "one=Solver", "one=Solver, two=Solver", REGISTRY)
    passes = run_check(tiny, *LOSSES)
    assert passes.code == 0, passes.error
    assert "losses 1 of 1 and 1 new" in passes.output
    assert "Not in base, so not counted: loss of two on isotropic." in passes.output


@pytest.mark.usefixtures("few_cases")
def test_a_solver_of_base_that_head_has_no_case_of_fails(tiny: Path) -> None:
    change(tiny, "two=Solver", "two=Solver, three=Solver", REGISTRY)
    commit(tiny, "one more")
    done = run_check(tiny, *LOSSES)
    assert done.code == 1
    assert "solver three: gone, head has no case of it" in done.error


@pytest.mark.usefixtures("few_cases")
def test_nothing_but_new_cases_is_not_judged(tiny: Path) -> None:
    change(tiny, "one=Solver, two=Solver", "", REGISTRY)
    commit(tiny, "nothing")
    git(tiny, "revert", "--no-edit", "HEAD")
    done = run_check(tiny, "--against", "HEAD~1", "--only", "losses")
    assert (done.code, done.error.splitlines()[-1]) == (1, "not judged: losses: nothing was compared")


@pytest.mark.usefixtures("few_cases")
@pytest.mark.parametrize("fault", ["import no_such_module", "1 +", "raise SystemExit(0)", "raise ValueError('alas')"])
def test_a_head_that_cannot_be_imported_fails(tiny: Path, fault: str) -> None:
    (tiny / "benchmarks/api.py").write_text(f"{fault}\n")
    done = run_check(tiny, *LOSSES)
    assert done.code == 1
    assert "loss of one on isotropic, loss of two on isotropic: broken, head: " in done.error
    assert "not judged: losses: nothing was compared" in done.error


@pytest.mark.usefixtures("few_cases")
def test_what_head_cannot_run_any_more_is_broken_and_what_it_can_run_now_is_not_compared(tiny: Path) -> None:
    change(tiny, "return self.factor", "raise ValueError('alas')", "benchmarks/objects.py")
    broken = run_check(tiny, *LOSSES)
    assert "broken, head: ValueError: alas" in broken.error
    commit(tiny, "broken")
    git(tiny, "revert", "--no-edit", "HEAD")
    mended = run_check(tiny, "--against", "HEAD~1", "--only", "losses")
    assert "broken" not in mended.error
    assert "not judged: losses: nothing was compared" in mended.error


@pytest.mark.usefixtures("few_cases")
def test_what_a_solver_prints_or_reads_by_a_process_of_its_own_is_no_answer_and_no_question(tiny: Path) -> None:
    change(
        tiny,
        "return self.factor",
        "__import__('os').system('cat; echo noise'); return self.factor",
        "benchmarks/objects.py",
    )
    assert run_check(tiny, *LOSSES).code == 0


@pytest.mark.usefixtures("few_cases")
def test_a_side_that_dies_is_named_with_its_end_and_what_it_was_asked(tiny: Path) -> None:
    change(
        tiny,
        "return self.factor",
        "import warnings; warnings.warn('old'); __import__('os')._exit(7)",
        "benchmarks/objects.py",
    )
    done = run_check(tiny, *LOSSES)
    assert done.code == 2
    assert "asked for losses one on isotropic ended with exit status 7" in done.error


def test_git_is_asked_about_the_folder_even_in_a_hook_and_keeps_no_record(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = git(tiny, "rev-parse", "HEAD")
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / "index"))
    assert checkout_root(tiny / "benchmarks") == tiny
    assert resolve(tiny, "HEAD") == known
    with tree_of(tiny, known) as tree:
        assert (tree / REGISTRY).read_text() == TINY[REGISTRY]
        assert os.listdir(other / ".git/refs/heads") == []
        assert not (tiny / ".git/worktrees").exists()
    assert not tree.exists()


def test_a_tree_borrows_what_is_compiled_of_files_that_are_the_same(tiny: Path) -> None:
    for name in ("same", "other"):
        (tiny / f"memformer/{name}.py").write_text("x = 1\n")
    commit(tiny, "kernels")
    (tiny / "memformer/other.py").write_text("x = 2\n")
    (tiny / "memformer/__pycache__").mkdir()
    for name in ("same", "other", "gone"):
        (tiny / f"memformer/__pycache__/{name}.f-1.py311.nbi").touch()
    with tree_of(tiny, resolve(tiny, "HEAD")) as tree:
        assert os.listdir(tree / "memformer/__pycache__") == ["same.f-1.py311.nbi"]
        assert (tree / "memformer/same.py").stat().st_mtime_ns == (tiny / "memformer/same.py").stat().st_mtime_ns


def test_a_side_process_runs_the_code_of_its_own_tree(clone: Path) -> None:
    change(clone, "\ncg = [", "\nother = [", "benchmarks/catalogue/built_in.toml")
    case = {"kind": "solve", "solver": "cg", "params": {}, "law": "isotropic", "law_params": {"d": 2, "N": 5}}
    case |= {"batch": 3, "steps": 1}
    cpu = max(psutil.Process().cpu_affinity() or [])
    with started(ROOT, clone, cpu) as pair:
        assert [psutil.Process(process._process.pid).cpu_affinity() for process in pair] == [[cpu], [cpu]]
        assert pair.base.ask("prepare", key="x", case=case)["seconds"] > 0
        assert pair.head.ask("prepare", key="x", case=case) == {"lacks": "no solver 'cg'"}
        assert pair.base.ask("time", key="x", calls=2)["seconds"] > 0
        slowed = pair.base.ask("prepare", key="y", case=case, slowed=50.0)["seconds"]
        assert slowed > 5 * pair.base.ask("time", key="x", calls=20)["seconds"]
