"""A mixture as a solver: an expert for each component, gates from the context alone."""

from __future__ import annotations

import pytest
import torch

from benchmarks.tasks.gaussian import Isotropic
from benchmarks.tasks.law import Purpose
from benchmarks.tasks.mixture import GaussianMixture
from memformer.solvers.memformer import Memformer
from memformer.solvers.mixture import MixtureMemformer

LAW = GaussianMixture(d=2, N=8)
SMALL = {"memory": "first_order", "preconditioner": "scalar", "iterations": 30, "tasks": 200, "batch": 50, "starts": 1}


@pytest.fixture(scope="module")
def fitted() -> Memformer:
    solver = MixtureMemformer(**SMALL, evaluations=8)  # type: ignore[arg-type]
    return solver.fit(LAW.stream(0, Purpose.TRAIN), [1, 2], seed=3)


def test_each_expert_is_trained_on_its_component_alone(fitted: Memformer) -> None:
    assert fitted.parameters is not None
    experts = fitted.parameters["Q"]
    assert len(experts) == 6, "three components, two depths"
    for number, component in enumerate(LAW.components):
        alone = Memformer(**SMALL).fit(component.stream(0, Purpose.TRAIN), [1, 2], seed=3)  # type: ignore[arg-type]
        assert alone.parameters is not None
        torch.testing.assert_close(experts[2 * number : 2 * number + 2], alone.parameters["Q"], rtol=1e-6, atol=1e-9)


def test_labels_of_queries_and_other_tasks_change_nothing(fitted: Memformer) -> None:
    problem = LAW.stream(0, Purpose.SCORE).sample(5)
    whole = fitted.solve(problem, 2).weights
    assert whole is not None
    alone = fitted.solve(problem.blinded().select(torch.tensor([3, 4])), 2).weights
    torch.testing.assert_close(whole[:, 3:], alone, rtol=1e-6, atol=1e-9)


def test_gates_chosen_by_context_are_better_than_equal_ones(fitted: Memformer) -> None:
    problem = LAW.stream(0, Purpose.SCORE).sample(300)
    assert problem.w_star is not None
    weights = fitted.solve(problem, 1).weights
    assert weights is not None
    fixed = Memformer(**SMALL).fit(LAW.stream(0, Purpose.TRAIN), [1], seed=3)  # type: ignore[arg-type]
    other = fixed.solve(problem, 1).weights
    assert other is not None
    errors = [(one[1] - problem.w_star).square().sum(-1).mean() for one in (weights, other)]
    assert errors[0] < 0.8 * errors[1]


def test_a_law_without_components_is_its_only_one_and_folds_divide_the_context() -> None:
    law = Isotropic(d=2, N=7)
    fitted = MixtureMemformer(**SMALL, evaluations=8).fit(law.stream(0, Purpose.TRAIN), [1])  # type: ignore[arg-type]
    assert fitted.parameters is not None
    assert len(fitted.parameters["Q"]) == 1
    assert fitted.solve(law.stream(0, Purpose.SCORE).sample(3), 1).weights is not None


def test_depths_and_contexts_it_was_not_fitted_for_are_refused(fitted: Memformer) -> None:
    with pytest.raises(ValueError, match=r"was fitted for \[1, 2\] layers and cannot take 3"):
        fitted.solve(LAW.stream(0, Purpose.SCORE).sample(2), 3)
    with pytest.raises(ValueError, match="no parameters yet"):
        MixtureMemformer().solve(LAW.stream(0, Purpose.SCORE).sample(2), 1)


def test_the_record_counts_all_experts(fitted: Memformer) -> None:
    record = fitted.training_record(2)
    assert record is not None
    assert record.starts == 3
    assert record.steps is not None
    assert record.tasks is not None
    assert fitted.training_record(5) is None
