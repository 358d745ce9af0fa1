"""Text that is not this project's own (names in plug-ins, runs and files) in a page or table, where it means nothing.

A plug-in may be called `a|b`, `100%_x` or `=HYPERLINK("...")`, and a run may come from a stranger.
"""

from __future__ import annotations

import re

from tabulate import LATEX_ESCAPE_RULES

LATEX = str.maketrans(LATEX_ESCAPE_RULES)


def plain(text: object) -> str:
    r"""Text on one line, without control characters, which move the cursor of a terminal and end a comment of LaTeX.

    Example:
        >>> plain("a\nb \x1b[2J")
        'a b [2J'
    """
    return "".join(letter for letter in " ".join(str(text).split()) if letter.isprintable())


def lines(text: object) -> str:
    r"""Text of several lines for a terminal: as `plain`, but lines and spaces stay as they are.

    Example:
        >>> print(lines("a  b\x1b[2J\n\rc"))
        a  b[2J
        c
    """
    return "".join(letter for letter in str(text) if letter.isprintable() or letter == "\n")


def latex(text: object) -> str:
    r"""Text that LaTeX sets as it is.

    Example:
        >>> print(latex("100%_x"))
        100\%\_x
    """
    return plain(text).translate(LATEX)


def markdown(text: object) -> str:
    r"""Text that Markdown shows as it is; underscores within words and brackets without a target mean nothing there.

    Example:
        >>> print(markdown("held_out <b> a|b *"))
        held_out \<b\> a\|b \*
    """
    return re.sub(r"([\\`*<>#|~&$]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", plain(text))


def code(text: object) -> str:
    r"""A span of code of Markdown, between fences longer than any in the text; in a table if `cells` escapes it.

    Example:
        >>> code("cg"), code("a`b")
        ('`cg`', '`` a`b ``')
    """
    content = plain(text)
    runs = [len(run) for run in re.findall("`+", content)]
    fence = "`" * (max(runs, default=0) + 1)
    return f"{fence} {content} {fence}" if runs else f"{fence}{content}{fence}"


def cell(text: object) -> object:
    r"""A cell of a Markdown table: a bare pipe would end it, in a span of code too. What is no text is left alone.

    Example:
        >>> print(cell(r"a|b \| c"))
        a\|b \| c
    """
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split("\n"))) if isinstance(text, str) else text


def csv(text: object) -> object:
    """A cell of a CSV file that a spreadsheet shows, and does not compute: what begins like a formula gets a quote.

    Example:
        >>> csv("=1+1"), csv("cg"), csv(-1.5), csv("-1.5")
        ("'=1+1", 'cg', -1.5, '-1.5')
    """
    begins = isinstance(text, str) and re.match(r"[=+@\t\r-](?!\.?\d[\d.]*(?:e[+-]?\d+)?$)", text)
    return f"'{text}" if begins else text
