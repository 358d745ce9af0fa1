"""What `mkdocs build` does here besides: pages from outside `docs`, the commands, a look at what a page would load."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from benchmarks.cli.main import app

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")
"""Targets of links within the repository."""

LOADED = re.compile(
    r"<(?:script|img|iframe|source)[^>]*\ssrc=[\"']?(?:https?:)?//|<link[^>]*\shref=[\"']?(?:https?:)?//"
)
"""What makes a browser ask another host as soon as the page is shown."""


def outside(page: str, target: str) -> str | None:
    """Path in the repository of what a page of `docs` links to, if it lies outside of `docs`."""
    path = normpath(join("docs", dirname(page), target))
    return None if path.startswith("docs/") else path


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add what pages link to outside of `docs`: results as pages, other files as they are."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        source = files.get_file_from_path(page)
        assert source is not None
        for target in LINK.findall(source.content_string):
            path = outside(page, target)
            if path is None or files.get_file_from_path(path) or not (ROOT / path).is_file():
                continue
            files.append(
                File.generated(config, path, abs_src_path=str(ROOT / path), inclusion=InclusionLevel.NOT_IN_NAV)
            )
            if path.endswith(".md"):
                waiting.append(path)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of `docs` to those pages; fill in the commands."""
    here = page.file.src_uri

    def lead(link: re.Match[str]) -> str:
        path = outside(here, link[1])
        return link[1] if path is None else relpath(path, dirname(here) or ".")

    if here == "reference/commands.md":
        command = typer.main.get_command(app)
        context = command.context_class(command, info_name="memformer-bench")
        told = get_docs_for_click(obj=command, ctx=context, name="memformer-bench")
        markdown += "\n" + re.sub(r"^#", "##", told, flags=re.MULTILINE)
    return LINK.sub(lead, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that makes a browser ask another host."""
    asked = LOADED.search(output)
    if asked is not None:
        raise PluginError(f"{page.file.src_uri} would load something from another host: {asked[0]}")
    return output
