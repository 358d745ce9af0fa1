"""Names that mean something to Markdown, LaTeX, spreadsheets or terminals are shown as they are, and do nothing."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from benchmarks.reports import escape
from benchmarks.reports.leaderboard import render
from benchmarks.reports.style import figure
from benchmarks.reports.template import table
from benchmarks.reports.write import Report
from benchmarks.runs.read import Run

NASTY = ["a|b", '=HYPERLINK("http://x","y")', "100%_x", "a`b|`c", "two\nlines", "\x1b[2Jgone", "[x](http://y) <b>"]
MARKDOWN = MarkdownIt("commonmark").enable("table")


@pytest.fixture(params=NASTY)
def nasty(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def renamed(run: Run, nasty: str) -> Run:
    """A run whose cg is called something else, as a plug-in may be, and on a law of that name."""
    tables = [
        part.assign(solver=part["solver"].replace("cg", nasty), law=part["law"].replace("isotropic", nasty))
        for part in (run.scores, run.timings)
    ]
    return replace(run, scores=tables[0], timings=tables[1])


def test_markdown_shows_the_name_in_its_cell_and_nothing_else_changes(renamed: Run, nasty: str) -> None:
    page = SyntaxTreeNode(MARKDOWN.parse(render([renamed], "markdown")))
    tables = [node for node in page.walk() if node.type == "table"]
    assert len(tables) == 2
    for one in tables:
        rows = [[_shown(cell) for cell in row.children] for row in one.walk() if row.type == "tr"]
        assert len({len(row) for row in rows}) == 1
        assert escape.plain(nasty) in [row[0] for row in rows]
        assert "cgls" in [row[0] for row in rows]
    headings = [_shown(node) for node in page.walk() if node.type == "heading"]
    assert sum(text.startswith(f"{escape.plain(nasty)}, d = ") for text in headings) == 2
    assert not any(node.type in ("link", "html_inline", "strong_em") for node in page.walk())


def test_latex_shows_the_name(renamed: Run, nasty: str) -> None:
    text = render([renamed], "latex")
    assert rf"\texttt{{{escape.latex(nasty)}}}" in text
    assert all(line.startswith("%") for line in text.split("\n") if ", d = " in line)


def test_latex_means_nothing_in_a_name() -> None:
    assert escape.latex("100%_x") == r"100\%\_x"
    assert escape.latex("a\\b$&#{}~^") == r"a\textbackslash{}b\$\&\#\{\}\textasciitilde{}\^{}"


def test_a_spreadsheet_computes_nothing(renamed: Run, nasty: str, tmp_path: Path) -> None:
    Report({"view": [{"solver": nasty, "loss": -1.5}]}).write(tmp_path)
    for text in (render([renamed], "csv"), (tmp_path / "view.csv").read_text()):
        rows = list(csv.DictReader(io.StringIO(text)))
        names = {row["solver"] for row in rows}
        assert (f"'{nasty}" if nasty[0] == "=" else nasty) in names
        assert not any(name[0] in "=+-@" for name in names)
    assert pd.read_csv(tmp_path / "view.csv")["loss"].tolist() == [-1.5]


def test_a_terminal_is_sent_no_control_characters(renamed: Run) -> None:
    text = render([renamed], "terminal")
    assert all(letter.isprintable() for letter in text.replace("\n", ""))


def test_a_pipe_in_any_table_of_a_page_stays_in_its_cell() -> None:
    made = table([["|H| < 1", r"a\|b", 3]], ["one", "two", "three"])
    rows = [node for node in SyntaxTreeNode(MARKDOWN.parse(made)).walk() if node.type == "tr"]
    assert [_shown(cell) for cell in rows[1].children] == ["|H| < 1", "a|b", "3"]


def test_a_name_with_dollars_is_drawn(tmp_path: Path) -> None:
    drawn, (axes,) = figure(2.0, 2.0)
    axes.plot([1, 2], [1, 2], label=r"a$\nothing$")
    axes.set_title("$m^{-1}$")
    axes.legend()
    Report(figures={"one": drawn}).write(tmp_path)
    text = (tmp_path / "one.svg").read_text()
    assert r"a$\nothing$" in text
    assert ">$m^{-1}$<" not in text


def _shown(node: SyntaxTreeNode) -> str:
    """What a reader sees of a node."""
    return "".join(one.content for one in node.walk() if one.type in ("text", "code_inline", "text_special"))
