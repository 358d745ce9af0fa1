"""What a reader of the verdicts sees first: ten lines; and what was said before, and why it is judged otherwise."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from importlib import resources

Row = dict[str, str]


def lines(judged: Sequence[Row], comparisons: int) -> list[str]:
    """One line that counts verdicts, and one for each topic, in the order of the table."""
    counted = Counter(_word(row["verdict"]) for row in judged)
    counts = ", ".join(f"{number} {word}" for word, number in counted.most_common())
    first = f"**{len(judged)} claims**, {comparisons} comparisons on fresh tasks: {counts}."
    topics: dict[str, list[str]] = {}
    for row in judged:
        topics.setdefault(row["topic"], []).append(row["short"])
    return [first, *(f"**{topic}.** {'; '.join(told)}." for topic, told in topics.items())]


def _word(verdict: str) -> str:
    """The verdict without what stands beside it."""
    return re.split(r" \(|,|:", verdict)[0]


def before_and_after(judged: Sequence[Row]) -> list[Row]:
    """One row a claim: what commit 76bd9b2 said, what is said now, and why."""
    before, rows = changes_before(), []
    for row in judged:
        old = before.get((row["claim"], row["experiment"]), {"verdict": "", "why": "was not judged"})
        why = old.get("why", "same comparison, with Holm's correction and a margin")
        rows.append({key: row[key] for key in ("claim", "experiment")} | {"before": old["verdict"]})
        rows[-1] |= {"after": row["verdict"], "why": why}
    return rows


def changes_before() -> dict[tuple[str, str], Row]:
    """By claim and experiment: its `verdict` at commit 76bd9b2, and `why` it is judged otherwise, if it is."""
    text = resources.files("benchmarks.experiments.paper").joinpath("before.toml").read_text()
    return {(entry["claim"], entry["experiment"]): entry for entry in tomllib.loads(text)["before"]}
