"""What README and docs name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"`((?:memformer|baselines|benchmarks|tests|results|docs)/[\w/.-]*)`", text))
    linked = {target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target}
    gone = {name for name in named if not (ROOT / name).exists()}
    gone |= {name for name in linked if not (page.parent / name).exists()}
    assert gone <= {"results/runs/NAME", "results/parameters", "results/parameters/", "results/asv/nightly"}
