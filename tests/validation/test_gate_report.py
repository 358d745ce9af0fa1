"""The committed study of the gate says what its trials say, under the rule that is in force."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.validation.gate_report import _exact, report

STUDIES = Path(__file__).parents[2] / "results/studies"


def test_the_page_is_made_from_the_trials_beside_it() -> None:
    assert (STUDIES / "gate.md").read_text(encoding="utf-8") == report(pd.read_csv(STUDIES / "gate.csv"))


def test_the_interval_of_a_share_is_clopper_and_pearsons() -> None:
    assert _exact(0, 53) == (0.0, pytest.approx(1 - 0.025 ** (1 / 53)))
    assert _exact(12, 12) == (pytest.approx(0.025 ** (1 / 12)), 1.0)
