"""The command line on a bad day: full disks, terminals without the letters, plug-ins that would replace a module."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from pathlib import Path
from unittest import mock

import pytest

from benchmarks.catalogue.registry import SOLVERS
from benchmarks.cli.main import ENDS, main
from benchmarks.experiments.experiment import read_toml
from benchmarks.experiments.scaling.growth import points
from benchmarks.experiments.scaling.report import scaling_figure
from benchmarks.reports.style import CYCLE, DASHES
from benchmarks.runs.read import Run
from benchmarks.suites.suite import built_in_suites
from tests.conftest import Command
from tests.helpers import call, mistake, process

ROOT = Path(__file__).parents[2]
FULL = "error: the system refuses to read or write: No space left on device"


@pytest.mark.parametrize("words", [["--help"], ["list", "suites"]], ids=" ".join)
def test_a_full_disk_under_the_output_is_one_sentence(words: list[str], tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = process(*words, folder=tmp_path, stdout=full)
    assert (done.code, done.error.splitlines()) == (2, [FULL])


def test_a_full_disk_under_the_errors_too_is_the_status_alone(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        assert process("--help", folder=tmp_path, stdout=full, stderr=full).code == 2


def test_a_disk_that_is_full_when_a_run_begins_is_one_sentence(small_suite: Path, tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "state.json")
    with mock.patch("benchmarks.runs.write.os.replace", side_effect=full):
        said = mistake("run", small_suite, folder=tmp_path)
    assert said == f"results cannot be written to results/runs: {os.strerror(errno.ENOSPC)}"
    assert os.listdir(tmp_path / "results/runs") == []


def test_a_terminal_without_the_letters_shows_their_codes(tmp_path: Path) -> None:
    whole = call("list", "laws", folder=tmp_path).output
    assert "Σ" in whole
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="cp1252", write_through=True)
    with (
        mock.patch.object(sys, "argv", ["memformer-bench", "list", "laws"]),
        contextlib.redirect_stdout(stream),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert ended.value.code == 0
    assert written.getvalue() == whole.encode("cp1252", "backslashreplace")


def test_help_is_shown_where_nothing_says_how_letters_are_written(tmp_path: Path) -> None:
    """There click writes UTF-8, and rich what the terminal claims to have, which is ASCII."""
    done = process("run", "--help", folder=tmp_path, env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert (done.code, done.error) == (0, "")
    assert "Usage:" in done.output


@pytest.mark.parametrize("name", ["torch.py", "json.py", "memformer.py", "sys.py"])
def test_a_plugin_file_does_not_replace_a_module(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("raise SystemExit('it was imported')\n")
    module, there = name.removesuffix(".py"), sys.modules.get(name.removesuffix(".py"))
    said = mistake("list", "suites", "--plugin", name, folder=tmp_path)
    assert said.startswith(f"the plug-in {name!r} would replace the module {module} (")
    assert said.endswith("; give it another name")
    assert sys.modules.get(module) is there


ADDS = """
from benchmarks.api import SOLVERS
SOLVERS.add("{name}", "baselines.gradient:GradientDescent")
"""


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    list(SOLVERS)
    monkeypatch.setattr(SOLVERS, "_entries", dict(SOLVERS._entries))


def test_a_plugin_file_that_registers_nothing_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "mine_of_nothing.py").write_text("x = 1")
    assert "'mine_of_nothing.py' adds nothing; it must register a law, a solver or a metric" in mistake(
        "list", "suites", "--plugin", "mine_of_nothing.py", folder=tmp_path
    )


def test_a_plugin_file_does_not_replace_another(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine_of_two.py").write_text(ADDS.format(name=f"{folder}_of_two"))
    said = mistake(
        "list", "suites", "--plugin", "one/mine_of_two.py", "--plugin", "two/mine_of_two.py", folder=tmp_path
    )
    assert "'two/mine_of_two.py' would replace the module mine_of_two (" in said
    assert "one/mine_of_two.py); give it another name" in said


def test_a_plugin_file_in_a_folder_that_modules_are_found_in_is_loaded(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_on_the_path", raising=False)
    (tmp_path / "mine_on_the_path.py").write_text(ADDS.format(name="on_the_path"))
    assert command("list", "suites", "--plugin", "mine_on_the_path.py").code == 0


def test_more_solvers_than_colours_and_dashes_are_drawn(reference: Run) -> None:
    table = points(reference)
    table = table[(table["law"] == "anisotropic") & (table["d"] == 5)]
    solvers = table["solver"].nunique()
    assert solvers > len(CYCLE) * len(DASHES)
    drawn = scaling_figure(table, "steps", 8)
    assert drawn is not None
    assert len(drawn.legends[0].get_texts()) == solvers


def test_everything_with_a_short_form_is_named_where_one_is_asked_for_in_vain() -> None:
    said = mistake("run", "core", "--quick")
    with_settings = {path.parent.name for path in ROOT.glob("benchmarks/experiments/*/settings.toml")}
    short = {name for name in with_settings if "quick" in read_toml(f"benchmarks.experiments.{name}", "settings.toml")}
    short |= {name.removesuffix("-quick") for name in built_in_suites() if name.endswith("-quick")}
    short.add("literature")  # of which it is fewer tasks, and no settings
    assert set(said.rpartition("it is for ")[2].split(", ")) == short


def test_the_entry_point_leaves_the_signals_of_its_process_alone() -> None:
    before = [signal.getsignal(number) for number in ENDS]
    with mock.patch.object(sys, "argv", ["memformer-bench", "list", "suites"]), pytest.raises(SystemExit):
        main()
    assert [signal.getsignal(number) for number in ENDS] == before
