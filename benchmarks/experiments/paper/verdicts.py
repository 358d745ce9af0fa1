"""What holds of the paper's claims: computed from tables by one rule, never typed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Self

from benchmarks.experiments.experiment import read_toml
from benchmarks.experiments.paper.curves import Point, by_layers
from benchmarks.experiments.paper.entries import PaperExperiment
from benchmarks.reports.comparison import Setting, SolverLosses, levels_of_pair
from benchmarks.statistics import Levels, compare, holm, log_ratio_p_value
from benchmarks.statistics.intervals import Array
from benchmarks.suites.entries import Strict

MARGIN = 0.05
"""Log ratios of mean losses that do not matter: the tolerance of the experiment `memory` as well."""

EXCEEDS = 25.0
"""Log ratios beyond it are those to an answer that is exact, or far from any."""


class Training(Strict):
    """Where a claim's training speed is found: a memory of the experiment `memory`, against none."""

    memory: str
    preconditioner: str


class Claim(Strict):
    """A claim as a comparison of two curves, the first of which is said to have the lower loss.

    Attributes:
        text: for people.
        topic: under which of the first lines it is told.
        short: what it says, there.
        experiment: id of the figure it is read off.
        published: two curves of the figure; none for a question that the paper does not ask.
        honest: two solvers of the suite `paper`.
        layers: that are judged.
        equal_work: whether the second takes as many steps as cost no more floating-point operations than the first's
            layers, in place of as many as there are layers.
        training: where it is found how fast both train.
    """

    text: str
    topic: str
    short: str
    experiment: str
    published: list[str] = []
    honest: list[str]
    layers: list[int] = [1, 2, 3, 4]
    equal_work: bool = False
    training: Training | None = None


@dataclass(frozen=True)
class Part:
    """One comparison of two mean losses.

    Attributes:
        where: layers, or a law.
        ratio, low, high: log ratio with its 95 % interval.
        p_value: of equal means.
        tail: whether few tasks carry the means.
    """

    where: str
    ratio: float
    low: float
    high: float
    p_value: float
    tail: bool = False

    @classmethod
    def of_row(cls, where: str, row: Mapping[str, Any]) -> Self:
        """The part that `row` was made of."""
        numbers = (row[name] for name in ("ratio", "ratio_low", "ratio_high", "p_value"))
        return cls(where, *numbers, tail=bool(row["tail_limited"]))

    @property
    def row(self) -> dict[str, Any]:
        """Its numbers as columns of a table."""
        ends = {"ratio": self.ratio, "ratio_low": self.low, "ratio_high": self.high}
        return {**ends, "p_value": self.p_value, "tail_limited": self.tail}

    def found(self, corrected: float) -> str:
        """`alike`, `lower`, `higher` or `open`, given the corrected p-value.

        Example:
            >>> Part("2", -0.4, -0.5, -0.3, 1e-9).found(1e-8), Part("2", -0.4, -0.9, 0.1, 0.1).found(1.0)
            ('lower', 'open')
        """
        if self.low > -MARGIN and self.high < MARGIN:
            return "alike"
        return "open" if not corrected <= 0.05 else "lower" if self.ratio < 0 else "higher"


@dataclass(frozen=True)
class Evidence:
    """What is known of one claim.

    Attributes:
        claim, topic, short, experiment: see `Claim`.
        parts: comparisons on fresh tasks.
        published: differences of the redone curves, layer by layer.
        layers: that are judged.
        speed: how many times fewer training steps the first takes, as a sentence.
        stated: the verdict, where it comes from a rule of its own and not from `parts`.
        fresh: what was found, where it is not `parts` one by one.
    """

    claim: str
    topic: str
    short: str
    experiment: str
    parts: Sequence[Part] = ()
    published: Sequence[float] = ()
    layers: str = ""
    speed: str = ""
    stated: str = ""
    fresh: str = ""


def claims() -> list[Claim]:
    """All of them, in order."""
    return [Claim.model_validate(entry) for entry in read_toml("benchmarks.experiments.paper", "claims.toml")["claim"]]


def said(name: str, **filled_in: object) -> dict[str, Any]:
    """`claim`, `topic`, `short` and `experiment` of evidence that is no comparison of two curves."""
    texts: dict[str, str] = read_toml("benchmarks.experiments.paper", "claims.toml")["other"][name]
    return {key: text.format(**filled_in) for key, text in texts.items()}


Operations = Callable[[str, int], float]
"""Floating-point operations a task of a solver of the run, by label and steps."""


def gather(claim: Claim, redone: Sequence[Point], setting: Setting, operations: Operations, speed: str) -> Evidence:
    """What the run and the redone curves know of a claim.

    Args:
        claim: what is said.
        redone: points of the published protocol, all experiments.
        setting: of the suite `paper`, on the law of the claim's experiment.
        operations: needed where work is equal.
        speed: see `Evidence`.
    """
    first, second = (setting.entry(label) for label in claim.honest)
    parts = []
    for k in claim.layers:
        steps = _affordable(operations, first, k, second) if claim.equal_work else k
        if steps is None:
            continue
        where = f"{k} against {steps} step{'s' * (steps > 1)}" if claim.equal_work else str(k)
        parts.append(compared(where, first.losses[k], second.losses[steps], levels_of_pair(first, second)))
    published = published_difference(claim, redone) if claim.published else ()
    layers = ", ".join(part.where for part in parts)
    return Evidence(claim.text, claim.topic, claim.short, claim.experiment, parts, published, layers, speed)


