"""Summaries of per-task losses."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics import summarise


def test_location_agrees_with_numpy_and_scipy() -> None:
    losses = np.random.default_rng(0).lognormal(size=400)
    summary = summarise([losses[:150], losses[150:]])
    assert summary.mean == pytest.approx(losses.mean())
    assert summary.log_mean == pytest.approx(np.log(losses.mean()))
    assert summary.median == pytest.approx(np.median(losses))
    assert summary.trimmed_mean == pytest.approx(stats.trim_mean(losses, 0.01))
    assert summary.log_low < summary.log_mean < summary.log_high


def test_one_task_without_an_answer_leaves_no_mean_but_a_median() -> None:
    losses = np.arange(1.0, 12.0)
    losses[3] = np.nan
    summary = summarise([losses])
    assert all(np.isnan([summary.mean, summary.log_mean, summary.log_low, summary.log_high]))
    assert summary.median == 7.0  # the missing one counts as the worst


def test_the_interval_has_the_width_the_normal_theory_gives() -> None:
    losses = np.random.default_rng(1).exponential(size=5000)
    summary = summarise([losses])
    width = (summary.log_high - summary.log_low) / 2
    assert width == pytest.approx(1.96 * losses.std() / losses.mean() / np.sqrt(5000), rel=0.1)
