"""A wheel and an sdist hold everything that the packages read, and the commands that they install are there."""

from __future__ import annotations

import pkgutil
import tomllib
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("builder", [WheelBuilder, SdistBuilder])
def test_what_is_built_holds_every_file_of_the_packages(builder: type[WheelBuilder] | type[SdistBuilder]) -> None:
    files = [file for room in ("memformer", "baselines", "benchmarks") for file in (ROOT / room).rglob("*.*")]
    needed = {file.relative_to(ROOT).as_posix() for file in files if file.is_file() and "__pycache__" not in file.parts}
    needed = {name for name in needed if not name.startswith("baselines/entries/")}  # of strangers
    built = {file.distribution_path for file in builder(str(ROOT)).recurse_included_files()}
    assert {"benchmarks/suites/core.toml", "benchmarks/reports/leaderboard.jinja"} <= needed
    assert needed - built == set()


def test_every_command_that_is_installed_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all(callable(pkgutil.resolve_name(target)) for target in project["scripts"].values())


def test_what_all_extras_bring_is_what_each_of_them_brings() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    own = sorted(set(extras) - {"all", "anchors", "browser", "dev", "docs", "profile", "types"})
    assert extras["all"] == [f"memformer-bench[{','.join(own)}]"]