def compared(where: str, first: Sequence[Array], second: Sequence[Array], levels: Levels) -> Part:
    """A part from losses on the same tasks, one array for each seed."""
    found = compare(first, second, levels)
    ratio = (found.log_ratio, found.log_ratio_low, found.log_ratio_high)
    return Part(where, *ratio, log_ratio_p_value(first, second, levels), found.tail_limited)


def _affordable(operations: Operations, first: SolverLosses, layers: int, second: SolverLosses) -> int | None:
    """Most steps of the second that cost no more than the first's layers; None if not even one does."""
    budget = operations(first.label, layers)
    return max((k for k in second.losses if k and operations(second.label, k) <= budget), default=None)


def judge(gathered: Sequence[Evidence]) -> list[dict[str, str]]:
    """The table: Holm's correction runs over all parts of all claims.

    Returns:
        `claim`, `experiment`, `layers`, `published` and `fresh` (the numbers), `verdict`, `topic`, `short`.
    """
    corrected = iter(holm([part.p_value for evidence in gathered for part in evidence.parts]).tolist())
    return [_row(evidence, [part.found(next(corrected)) for part in evidence.parts]) for evidence in gathered]


def _row(evidence: Evidence, found: list[str]) -> dict[str, str]:
    word = evidence.stated or verdict(found)
    if evidence.speed and word in ("no difference", "undecided", "holds in part"):
        word = f"{word.replace('no difference', 'no gain at convergence')}, {evidence.speed}"
    mixed = not evidence.stated and word.partition(",")[0] not in ("holds", "no difference") and len(set(found)) > 1
    places = f" ({', '.join(_places(evidence, found, kind) for kind in dict.fromkeys(found))})" if mixed else ""
    seen = bool(evidence.published) and all(value < 0 for value in evidence.published)
    numbers = ", ".join(f"{value:+.2f}" for value in evidence.published)
    deepest = f" ({_ratio(evidence.parts[-1].ratio)} at {evidence.parts[-1].where})" if evidence.parts else ""
    return {
        "topic": evidence.topic,
        "short": f"{evidence.short}: **{word}**{'' if evidence.fresh else deepest}",
        "claim": evidence.claim,
        "experiment": evidence.experiment,
        "layers": evidence.layers,
        "published": f"{'seen' if seen else 'not seen'}: {numbers}" if numbers else "",
        "fresh": evidence.fresh or ", ".join(_shown(part) for part in evidence.parts),
        "verdict": word + places,
    }


def _shown(part: Part) -> str:
    if abs(part.ratio) > EXCEEDS:
        return _ratio(part.ratio)
    return f"{part.ratio:+.2f} [{part.low:+.2f}, {part.high:+.2f}]{'*' * part.tail}"


def _ratio(ratio: float) -> str:
    return f"{ratio:+.2f}" if abs(ratio) <= EXCEEDS else f"beyond {math.copysign(EXCEEDS, ratio):+.0f}"


def _places(evidence: Evidence, found: Sequence[str], kind: str) -> str:
    if evidence.fresh:  # more comparisons than anyone reads one by one
        return f"{kind} in {found.count(kind)} of {len(found)}"
    return (
        f"{kind} at {', '.join(part.where for part, what in zip(evidence.parts, found, strict=True) if what == kind)}"
    )


def verdict(found: Sequence[str]) -> str:
    """The rule, in words.

    Example:
        >>> verdict(["lower", "lower"]), verdict(["alike", "higher"]), verdict(["alike", "alike"])
        ('holds', 'refuted', 'no difference')
        >>> verdict(["lower", "alike"]), verdict(["lower", "open"])
        ('holds in part', 'undecided')
    """
    kinds = set(found)
    if "higher" in kinds:
        return "refuted"
    return {
        ("lower",): "holds",
        ("alike",): "no difference",
        ("alike", "lower"): "holds in part",
    }.get(tuple(sorted(kinds)), "undecided")


def published_difference(claim: Claim, redone: Sequence[Point]) -> list[float]:
    """Difference of the redone curves' means at each layer judged; empty without the points."""
    first, second = (by_layers(redone, claim.experiment, curve) for curve in claim.published)
    if not first or not second:
        return []
    return [fmean(first[layers]) - fmean(second[layers]) for layers in claim.layers]


def law_of(experiment: PaperExperiment) -> tuple[str, int]:
    """Law and dimension of an experiment's counterpart."""
    return ("isotropic" if len(set(experiment.scales)) == 1 else "anisotropic"), len(experiment.scales)
