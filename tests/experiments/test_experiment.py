"""The one interface of experiments, through the command line: a new one is a folder and a line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.experiments.experiment import EXPERIMENTS, SUITE_OPTIONS, choose, load_experiment
from benchmarks.suites.suite import built_in_suites
from tests.helpers import SMALL, afresh, call, mistake

TOY = """
from functools import partial

from benchmarks.experiments.experiment import Experiment, read_settings, settings_text
from benchmarks.harness.run import Finished
from benchmarks.reports.write import Report
from benchmarks.suites.entries import Strict


class Settings(Strict):
    numbers: list[int]


def square(number):
    if number < 0:
        raise ValueError("negative")
    return number**2


def carry_out(request):
    numbers = [int(one) for one in request.only] or read_settings(Settings, "toy", request.quick).numbers
    squares = request.map("toy: squaring", square, numbers, [str(number) for number in numbers])
    folder = request.folder("toy")
    rows = [{"number": n, "square": s} for n, s in zip(numbers, squares, strict=True)]
    Report({"squares": rows}, texts={"TOY.md": f"{sum(squares)}\\n"}).write(folder)
    return Finished(folder, ["5: too many"] if 5 in numbers else [], [])


EXPERIMENT = Experiment(
    "toy", "squares of numbers", carry_out, frozenset({"quick", "only"}), lambda: ["2", "3", "-1"],
    partial(settings_text, "toy"),
)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment in a folder of its own, and a line that says where it is; returns a folder of results."""
    room = tmp_path / "toy"
    room.mkdir()
    (room / "__init__.py").write_text("")
    (room / "command.py").write_text(TOY)
    (room / "settings.toml").write_text("numbers = [1, 2, 5]  # all of them\n[quick]\nnumbers = [1, 2]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("toy", "toy.command"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(EXPERIMENTS, "toy", "toy.command:EXPERIMENT")
    return tmp_path / "results"


def test_a_new_experiment_is_a_folder_and_a_line(toy: Path) -> None:
    done = call("run", "toy", "--quick", "--results", toy, "--jobs", "2")
    assert done.code == 0, done.error
    assert f"written to {toy}/toy-quick" in done.output
    assert (toy / "toy-quick" / "squares.csv").read_text() == "number,square\n1,1\n2,4\n"
    assert (toy / "toy-quick" / "TOY.md").read_text() == "5\n"
    assert "toy: squaring: 2 done" in done.error
    whole = call("run", "toy", "--results", toy, "--jobs", "1")
    assert whole.code == 1, "what failed is said by the exit status as well"
    assert "failed: 5: too many" in whole.error
    assert (toy / "toy" / "TOY.md").read_text() == "30\n"
    assert call("run", "toy", "--only", "3", "--results", toy, "--jobs", "1").code == 0
    assert (toy / "toy-3" / "TOY.md").read_text() == "9\n"
    assert (toy / "toy" / "TOY.md").read_text() == "30\n", "a part does not replace the whole"
    assert call("run", "toy", "--only", "3", "--only", "2", "--quick", "--results", toy, "--jobs", "1").code == 0
    assert (toy / "toy-quick-2-3" / "TOY.md").read_text() == "13\n"
    assert "toy                            squares of numbers" in call("list", "experiments").output
    shown = call("show", "toy").output
    assert "experiment toy: squares of numbers" in shown
    assert "--only chooses among 2, 3, -1" in shown
    assert "# all of them" in shown


def test_what_an_experiment_raises_is_not_swallowed(toy: Path) -> None:
    with pytest.raises(ValueError, match="negative"):
        call("run", "toy", "--only=-1", "--results", toy, "--jobs", "1")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["core", "--quick"], "the suite core takes no --quick; it is for memory, learnability, real, scaling, "),
        (["memory", "--resume"], "the experiment memory takes no --resume; it is for paper, real, scaling, suites"),
        (["smoke", "--only", "a"], "the suite smoke takes no --only; it is for paper, transfer"),
        (["transfer", "--name", "x"], "the experiment transfer takes no --name; it is for paper, real, "),
        (["paper", "--only", "z"], "the experiment paper has no 'z'; there are a, b, c"),
        (["transfer", "--only", "lfon"], "the experiment transfer has no 'lfon'; there are "),
    ],
)
def test_what_does_not_go_together_is_one_sentence(words: list[str], sentence: str) -> None:
    said = mistake("run", *words)
    assert said.startswith(sentence)
    assert said.endswith("(did you mean 'lfom'?)") == ("lfon" in words)


@pytest.mark.parametrize("name", ["memory", "learnability", "transfer", "real", "scaling"])
def test_a_folder_that_cannot_be_written_is_a_sentence_before_the_work(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written to" in mistake("run", name, "--quick", "--results", tmp_path / "file")


def test_without_matplotlib_an_experiment_that_draws_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "figures need matplotlib" in mistake("run", "memory", "--quick")
    said = mistake("views", "pairwise", "core-reference")
    assert said == f"figures need matplotlib; install it with: {sys.executable} -m pip install matplotlib"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_says_what_it_is(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.id == name
    shown = call("show", name).output
    assert f"experiment {name}: {experiment.summary}" in shown
    assert len(shown.splitlines()) > 8, "its settings are shown"
    assert bool(experiment.choices()) == ("only" in experiment.options)
    if experiment.options & SUITE_OPTIONS > {"plugin"}:
        assert name in built_in_suites()


def test_an_experiment_on_a_suite_writes_its_report_and_keeps_the_run_if_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run without real data has nothing to say about real data."""
    suite = tmp_path / "small.toml"
    suite.write_text(SMALL)
    monkeypatch.setitem(built_in := built_in_suites(), "real-quick", suite)
    monkeypatch.setattr("benchmarks.suites.suite.built_in_suites", lambda: built_in)
    done = call("run", "real", "--quick", "--name", "mine", "--results", tmp_path / "results")
    assert done.code == 1
    assert f"written to {tmp_path}/results/runs/mine" in done.output
    why = "no report was written: the run mine has no losses on real data"
    assert why in done.error
    assert (tmp_path / "results/runs/mine/scores.csv").is_file()


def test_a_suite_imports_no_experiment() -> None:
    afresh(
        "import sys\nfrom benchmarks.experiments.experiment import find_experiment\nfind_experiment('smoke')\n"
        "loaded = [name for name in sys.modules if name.startswith('benchmarks.experiments.')]\n"
        "assert loaded == ['benchmarks.experiments.experiment'], loaded"
    )


def test_choices_come_in_their_own_order() -> None:
    assert choose("it", ["b", "a"], ["a", "b", "c"]) == ["a", "b"]
