"""What a person adds to a check: words that accept, and plug-ins."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.regression.gate import cases
from tests.helpers import mistake
from tests.regression.gate.conftest import change, commit, run_check

LOSSES = ("--against", "HEAD", "--only", "losses")
PLUGIN = """
from benchmarks.objects import Solver
from benchmarks.registry import SOLVERS

class Mine(Solver):
    def __init__(self, factor=1.0):
        self.factor = factor

SOLVERS["mine"] = Mine
"""


@pytest.mark.usefixtures("few_cases")
def test_a_worse_loss_that_a_commit_or_the_pull_request_means_passes(tiny: Path) -> None:
    change(tiny, "factor=1.0", "factor=1.1", "benchmarks/objects.py")
    commit(tiny, "Longer steps\n\nWorse: one on isotropic 25 % (longer steps)\nWorse: two")
    done = run_check(tiny, "--against", "HEAD~1", "--only", "losses")
    assert "loss of two on isotropic after 1 steps: worse" in done.error
    assert "loss of one" not in done.error
    assert "note: 'Worse: two' accepts nothing: a line is" in done.error
    meant = run_check(
        tiny, "--against", "HEAD~1", "--only", "losses", "--message", "So be it.\nWorse: two* 25 % (these too)"
    )
    assert meant.code == 0, meant.error
    assert "two on isotropic after 1 steps, 10 % worse: Worse: two" in meant.output


@pytest.mark.usefixtures("few_cases")
def test_a_plug_in_is_compared_with_what_it_was_at_base(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "PLUGIN_LAWS", ("isotropic",))
    (tiny / "mine.py").write_text(PLUGIN)
    commit(tiny, "a solver")
    words = (*LOSSES, "--plugin", "mine.py", "--solver", "mine")
    same = run_check(tiny, *words)
    assert (same.code, "losses 1 of 1" in same.output) == (0, True), same.error
    change(tiny, "factor=1.0", "factor=1.1", "mine.py")
    worse = run_check(tiny, *words)
    assert (worse.code, "loss of mine on isotropic after 1 steps: worse" in worse.error) == (1, True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "no plug-in file 'mine.py'"),
        ("", "the plug-ins add nothing; they must register a solver or a law"),
        ("import no_such_module", "the plug-ins cannot be imported: ModuleNotFoundError: No module named"),
    ],
)
def test_a_plug_in_that_brings_nothing_is_one_sentence(tiny: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        (tiny / "mine.py").write_text(text)
    assert sentence in mistake("check", "--against", "HEAD", "--plugin", "mine.py", folder=tiny)
