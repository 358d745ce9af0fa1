"""What README and docs name is there, and what they show works."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from benchmarks.catalogue.registry import LAWS, SOLVERS
from benchmarks.suites.suite import load_suite
from tests.pages import PAGES, ROOT, blocks, commands, in_small, lines, mistake_in, run_line, small

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@every_page
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"`((?:memformer|baselines|benchmarks|tests|results|docs|examples)/[\w/.-]*)`", text))
    linked = {target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target}
    gone = {name for name in named if not (ROOT / name).exists()}
    gone |= {name for name in linked if not (page.parent / name).exists()}
    assert gone <= {"results/runs/NAME", "results/parameters", "results/parameters/", "results/asv/nightly"}


@every_page
def test_every_command_that_a_page_shows_is_there_with_its_options(page: Path) -> None:
    wrong = {" ".join(line): mistake_in(line) for line in commands(page)}
    assert {line: why for line, why in wrong.items() if why} == {}


@pytest.mark.parametrize(
    "line",
    [
        "memformer-bench run --plug a.py",
        "memformer-bench leaderboards",
        "memformer-bench views pairwise --steps two",
        "memformer-bench --instal-completion",
        "memformer_bench run smoke",
        "make al",
        "pip install -e .[figure]",
        "python -m benchmarks.validations",
    ],
)
def test_a_command_that_is_not_there_is_found(line: str) -> None:
    assert mistake_in(line.split())


@every_page
def test_what_a_page_shows_works(page: Path, tmp_path: Path, results: Path) -> None:
    """Python is run, suites are read, and quick commands are run, in the order of the page, with few tasks."""
    (tmp_path / "results/runs").mkdir(parents=True)
    shutil.copytree(results / "runs/small", tmp_path / "results/runs/small")
    (tmp_path / "results/runs/core-reference").symlink_to(ROOT / "results/runs/core-reference")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    scope: dict[str, object] = {}
    for block in blocks(page):
        text = small(block.text) if block.language == "toml" else block.text
        if block.title:
            (tmp_path / block.title).write_text(text)
        elif block.language == "toml":
            (tmp_path / "shown.toml").write_text(text)
            load_suite(str(tmp_path / "shown.toml"))
        elif block.language == "python" and not block.why:
            with in_small(tmp_path):
                exec(compile(text, page.name, "exec"), scope)
        for line in lines(text) if block.language == "sh" and not block.why else []:
            run_line(line, tmp_path)


def test_the_reference_holds_every_room_that_a_built_in_solver_or_law_is_in() -> None:
    shown = {room for page in PAGES for room in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)}
    targets = [registry[name].load() for registry in (SOLVERS, LAWS) for name in registry]
    homes = {target.__module__ for target in targets} - {"memformer.solvers.memformer", "memformer.solvers.adaptive"}
    assert homes <= shown  # Memformers are among the names of `memformer`, which is shown
    assert "memformer" in shown
