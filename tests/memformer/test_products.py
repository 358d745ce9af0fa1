"""Products with tasks last: all three ways of computing them are the matrix product."""

import pytest
import torch

from memformer.kernels.products import task_product


@pytest.mark.parametrize(
    ("i", "k", "j", "n"),
    [(3, 4, 2, 5), (5, 30, 6, 200), (30, 3, 26, 4)],
    ids=["stored and summed", "added up one by one", "a batch of products"],
)
def test_it_is_the_matrix_product_and_so_is_its_gradient(i, k, j, n):
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(1, i, k, n, dtype=torch.float64, generator=generator, requires_grad=True)
    B = torch.randn(2, k, j, n, dtype=torch.float64, generator=generator, requires_grad=True)
    grad = torch.randn(2, i, j, n, dtype=torch.float64, generator=generator)
    found, wanted = task_product(A, B), torch.einsum("sikn,skjn->sijn", A.expand(2, -1, -1, -1), B)
    torch.testing.assert_close(found, wanted)
    gradients = torch.autograd.grad(found, (A, B), grad), torch.autograd.grad(wanted, (A, B), grad)
    torch.testing.assert_close(*gradients)
