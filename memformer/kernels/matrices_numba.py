"""Products of small matrices whose entries are vectors, one task a lane, inside functions that numba compiles.

Matrices are C-contiguous arrays `(rows, columns, LANES)`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from memformer.kernels.kept_numba import compiled
from memformer.kernels.simd import fma, load, store, zeros


@compiled
def span(first, end):
    """What a product goes over. A pair as it is written may hold a constant, and each kind is compiled anew."""
    return np.intp(first), np.intp(end)


@compiled
def product(out, A, B, rows, inner, first, add):
    """Rows of `A B`, summed over `inner`, from column `first` on: added to `out`, or in its place."""
    _multiply(out, A, B, (A.shape[1], 1), (B.shape[1], 1), rows, inner, (first, out.shape[1]), add)


@compiled
def product_tn(out, A, B, inner, first, add):
    """`A^T B`, likewise."""
    _multiply(out, A, B, (1, A.shape[1]), (B.shape[1], 1), (0, out.shape[0]), inner, (first, out.shape[1]), add)


@compiled
def product_nt(out, A, B, rows, first, add):
    """Rows of `A B^T`, summed over the features from `first` on, likewise."""
    _multiply(out, A, B, (A.shape[1], 1), (1, B.shape[1]), rows, (first, A.shape[1]), (0, B.shape[0]), add)


@njit(nogil=True, error_model="numpy", inline="always")
def _multiply(out, A, B, of_A, of_B, rows, inner, columns, add):
    """Two columns at a time, which share what they read of `A`; `of_A` and `of_B` are strides of rows and columns.

    Always inlined, so that each product knows which stride is 1.
    """
    width, wide, tall = out.shape[1], (columns[1] - columns[0]) % 2, (rows[1] - rows[0]) % 2
    for i in range(rows[0], rows[1] - 1, 2):
        for j in range(columns[0], columns[1] - 1, 2):
            at, below = i * width + j, (i + 1) * width + j
            one = load(out, at) if add else zeros(out)
            two = load(out, at + 1) if add else zeros(out)
            three = load(out, below) if add else zeros(out)
            four = load(out, below + 1) if add else zeros(out)
            for k in range(inner[0], inner[1]):
                upper = load(A, i * of_A[0] + k * of_A[1])
                lower = load(A, (i + 1) * of_A[0] + k * of_A[1])
                right = k * of_B[0] + j * of_B[1]
                first, second = load(B, right), load(B, right + of_B[1])
                one = fma(upper, first, one)
                two = fma(upper, second, two)
                three = fma(lower, first, three)
                four = fma(lower, second, four)
            store(out, at, one)
            store(out, at + 1, two)
            store(out, below, three)
            store(out, below + 1, four)
        if wide:
            j = columns[1] - 1
            at, below = i * width + j, (i + 1) * width + j
            one = load(out, at) if add else zeros(out)
            three = load(out, below) if add else zeros(out)
            for k in range(inner[0], inner[1]):
                first = load(B, k * of_B[0] + j * of_B[1])
                one = fma(load(A, i * of_A[0] + k * of_A[1]), first, one)
                three = fma(load(A, (i + 1) * of_A[0] + k * of_A[1]), first, three)
            store(out, at, one)
            store(out, below, three)
    if tall:
        i = rows[1] - 1
        for j in range(columns[0], columns[1]):
            at = i * width + j
            one = load(out, at) if add else zeros(out)
            for k in range(inner[0], inner[1]):
                one = fma(load(A, i * of_A[0] + k * of_A[1]), load(B, k * of_B[0] + j * of_B[1]), one)
            store(out, at, one)
