"""The laws that the tests of this folder run over: every registered one as it is, and its other forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.catalogue.registry import LAWS
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.pool import TaskPool
from benchmarks.tasks.random_features import RandomFeatures
from memformer.core.problem import Problem

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "isotropic": ("isotropic", {}),
    "anisotropic": ("anisotropic", {}),
    "anisotropic-power": ("anisotropic", {"spectrum": "power", "exponent": 1.5, "rotation": "none"}),
    "anisotropic-geometric": ("anisotropic", {"spectrum": "geometric", "kappa": 9, "law_seed": 7}),
    "anisotropic-per_task": ("anisotropic", {"rotation": "per_task"}),
    "ood_variance": ("ood_variance", {}),
    "ood_variance-per_task": ("ood_variance", {"variance": 0.5, "rotation": "per_task"}),
    "gmm": ("gmm", {}),
    "gmm-point": ("gmm", {"level": "point"}),
    "gmm-two": ("gmm", {"means": [0, 1], "variances": [1, 0.25], "weights": [0.9, 0.1]}),
    "sphere": ("sphere", {}),
    "gamma": ("gamma", {}),
    "gamma-light": ("gamma", {"shape": 2.5, "scale": 2.0}),
    "sparse": ("sparse", {"nonzero": 1}),
    "task_pool": ("task_pool", {}),
    "task_pool-two": ("task_pool", {"pool": 2, "law_seed": 3}),
    "two_layer_relu": ("two_layer_relu", {}),
    "two_layer_relu-narrow": ("two_layer_relu", {"hidden": 3}),
    "random_features": ("random_features", {}),
    "random_features-few": ("random_features", {"features": 4, "law_seed": 3}),
}
"""Name of the variant: registered law, parameters."""

OBJECTIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "logistic": ("logistic", {"scale": 2.0}),
    "outliers": ("outliers", {"share": 0.3}),
}
"""The same for laws with an objective of their own, whose labels are not what other tests expect of labels."""

LABEL_POWER = {
    "isotropic": 5.0,
    "anisotropic": 5.0,
    "anisotropic-power": 5.0,
    "anisotropic-geometric": 5.0,
    "anisotropic-per_task": 5.0,
    "ood_variance": 2.0**2 * 5,
    "ood_variance-per_task": 0.5**2 * 5,
    # Given its component a point has E[x x^T] = v I + m^2 11^T, and w_star the same; d = 5, components (m, v).
    "gmm": sum(p * (5 * v**2 + 10 * v * m**2 + 25 * m**4) for m, v, p in [(2.5, 0.5, 0.2), (0, 1, 0.3), (-1, 2, 0.5)]),
    # All points alike: v = 1.4 and m^2 = 1.75 on average.
    "gmm-point": 5 * 1.4**2 + 10 * 1.4 * 1.75 + 25 * 1.75**2,
    "gmm-two": 0.9 * 5 + 0.1 * (5 * 0.25**2 + 10 * 0.25 + 25),
    "sphere": 1.0,
    "gamma": 0.1 * 10,
    "gamma-light": 2.5 * 2,
    "sparse": 1.0,
    "task_pool": (TaskPool().tasks ** 2).sum() / 64,
    "task_pool-two": (TaskPool(pool=2, law_seed=3).tasks ** 2).sum() / 2,
    "two_layer_relu": 5.0,
    "two_layer_relu-narrow": 5.0,
    "random_features": (RandomFeatures().directions ** 2).mean(),
    "random_features-few": (RandomFeatures(features=4, law_seed=3).directions ** 2).mean(),
}
"""Mean square of a label without noise at d = 5; of linear laws, `E[(x^T w_star)^2]`."""

every_law = pytest.mark.parametrize("variant", VARIANTS)
"""Run a test once for each variant, given its name."""

LINEAR = [variant for variant, (name, _) in VARIANTS.items() if LAWS[name].load().linear]

every_linear_law = pytest.mark.parametrize("variant", LINEAR)
"""The same for those whose labels are `X w_star`."""


def make(variant: str, **parameters: Any) -> Law:
    """The law of that name, with further parameters."""
    name, own = {**VARIANTS, **OBJECTIVES}[variant]
    return LAWS.create(name, **{**own, **parameters})


def draw(law: Law, batch: int, seed: int = 0, purpose: Purpose = Purpose.SCORE) -> Problem:
    """The first `batch` tasks of a stream."""
    return law.stream(seed, purpose).sample(batch)


def arrays(problem: Problem) -> dict[str, np.ndarray]:
    """The tensors that a problem has as arrays, which NumPy's single-threaded arithmetic then compares."""
    names = ("X", "y", "x_query", "y_query", "w_star", "second_moment")
    return {name: getattr(problem, name).numpy() for name in names if getattr(problem, name) is not None}


def assert_mean(samples: np.ndarray, expected: Any, errors: float = 5.0) -> None:
    """The mean of `samples` over the first axis is `expected`, to within 5 standard errors of that mean."""
    mean, spread = samples.mean(0), samples.std(0, ddof=1) / np.sqrt(len(samples))
    off = np.abs(mean - expected) / np.maximum(spread, 1e-12)
    assert (off < errors).all(), f"mean {mean}, expected {expected}: {off.max():.1f} standard errors away"
