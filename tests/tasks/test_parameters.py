"""Parameters of the laws: what is refused, what is stored, and what a result table is told."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from typing import Any

import pytest

from benchmarks.catalogue.registry import LAWS
from tests.tasks.variants import every_law, make

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("isotropic", {"d": 0}, "d is 0; it must be a whole number, 1 or more"),
    ("isotropic", {"d": 2.0}, "d is 2.0; it must be a whole number, 1 or more"),
    ("isotropic", {"N": 0}, "N is 0; it must be a whole number, 1 or more"),
    ("isotropic", {"N": True}, "N is True; it must be a whole number, 1 or more"),
    ("isotropic", {"num_queries": 0}, "num_queries is 0; it must be a whole number, 1 or more"),
    ("isotropic", {"law_seed": -1}, "law_seed is -1; it must be a whole number, 0 or more"),
    ("isotropic", {"noise_std": -0.1}, "noise_std is -0.1; it must be a finite number, 0 or more"),
    ("isotropic", {"noise_std": math.nan}, "noise_std is nan; it must be a finite number, 0 or more"),
    ("isotropic", {"noise_std": math.inf}, "noise_std is inf; it must be a finite number, 0 or more"),
    ("isotropic", {"noise_std": "1"}, "noise_std is '1'; it must be a finite number, 0 or more"),
    ("anisotropic", {"spectrum": "wide"}, "spectrum is 'wide'; it must be 'paper' or 'power' or 'geometric'"),
    ("anisotropic", {"spectrum": "powr"}, "'paper' or 'power' or 'geometric' (did you mean 'power'?)"),
    ("anisotropic", {"spectrum": ["paper"]}, "it must be 'paper' or 'power' or 'geometric'"),
    ("anisotropic", {"rotation": "fresh"}, "rotation is 'fresh'; it must be 'shared' or 'per_task' or 'none'"),
    ("anisotropic", {"kappa": 4}, "kappa is 4, but the spectrum is 'paper'; only 'geometric' has it"),
    ("anisotropic", {"spectrum": "geometric", "exponent": 1}, "only 'power' has it"),
    ("anisotropic", {"spectrum": "power", "exponent": -1}, "exponent is -1; it must be a finite number, 0 or more"),
    ("anisotropic", {"spectrum": "geometric", "kappa": 0.5}, "kappa is 0.5; it must be a finite number, 1 or more"),
    ("anisotropic", {"spectrum": "power", "exponent": 1e308}, "it must be 1e-12 or more"),
    ("anisotropic", {"spectrum": "geometric", "kappa": 1e13}, "kappa is 1e+13, which at d = 5"),
    ("ood_variance", {"variance": 0}, "variance is 0; it must be a finite number, more than 0"),
    ("ood_variance", {"variance": 10**400}, "it must be a finite number, more than 0"),
    ("ood_variance", {"spectrum": "flat"}, "spectrum is 'flat'"),
    ("gmm", {"means": []}, "means is []; it must be a list of finite numbers"),
    ("gmm", {"means": "123"}, "means is '123'; it must be a list of finite numbers"),
    ("gmm", {"means": [0, 1]}, "there are 2 means, 3 variances and 3 weights; they must be as many"),
    ("gmm", {"variances": [1, 0, 1]}, "variances is [1, 0, 1]; it must be a list of finite numbers, each more than 0"),
    ("gmm", {"weights": [0.5, 0.5, 0.5]}, "weights sum to 1.5; they must sum to 1"),
    ("gmm", {"weights": [1.5, -1, 0.5]}, "it must be a list of finite numbers, each more than 0"),
    ("gmm", {"level": "row"}, "level is 'row'; it must be 'task' or 'point'"),
    ("gamma", {"shape": 0.0}, "shape is 0.0; it must be a finite number, more than 0"),
    ("gamma", {"scale": -1}, "scale is -1; it must be a finite number, more than 0"),
    ("two_layer_relu", {"hidden": 0}, "hidden is 0; it must be a whole number, 1 or more"),
    ("random_features", {"features": 1.5}, "features is 1.5; it must be a whole number, 1 or more"),
]


@pytest.mark.parametrize(("name", "parameters", "message"), REFUSED)
def test_bad_parameters_are_refused_in_one_sentence(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"it must|they must|only") as caught:
        LAWS.create(name, **parameters)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@every_law
def test_parameters_survive_json(variant: str) -> None:
    law = make(variant, d=4, N=3, noise_std=0.5)
    stored = json.loads(json.dumps(law.parameters))
    again = LAWS.create(law.metadata.name, d=4, N=3, noise_std=0.5, **stored)
    assert again == law
    assert hash(again) == hash(law)
    assert again.parameters == law.parameters


@every_law
def test_parameters_are_all_but_the_columns(variant: str) -> None:
    law = make(variant)
    columns, fields = {"d", "N", "noise_std"}, {field.name for field in dataclasses.fields(law)}
    assert {*law.parameters, *columns, "longest"} == fields  # which is left out where it is None: law_params are older
    assert {*dataclasses.replace(law, longest=law.N).parameters, *columns} == fields


def test_a_law_as_a_suite_file_writes_it() -> None:
    table = tomllib.loads("means = [1, 0]\nvariances = [1, 2]\nweights = [0.5, 0.5]")
    law = LAWS.create("gmm", **table)
    assert law == LAWS.create("gmm", means=(1.0, 0.0), variances=(1.0, 2.0), weights=(0.5, 0.5))
    assert law.parameters["means"] == [1.0, 0.0]
    assert LAWS.create("ood_variance", variance=2).parameters == LAWS.create("ood_variance", variance=2.0).parameters


def test_parameters_that_a_spectrum_implies_are_written_out() -> None:
    assert LAWS.create("anisotropic", spectrum="power") == LAWS.create("anisotropic", spectrum="power", exponent=1)
    assert LAWS.create("anisotropic", spectrum="geometric").parameters["kappa"] == 16.0


def test_laws_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make("isotropic").d = 3  # pyright: ignore[reportAttributeAccessIssue]
