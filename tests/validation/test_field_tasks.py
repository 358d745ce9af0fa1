"""The page of the field's tasks: every law of its suites has readings, and leaders are compared by one rule."""

from __future__ import annotations

import pytest

from benchmarks.harness.run import run_suite
from benchmarks.runs.read import Run, read_run
from benchmarks.suites.suite import built_in_suites, load_suite
from benchmarks.validation import field_tasks
from benchmarks.validation.field_tasks import CURVES, SUITES, laws, over_length
from tests.experiments.requests import Silent

SUITE = """
schema = 1
steps = [1, 2]
seeds = [0, 1]
solvers = ["cg", "bayes", { name = "nesterov_tuned", params = { num_tasks = 200 } },
  { name = "lfom", params = { iterations = 25, batch = 64 } }]
[scores]
tasks = 200
[[tasks]]
law = "isotropic"
N = 8
params = { longest = 20 }
[[tasks]]
law = "isotropic"
N = 20
[[tasks]]
law = "logistic"
d = 2
N = 4
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("field")
    (folder / "suite.toml").write_text(SUITE)
    run_suite(load_suite(str(folder / "suite.toml")), folder, None, ["x"], Silent(), "done")
    return read_run(folder / "done")


def test_laws_are_read_and_leaders_compared(done: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(laws(done))
    assert [title.split(",")[0] for title, _, _ in found] == ["isotropic", "isotropic", "logistic"]
    assert all(readings for _, readings, _ in found)
    for _, _, (leaders,) in found:  # who is compared always leads here
        assert leaders.startswith("learned against tuned: `lfom (batch=64, iterations=25)` against `nesterov_tuned")
        assert any(f": {word} (log ratio " in leaders for word in ("better", "worse", "not told apart"))
    monkeypatch.setattr(field_tasks, "ALWAYS", (("nesterov_tuned", "lfom"),))
    for _, _, (leaders, always) in laws(done):
        assert leaders.startswith("learned against tuned: ")
        assert always.startswith("`nesterov_tuned")


def test_what_a_law_does_not_allow_is_skipped_with_its_reason(done: Run) -> None:
    skipped = done.scores[done.scores["status"] == "skipped"]
    assert set(skipped["law"]) == {"logistic"}
    assert set(skipped["solver"]) == {"cg", "bayes"}
    assert set(skipped["reason"]) == {"it does not serve the objective here, logistic"}
    timed = done.timings[done.timings["status"] == "skipped"]
    assert set(timed["solver"]) == {"cg", "bayes"}


def test_losses_over_the_length_of_a_context_are_drawn(done: Run) -> None:
    (axes,) = over_length(done).axes
    assert len(axes.lines) >= sum(name in set(done.scores["solver"]) for name in CURVES)


def test_its_suites_are_there_with_their_quick_forms() -> None:
    assert {*SUITES, *(f"{name}-quick" for name in SUITES)} <= set(built_in_suites())
