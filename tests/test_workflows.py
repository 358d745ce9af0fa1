"""What a stranger's pull request runs on GitHub can write nothing there, and runs what anyone can run by hand."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pages import TARGETS

FOLDER = Path(__file__).parents[1] / ".github/workflows"
WORKFLOWS: dict[str, Any] = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))}
JOBS = [(name, job) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"]]


def triggers(name: str) -> set[str]:
    return set(WORKFLOWS[name][True])  # YAML takes `on` for a truth value


def permissions(name: str, job: str) -> dict[str, str]:
    return WORKFLOWS[name]["jobs"][job].get("permissions", WORKFLOWS[name]["permissions"])


def commands(name: str, job: str) -> str:
    return "\n".join(step.get("run", "") for step in WORKFLOWS[name]["jobs"][job]["steps"])


def code_of_this_repository(name: str, job: str) -> bool:
    return bool(re.search(r"(?m)^\s*(make|python|pip|memformer-bench|\./|\.ci/)", commands(name, job)))


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_what_may_write_to_the_repository_runs_no_code_of_it(name: str, job: str) -> None:
    wide = {what for what, how in permissions(name, job).items() if how == "write"} - {"id-token", "pages"}
    if wide:
        assert not code_of_this_repository(name, job)
    condition = WORKFLOWS[name]["jobs"][job].get("if", "")
    if "pull_request" in triggers(name) and "!= 'pull_request'" not in condition and wide:
        needed = WORKFLOWS[name]["jobs"][job].get("needs")
        assert "!= 'pull_request'" in WORKFLOWS[name]["jobs"][needed]["if"]  # skipped with what it needs


def test_no_workflow_gives_a_pull_request_the_rights_of_its_base() -> None:
    assert all("pull_request_target" not in triggers(name) for name in WORKFLOWS)
    assert "secrets." not in "".join(path.read_text() for path in FOLDER.glob("*.yml"))


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_no_text_of_a_stranger_is_put_into_a_command(name: str, job: str) -> None:
    """An expression within a command is text of it: a branch can be called `$(...)`. The environment is none."""
    assert "${{" not in commands(name, job)


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_every_target_that_a_workflow_makes_is_there(name: str, job: str) -> None:
    assert set(re.findall(r"(?m)^\s*make ([a-z-]+)", commands(name, job))) <= set(TARGETS)


def test_the_comment_waits_for_the_workflow_of_entries() -> None:
    started = WORKFLOWS["entries-comment"][True]["workflow_run"]
    assert started["workflows"] == [WORKFLOWS["entries"]["name"]]
    assert permissions("entries-comment", "comment") == {"actions": "read", "pull-requests": "write"}
    assert "actions/checkout" not in (FOLDER / "entries-comment.yml").read_text()


def step(name: str, job: str, said: str) -> str:
    """The command of the one step that says something."""
    (found,) = (one["run"] for one in WORKFLOWS[name]["jobs"][job]["steps"] if said in one.get("run", ""))
    return found


MOMENTUM, OTHER = ("baselines/entries/momentum/momentum.py", "baselines/entries/other/other.py")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({MOMENTUM: "new"}, "make entry NAME=momentum"),
        ({MOMENTUM: None}, "Nothing is entered here"),
        ({MOMENTUM: "new", "README.md": None}, "one folder"),
        ({MOMENTUM: "new", OTHER: None}, "one folder"),
        ({MOMENTUM: None, OTHER: None}, "one folder"),
        ({OTHER: None, "baselines/entries/third/third.py": "other"}, "one folder"),  # renamed
        ({"README.md": None}, "one folder"),
        ({MOMENTUM: None, "README.md": None}, "one folder"),
    ],
)
def test_a_pull_request_changes_one_folder_of_entries(
    tmp_path: Path, changed: dict[str, str | None], said: str
) -> None:
    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    for name, text in ((MOMENTUM, "old"), (OTHER, "other"), ("README.md", "read")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "Makefile").write_text("entry:\n\t@echo make entry NAME=$(NAME)\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "before")
    for name, text in changed.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_text(text)
    git("add", "-A")
    git("commit", "-qm", "after")
    command = step("entries", "report", "make entry")
    done = subprocess.run(["bash", "-e", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    pages = "".join(path.read_text() for path in (tmp_path / "build/entries").glob("*.md"))
    assert said in done.stdout + pages
    assert done.returncode == (said == "one folder")


def test_the_board_is_committed_onto_what_it_was_made_from() -> None:
    jobs = WORKFLOWS["entries"]["jobs"]
    assert all(job["steps"][0]["with"]["ref"] == "main" for job in (jobs["board"], jobs["commit"]))
    assert "concurrency" in WORKFLOWS["entries"]  # of both jobs together
    step("entries", "board", "sha=$(git rev-parse HEAD)")
    (guarded,) = (one for one in jobs["commit"]["steps"] if "provenance" in one.get("run", ""))
    assert guarded["env"] == {"BASE": "${{ needs.board.outputs.base }}"}


@pytest.mark.parametrize(("name", "job"), [("checks", "tests"), ("entries", "report"), ("entries", "board")])
def test_there_is_a_box_where_entries_are_run(name: str, job: str) -> None:
    step(name, job, "install -y -qq --no-install-recommends bubblewrap")
