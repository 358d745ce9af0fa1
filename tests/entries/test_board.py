"""The board: the same unknown tasks for all, ties, flags, and what changes with a version, a law or a file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.entries import build as making
from benchmarks.entries.board import BOARD, SCHEMA, Board, Entry, Row, Version, kept_board, read_board, write_board
from benchmarks.entries.box import BoxError
from benchmarks.entries.build import Place, build, choose_version, held, keep
from benchmarks.entries.flags import flags
from benchmarks.entries.report import report, shown_rank
from benchmarks.entries.score import Executed
from benchmarks.errors import UserError
from benchmarks.harness.passes import Progress
from benchmarks.runs.source import ROOT
from benchmarks.suites.suite import Suite, load_suite
from benchmarks.tasks.gaussian import Isotropic
from tests.entries.local import Local
from tests.experiments.requests import Silent
from tests.helpers import call, mistake

TINY = """
schema = 1
steps = [1, 2]
seeds = [0, 1]
solvers = ["cg", "ols"]
[scores]
tasks = 60
[[tasks]]
law = "isotropic"
d = 3
N = 8
"""


def git(folder: Path, *words: str) -> str:
    who = {f"GIT_{role}_{what}": "a" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    # A commit's hash decides which tasks are drawn: of another time they are others, which may flag an honest entry.
    who |= {f"GIT_{role}_DATE": "2026-01-01T00:00:00Z" for role in ("AUTHOR", "COMMITTER")}
    done = subprocess.run(["git", *words], cwd=folder, env={**os.environ, **who}, capture_output=True, check=True)
    return done.stdout.decode().strip()


def commit(root: Path) -> str:
    git(root, "add", "-A", "baselines")
    git(root, "commit", "-qm", "x")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the three entries, committed; scored without boxes on a tiny suite."""
    (tmp_path / "tiny.toml").write_text(TINY)
    tiny: Suite = load_suite(str(tmp_path / "tiny.toml"))
    list(SOLVERS)
    monkeypatch.setattr(SOLVERS, "_entries", dict(SOLVERS._entries))
    monkeypatch.setattr("benchmarks.entries.score.load_suite", lambda _: tiny)
    for room in ("build", "score", "examine"):
        monkeypatch.setattr(f"benchmarks.entries.{room}.Boxed", Local)
    monkeypatch.setattr(making, "require", lambda: None)
    shutil.copytree(ROOT / "baselines/entries", tmp_path / "baselines/entries")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


