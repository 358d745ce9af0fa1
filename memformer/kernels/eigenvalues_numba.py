"""Extreme eigenvalues of small symmetric matrices, compiled for the CPU, one task a lane."""

from __future__ import annotations

import numpy as np

from memformer.kernels.kept_numba import compiled, kept_on_disk
from memformer.kernels.simd import LANES, choose, divide, fma, gather_rows, load, put, root, splat, store, zeros


def _extreme_eigenvalues(H, least, most):
    """Write the extreme eigenvalues of symmetric matrices `(B, d, d)`, whose largest entries are near 1 or all zero.

    Householder's tridiagonal form, then Laguerre's iteration from Gershgorin's bounds: from outside of the spectrum it
    falls on the nearest eigenvalue, without passing it.
    """
    B, d, _ = H.shape
    A = np.empty((d, d, LANES), H.dtype)
    v, q = np.empty((d, LANES), H.dtype), np.empty((d, LANES), H.dtype)
    diagonal, squares = np.empty((d, LANES), H.dtype), np.empty((d, LANES), H.dtype)
    for start in range(0, B, LANES):
        count = min(LANES, B - start)
        gather_rows(A.reshape((d * d, LANES)), H.reshape((B, d * d)), start, count)
        _tridiagonal(A, v, q, diagonal, squares)
        put(most, _largest(diagonal, squares, v), start, count)
        for i in range(d):
            store(diagonal, i, fma(splat(H.dtype.type(-1)), load(diagonal, i), zeros(diagonal)))
        put(least, fma(splat(H.dtype.type(-1)), _largest(diagonal, squares, v), zeros(diagonal)), start, count)


EXTREME_EIGENVALUES = kept_on_disk(_extreme_eigenvalues)


@compiled
def _tridiagonal(A, v, q, diagonal, squares):
    """The diagonal of a tridiagonal matrix that is similar to A, and the squares of what stands beside it.

    Source: Golub & Van Loan, Matrix Computations, 4th ed., algorithm 8.3.1.
    """
    d = len(A)
    minus, one, half = splat(A.dtype.type(-1)), splat(A.dtype.type(1)), splat(A.dtype.type(0.5))
    tiny = splat(np.finfo(A.dtype).tiny)
    for k in range(d - 2):
        tail = zeros(A)
        for i in range(k + 2, d):
            entry = load(A, i * d + k)
            tail = fma(entry, entry, tail)
        first = load(A, (k + 1) * d + k)
        norm2 = fma(first, first, tail)
        norm = root(norm2)
        # Where there is nothing to reflect, the reflection is none.
        needed = fma(minus, tiny, tail)
        sign = choose(first, one, minus)
        head = choose(needed, fma(sign, norm, first), zeros(A))
        store(v, k + 1, head)
        for i in range(k + 2, d):
            store(v, i, choose(needed, load(A, i * d + k), zeros(A)))
        scale = fma(head, head, tail)
        beta = choose(needed, divide(one, choose(needed, fma(half, scale, zeros(A)), one)), zeros(A))
        store(diagonal, k, load(A, k * d + k))
        store(squares, k, choose(needed, norm2, fma(first, first, zeros(A))))
        inner = zeros(A)
        for i in range(k + 1, d):
            total = zeros(A)
            for j in range(k + 1, d):
                total = fma(load(A, i * d + j), load(v, j), total)
            total = fma(beta, total, zeros(A))
            store(q, i, total)
            inner = fma(total, load(v, i), inner)
        inner = fma(fma(minus, beta, zeros(A)), fma(half, inner, zeros(A)), zeros(A))
        for i in range(k + 1, d):
            store(q, i, fma(inner, load(v, i), load(q, i)))
        for i in range(k + 1, d):
            of_v, of_q = fma(minus, load(v, i), zeros(A)), fma(minus, load(q, i), zeros(A))
            for j in range(k + 1, i + 1):
                changed = fma(of_v, load(q, j), fma(of_q, load(v, j), load(A, i * d + j)))
                store(A, i * d + j, changed)
                store(A, j * d + i, changed)
    for k in range(max(0, d - 2), d):
        store(diagonal, k, load(A, k * d + k))
    if d > 1:
        last = load(A, (d - 1) * d + d - 2)
        store(squares, d - 2, fma(last, last, zeros(A)))
    store(squares, d - 1, zeros(A))


@compiled
def _largest(diagonal, squares, scratch):
    """The largest eigenvalue of a tridiagonal matrix."""
    d, kind = len(diagonal), diagonal.dtype
    minus, one, n = splat(kind.type(-1)), splat(kind.type(1)), splat(kind.type(d))
    n_less = splat(kind.type(d - 1))
    eps = np.finfo(kind).eps
    pivot = splat(kind.type(eps * eps))
    x, norm, left = load(diagonal, 0), zeros(diagonal), zeros(diagonal)
    for i in range(d):
        right, own = root(load(squares, i)), load(diagonal, i)
        radius = fma(one, left, right)
        bound = fma(one, radius, own)
        x = choose(fma(minus, x, bound), bound, x)
        bound = fma(one, radius, choose(own, own, fma(minus, own, zeros(diagonal))))
        norm = choose(fma(minus, norm, bound), bound, norm)
        left = right
    close = fma(splat(kind.type(eps)), norm, zeros(diagonal))
    none = zeros(diagonal)
    moving = choose(norm, one, none)
    for _ in range(200):
        # Of log |det(T - x)|: the first derivative, and the second with its sign turned.
        total, turned, inverse, g, h = none, none, none, none, none
        for i in range(d):
            pivoted = fma(minus, x, load(diagonal, i))
            slope, bend = minus, none
            if i > 0:
                ratio = fma(load(squares, i - 1), inverse, none)
                pivoted = fma(minus, ratio, pivoted)
                slope = fma(ratio, g, minus)
                bend = fma(ratio, fma(minus, fma(g, g, none), h), none)
            # Beyond the spectrum all are negative; rounding may take one past zero.
            beyond = fma(minus, pivoted, fma(minus, pivot, none))
            inverse = divide(one, choose(beyond, pivoted, fma(minus, pivot, none)))
            g = fma(slope, inverse, none)
            h = fma(bend, inverse, fma(minus, fma(g, g, none), none))
            total = fma(one, g, total)
            turned = fma(minus, h, turned)
        inside = fma(n, turned, fma(minus, fma(total, total, none), none))
        inside = fma(n_less, choose(inside, inside, none), none)
        step = divide(n, fma(one, total, root(inside)))
        moving = choose(moving, fma(minus, close, step), none)
        x = choose(moving, fma(minus, step, x), x)
        store(scratch, 0, moving)
        most = scratch[0, 0]
        for t in range(1, LANES):
            most = max(most, scratch[0, t])
        if not most > 0:
            break
    return x
