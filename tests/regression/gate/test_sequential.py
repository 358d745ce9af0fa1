"""The sequential test of the gate, on ratios whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.regression.gate.sequential import (
    FEWEST,
    FIRST,
    MOST,
    NOT_SLOWER,
    SLOWER,
    UNDECIDED,
    UNPINNED,
    Rule,
    Sequential,
    decided,
)

CASES = 60


def ratios(seed: int, noise: float, slower: float = 1.0) -> np.ndarray:
    """`(MOST, CASES)` log ratios of which the first case has a planted slowdown."""
    found = np.random.default_rng(seed).normal(0, noise, (MOST, CASES))
    found[:, 0] += np.log(slower)
    return found


def test_identical_code_raises_no_alarm_and_most_of_it_leaves_soon() -> None:
    runs = [decided(ratios(seed, 0.0145)) for seed in range(100)]
    assert not any((verdicts == SLOWER).any() for verdicts, _ in runs)
    assert np.mean([pairs.mean() for _, pairs in runs]) < 4


@pytest.mark.parametrize(("slower", "share"), [(1.03, 0.95), (1.05, 1.0), (1.10, 1.0)])
def test_a_planted_slowdown_is_found(slower: float, share: float) -> None:
    runs = [decided(ratios(seed, 0.0145, slower)) for seed in range(100)]
    assert np.mean([verdicts[0] == SLOWER for verdicts, _ in runs]) >= share
    assert min(pairs[0] for verdicts, pairs in runs if verdicts[0] == SLOWER) >= FEWEST


def test_a_busy_machine_needs_more_pairs_and_raises_no_alarm() -> None:
    quiet, busy = (decided(ratios(0, noise)) for noise in (0.01, 0.05))
    assert busy[1].mean() > 2 * quiet[1].mean()
    for seed in range(30):
        assert not (decided(ratios(seed, 0.05))[0] == SLOWER).any()


def test_one_pair_that_is_far_off_is_no_alarm() -> None:
    found = ratios(1, 0.01)
    found[3, 5] = np.log(2.0)
    assert decided(found)[0][5] != SLOWER


def test_a_slowdown_below_the_least_is_none_however_sure() -> None:
    found = np.log(np.full((MOST, 1), 1.014)) + np.tile([1e-5, -1e-5], MOST // 2)[:, None]
    assert decided(found, Rule(effect=1.01))[0][0] == UNDECIDED
    assert decided(found, Rule(effect=1.01, least=1.01))[0][0] == SLOWER


def test_without_a_cpu_of_its_own_a_process_is_held_to_less() -> None:
    found = ratios(2, 0.03, 1.03)
    assert decided(found, UNPINNED)[0][0] != SLOWER
    assert decided(ratios(2, 0.03, 1.12), UNPINNED)[0][0] == SLOWER


def test_a_case_without_ratios_is_passed_over() -> None:
    found = ratios(3, 0.01)
    found[:, 7] = np.nan
    test = Sequential(CASES)
    for pairs in range(2, 8):
        test.look(found[:pairs])
    assert test.verdicts[7] == UNDECIDED
    assert np.isnan(test.deviation[7])
    assert (test.verdicts == NOT_SLOWER).sum() > CASES // 2


def test_when_time_ends_what_looks_slower_goes_on_and_what_does_not_is_left() -> None:
    found = np.full((MOST, 3), 0.005)
    found[:, 1], found[:, 2] = 0.03, -0.03
    found += 0.003 * np.random.default_rng(0).normal(size=found.shape)
    found[:FIRST, 0] = 0.0146  # says next to nothing, and rather no
    verdicts, pairs = decided(found, timely=FIRST)
    assert verdicts.tolist() == [UNDECIDED, SLOWER, NOT_SLOWER]
    assert pairs.tolist() == [FIRST, FEWEST, FIRST]
    assert decided(found)[0].tolist() == [NOT_SLOWER, SLOWER, NOT_SLOWER]
