"""What holds of the paper's claims: computed from the two tables by one rule, never typed."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import resources
from statistics import fmean

from benchmarks.experiments.paper.curves import Point, by_layers
from benchmarks.experiments.paper.entries import PaperExperiment
from benchmarks.reports.comparison import Setting, levels_of_pair
from benchmarks.statistics import compare
from benchmarks.suites.entries import Strict

_CLAIMS = tomllib.loads(resources.files("benchmarks.experiments.paper").joinpath("claims.toml").read_text("utf-8"))

RULE: str = _CLAIMS["rule"]
"""How a claim is judged, in words."""

EXPERT_CLAIMS: dict[str, str] = _CLAIMS["experts"]
"""What is claimed of each way of joining experts, `{one}` the model it is compared with and `{where}` on which laws."""


class Claim(Strict):
    """A claim as a comparison of two curves, the first of which is said to have the lower loss.

    Attributes:
        text: for people.
        experiment: id of the figure it is read off.
        published: two curves of the figure; none for a question that the paper does not ask.
        honest: two solvers of the suite `paper`.
        layers: that are judged.
    """

    text: str
    experiment: str
    published: list[str] = []
    honest: list[str]
    layers: list[int] = [1, 2, 3, 4]


def claims() -> list[Claim]:
    """All of them, in order."""
    return [Claim.model_validate(entry) for entry in _CLAIMS["claim"]]


def judge(claim: Claim, redone: Sequence[Point], setting: Setting) -> dict[str, str]:
    """One row of the table.

    Args:
        claim: what is said.
        redone: points of the published protocol, all experiments.
        setting: of the suite `paper`, on the law of the claim's experiment.

    Returns:
        `claim`, `experiment`, `published` and `fresh` (the numbers, layer by layer), `verdict`.
    """
    first, second = (setting.entry(label) for label in claim.honest)
    levels = levels_of_pair(first, second)
    found = {k: compare(first.losses[k], second.losses[k], levels) for k in claim.layers}
    holds = all(c.log_ratio_high < 0 for c in found.values())
    refuted = any(c.log_ratio_low > 0 for c in found.values())
    differences = published_difference(claim, redone) if claim.published else []
    fresh = ", ".join(
        f"{c.log_ratio:+.2f} [{c.log_ratio_low:+.2f}, {c.log_ratio_high:+.2f}]{'*' * c.tail_limited}"
        for c in found.values()
    )
    return {
        "claim": claim.text,
        "experiment": claim.experiment,
        "layers": ", ".join(map(str, claim.layers)),
        "published": ", ".join(f"{value:+.2f}" for value in differences),
        "fresh": fresh,
        "verdict": verdict(bool(differences) and all(value < 0 for value in differences), holds, refuted),
    }


def verdict(seen: bool, holds: bool, refuted: bool) -> str:
    """The rule, in words.

    Example:
        >>> verdict(seen=True, holds=False, refuted=True)
        'holds only as published'
    """
    if holds:
        return "holds"
    if seen:
        return "holds only as published"
    return "does not hold" if refuted else "not decided"


def published_difference(claim: Claim, redone: Sequence[Point]) -> list[float]:
    """Difference of the redone curves' means at each layer judged; empty without the points."""
    first, second = (by_layers(redone, claim.experiment, curve) for curve in claim.published)
    if not first or not second:
        return []
    return [fmean(first[layers]) - fmean(second[layers]) for layers in claim.layers]


def law_of(experiment: PaperExperiment) -> tuple[str, int]:
    """Law and dimension of an experiment's counterpart."""
    return ("isotropic" if len(set(experiment.scales)) == 1 else "anisotropic"), len(experiment.scales)
