"""What every law's stream of tasks promises, whatever the law."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import torch

from benchmarks.catalogue.registry import LAWS
from benchmarks.tasks.law import Draw, Law, Metadata, Purpose
from benchmarks.tasks.randomness import make_generator
from benchmarks.tasks.stream import MAX_BLOCK
from tests.tasks.variants import OBJECTIVES, VARIANTS, arrays, draw, every_law, every_linear_law, make

SIZES = [(3, 4, 1), (1, 1, 1), (1, 6, 2), (7, 3, 3), (40, 2, 1)]
"""(d, N, num_queries), with N < d and d = 1 among them."""


def test_every_built_in_law_has_a_variant() -> None:
    built_in = {name for name in LAWS if LAWS[name].origin == "built in"}
    variants = {name for name, _ in (*VARIANTS.values(), *OBJECTIVES.values())}
    assert built_in == variants | {"real"}, "real data have tests of their own"


def test_metadata_names_the_law_as_the_registry_does() -> None:
    for name, _ in VARIANTS.values():
        law = LAWS.create(name)
        assert law.metadata.name == name
        assert law.metadata.version >= 1
        assert law.metadata.reference.startswith("arXiv ")


@pytest.mark.parametrize(("d", "N", "q"), SIZES)
@every_law
def test_shapes_and_dtype(variant: str, d: int, N: int, q: int) -> None:
    law = make(variant, d=d, N=N, num_queries=q, noise_std=0.1)
    p = draw(law, 5)
    assert p.X.shape == (5, N, d)
    assert p.x_query.shape == (5, q, d)
    assert p.noise_var == pytest.approx(0.01)
    assert law.second_moment.shape == (d, d)
    known = (p.w_star,) if law.linear else ()
    assert law.linear == (p.w_star is not None)
    for tensor in (p.X, p.y, p.x_query, p.y_query, *known, p.second_moment, law.second_moment):
        assert tensor is not None
        assert tensor.dtype == torch.float64
        assert tensor.isfinite().all()


@every_linear_law
def test_labels_are_the_products_of_covariates_and_weights(variant: str) -> None:
    a = arrays(draw(make(variant, num_queries=2), 300))
    np.testing.assert_allclose(a["y"], np.einsum("bnd,bd->bn", a["X"], a["w_star"]), atol=1e-12)
    np.testing.assert_allclose(a["y_query"], np.einsum("bnd,bd->bn", a["x_query"], a["w_star"]), atol=1e-12)


@every_law
def test_first_tasks_do_not_depend_on_the_requests(variant: str) -> None:
    law = make(variant, noise_std=0.5)
    whole = arrays(draw(law, 2 * MAX_BLOCK + 40))
    stream = law.stream(0, Purpose.SCORE)
    requests = [arrays(stream.sample(size)) for size in (1, 2, MAX_BLOCK - 3, 1, MAX_BLOCK + 39)]
    for name, expected in whole.items():
        if name == "second_moment" and expected.ndim == 2:
            continue
        np.testing.assert_array_equal(np.concatenate([part[name] for part in requests]), expected)


@every_law
def test_a_law_made_again_draws_the_same_whatever_the_global_state(variant: str) -> None:
    expected = arrays(draw(make(variant, noise_std=0.5), 3))
    torch.manual_seed(99)
    before = torch.get_rng_state()
    torch.set_default_dtype(torch.float16)
    try:
        again = arrays(draw(pickle.loads(pickle.dumps(make(variant, noise_std=0.5))), 3))
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(before, torch.get_rng_state())
    for name, array in expected.items():
        np.testing.assert_array_equal(again[name], array)


@every_law
def test_float32_tasks_are_the_float64_ones_rounded(variant: str) -> None:
    law = make(variant, noise_std=0.5)
    expected = arrays(draw(law, 300))
    rounded = arrays(law.stream(0, Purpose.SCORE, dtype=torch.float32).sample(300))
    for name, array in expected.items():
        assert rounded[name].dtype == np.float32
        np.testing.assert_array_equal(rounded[name], array.astype(np.float32))


def test_half_precision_streams() -> None:
    p = make("gmm").stream(0, Purpose.TRAIN, dtype=torch.bfloat16).sample(2)
    assert p.second_moment is not None
    assert p.X.dtype == p.second_moment.dtype == torch.bfloat16


def test_tasks_do_not_share_memory_with_later_ones() -> None:
    law = make("isotropic")
    stream = law.stream(0, Purpose.TRAIN)
    stream.sample(4).X.fill_(torch.nan)
    np.testing.assert_array_equal(stream.sample(4).X, draw(law, 8, purpose=Purpose.TRAIN).X[4:])


@every_law
def test_noise_is_separate_from_the_task(variant: str) -> None:
    clean, noisy, loud = (arrays(draw(make(variant, noise_std=std), 300)) for std in (0.0, 1.0, 2.0))
    for name in clean.keys() - {"y", "y_query"}:
        np.testing.assert_array_equal(clean[name], noisy[name])
    for name in ("y", "y_query"):
        noise = noisy[name] - clean[name]
        np.testing.assert_allclose(loud[name] - clean[name], 2 * noise, rtol=1e-9, atol=1e-9)
        assert np.abs(noise.mean()) < 5 / np.sqrt(noise.size)
        assert np.abs((noise**2).mean() - 1) < 5 * np.sqrt(2 / noise.size)


@every_law
def test_num_queries_changes_nothing_but_the_queries(variant: str) -> None:
    one, three = (arrays(draw(make(variant, num_queries=q, noise_std=0.3), 5)) for q in (1, 3))
    for name in one.keys() - {"x_query", "y_query"}:
        np.testing.assert_array_equal(one[name], three[name])


def test_no_two_streams_share_a_number() -> None:
    # Large seeds: as plain entropy, 2^32 with purpose 0 would be 0 with purpose 1.
    seeds = [0, 1, 2**32, 2**32 + 1, 2**64, 3 * 2**96, 2**200]
    law = make("isotropic", noise_std=1.0)
    streams = {key: draw(law, 2 * MAX_BLOCK, *key) for key in itertools.product(seeds, Purpose)}
    drawn = [np.concatenate([p.X.flatten(), p.w_star.flatten()]) for p in streams.values() if p.w_star is not None]
    everything = np.concatenate(drawn)
    assert len(np.unique(everything)) == len(everything)


def test_noise_does_not_repeat_the_task_numbers() -> None:
    clean, noisy = (draw(make("isotropic", noise_std=std), 256).y for std in (0.0, 1.0))
    task_numbers = make_generator(0, int(Purpose.SCORE), 0, 0).standard_normal(256 * 105)
    gaps = np.abs(np.sort(task_numbers)[None, :] - (noisy - clean).numpy().flatten()[:200, None]).min(1)
    assert np.median(gaps) > 1e-9


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0", None])
def test_seeds_are_whole_numbers_from_zero(seed: object) -> None:
    with pytest.raises(ValueError, match=r"^seed is .*; it must be a whole number, 0 or more$"):
        make("isotropic").stream(seed, Purpose.TRAIN)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("batch", [0, -3, 2.0])
def test_batches_are_whole_numbers_from_one(batch: object) -> None:
    with pytest.raises(ValueError, match=r"^batch is .*; it must be a whole number, 1 or more$"):
        make("isotropic").stream(0, Purpose.TRAIN).sample(batch)  # pyright: ignore[reportArgumentType]


def test_the_stream_says_what_the_law_knows() -> None:
    law = make("anisotropic", noise_std=0.5, d=4, N=9)
    stream = law.stream(3, Purpose.TRAIN, dtype=torch.float32)
    assert (stream.d, stream.N, stream.noise_var) == (4, 9, 0.25)
    assert stream.second_moment.dtype == torch.float32
    prior = stream.prior(stream.sample(2).X)
    assert prior is not None
    assert prior.covariance.dtype == torch.float32


@pytest.mark.parametrize(("d", "N", "size"), [(5, 20, 256), (20, 100, 131), (500, 2, 1), (1, 10**6, 1)])
def test_large_tasks_are_drawn_in_small_blocks(d: int, N: int, size: int) -> None:
    stream = make("isotropic", d=d, N=N).stream(0, Purpose.TIMING)
    assert stream.block_size == size
    assert stream.sample(2).B == 2


def test_a_law_from_outside() -> None:
    class Uniform(Law):
        metadata = Metadata("uniform", 1, "a user")

        def draw(self, batch: int, generator: np.random.Generator) -> Draw:
            shape = (batch, self.N + self.num_queries, self.d)
            x, w_star = generator.uniform(-1, 1, shape), generator.uniform(-1, 1, (batch, self.d))
            return Draw(x[:, : self.N], x[:, self.N :], w_star)

        @property
        def second_moment(self) -> torch.Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
            return torch.eye(self.d, dtype=torch.float64) / 3

    p = draw(Uniform(d=2, N=3), 400)
    assert p.X.shape == (400, 3, 2)
    assert p.X.abs().max() <= 1
    assert Uniform().prior(p.X) is None
