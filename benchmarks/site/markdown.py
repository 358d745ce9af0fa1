"""Pages that others wrote in Markdown, as part of the site: nothing in them is taken as HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

from benchmarks.site.numbers import slug

VERDICTS = ("holds", "holds in part", "no difference", "no gain", "undecided", "refuted")
"""How a verdict begins, from best to worst; a page gives each a colour."""

Find = Callable[[str], str | None]
"""Where a page of the site has what a page of Markdown calls so; None: it has not."""


@dataclass(frozen=True)
class Words:
    """A page in HTML, with the text of its first heading, and the verdicts in its tables, in their order."""

    title: str
    html: str
    verdicts: list[str]


def verdict(text: str) -> str | None:
    """The verdict that a text begins with.

    Example:
        >>> verdict("holds in part (alike at 2)"), verdict("cg")
        ('holds in part', None)
    """
    return max((word for word in VERDICTS if text.startswith(word)), key=len, default=None)


def to_html(text: str, find: Find, name: str) -> Words:
    """A page of Markdown as HTML: wide tables in boxes that scroll, verdicts marked, links that lead somewhere.

    Args:
        text: of the page.
        find: where a link or a picture that is no address leads.
        name: of the page, where it has no heading.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    tokens = parser.parse(re.sub(r"(?<=\])\*(?!\*)", r"\\*", text))  # a mark behind an interval begins no emphasis
    title, verdicts, ids = name, [], []
    heads, place = list[str](), 0
    for before, token, _ in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if before.type == "heading_open":
            ids.append(slug(token.content))
            before.attrSet("id", ids[-1] + f"-{ids.count(ids[-1])}" * (ids.count(ids[-1]) > 1))
            if before.tag == "h1":
                title = token.content
        said = verdict(token.content) if before.type == "td_open" else None
        heads = [] if before.type == "thead_open" else heads + [token.content] * (before.type == "th_open")
        place = 0 if before.type == "tr_open" else place
        if before.type == "td_open":
            if "verdict" in heads:
                before.attrSet("data-label", heads[place])  # for small screens, where such rows are set as blocks
            place += 1
        if said:
            before.attrJoin("class", f"verdict {slug(said)}")
            verdicts.append(said)
        if token.type == "inline":
            token.children = _found(token.children or [], find)
            for part in token.children if before.type == "th_open" else ():
                part.content = part.content.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    return Words(title, parser.renderer.render(tokens, parser.options, {}), verdicts)


def _found(tokens: list[Token], find: Find) -> list[Token]:
    """The tokens of a line with their links and pictures where the site has them, as text where it has not."""
    kept: list[Token] = []
    opened: list[bool] = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "link_open":
            target = _target(str(token.attrGet("href")), find)
            opened.append(target is not None)
            token.attrSet("href", target or "")
        elif token.type == "image":
            target = find(str(token.attrGet("src")))
            if target is None:
                token = Token("text", "", 0, content=token.content)
            else:
                token.attrSet("src", target)
        elif before is not None and before.type == "strong_open" and verdict(token.content):
            before.attrJoin("class", f"verdict {slug(verdict(token.content) or '')}")
        if token.type not in ("link_open", "link_close") or opened[-1]:
            kept.append(token)
        if token.type == "link_close":
            opened.pop()
    return kept


def _target(href: str, find: Find) -> str | None:
    outside = href.startswith(("https://", "http://", "mailto:", "#"))
    return href if outside else find(href.partition("#")[0])


def _table_open(renderer: object, tokens: Sequence[Token], index: int, *_: object) -> str:
    number = sum(token.type == "table_open" for token in tokens[: index + 1])
    return f'<div class="scroll" tabindex="0" role="region" aria-label="table {number}"><table class="words">\n'


def _table_close(*_: object) -> str:
    return "</table></div>\n"
