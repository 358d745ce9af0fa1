"""The site as files: complete, whole without any host, true to the tables, and safe with names from strangers."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from benchmarks.errors import UserError
from benchmarks.runs.read import Run
from benchmarks.site.build import MARK, site, write_site
from benchmarks.site.curves import Curve, Point, law_curves, solvers
from benchmarks.site.figures import shrunk
from benchmarks.site.laws import LawPage, law_pages
from benchmarks.site.numbers import fixed
from benchmarks.site.plot import LINE, against_steps
from tests.helpers import call, mistake
from tests.site.conftest import EVIL, ROOT
from tests.site.pages import Element, read


@pytest.fixture(scope="module")
def laws(ranked: pd.DataFrame) -> list[LawPage]:
    return law_pages(ranked)


@pytest.fixture(scope="module")
def pages(built: Path) -> dict[str, Element]:
    return {path.relative_to(built).as_posix(): read(path) for path in sorted(built.rglob("*.html"))}


def test_there_is_a_page_for_all_there_is(pages: dict[str, Element], ranked: pd.DataFrame) -> None:
    laws = ranked.groupby(["law", "d", "N", "noise_std", "law_params"]).ngroups
    assert sum(name.startswith("laws/") for name in pages) == laws
    studies = {path.stem for path in (ROOT / "results" / "studies").glob("*.md")}
    assert all(any(study.replace("_", "-") in name for name in pages) for study in studies)
    assert {"index.html", "verdicts.html", "before.html", "studies.html", "runs.html", "reading.html"} <= set(pages)


def test_every_page_has_one_heading_a_title_of_its_own_and_no_id_twice(pages: dict[str, Element]) -> None:
    titles = [page.all("title")[0].text for page in pages.values()]
    assert len(set(titles)) == len(titles)
    for name, page in pages.items():
        assert len(page.all("h1")) == 1, name
        ids = [one.attributes["id"] for one in page.all(id="")]
        assert len(set(ids)) == len(ids), name


def test_everything_a_page_links_to_is_there_and_no_host_is_asked(pages: dict[str, Element], built: Path) -> None:
    for name, page in pages.items():
        for element in page.all():
            for attribute in ("href", "src", "xlink:href", "action", "srcset"):
                target = element.attributes.get(attribute)
                if target is None or target == "data:,":
                    continue
                if re.match(r"(\w+:)?//|\w+:", target):
                    assert (element.tag, attribute) == ("a", "href"), (name, target)
                    continue
                path, _, fragment = unquote(target).partition("#")
                file = (built / name).parent / path if path else built / name
                assert file.is_file(), (name, target)
                if fragment:
                    assert read(file).all(id=fragment), (name, target)
    for asset in (built / "assets").iterdir():
        assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(|https?://(?!unlicense)", asset.read_text())


def test_it_is_small(built: Path) -> None:
    sizes = {path.relative_to(built).parts[0]: 0 for path in built.rglob("*")}
    for path in built.rglob("*"):
        sizes[path.relative_to(built).parts[0]] += path.stat().st_size if path.is_file() else 0
    assert sum(size for name, size in sizes.items() if name != "figures") < 3e6, sizes


def test_tables_show_the_numbers_of_the_run(pages: dict[str, Element], laws: list[LawPage]) -> None:
    for law in laws:
        board = pages[f"laws/{law.slug}.html"].all("table", id="solvers")[0]
        rows = {row.attributes["data-key"]: row for row in board.all("tr", data_key="")}
        found = solvers(law.table)
        assert len(rows) == len(found)
        for number, by_steps in enumerate(found):
            head, rank, *cells = [part for part in rows[f"s{number}"].parts if isinstance(part, Element)]
            one = next(iter(by_steps.values()))
            assert head.text.startswith(one["solver"])
            for step, cell in zip(law.steps, cells, strict=False):
                row = by_steps.get(step)
                if row is None or pd.isna(row["log_loss"]):
                    assert cell.attributes["data-sort"] == ""
                    continue
                assert float(cell.attributes["data-sort"]) == row["log_loss"]
                ends = f"[{fixed(row['log_low'])}, {fixed(row['log_high'])}]"
                assert cell.text.startswith("exact") or (fixed(row["log_loss"]) in cell.text and ends in cell.text)
            at = by_steps.get(law.board.steps, {})
            shown = at.get("rank", pd.NA)
            assert rank.text == ("" if pd.isna(shown) else str(shown))
            gap = cells[len(law.steps)]
            assert gap.attributes["data-sort"] == ("" if pd.isna(at.get("gap_to_floor")) else str(at["gap_to_floor"]))


def test_plots_name_the_numbers_of_the_run(pages: dict[str, Element], laws: list[LawPage]) -> None:
    for law in laws:
        plots = pages[f"laws/{law.slug}.html"].all("figure")
        words = {title.text for plot in plots for title in plot.all("title")}
        assert len(plots) == len(law.plots) <= 2
        shown = law.table[law.table["log_loss"].between(-29, 1e9)].to_dict("records")
        for row in shown:
            numbers = f"{fixed(row['log_loss'], 3)} [{fixed(row['log_low'], 3)}, {fixed(row['log_high'], 3)}]"
            name, step = row["solver"], f", {row['steps']} step"
            found = [text for text in words if text.startswith(name) and step in text and numbers in text]
            assert found, (name, step, numbers)
        named = " ".join(name.text for name in plots[0].all("ol")[0].all("li"))
        assert all(row["solver"] in named for row in shown if row["learned"])


def test_downloads_are_the_run(built: Path, reference: Run, ranked: pd.DataFrame) -> None:
    with zipfile.ZipFile(built / "data/runs/core-reference.zip") as packed:
        for name in ("scores.csv", "timings.csv", "meta.json"):
            assert packed.read(f"core-reference/{name}") == (reference.path / name).read_bytes()
    tables = [pd.read_csv(path) for path in sorted((built / "data/laws").glob("*.zip"))]
    assert sum(map(len, tables)) == len(ranked)
    assert sorted(pd.concat(tables)["log_loss"].dropna()) == pytest.approx(
        sorted(ranked["log_loss"].dropna()), rel=1e-5
    )


def test_verdicts_are_those_of_the_page_they_are_from(pages: dict[str, Element]) -> None:
    cells = [cell.text for cell in pages["verdicts.html"].all("td") if "verdict" in cell.attributes.get("class", "")]
    text = (ROOT / "results/paper/VERDICTS.md").read_text()
    table = [line.split("|") for line in text.splitlines() if line.startswith("|")][2:]
    assert cells == [line[-2].strip() for line in table]
    counted = {item.text for item in pages["verdicts.html"].all("ul", **{"class": "counts"})[0].all("li")}
    assert f"{sum(cell.startswith('refuted') for cell in cells)} refuted" in counted


def test_the_site_of_the_committed_run_has_at_most_3_mb(built: Path) -> None:
    assert sum(path.stat().st_size for path in built.rglob("*") if path.is_file()) <= 3e6


def test_a_figure_says_the_same_in_fewer_words_and_what_is_none_is_left_alone(tmp_path: Path) -> None:
    figure = ROOT / "results/scaling/scaling_d.svg"
    short = shrunk(figure)
    assert len(short) < 0.8 * figure.stat().st_size
    texts = [[text.strip() for text in re.findall(r"<text[^>]*>([^<]*)", one)] for one in (figure.read_text(), short)]
    assert texts[0] == texts[1]
    (tmp_path / "odd.svg").write_text("<svg <<")
    assert shrunk(tmp_path / "odd.svg") == "<svg <<"


def test_the_same_runs_give_the_same_files(run: Run) -> None:
    assert site([run], ROOT / "results") == site([run], ROOT / "results")


def test_the_library_for_tables_is_the_one_that_was_looked_at() -> None:
    """sortable-tablesort 4.1.7, dist/sortable.min.js, in the public domain."""
    assets = ROOT / "benchmarks/site/assets"
    digest = hashlib.sha256((assets / "sortable.min.js").read_bytes()).hexdigest()
    assert digest == "a887cf42ad5b69673364c529afe8500b31dfbe3e78c2e623bee6430fc69b990f"
    assert "public domain" in (assets / "sortable.LICENSE.txt").read_text()


def test_names_of_strangers_mean_nothing_in_a_page(hostile: Run, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "odd.md").write_text(
        f"# Odd {EVIL}\n\n[a](javascript:alert(5)) [b](//host/x) ![c](http://host/y)\n"
    )
    files = site([hostile], tmp_path)
    said = ""
    for place, content in files.items():
        if place.endswith(".html"):
            page = read(str(content))
            said += page.text
            assert [one.attributes["src"].split("/")[-1] for one in page.all("script")] == [
                "sortable.min.js",
                "site.js",
            ]
            for one in page.all():
                assert not [name for name in one.attributes if name.startswith("on")], place
                assert one.tag != "img", place
                assert not re.match(r"javascript:|//", one.attributes.get("href", "")), place
        assert re.fullmatch(r"[\w./-]+", place), "a name of a file that a stranger chose"
    assert said.count("<script>alert(1)</script>") > 10
    assert "<svg onload=alert(3)>" in said
    law = next(content for place, content in files.items() if place.startswith("data/laws"))
    assert isinstance(law, bytes)
    with zipfile.ZipFile(io.BytesIO(law)) as packed:
        assert b"'=HYPERLINK(0)" in packed.read(packed.namelist()[0])


def test_only_what_is_there_has_a_page(run: Run, tmp_path: Path) -> None:
    files = site([run, run], tmp_path)
    assert {place for place in files if place.endswith(".html") and "/" not in place} == {
        "index.html",
        "runs.html",
        "reading.html",
    }
    assert {"data/runs/small.zip", "data/runs/small-1.zip"} <= set(files)
    menu = read(str(files["index.html"])).all("nav")[0]
    assert [link.text for link in menu.all("a")] == ["Overview", "Runs and downloads", "How to read this"]


def test_laws_that_differ_in_one_thing_have_pages_of_their_own(ranked: pd.DataFrame) -> None:
    one = ranked[ranked["fingerprint"] == ranked["fingerprint"].iloc[0]]
    other = one.assign(dtype="float32")
    third = one.assign(fingerprint="another")
    pages = law_pages(pd.concat([one, other, third]))
    assert len({page.slug for page in pages}) == len({page.title for page in pages}) == 3


def test_a_law_without_losses_or_times_is_shown_all_the_same(ranked: pd.DataFrame) -> None:
    one = ranked[ranked["fingerprint"] == ranked["fingerprint"].iloc[0]]
    nothing = float("nan")
    (untimed,) = law_pages(one.assign(warm_seconds=nothing, batch=nothing))
    assert [plot.title for plot in untimed.plots] == ["Loss against steps"]
    assert untimed.tasks is None
    lost = one.assign(
        log_loss=nothing, log_low=nothing, log_high=nothing, gap_to_floor=nothing, status="error", rank=pd.NA
    )
    (page,) = law_pages(lost.assign(reason="it raised"))
    assert page.plots == []
    assert page.groups[0].lines[0].losses[0].text == "error"
    assert page.remarks[0].endswith("error: it raised")


def test_a_failure_is_marked_as_one_where_few_tasks_carry_the_mean_too(ranked: pd.DataFrame) -> None:
    one = ranked[ranked["fingerprint"] == ranked["fingerprint"].iloc[0]].assign(tail_limited=True, log_loss=1.0)
    for status, reason, mark in (("ok", "", "~"), ("diverged", "1 of 9 tasks: it grew", "!")):
        (page,) = law_pages(one.assign(status=status, reason=reason))
        cell = page.groups[0].lines[0].losses[0]
        assert "few tasks carry" in cell.note
        assert cell.mark == mark


def test_names_beside_a_plot_do_not_overprint_however_many_there_are() -> None:
    points = [[Point(step, -step * (1 + n // 7), -step, -step + 1, 1.0, "") for step in (1, 2, 3)] for n in range(60)]
    plot = against_steps("many", [Curve(f"s{n}", f"n{n}", "learned", True, own) for n, own in enumerate(points)])
    assert plot is not None
    tops = [name.top * plot.height / 100 for name in plot.names]
    assert min(b - a for a, b in pairwise(tops)) > LINE - 0.2
    assert 0 < tops[0] < tops[-1] < plot.height


def test_a_curve_that_leaves_the_others_far_below_does_not_press_them_together(ranked: pd.DataFrame) -> None:
    one = ranked[ranked["fingerprint"] == ranked["fingerprint"].iloc[0]]
    learned = one["learned"] & (one["solver"] == one.loc[one["learned"], "solver"].iloc[0])
    plot = against_steps("far", law_curves(solvers(one.assign(log_loss=one["log_loss"].where(~learned, 600.0))), [], 3))
    assert plot is not None
    assert len(plot.y_ticks) > 2
    assert max(float(text.replace("−", "-")) for _, text in plot.y_ticks) < 100


def test_a_site_takes_the_place_of_a_site_and_of_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "site"
    write_site({MARK: "", "index.html": "one", "old.html": "gone"}, folder)
    write_site({MARK: "", "index.html": "two"}, folder)
    assert sorted(path.name for path in folder.iterdir()) == [MARK, "index.html"]
    assert (folder / "index.html").read_text() == "two"
    assert [path.name for path in folder.parent.iterdir()] == ["site"], "nothing temporary is left"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text.tex").touch()
    for place in (tmp_path / "thesis", tmp_path / "thesis" / "text.tex"):
        with pytest.raises(UserError, match="no site of memformer-bench"):
            write_site({MARK: ""}, place)
    assert (tmp_path / "thesis" / "text.tex").exists()


def test_the_folder_that_one_is_in_is_not_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"'\.' cannot be swapped for a site as a whole"):
        write_site({MARK: ""}, Path())


def test_the_command_says_where_the_page_is_and_what_is_wrong(results: Path, tmp_path: Path) -> None:
    done = call("site", "small", "--results", results, "--output", "here", folder=tmp_path)
    assert done.code == 0, done.error
    assert done.output.startswith("written: here/index.html and ")
    assert (tmp_path / "here" / "index.html").is_file()
    assert "no run 'gone'" in mistake("site", "gone", folder=tmp_path)
    (tmp_path / "file").touch()
    said = mistake("site", "small", "--results", results, "--output", "file/site", folder=tmp_path)
    assert "the site cannot be written to file/site" in said
