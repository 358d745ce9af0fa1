"""Fingerprints: committed, so that a change of any number a law draws must raise its version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tasks.variants import VARIANTS, every_law, make

EXPECTED = {
    "isotropic": (1, "c721a8d2e55c"),
    "anisotropic": (1, "4f542fab5600"),
    "anisotropic-power": (1, "327d5b8358cb"),
    "anisotropic-geometric": (1, "9dd47ceaf012"),
    "anisotropic-per_task": (1, "c1b9ba256bb5"),
    "ood_variance": (1, "03d1cf340881"),
    "ood_variance-per_task": (1, "7c27059ad098"),
    "gmm": (1, "038076724a8c"),
    "gmm-point": (1, "5fa9b9c3e774"),
    "gmm-two": (1, "cd0aeb9cb8d4"),
    "sphere": (1, "001d6f9f4ec4"),
    "gamma": (1, "9401c6b56302"),
    "gamma-light": (1, "addfe8b60976"),
    "sparse": (1, "8627d20c8379"),
    "task_pool": (1, "ef0dd27c49ae"),
    "task_pool-two": (1, "7a3b60ebe440"),
    "two_layer_relu": (1, "32525b0652f4"),
    "two_layer_relu-narrow": (1, "42db73fc2808"),
    "random_features": (1, "ca20419c4649"),
    "random_features-few": (1, "390f6be71a9e"),
}
"""Variant: version of its law and fingerprint. Where a fingerprint changes, raise the version in the law's metadata
and put both here. A new release of NumPy may change them too: then the tasks of old results cannot be drawn again,
and the versions must go up all the same."""


def test_every_variant_is_listed() -> None:
    assert EXPECTED.keys() == VARIANTS.keys()


@every_law
def test_numbers_have_not_changed(variant: str) -> None:
    law = make(variant)
    assert (law.metadata.version, law.fingerprint) == EXPECTED[variant], (
        f"the law {law.metadata.name!r} draws other numbers than version {EXPECTED[variant][0]} did: "
        "raise its version and write the new fingerprint here"
    )


def test_fingerprints_are_the_same_in_another_process_with_other_linear_algebra() -> None:
    code = "from tests.tasks.variants import *; print(*[make(variant).fingerprint for variant in VARIANTS])"
    # Kernels for an old processor and one thread, where NumPy comes with OpenBLAS; elsewhere they change nothing.
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"}
    command, root = [sys.executable, "-c", code], Path(__file__).parents[2]
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [make(variant).fingerprint for variant in VARIANTS]


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("isotropic", {"d": 4}),
        ("isotropic", {"N": 19}),
        ("isotropic", {"noise_std": 0.01}),
        ("isotropic", {"num_queries": 2}),
        ("anisotropic", {"law_seed": 1}),
        ("anisotropic", {"rotation": "none"}),
        ("anisotropic", {"spectrum": "power"}),
        ("anisotropic-power", {"exponent": 1.6}),
        ("anisotropic-geometric", {"kappa": 10}),
        ("ood_variance", {"variance": 2.1}),
        ("gmm", {"means": (2.5, 0.0, -1.1)}),
        ("gmm", {"variances": (0.5, 1.1, 2.0)}),
        ("gmm", {"weights": (0.2, 0.4, 0.4)}),
        ("gmm", {"level": "point"}),
        ("gamma", {"shape": 0.11}),
        ("gamma", {"scale": 11}),
        ("two_layer_relu", {"hidden": 99}),
        ("random_features", {"features": 99}),
        ("random_features", {"law_seed": 1}),
    ],
)
def test_every_parameter_changes_it(variant: str, changes: dict) -> None:
    assert make(variant, **changes).fingerprint != make(variant).fingerprint


def test_law_seed_does_not_touch_laws_without_a_rotation() -> None:
    assert make("isotropic", law_seed=1).fingerprint == make("isotropic").fingerprint