@pytest.fixture
def place(root: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(root)
    return Place(Path("baselines/entries"), Path("results/entries"))


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The solvers whose cells are computed, not found again."""
    names: list[str] = []
    kept = Silent.advance
    monkeypatch.setattr(Silent, "advance", lambda self, piece: (names.append(piece.split()[-1]), kept(self, piece)))
    return names


def made(place: Place, version: Version | None = None) -> Board:
    chosen = version or choose_version(place, read_board(place.board / BOARD))
    board = build(place, chosen, ["test"], Silent())
    keep(place, board)
    return board


def test_three_honest_entries_stand_on_a_board_that_validates(place: Place) -> None:
    board = made(place)
    assert board == read_board(place.board / BOARD)
    entries = {one.name: one for one in board.entries}
    assert list(entries) == ["learned_steps", "momentum", "pseudoinverse", "cg", "ols"]
    assert {one.status for one in board.entries} == {"runs"}
    momentum, direct = entries["momentum"], entries["pseudoinverse"]
    assert (momentum.authors, momentum.licence, momentum.budget) == (["The memformer-bench developers"], "MIT", "none")
    assert (len(momentum.sha256), momentum.commit, momentum.foreknown) == (64, board.version.base, False)
    assert all("version 1; seeds: the first 48 bits of the SHA-256" in row.tasks for row in momentum.rows)
    assert all(board.version.base in row.tasks for row in momentum.rows)
    assert [row.rank for row in momentum.rows] == [2, 2]  # of what is told nothing: cg is better
    assert {shown_rank(row) for row in direct.rows} == {"1 to 2"}
    assert {name for row in direct.rows for name in row.tied} == {"ols"}
    assert entries["learned_steps"].train_tasks == 2 * 7
    assert entries["learned_steps"].train_seconds == 1.0
    schema = json.loads((place.board / SCHEMA).read_text())
    assert schema["required"] == ["version", "suite", "suite_hash", "software", "source", "entries"]
    assert schema["additionalProperties"] is False


def test_all_are_scored_on_the_tasks_of_the_version_and_nothing_is_executed_twice(
    place: Place, executed: list[str]
) -> None:
    first = made(place)
    assert executed == ["cg", "ols", "entry", "entry", "entry"]
    assert made(place) == first
    assert len(executed) == 5
    runs = [path for path in (place.board / "runs").iterdir() if path.is_dir()]
    seeds = {tuple(json.loads((run / "meta.json").read_text())["suite"]["seeds"]) for run in runs}
    assert seeds == {tuple(first.version.seeds(2))}


def test_an_entry_that_is_new_makes_a_new_version_by_a_commit_that_holds_it(place: Place, root: Path) -> None:
    first = made(place)
    shutil.copytree("baselines/entries/momentum", "baselines/entries/newer")
    text = Path("baselines/entries/newer/momentum.py").read_text()
    Path("baselines/entries/newer/momentum.py").unlink()
    Path("baselines/entries/newer/newer.py").write_text(text.replace('"momentum"', '"newer"').replace("0.3", "0.2"))
    assert not held(place, first.version.base, "newer")
    base = commit(root)
    second = made(place)
    assert second.version == Version(name="2", base=base, previous="1")
    newer, old = second.entry("newer"), second.entry("momentum")
    assert newer is not None
    assert not newer.foreknown
    assert old is not None
    assert old.rows != first.entries[1].rows
    assert kept_board(place.board, "1") == first  # the old one stays
    assert all(not one.flags for one in second.entries)
    named = build(place, Version(name="x", base=first.version.base), ["test"], Silent()).entry("newer")
    assert named is not None
    assert named.foreknown  # its author could have known these tasks
    with pytest.raises(UserError, match="version 2 of the board has the base"):
        choose_version(place, second, "2", first.version.base)
    with pytest.raises(UserError, match="nowhere is no commit of the repository"):
        choose_version(place, second, "3", "nowhere")


def test_a_base_that_history_has_lost_makes_a_new_version(place: Place, root: Path) -> None:
    version = choose_version(place, None)
    board = Board(schema=1, version=version, suite="", suite_hash="", software="", source="", entries=[])
    assert choose_version(place, board) == version
    git(root, "commit", "-q", "--amend", "-m", "rebased")
    assert choose_version(place, board) == Version(name="2", base=git(root, "rev-parse", "HEAD"), previous="1")


def test_a_law_of_a_higher_version_has_every_entry_executed_again(
    place: Place, executed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(place)
    executed.clear()
    metadata = Isotropic.metadata
    monkeypatch.setattr(Isotropic, "metadata", metadata.__class__(**{**vars(metadata), "version": 99}))
    second = made(place)
    assert executed == ["cg", "ols", "entry", "entry", "entry"]
    assert second.version == first.version
    assert {row.law_version for one in second.entries for row in one.rows} == {99}


def test_what_no_longer_runs_and_what_is_withdrawn_is_shown(place: Place, root: Path) -> None:
    made(place)
    file = place.file("momentum")
    file.write_text(file.read_text() + "\nraise RuntimeError('this torch is too new')\n")
    shutil.rmtree(place.entries / "pseudoinverse")
    broken = place.entries / "learned_steps/learned_steps.py"
    broken.write_text(broken.read_text().replace('budget = "small"', 'budget = "huge"'))
    commit(root)
    board = made(place)
    assert {one.name: (one.status, one.reason) for one in board.entries if one.kind == "entry"} == {
        "learned_steps": (
            "no longer runs",
            "the block '# /// entry' of learned_steps.py: budget: input should be 'none', 'small' or 'large'",
        ),
        "momentum": ("no longer runs", "this torch is too new"),
        "pseudoinverse": ("withdrawn", "its folder is gone"),
    }
    gone = board.entry("pseudoinverse")
    assert gone is not None
    assert (gone.rows, gone.authors) == ([], ["The memformer-bench developers"])
    assert made(place).entry("pseudoinverse") == gone


def test_an_entry_that_fails_as_nobody_foresaw_does_not_end_the_board(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = making.execute

    def execute(suite: Suite, runs: Path, command: Sequence[str], progress: Progress, *more: Any) -> Executed:
        if more[:1] == ("momentum",):
            raise TypeError("nobody\nforesaw \ud800")
        return kept(suite, runs, command, progress, *more)

    monkeypatch.setattr(making, "execute", execute)
    board = made(place)
    assert read_board(place.board / BOARD) == board
    assert {one.name: (one.status, one.reason) for one in board.entries} == {
        "learned_steps": ("runs", ""),
        "momentum": ("no longer runs", "TypeError: nobody foresaw \\ud800"),
        "pseudoinverse": ("runs", ""),
        "cg": ("runs", ""),
        "ols": ("runs", ""),
    }


def test_what_ended_by_an_error_is_executed_again(
    place: Place, executed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise BoxError("the machine was short of memory")

    with monkeypatch.context() as changed:
        changed.setattr(Local, "fit", fails)
        learned = made(place).entry("learned_steps")
    assert learned is not None
    assert (learned.status, learned.train_tasks) == ("no longer runs", 0)
    assert "short of memory" in learned.reason
    executed.clear()
    learned = made(place).entry("learned_steps")
    assert learned is not None
    assert (learned.status, learned.train_tasks) == ("runs", 2 * 7)
    assert executed == ["entry"]  # the others are found again
    made(place)
    assert executed == ["entry"]


def rows(losses: np.ndarray) -> Entry:
    """An entry whose rows have these log losses, ± 0.1."""
    told = {"law": "isotropic", "law_version": 1, "law_params": "{}", "d": 3, "N": 8, "noise_std": 0.0}
    told |= {"fingerprint": "f", "tasks": "", "num_tasks": 9, "group": "nothing", "levels": "tasks", "status": "ok"}
    told |= {
        "tail_limited": False,
        "gap": None,
        "floor": "",
        "rank": 1,
        "last": 1,
        "tied": [],
        "alarm": "",
        "reason": "",
    }
    found = [Row(**told, steps=k, log_loss=x, low=x - 0.1, high=x + 0.1) for k, x in enumerate(map(float, losses), 1)]
    return Entry(name="one", kind="entry", sha256="0", rows=found)


def test_flags_are_raised_by_what_chance_does_not_explain() -> None:
    generator, sigma = np.random.default_rng(0), 0.1 / 1.96
    raised = [
        len(flags(rows(generator.normal(0, sigma, 8)), rows(generator.normal(0, sigma, 8)), "1")) for _ in range(400)
    ]
    assert sum(map(bool, raised)) <= 0.05 * 400 + 3 * (0.05 * 0.95 * 400) ** 0.5
    assert sum(map(bool, raised)) > 0
    (flag,) = flags(rows(np.array([0.0, -0.5])), rows(np.array([0.0, 0.0])), "1")
    assert (flag.steps, flag.before, flag.difference) == (2, "1", -0.5)
    assert flags(rows(np.array([-0.5])).model_copy(update={"sha256": "other"}), rows(np.array([0.0])), "1") == []
    assert flags(rows(np.array([-60.0])), rows(np.array([-90.0])), "1") == []  # both exact


def test_a_report_says_where_an_entry_would_stand(root: Path) -> None:
    done = call("entries", "report", "momentum", "--output", "out/report.md", folder=root)
    assert done.code == 0, done.error
    assert "It keeps to the contract (11 checks)." in done.output
    assert "**isotropic, d = 3, N = 8**: rank 2 of 2 that are told as much, after 2 steps" in done.output
    assert "| told nothing   | rank   | k = 1" in done.output
    assert (root / "out/report.md").read_text() == done.output
    assert not (root / "results/entries" / BOARD).exists()


def test_an_alarm_is_in_the_report_and_in_its_exit_status(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = making._row

    def row(given: Any, *more: Any) -> Row:
        found = kept(given, *more)
        return found.model_copy(update={"alarm": "below the floor | of it"}) if given["entry"] == "momentum" else found

    monkeypatch.setattr(making, "_row", row)
    done = call("entries", "report", "momentum", folder=root)
    assert done.code == 1
    assert "- **Alarm**: isotropic, d = 3, N = 8, after 2 steps: below the floor \\| of it\n" in done.output
    assert ", 2 alarms\n" in call("entries", "board", folder=root).output


def test_a_report_of_what_is_not_as_enter_leaves_it_says_so(root: Path) -> None:
    entry = root / "baselines/entries/momentum"
    assert "there is no entry '../x'" in mistake("entries", "report", "../x", folder=root)
    (entry / "conftest.py").touch()
    done = call("entries", "report", "momentum", folder=root)
    assert (done.code, "**Refused**: the folder momentum holds 'conftest.py'" in done.output) == (1, True)
    (entry / "conftest.py").unlink()
    (entry / "momentum.py").write_text((entry / "momentum.py").read_text() + "\n# changed")
    assert "the entry.json of momentum is of another file" in call("entries", "report", "momentum", folder=root).output
    (entry / "entry.json").write_text("{")
    assert "the entry.json of momentum is damaged" in call("entries", "report", "momentum", folder=root).output
    (entry / "entry.json").unlink()
    assert "has no entry.json; 'memformer-bench enter" in call("entries", "report", "momentum", folder=root).output


def test_a_report_of_what_breaks_the_contract_names_the_check() -> None:
    text = report("bad", [("it starts at zero", ""), ("it is deterministic", "it | is not")], None)
    assert "**It does not keep to the contract**" in text
    assert "- it is deterministic: it \\| is not" in text


def test_a_board_that_is_none_is_a_sentence(place: Place) -> None:
    board = made(place)
    text = board.model_dump_json(by_alias=True)
    for changed, said in (
        (text.replace('"schema":1', '"schema":2'), "schema: input should be 1"),
        (text.replace('"rank":2', '"rank":"first"'), "rank: input should be a valid integer"),
        (text.replace('"status":"runs"', '"place":"first","status":"runs"'), "place: extra inputs are not permitted"),
        ("[", "invalid json"),
    ):
        (place.board / BOARD).write_text(changed)
        with pytest.raises(UserError, match=said) as caught:
            read_board(place.board / BOARD)
        assert "\n" not in str(caught.value)


def test_a_release_freezes_its_board(place: Place, root: Path) -> None:
    shutil.copy(ROOT / "CITATION.cff", root)
    assert "there is no results/entries/board.json" in mistake("entries", "freeze", "v0.1.0", folder=root)
    board = made(place)
    assert "must be v0.1.0" in mistake("entries", "freeze", "v9.9.9", folder=root)
    for _ in range(2):
        done = call("entries", "freeze", "v0.1.0", folder=root)
        assert done.code == 0, done.error
    assert read_board(place.board / "v0.1.0.json") == board.model_copy(update={"release": "v0.1.0"})
    citation = (root / "CITATION.cff").read_text()
    assert citation.count("\nversion: 0.1.0\ndate-released: ") == citation.count("date-released") == 1
    about = json.loads((root / ".zenodo.json").read_text())
    assert (about["version"], about["upload_type"], about["license"]) == ("0.1.0", "software", "Apache-2.0")
    write_board(board.model_copy(update={"suite": "other"}), place.board / BOARD)
    assert "a release's board does not change" in mistake("entries", "freeze", "v0.1.0", folder=root)


def test_the_command_writes_the_board(root: Path) -> None:
    done = call("entries", "board", folder=root)
    assert done.code == 0, done.error
    assert "momentum runs\n" in done.output
    assert "written to results/entries/board.json: version 1, base " in done.output
    assert "there is no folder nowhere" in mistake("entries", "board", "--entries", "nowhere", folder=root)
    assert "'v/1' cannot name a version; use at most 40" in mistake("entries", "board", "--version", "v/1", folder=root)
