"""The one door for tensors: what a problem refuses, in which sentence, and what modes of torch do to it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from memformer.core.checks import require_int, require_number
from memformer.core.problem import Problem
from tests.memformer.helpers import random_problem

GIVEN = random_problem(B=2, N=3, d=2, q=1)
X, y, x_query = GIVEN.X, GIVEN.y, GIVEN.x_query


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"X": X.long()}, "X is torch.int64; it must be floating-point, such as torch.float64"),
        ({"X": X > 0}, "X is torch.bool; it must be floating-point, such as torch.float64"),
        ({"y": y + 0j}, "y is torch.complex128; it must be floating-point, such as torch.float64"),
        ({"X": X.numpy()}, "X is of type numpy.ndarray; it must be a torch tensor (torch.as_tensor makes one)"),
        ({"y": y.tolist()}, "y is of type list; it must be a torch tensor (torch.as_tensor makes one)"),
        ({"x_query": None}, "x_query is of type NoneType; it must be a torch tensor (torch.as_tensor makes one)"),
        ({"X": X.to_sparse()}, "X is torch.sparse_coo; it must be dense (tensor.to_dense() makes it so)"),
        ({"X": X[0]}, "X has shape (3, 2); it must be (B, N, d), each 1 or more"),
        ({"X": X[:0]}, "X has shape (0, 3, 2); it must be (B, N, d), each 1 or more"),
        ({"X": X[:, :0]}, "X has shape (2, 0, 2); it must be (B, N, d), each 1 or more"),
        ({"x_query": x_query[0]}, "x_query has shape (1, 2); it must be (B, q, d)"),
        ({"y": y[..., None]}, "y has shape (2, 3, 1); with X of shape (2, 3, 2) it must be (2, 3)"),
        ({"w_star": y}, "w_star has shape (2, 3); with X of shape (2, 3, 2) it must be (2, 2)"),
        ({"weights": y}, "weights has shape (2, 3); with X of shape (2, 3, 2) it must be (2,)"),
        ({"y": y.float()}, "y is torch.float32 on cpu; X is torch.float64 on cpu and they must agree"),
        ({"y": y.to("meta")}, "y is torch.float64 on meta; X is torch.float64 on cpu and they must agree"),
        ({"noise_var": -1.0}, "noise_var is -1.0; it must be a finite number, 0 or more"),
        ({"noise_var": "small"}, "noise_var is 'small'; it must be a finite number, 0 or more"),
    ],
)
def test_what_is_no_problem_is_refused_in_one_sentence(change, sentence):
    with pytest.raises(ValueError, match="must") as caught:
        Problem(**{"X": X, "y": y, "x_query": x_query, **change})
    assert str(caught.value) == sentence


def test_selecting_no_task_is_refused():
    with pytest.raises(ValueError, match=r"X has shape \(0, 3, 2\)"):
        GIVEN.first(0)


def test_problems_are_equal_if_they_are_one():
    other = random_problem(B=2, N=3, d=2, q=1)
    assert GIVEN == GIVEN
    assert other != GIVEN
    assert len({GIVEN, other}) == 2


def test_a_problem_of_inference_tensors_can_be_differentiated_through():
    with torch.inference_mode():
        made = dataclasses.replace(GIVEN, X=2 * X, y=2 * y)
    w = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((dataclasses.replace(made).X @ w).sum(), w)
    torch.testing.assert_close(slope, 2 * X.sum((0, 1)))


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint32])
def test_whole_numbers_of_numpy_are_whole_numbers(kind):
    assert type(require_int("d", kind(3), least=1)) is int


@pytest.mark.parametrize("value", [np.float64(3), np.bool_(True), True, 3.0, "3", torch.tensor(3), None])
def test_other_things_are_none(value):
    with pytest.raises(ValueError, match="it must be a whole number, 1 or more"):
        require_int("d", value, least=1)


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.float16(0.5)])
def test_numbers_of_numpy_are_numbers(value):
    assert type(require_number("eta", value)) is float
