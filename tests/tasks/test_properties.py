"""Properties of every law, whatever its size, seed and noise.

Laws over real data are left out: they draw rows of a table, of sizes that the table allows, and know neither true
weights nor moments. `test_real.py` and `test_csv_file.py` have what they promise.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.catalogue.registry import LAWS
from benchmarks.tasks.importance import Sampling
from benchmarks.tasks.law import Law, Purpose
from benchmarks.tasks.stream import MAX_BLOCK
from tests.tasks.variants import OBJECTIVES, VARIANTS, arrays, draw, every_linear_law, make

every_law = pytest.mark.parametrize("variant", [*VARIANTS, *OBJECTIVES])
few_examples = settings(max_examples=10, deadline=None, derandomize=True)
seeds = st.integers(0, 2**64)
purposes = st.sampled_from(Purpose)
dtypes = st.sampled_from([torch.float32, torch.float64])
noises = st.floats(0.01, 3.0)
sizes = st.fixed_dictionaries(
    {"d": st.integers(1, 6), "N": st.integers(1, 8), "num_queries": st.integers(1, 3), "law_seed": st.integers(0, 99)}
)
"""Parameters that every law has, with N below and above d."""


def noise(variant: str, noise_std: float) -> dict[str, float]:
    """Label noise, where labels can have any."""
    return {} if variant == "logistic" else {"noise_std": noise_std}


def samplings(law: Law) -> list[Sampling]:
    """The ways to draw its tasks."""
    return ["plain", "importance"] if law.gaussian_covariates else ["plain"]


@every_law
@few_examples
@given(size=sizes, noise_std=noises, seed=seeds, purpose=purposes, dtype=dtypes)
def test_shapes_and_dtypes(variant: str, size: dict[str, int], noise_std: float, seed: int, purpose, dtype) -> None:
    law, batch = make(variant, **noise(variant, noise_std), **size), 3
    found = arrays(law.stream(seed, purpose, dtype).sample(batch))
    d, N, q = law.d, law.N, law.num_queries
    shapes = {"X": (N, d), "y": (N,), "x_query": (q, d), "y_query": (q,), "w_star": (d,)}
    assert ("w_star" in found) == (variant in OBJECTIVES or law.linear)
    for name, shape in shapes.items():
        assert name not in found or found[name].shape == (batch, *shape)
    assert found["second_moment"].shape in {(d, d), (batch, d, d)}
    for array in found.values():
        assert torch.from_numpy(array).dtype == dtype
        assert np.isfinite(array).all()


@every_law
@few_examples
@given(size=sizes, noise_std=noises, seed=seeds, n=st.integers(1, MAX_BLOCK + 9), more=st.integers(1, MAX_BLOCK))
def test_first_tasks_do_not_depend_on_later_ones(
    variant: str, size: dict[str, int], noise_std: float, seed: int, n: int, more: int
) -> None:
    law = make(variant, **noise(variant, noise_std), **size)
    few, many = (arrays(draw(law, batch, seed)) for batch in (n, n + more))
    for name, expected in few.items():
        of_the_law = name == "second_moment" and expected.ndim == 2
        np.testing.assert_array_equal(many[name] if of_the_law else many[name][:n], expected)


@every_law
@few_examples
@given(size=sizes, noise_std=noises, seed=seeds)
def test_streams_of_different_purposes_share_no_number(
    variant: str, size: dict[str, int], noise_std: float, seed: int
) -> None:
    # Labels too: their noise is of the stream. On the sphere of one dimension x is 1 or -1, whatever is drawn.
    law = make(variant, **noise(variant, noise_std), **{**size, "d": size["d"] + (variant == "sphere")})
    drawn = [arrays(draw(law, 9, seed, purpose)) for purpose in Purpose]
    names = ("X", "x_query") if variant == "logistic" else ("X", "x_query", "y", "y_query")
    numbers = np.concatenate([one[name].flatten() for one in drawn for name in names])
    assert len(np.unique(numbers)) == len(numbers)


@every_linear_law
@few_examples
@given(size=sizes, noise_std=noises, seed=seeds, purpose=purposes)
def test_noise_is_in_the_labels_alone(variant: str, size: dict[str, int], noise_std: float, seed: int, purpose) -> None:
    clean, noisy = (arrays(draw(make(variant, noise_std=std, **size), 5, seed, purpose)) for std in (0.0, noise_std))
    for name in ("X", "x_query", "w_star", "second_moment"):
        np.testing.assert_array_equal(noisy[name], clean[name])
    for name, covariates in (("y", "X"), ("y_query", "x_query")):
        products = np.einsum("bnd,bd->bn", clean[covariates], clean["w_star"])
        np.testing.assert_allclose(clean[name], products, rtol=1e-12, atol=1e-12)
        assert (noisy[name] != clean[name]).all()


@every_law
@few_examples
@given(size=sizes, noise_std=noises, seed=seeds, purpose=purposes, more=st.integers(1, 5), further=st.integers(0, 3))
def test_contexts_of_one_longest_are_prefixes_of_one_another(
    variant: str, size: dict[str, int], noise_std: float, seed: int, purpose, more: int, further: int
) -> None:
    law = make(variant, **noise(variant, noise_std), **size)
    N, longer = law.N, law.N + more
    longest = longer + further
    whole_law = dataclasses.replace(law, N=longest)
    laws = [dataclasses.replace(law, N=n, longest=longest) for n in (N, longer)]
    for sampling in samplings(law):
        whole, *parts = (one.stream(seed, purpose, draw=sampling).sample(5) for one in (whole_law, *laws))
        expected = arrays(whole)
        for n, part in zip((N, longer), parts, strict=True):
            found = arrays(part)
            for name in set(expected) - {"X", "y"}:
                np.testing.assert_array_equal(found[name], expected[name])
            for name in ("X", "y"):
                assert found[name].shape[1] == n
                np.testing.assert_array_equal(found[name], expected[name][:, :n])
            if sampling == "importance":
                assert part.weights is not None
                assert whole.weights is not None
                assert torch.equal(part.weights, whole.weights)


def test_contexts_of_one_longest_are_drawn_in_the_same_blocks() -> None:
    """As many tasks a block, so that the second block is shared too where so long contexts make blocks small."""
    law = make("isotropic", N=600, noise_std=0.5)
    assert law.stream(0, Purpose.SCORE).block_size < 90
    short, whole = (arrays(draw(one, 90)) for one in (dataclasses.replace(law, N=3, longest=600), law))
    for name in ("X", "y"):
        np.testing.assert_array_equal(short[name], whole[name][:, :3])
    for name in ("x_query", "y_query", "w_star"):
        np.testing.assert_array_equal(short[name], whole[name])


@every_law
@few_examples
@given(size=sizes, seed=seeds)
def test_second_moments_are_symmetric_and_positive_definite(variant: str, size: dict[str, int], seed: int) -> None:
    law = make(variant, **size)
    of_tasks = arrays(draw(law, 5, seed))["second_moment"].reshape(-1, law.d, law.d)
    for moment in (law.second_moment.numpy(), *of_tasks):
        np.testing.assert_allclose(moment, moment.T, rtol=1e-12, atol=1e-15)
        assert np.linalg.eigvalsh(moment)[0] > 1e-6 * np.trace(moment)


@every_law
@few_examples
@given(size=sizes, noise_std=st.floats(0.0, 3.0), more=st.none() | st.integers(0, 5))
def test_a_law_made_of_its_stored_parameters_is_the_same(
    variant: str, size: dict[str, int], noise_std: float, more: int | None
) -> None:
    longest = None if more is None else size["N"] + more
    law = make(variant, **noise(variant, noise_std), longest=longest, **size)
    columns: dict[str, Any] = {"d": law.d, "N": law.N, "noise_std": law.noise_std}
    stored = json.loads(json.dumps({**columns, **law.parameters}))
    again = LAWS.create(law.metadata.name, **stored)
    assert again == law
    assert hash(again) == hash(law)
    assert again.parameters == law.parameters
    assert again.fingerprint == law.fingerprint
