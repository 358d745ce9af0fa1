"""`views ...` as a person would type it."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers import call, mistake

pytestmark = pytest.mark.usefixtures("drawn_as_png")


@pytest.mark.parametrize(
    ("view", "options", "names"),
    [
        ("pairwise", ["--steps", "2"], ["standing_{}_k2.png", "ranks_{}_k2.svg", "pairwise_{}_k2.csv"]),
        ("targets", ["--classic", "heavy_ball"], ["targets_{}.png", "targets_{}.csv"]),
        ("ecdf", ["--classic", "heavy_ball", "--solver", "cg"], ["ecdf_{}.svg", "ecdf_{}.csv"]),
        ("profile", ["--classic", "heavy_ball"], ["profile_steps_{}.png", "speedups_steps_{}.csv"]),
        ("pareto", [], ["pareto_{}.svg", "pareto_{}.csv"]),
    ],
)
def test_every_view_writes_its_table_and_figures(
    view: str, options: list[str], names: list[str], results: Path, tmp_path: Path
) -> None:
    done = call("views", view, "small", "--d", "4", "--results", results, "--output", tmp_path, *options)
    assert done.code == 0, done.error
    for name in names:
        path = tmp_path / name.format("isotropic_d4_N12_held_out")
        assert path.stat().st_size > 100, path.name
        if path.suffix == ".csv":
            assert set(pd.read_csv(path)["d"]) == {4}
        if path.suffix == ".svg":
            text = path.read_text()
            assert "isotropic, d = 4, N = 12, held_out" in text
            assert "<dc:date>" not in text, "a date would make every drawing another file"


def test_a_figure_drawn_twice_is_the_same_file(results: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        done = call("views", "pareto", "small", "--d", "4", "--results", results, "--output", tmp_path / folder)
        assert done.code == 0, done.error
    name = "pareto_isotropic_d4_N12_held_out"
    for ending in ("svg", "png"):
        assert (tmp_path / "a" / f"{name}.{ending}").read_bytes() == (tmp_path / "b" / f"{name}.{ending}").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ecdf", "stripped"], "without per-task losses"),
        (["ecdf", "nothere"], "no run"),
        (["targets", "small"], "'heavy_ball_tuned' was not scored"),
        (["pairwise", "small", "--steps", "9"], "fewer than two solvers"),
        (["pareto", "small", "--law", "gmm"], "no losses for law = gmm"),
        (["transfer", "nothere.csv"], "not a table"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], message: str, results: Path, tmp_path: Path) -> None:
    options = [] if words[0] == "transfer" else ["--results", results]
    assert message in mistake("views", *words, *options, "--output", tmp_path)


def test_numbers_of_steps_with_one_solver_are_left_out(results: Path, tmp_path: Path) -> None:
    words = ("views", "pairwise", "small", "--d", "4", "--solver", "cg", "--results", results, "--output", tmp_path)
    done = call(*words)
    assert done.code == 0, done.error
    assert done.error.count("left out: fewer than two solvers were scored after ") == 3
    assert not list(tmp_path.iterdir())
    assert "fewer than two solvers" in mistake(*words, "--steps", "2")


def test_a_folder_that_cannot_be_written_is_one_sentence(results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = mistake("views", "pareto", "small", "--results", results, "--output", tmp_path / "file")
    assert "cannot be written" in said


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from benchmarks.cli.views import views_app\n"
        "try: views_app(['pairwise', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'pandas', 'matplotlib', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
