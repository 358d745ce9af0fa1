"""The site in a real Chromium: quiet, usable by keyboard, in the dark and on a small screen, with tables that sort."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.runs.read import Run
from benchmarks.site.build import site, write_site
from benchmarks.site.laws import LawPage, law_pages
from benchmarks.site.numbers import fixed

pytestmark = pytest.mark.browser

Open = Callable[..., Any]

AXE = {"preload": False, "resultTypes": ["violations"]}
"""It need not ask for the style sheet again, nor describe what is as it should be."""


@pytest.fixture(scope="module")
def law(ranked: pd.DataFrame) -> LawPage:
    """The law with most solvers."""
    return max(law_pages(ranked), key=lambda one: len({*one.table["solver"]}))


@pytest.fixture
def tab(browser: Any, built: Path) -> Iterator[Open]:
    """A tab at a page of the site, `width` wide; in it nothing may be said, raised or asked for elsewhere."""
    noise: list[str] = []
    contexts = []

    def opened(place: str = "index.html", width: int = 1300, scheme: str = "light", script: bool = True) -> Any:
        view = {"width": width, "height": 900}
        contexts.append(browser.new_context(viewport=view, color_scheme=scheme, java_script_enabled=script))
        page = contexts[-1].new_page()
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("requestfailed", lambda request: noise.append(f"failed: {request.url}"))
        page.on("request", lambda one: None if one.url.startswith(("file://", "data:")) else noise.append(one.url))
        page.goto((built / place).as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert noise == []


def until(page: Any, expression: str) -> None:
    """Wait until an expression holds; the page's own policy forbids what playwright has for it."""
    ends = time.monotonic() + 5
    while not page.evaluate(expression):
        assert time.monotonic() < ends, expression
        page.wait_for_timeout(10)


def names(page: Any) -> list[str]:
    """Solvers of the table that are seen, from top to bottom."""
    return page.eval_on_selector_all(
        "#solvers tr[data-key]", "all => all.filter(one => one.checkVisibility()).map(one => one.dataset.key)"
    )


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1300, "light")])
def test_every_page_is_quiet_and_no_wider_than_the_screen(tab: Open, built: Path, width: int, scheme: str) -> None:
    """Every page on the small screen; of a law and of a study one on the large one."""
    page = tab(width=width, scheme=scheme)
    paths = sorted(built.rglob("*.html"))
    firsts = {path.parent: path for path in reversed(paths)}
    for path in paths if width < 1000 else [path for path in paths if path.parent == built or path in firsts.values()]:
        page.goto(path.as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{path.name} is {wide} wide"
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)"), path.name
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, paper.strip("rgb()").split(","))) < 200) == (scheme == "dark")


def test_names_of_strangers_run_no_program_and_stay_on_the_screen(tab: Open, hostile: Run, tmp_path: Path) -> None:
    write_site(site([hostile], tmp_path), tmp_path / "site")
    page = tab(width=400)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    for path in sorted((tmp_path / "site").rglob("*.html")):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 400, path.name


def test_a_table_sorts_within_groups_and_across_them(tab: Open, law: LawPage) -> None:
    page = tab(f"laws/{law.slug}.html")
    header = page.get_by_role("button", name=re.compile(rf"^k\s=\s{law.board.steps}$"))
    index = 2 + law.steps.index(law.board.steps)
    read = f"""() => [...document.querySelectorAll('#solvers tbody:not(.group)')].map(
        body => [...body.rows].map(row => row.cells[{index}].dataset.sort))"""
    for direction, sign in (("ascending", 1), ("descending", -1)):
        header.click()
        page.wait_for_selector(f"th[aria-sort={direction}]")
        page.wait_for_timeout(20)
        for group in page.evaluate(read):
            known = [sign * float(value) for value in group if value]
            assert known == sorted(known)
            assert "" not in group[: len(known)], "what is empty comes last"
    page.get_by_label("one list").check()
    page.wait_for_timeout(20)
    first, *rest = page.evaluate(read)
    assert not any(rest)
    known = [float(value) for value in first if value]
    assert known == sorted(known, reverse=True)
    assert len(first) == sum(len(group.lines) for group in law.groups)
    page.get_by_label("one list").uncheck()
    assert [len(group) for group in page.evaluate(read)] == [len(group.lines) for group in law.groups]


