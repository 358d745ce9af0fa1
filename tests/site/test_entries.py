"""The page of entries: provenance, ties, flags and what no longer runs, with names of strangers as text."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from benchmarks.entries.board import BOARD, Board, Entry, Flag, Row, Version, write_board
from benchmarks.errors import UserError
from benchmarks.runs.read import Run
from benchmarks.site.build import site
from benchmarks.site.entries import ARCHIVE
from tests.site.conftest import EVIL
from tests.site.pages import read


def row(steps: int, log_loss: float | None = -1.0) -> Row:
    told = {"law": "isotropic", "law_version": 1, "law_params": "{}", "d": 3, "N": 8, "noise_std": 0.0}
    told |= {"fingerprint": "f", "tasks": "", "num_tasks": 9, "group": "nothing", "levels": "tasks", "alarm": ""}
    told |= {"tail_limited": False, "gap": None, "floor": "", "rank": 1, "last": 2, "tied": ["cg"], "reason": ""}
    ends = {"low": -1.5, "high": -0.5} if log_loss is not None else {"low": None, "high": None}
    return Row.model_validate({**told, **ends, "steps": steps, "log_loss": log_loss, "status": "ok"})


def board() -> Board:
    flag = Flag(law="isotropic, d = 3, N = 8", steps=2, before="1", difference=-0.5, p_value=1e-5)
    about = {"authors": [EVIL], "source": "javascript:alert(1)", "licence": "MIT", "budget": "none", "commit": "c" * 40}
    alarmed = row(2).model_copy(update={"alarm": f"below the floor {EVIL}"})
    mine = Entry(name=EVIL, kind="entry", sha256="s" * 64, rows=[row(1), alarmed], flags=[flag], **about)
    gone = Entry(name="gone", kind="entry", status="no longer runs", reason=EVIL, source="https://example.org/x")
    other = Entry(name="cg", kind="reference", rows=[row(1), row(2, None)])
    told = {"suite": "entry", "suite_hash": "h", "software": "0", "source": "s"}
    return Board(schema=1, version=Version(name="2", base="a" * 40, previous="1"), entries=[mine, gone, other], **told)


def test_the_page_shows_where_entries_are_from_and_where_they_stand(run: Run, tmp_path: Path) -> None:
    write_board(board(), tmp_path / "entries" / BOARD)
    files = site([run], tmp_path)
    with zipfile.ZipFile(io.BytesIO(files[ARCHIVE])) as packed:  # type: ignore[arg-type]
        assert set(packed.namelist()) == {"board.json", "board.schema.json"}
        Board.model_validate_json(packed.read("board.json"))
    page = read(str(files["entries.html"]))
    assert "Entries" in [link.text for link in page.all("nav")[0].all("a")]
    ranks, provenance = page.all("table")
    assert [line.text.split() for line in ranks.all("tr")][2:] != []
    assert "1 to 2" in ranks.text
    assert "−1.00[−1.50, −0.50]" in ranks.text
    assert f"no longer runs: {EVIL}" in provenance.text
    assert "s" * 12 in provenance.text
    assert "c" * 12 in provenance.text
    assert "after 2 steps: −0.50 against version 1" in page.text
    assert f"{EVIL} on isotropic, d = 3, N = 8 after 2 steps: below the floor {EVIL}" in page.text
    assert f"memformer-bench site of {run.name}" in " ".join(page.text.split())
    assert not page.all("img")
    assert [script for script in page.all("script") if "src" not in script.attributes] == []
    targets = [link.attributes["href"] for link in page.all("a")]
    assert "https://example.org/x" in targets
    assert not any(target.startswith("javascript:") for target in targets)


def test_a_board_that_is_none_is_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "entries").mkdir()
    (tmp_path / "entries" / BOARD).write_text("{}")
    with pytest.raises(UserError, match="is no board of entries: version: field required"):
        site([run], tmp_path)
