"""Random numbers of the task laws, in NumPy: whatever torch's dtype, device and threads are, the numbers are the same.

NumPy's generators draw normal numbers in less than half the time of torch's in float64, and its arithmetic on small
arrays does not slow down where other processes keep the cores busy, as that of torch's threads does (hundredfold).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

LAW_KEY = 255
"""Key of what is drawn once for a law; no stream of tasks has a key of one number."""


def make_generator(seed: int, *key: int) -> np.random.Generator:
    """The generator of one purpose: different seeds or keys give independent numbers.

    Args:
        seed: any whole number, 0 or more, however large.
        key: numbers in [0, 2^32). They are NumPy's spawn key and not part of the entropy, where a large seed
            could run into them.

    Example:
        >>> make_generator(0, 1).random() == make_generator(0, 1).random() != make_generator(1, 0).random()
        True
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


def rand_component(shape: tuple[int, ...], weights: tuple[float, ...], generator: np.random.Generator) -> np.ndarray:
    """Indices drawn with probability `weights`, which sum to 1 but for rounding."""
    bounds = np.cumsum(weights)
    return np.searchsorted(bounds / bounds[-1], generator.random(shape), side="right")


def rand_directions(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Unit vectors, uniform on the sphere of the last dimension."""
    vectors = generator.standard_normal(shape)
    return vectors / np.sqrt(np.einsum("...i,...i->...", vectors, vectors))[..., None]


def rand_rotations(batch: int, d: int, generator: np.random.Generator) -> np.ndarray:
    """Orthogonal matrices `(batch, d, d)`, uniform (Haar).

    Source: Mezzadri, arXiv math-ph/0609050: Q of a Gaussian matrix, with R's diagonal made positive.
    """
    Q, R = np.linalg.qr(generator.standard_normal((batch, d, d)))
    return Q * np.where(np.diagonal(R, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[:, None, :]


@lru_cache(maxsize=8)
def paper_rotation(d: int, seed: int) -> np.ndarray:
    """The paper's rotation `(d, d)`: left singular vectors of a matrix with entries uniform on [-1, 1].

    Their signs, which differ between linear-algebra libraries, are fixed: each column's largest entry is positive.

    Source: notebooks of arXiv 2410.07263 and 2306.00297 (which seed torch; the numbers are not theirs).
    """
    U = np.linalg.svd(make_generator(seed, LAW_KEY).uniform(-1.0, 1.0, (d, d)))[0]
    largest = np.take_along_axis(U, np.abs(U).argmax(0, keepdims=True), 0)
    U = U * np.where(largest < 0, -1.0, 1.0)
    U.flags.writeable = False
    return U