def test_a_table_filters(tab: Open, law: LawPage) -> None:
    page = tab(f"laws/{law.slug}.html")
    lines = [line for group in law.groups for line in group.lines]
    assert names(page) == [line.key for line in lines]
    page.get_by_label("learned only").check()
    assert names(page) == [line.key for line in lines if line.kind == "learned"]
    learned = [group for group in law.groups if any(line.kind == "learned" for line in group.lines)]
    assert page.locator("tbody.group:visible").count() == len(learned) < len(law.groups)
    page.get_by_label("learned only").uncheck()
    page.get_by_label("Search").fill("c G")
    assert names(page) == [line.key for line in lines if {"c", "g"} <= set(f"{line.name}{line.settings}".lower())]
    page.get_by_label("Search").fill("")
    page.get_by_label("Group").select_option(index=1)
    assert names(page) == [line.key for line in law.groups[0].lines]
    assert page.locator("output").inner_text() == f"{len(law.groups[0].lines)} of {len(lines)} solvers"


def test_a_plot_shows_the_numbers_under_the_pointer(tab: Open, law: LawPage) -> None:
    page = tab(f"laws/{law.slug}.html")
    key = next(name.curve.key for name in law.plots[0].names if name.curve.key)
    line = next(line for group in law.groups for line in group.lines if line.key == key)
    row = law.table[(law.table["solver"] == line.name) & (law.table["steps"] == law.steps[0])].iloc[0]
    curve = page.locator(f".plot >> nth=0 >> g[data-key={key}]")
    curve.locator("circle").first.hover(force=True)
    assert f"{line.name}, {law.steps[0]} step" in page.locator(".tip:visible").inner_text()
    assert fixed(row["log_loss"], 3) in page.locator(".tip:visible").inner_text()
    assert page.locator("g.curve.on").count() >= 1
    page.locator("h1").hover()
    assert page.locator(".tip:visible").count() == page.locator("g.curve.on").count() == 0
    page.locator(f"#solvers tr[data-key={key}] td").first.hover()
    assert "on" in curve.get_attribute("class")


def test_the_keyboard_is_enough(tab: Open, law: LawPage) -> None:
    page = tab(f"laws/{law.slug}.html")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    assert page.locator(":focus").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.locator(":focus").get_attribute("id") == "main"
    header = page.get_by_role("button", name="rank")
    header.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Space")
    page.wait_for_selector("th[aria-sort=ascending]")
    page.set_viewport_size({"width": 400, "height": 900})
    box = page.get_by_role("region", name=f"Every solver on {law.title}")
    box.focus()
    page.keyboard.press("ArrowRight")
    until(page, "document.activeElement.scrollLeft > 0")


def test_without_scripts_everything_is_there_to_read(tab: Open, law: LawPage) -> None:
    page = tab(f"laws/{law.slug}.html", width=400, script=False)
    assert page.locator("#solvers tr[data-key]").count() == sum(len(group.lines) for group in law.groups)
    assert page.locator(".plot svg").first.is_visible()
    assert page.locator("form.filter").is_hidden()
    assert page.locator("circle title").count() > 20


@pytest.mark.parametrize(("scheme", "rules"), [("light", {}), ("dark", {"runOnly": ["color-contrast"]})])
def test_axe_finds_nothing_serious(tab: Open, law: LawPage, scheme: str, rules: dict[str, list[str]]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = tab(scheme=scheme)
    start = page.url.removesuffix("index.html")
    places = ["index.html", f"laws/{law.slug}.html", "verdicts.html", *["runs.html", "reading.html"] * (not rules)]
    for place in places:
        page.goto(start + place)
        page.evaluate("document.querySelectorAll('details').forEach((one, index) => (one.open = index < 1))")
        found = axe.Axe().run(page, options=AXE | rules).response["violations"]
        grave = [
            (one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")
        ]
        assert grave == [], place
