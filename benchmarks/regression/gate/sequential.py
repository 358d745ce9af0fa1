"""A sequential probability ratio test for each case: no slower, or slower by the effect that is looked for (Wald 1945).

Every pair of fresh processes gives a case one more log ratio x of head to base. Of the normal hypotheses of mean 0 and
δ = log(effect), both of variance s², it is evidence of `δ (x - δ / 2) / s²` nats for the second. A case whose evidence
reaches one of two bounds is decided and leaves; the others go on with further pairs.

The variance is that of this run on this machine: each case's own, drawn to the median over all cases (Smyth 2004), so a
busy machine needs more pairs instead of raising alarms. No single pair counts for more than `CLIP` nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

FIRST, FEWEST, MOST = 2, 5, 20
"""Pairs before a case can be cleared, before it can be called slower, and after which it stays undecided."""

CLEARED, ALARM = -4.5, 16.0
"""Evidence at which a case is no slower, or slower; nats. Chosen by resampling, see results/studies/gate.md."""

FOLLOWED = 4.0
"""A case with so much evidence for a slowdown goes on to its decision, however late it is; nats."""

CLIP = 4.0
"""Most evidence of one pair, nats."""

POOLED_WEIGHT = 8.0
"""Degrees of freedom of the median variance in that of a case."""

USUAL, USUAL_WEIGHT = 0.0145, 8.0
"""Standard deviation of a log ratio in recorded runs on identical code, and so many cases' worth of trust in it."""

UNDECIDED, NOT_SLOWER, SLOWER = 0, -1, 1

_MEDIANS = np.array([chi2.median(df) / df for df in range(1, MOST)])
"""Median of a variance estimated with 1, 2, ... degrees of freedom, as a share of its mean."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """What is looked for.

    Attributes:
        effect: head/base that is to be found.
        least: no alarm if the median ratio is below this, whatever the evidence.
    """

    effect: float = 1.03
    least: float = 1.015


PINNED, UNPINNED = Rule(), Rule(effect=1.10, least=1.05)
"""Both sides on one CPU, and where the system does not let a process choose its CPU."""


class Sequential:
    """The tests of all cases of one run.

    Args:
        cases: how many.
        rule: what is looked for.

    Attributes:
        verdicts: `(cases,)`, `UNDECIDED`, `NOT_SLOWER` or `SLOWER`.
        evidence: `(cases,)` nats for a slowdown, of the last look.
        deviation: `(cases,)` standard deviation of a log ratio, of the last look; nan before.
    """

    def __init__(self, cases: int, rule: Rule = PINNED) -> None:
        self.rule = rule
        self.verdicts = np.zeros(cases, dtype=int)
        self.evidence = np.zeros(cases)
        self.deviation = np.full(cases, np.nan)
        self._variances = np.full(cases, np.nan)

    def owed(self, pairs: int) -> NDArray[np.bool_]:
        """`(cases,)`: which get a further pair, after so many, however late it is.

        All do at first; what looks slower does until it has the fewest that an alarm takes, and what looks it clearly
        until it is decided.
        """
        if pairs < FIRST:
            return np.ones(len(self.evidence), dtype=bool)
        return self.evidence > (0.0 if pairs < FEWEST else FOLLOWED)

    def look(self, ratios: Array) -> None:
        """Judge the cases that are undecided.

        Args:
            ratios: `(pairs, cases)` log ratios, at least `FIRST` pairs; a case with a nan is passed over.
        """
        pairs = len(ratios)
        seen = (self.verdicts == UNDECIDED) & np.isfinite(ratios).all(axis=0)
        if not seen.any():
            return
        x, df = ratios[:, seen], pairs - 1
        own = x.var(axis=0, ddof=1)
        self._variances[seen] = own / _MEDIANS[df - 1]
        known = self._variances[np.isfinite(self._variances)]
        pooled = (USUAL_WEIGHT * USUAL**2 + len(known) * np.median(known)) / (USUAL_WEIGHT + len(known))
        variance = (POOLED_WEIGHT * pooled + df * own) / (POOLED_WEIGHT + df)
        effect = np.log(self.rule.effect)
        evidence = np.clip(effect * (x - effect / 2) / variance, -CLIP, CLIP).sum(axis=0)
        slower = (evidence >= ALARM) & (np.median(x, axis=0) >= np.log(self.rule.least)) & (pairs >= FEWEST)
        self.evidence[seen], self.deviation[seen] = evidence, np.sqrt(variance)
        self.verdicts[seen] = np.where(evidence <= CLEARED, NOT_SLOWER, np.where(slower, SLOWER, UNDECIDED))


def decided(ratios: Array, rule: Rule = PINNED, timely: int = MOST) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Verdicts and numbers of pairs of one run, had it found these ratios.

    Args:
        ratios: `(MOST, cases)` log ratios.
        rule: what is looked for.
        timely: pairs that there is time for; what is owed more gets more.
    """
    test, pairs, found = Sequential(ratios.shape[1], rule), np.zeros(ratios.shape[1], dtype=int), ratios.copy()
    for number in range(MOST):
        due = (test.verdicts == UNDECIDED) & (pairs == number) & (test.owed(number) | (number < timely))
        pairs[due] = number + 1
        found[number, ~due] = np.nan
        if number + 1 >= FIRST:
            test.look(found[: number + 1])
    return test.verdicts, pairs
