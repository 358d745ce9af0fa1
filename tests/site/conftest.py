"""The site of the committed run, made once, and a browser that all tests share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.runs.ranking import rank
from benchmarks.runs.read import Run, read_run
from benchmarks.site.build import site, write_site

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def reference() -> Run:
    return read_run(ROOT / "results" / "runs" / "core-reference")


@pytest.fixture(scope="session")
def ranked(reference: Run) -> pd.DataFrame:
    return rank([reference])


@pytest.fixture(scope="session")
def built(reference: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "site"
    write_site(site([reference], ROOT / "results"), folder)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window; a test that needs it is skipped where there is none, and says so."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
    if found is None:
        pytest.skip("this machine has no Chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()
