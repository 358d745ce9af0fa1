"""Entries: three honest ones enter, dishonest ones are stopped with a sentence, and nothing of theirs gets out."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from benchmarks import api
from benchmarks.entries import pytest_plugin
from benchmarks.entries.boxed import Boxed, seed_of_fit
from benchmarks.entries.contract import CHECKS, broken
from benchmarks.entries.enter import SUITE, preview, write
from benchmarks.entries.metadata import read_metadata
from benchmarks.errors import UserError
from benchmarks.harness.scores import floors
from benchmarks.runs.source import ROOT
from benchmarks.suites.entries import Scores
from benchmarks.suites.suite import load_suite
from memformer.core.solver import Needs
from tests.entries.samples import AUTHOR, DIRECT, FILES, LAW, MOMENTUM, boxed, copied, entry
from tests.experiments.requests import Silent
from tests.helpers import call, mistake


@copied
def test_an_honest_entry_that_learns_keeps_to_the_contract(learned: str) -> None:
    assert dict(broken(Boxed(learned))) == {check.name: "" for check in CHECKS}


@copied
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("peeks", "expected Tensor as element 1 in argument 0, but got NoneType"),
        ("greedy", "it drew 510,000 training tasks; its budget has 500,000"),
    ],
)
def test_a_dishonest_entry_is_stopped_by_what_it_is_shown(name: str, said: str) -> None:
    *_, (_, why) = broken(Boxed(str(FILES / f"{name}.py")))
    assert said in why


@copied
def test_what_looks_at_the_other_tasks_of_a_large_batch_alone_is_stopped(tmp_path: Path) -> None:
    leaks = "b = problem.moments.b + (problem.moments.b.mean(0) if problem.B > 100 else 0)\n"
    file = entry(tmp_path, **{"b = problem.moments.b\n": leaks})
    assert leaks in file.read_text()
    *kept, (check, why) = broken(Boxed(str(file)))
    assert {why for _, why in kept} == {""}
    assert check == "tasks of a batch as large as those scored do not know each other"
    assert why == "among 2,000 tasks, as many as are scored, a task must be answered as it is among 4"


@boxed
@pytest.mark.parametrize(
    ("name", "said"),
    [("redraws", "No module named 'benchmarks'"), ("writes", "Read-only file system: '/usr/share/seen.txt'")],
)
@pytest.mark.usefixtures("declared")
def test_a_dishonest_entry_is_stopped_by_its_box(name: str, said: str) -> None:
    *_, (_, why) = broken(Boxed(str(FILES / f"{name}.py")))
    assert said in why


@copied
def test_an_entry_enters_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = load_suite(SUITE)
    less = suite.model_copy(update={"tasks": suite.tasks[1:], "seeds": suite.seeds[:1], "scores": Scores(tasks=200)})
    monkeypatch.setattr("benchmarks.entries.enter.load_suite", {SUITE: less}.get)
    monkeypatch.setattr(floors, "FLOOR_TASKS", 2000)
    done = call("enter", str(DIRECT), folder=tmp_path)
    assert done.code == 0, done.error
    assert done.output.count("kept: ") == len(CHECKS)
    assert re.search(r"(?m)^pseudoinverse +-\d", done.output), "it stands on the board"
    folder = tmp_path / "baselines/entries/pseudoinverse"
    told = json.loads((folder / "entry.json").read_text())
    assert told["authors"] == [AUTHOR]
    assert told["licence"] == "MIT"
    assert told["needs"] == "direct"
    assert told["keeps"] == [check.name for check in CHECKS]
    assert (folder / "pseudoinverse.py").read_bytes() == DIRECT.read_bytes()


@copied
def test_what_breaks_the_contract_is_written_nowhere(tmp_path: Path) -> None:
    done = call("enter", str(FILES / "peeks.py"), folder=tmp_path)
    assert done.code == 1
    assert "broken: its trace is what a trace must be: TypeError" in done.error
    assert "nothing was written" in done.error
    assert list(tmp_path.iterdir()) == []


@copied
def test_who_draws_the_scored_tasks_again_must_know_their_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solver = Boxed(str(FILES / "recounts.py"))
    assert api.losses(solver, LAW, 0, 40, [1]).max() == 0  # seeds that everybody knows
    seeds: list[int] = []
    monkeypatch.setattr(
        "benchmarks.entries.enter.run_suite", lambda suite, *_, **__: seeds.extend(suite.seeds) or "done"
    )
    for name in ("first", "second"):
        about = read_metadata(FILES / "recounts.py").model_copy(update={"name": name})
        preview(about, solver, tmp_path, [], Silent())
    assert len(set(seeds)) == len(seeds) == 4
    assert min(seeds) > 2**20
    assert api.losses(solver, LAW, seeds[0], 40, [1]).mean() > 1
    assert seed_of_fit(seeds[0]) not in seeds


def test_without_a_box_an_entry_is_refused_unless_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.entries.box.PROGRAM", "no-such-program")
    assert "lacks or does not allow (Debian: apt install bubblewrap); --unsafe runs it without" in mistake(
        "enter", str(MOMENTUM), folder=tmp_path
    )
    solver = Boxed(str(MOMENTUM), isolated=False)
    assert solver.needs is Needs.NOTHING
    assert next(iter(broken(solver))) == (CHECKS[0].name, "")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"# SPDX-License-Identifier: MIT\n": ""}, "names no licence; it must have a line such as"),
        ({"# /// entry\n": ""}, "has 0 blocks '# /// entry'; it must have one"),
        ({'name = "momentum"': 'name = "Momentum!"'}, "name: string should match pattern"),
        ({'budget = "none"': 'budget = "huge"'}, "budget: input should be 'none', 'small' or 'large'"),
        ({'# source = "https://doi.org/10.1016/0041-5553(64)90863-5"\n': ""}, "source: field required"),
        ({f'authors = ["{AUTHOR}"]': "authors = []"}, "authors: list should have at least 1 item"),
        ({f'authors = ["{AUTHOR}"]': "authors = ["}, "is no TOML"),
        ({'budget = "none"': 'budget = "none"\n# licence = "MIT"'}, "names a licence; that is the line above it"),
        ({'name = "momentum"': 'name = "momentum"\n# rank = "first"'}, "rank: extra inputs are not permitted"),
    ],
)
def test_metadata_that_is_wrong_is_a_sentence(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_metadata(entry(tmp_path, **changed))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@copied
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"class Momentum(IterativeSolver)": "class Momentum(object)"}, "a file must define one solver"),
        ({"needs = Needs.NOTHING": "needs = 'secrets'"}, "it must declare needs, one of nothing, L, "),
        *(
            ({"needs = Needs.NOTHING": f"needs = Needs.NOTHING; version = {version}"}, said)
            for version in ("0", "True", "'1'", "10**30")
            for said in ("it must declare version, a whole number from 1 on; it is ",)
        ),
        ({"import torch\n": "import torch\nraise ValueError(chr(0xD800))\n"}, "ValueError: \\ud800"),
        ({"import torch\n": "import torch\nraise SystemExit(3)\n"}, "SystemExit: 3"),
        ({"import torch\n": "import torch\nimport os; os._exit(3)\n"}, "its process ended with 3"),
        ({"import torch\n": "import not_there\nimport torch\n"}, "No module named 'not_there'"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_a_sentence(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    assert said in mistake("enter", str(entry(tmp_path, **changed)), folder=tmp_path)


@copied
def test_a_folder_of_somebody_else_or_a_damaged_one_is_left_alone(tmp_path: Path) -> None:
    about, solver = read_metadata(DIRECT), Boxed(str(DIRECT))
    write(about, solver, [], tmp_path)
    write(about, solver, [], tmp_path)  # again, after a change
    with pytest.raises(UserError, match=f"has an entry of {AUTHOR}; choose another name"):
        write(about.model_copy(update={"authors": ["Somebody"]}), solver, [], tmp_path)
    (tmp_path / "pseudoinverse" / "entry.json").write_text("[")
    with pytest.raises(UserError, match="is damaged; remove it or put it right"):
        write(about, solver, [], tmp_path)


@copied
def test_a_name_that_is_taken_is_a_sentence(tmp_path: Path) -> None:
    file = entry(tmp_path, **{'name = "momentum"': 'name = "cg"'})
    assert "the name 'cg' is taken (built in); choose another" in mistake("enter", str(file), folder=tmp_path)


@copied
def test_the_contract_is_a_plugin_of_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    file = str(shutil.copy(FILES / "peeks.py", pytester.path))
    done = pytester.runpytest_inprocess("-p", pytest_plugin.__name__, "--entry", file, "-q", "-x")
    done.stdout.fnmatch_lines(["*TypeError: expected Tensor as element 1 in argument 0, but got NoneType*"])
    assert done.ret == 1


def test_no_pytest_but_one_that_asks_loads_the_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project.get("entry-points", {})) == set()  # `benchmarks` may be a package of somebody else there
