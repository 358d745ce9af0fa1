"""The site of the committed run, made once, and a browser that all tests share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.runs.read import Run, read_run
from benchmarks.site.build import site, write_site

ROOT = Path(__file__).parents[2]

EVIL = """<script>alert(1)</script>"><img src=x onerror=alert(2)>'"""
"""A name, reason or parameter that would be a program, if a page took it for one."""


@pytest.fixture(scope="session")
def ranked(ranked_reference: pd.DataFrame) -> pd.DataFrame:
    return ranked_reference


@pytest.fixture(scope="session")
def built(reference: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "site"
    write_site(site([reference], ROOT / "results"), folder)
    return folder


@pytest.fixture(scope="session")
def hostile(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run as a stranger might send it: every text that is free is one."""
    folder = shutil.copytree(run.path, tmp_path_factory.mktemp("hostile") / "<b>mine")
    (folder / "losses.npz").unlink(missing_ok=True)
    for name in ("scores.csv", "timings.csv"):
        table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
        table["solver"] = table["solver"].replace({"cg": EVIL, "ols": "=HYPERLINK(0)"})
        table["trained_on"] = table["trained_on"].where(table["solver"] != "heavy_ball", EVIL)
        first = table["law_params"].iloc[0]
        table["law_params"] = table["law_params"].replace({first: '{"</td><script>": "<svg onload=alert(3)>"}'})
        table.loc[table["d"] == "6", "law"] = EVIL
        if name == "scores.csv":
            table["alarm"] = table["alarm"].where(table["solver"] != EVIL, EVIL)
            table.loc[table["solver"] == "heavy_ball", ["status", "reason"]] = ["diverged", EVIL]
        else:
            table["machine"] = EVIL
        table.to_csv(folder / name, index=False)
    meta = (folder / "meta.json").read_text().replace('"command": "', '"command": "</pre><script>alert(4)</script>')
    (folder / "meta.json").write_text(meta)
    return read_run(folder)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window; a test that needs it is skipped where there is none, and says so."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make browser")
    found = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
    if found is None:
        pytest.skip("this machine has no Chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()
