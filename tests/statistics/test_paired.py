"""Paired comparisons: pairing, duality of interval and test, identities under exchange and scaling."""

import numpy as np
import pytest

from benchmarks.statistics import compare, log_ratio_interval, log_ratio_p_value, mean_interval


def pair(seed: int, ratio: float = 1.0, tasks: int = 1000) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    shared = rng.lognormal(size=(2, tasks))
    return list(ratio * shared * rng.gamma(50, 1 / 50, size=shared.shape)), list(shared)


def test_pairing_takes_out_what_the_tasks_share() -> None:
    a, b = pair(0, ratio=1.05)
    result = compare(a, b)
    assert result.log_ratio_low > 0, "5 % is found, although the interval of either mean is wider"
    low, high = mean_interval(a)
    assert (result.difference_high - result.difference_low) < 0.25 * (high - low)
    assert result.p_value < 1e-6


def test_exchange_turns_the_signs() -> None:
    a, b = pair(1, ratio=1.02)
    there, back = compare(a, b), compare(b, a)
    assert there.log_ratio == pytest.approx(-back.log_ratio)
    assert there.log_ratio_low == pytest.approx(-back.log_ratio_high, abs=1e-7)
    assert there.difference_low == pytest.approx(-back.difference_high)
    assert there.p_value == pytest.approx(back.p_value)
    assert there.share_better + back.share_better == pytest.approx(1)


def test_the_unit_of_the_loss_does_not_matter() -> None:
    a, b = pair(2)
    plain, scaled = compare(a, b), compare([1e-12 * x for x in a], [1e-12 * x for x in b])
    assert scaled.log_ratio_low == pytest.approx(plain.log_ratio_low, rel=1e-6)
    assert scaled.p_value == pytest.approx(plain.p_value, rel=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_ratio_and_difference_say_the_same(seed: int) -> None:
    """The interval of the log ratio contains 0 exactly where that of the difference does."""
    rng = np.random.default_rng(seed)
    a, b = [rng.lognormal(size=200) for _ in range(2)], [rng.lognormal(size=200) for _ in range(2)]
    result = compare(a, b)
    assert (result.log_ratio_low <= 0 <= result.log_ratio_high) == (
        result.difference_low <= 0 <= result.difference_high
    )


def test_the_interval_of_a_ratio_covers_it() -> None:
    covered = 0
    for seed in range(300):
        a, b = pair(seed, ratio=1.3, tasks=150)
        _, low, high = log_ratio_interval(a, b)
        covered += low <= np.log(1.3) <= high
    assert 0.92 <= covered / 300 <= 0.98


def test_equal_solvers_are_tied_with_certainty() -> None:
    a, _ = pair(3)
    result = compare(a, a)
    assert (result.log_ratio_low, result.log_ratio_high, result.p_value, result.p_typical) == (0, 0, 1, 1)
    zero = [np.zeros(5)]
    assert compare(zero, zero).log_ratio == 0


def test_a_task_without_an_answer_leaves_no_number() -> None:
    a, b = pair(4)
    a[0][3] = np.nan
    result = compare(a, b)
    assert np.isnan([result.log_ratio, result.log_ratio_low, result.p_value, result.share_better]).all()


def test_learned_solvers_are_judged_over_seeds() -> None:
    """Three seeds that disagree about who is better decide nothing, however many tasks they were scored on."""
    rng = np.random.default_rng(5)
    base = [rng.exponential(size=4000) for _ in range(3)]
    learned = [factor * losses for factor, losses in zip((0.8, 0.95, 1.1), base, strict=True)]
    over_tasks, over_seeds = compare(learned, base), compare(learned, base, "seeds_and_tasks")
    assert over_tasks.log_ratio_high < 0
    assert over_seeds.log_ratio_low < 0 < over_seeds.log_ratio_high
    assert over_tasks.p_value < 0.001 < 0.05 < over_seeds.p_value
    assert over_seeds.log_ratio == pytest.approx(over_tasks.log_ratio)


@pytest.mark.parametrize("levels", ["tasks", "seeds_and_tasks"])
def test_p_value_of_a_log_ratio_agrees_with_its_interval(levels):
    generator = np.random.default_rng(3)
    for shift in np.linspace(-0.2, 0.2, 21):
        b = [generator.exponential(size=300) for _ in range(4)]
        a = [values * np.exp(shift + 0.05 * generator.standard_normal()) + 0.1 * generator.random(300) for values in b]
        _, low, high = log_ratio_interval(a, b, levels)
        excluded = low > 0 or high < 0
        assert excluded or log_ratio_p_value(a, b, levels) >= 0.05
        if levels == "seeds_and_tasks":
            assert excluded == (log_ratio_p_value(a, b, levels) < 0.05)
