"""Square roots of second moments: what they are squares of, in batches, and where a direction is missing."""

import torch
from torch.testing import assert_close

from memformer.core.roots import symmetric_roots


def moments(shape: tuple[int, ...], d: int, points: int) -> torch.Tensor:
    X = torch.randn(*shape, points, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return X.mT @ X / points


def test_roots_square_to_the_moment_and_invert_each_other() -> None:
    sigma = moments((3, 2), d=4, points=9)
    root, inverse_root = symmetric_roots(sigma)
    assert_close(root @ root, sigma)
    assert_close(root, root.mT)
    assert_close(root @ inverse_root, torch.eye(4, dtype=torch.float64).expand_as(sigma))


def test_a_missing_direction_is_stretched_by_no_more_than_least_allows() -> None:
    sigma = moments((), d=4, points=2)
    largest = torch.linalg.eigvalsh(sigma)[-1]
    root, inverse_root = symmetric_roots(sigma, least=1e-6)
    assert_close(torch.linalg.eigvalsh(inverse_root)[-1], (1e-6 * largest).rsqrt(), rtol=1e-5, atol=0.0)
    assert_close(root @ root, sigma, rtol=0.0, atol=2e-6 * largest.item())
