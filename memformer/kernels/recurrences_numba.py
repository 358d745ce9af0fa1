"""Classical methods for least squares, compiled for the CPU: all steps of a block of tasks before the next block.

A task of N = 20 points in d = 5 dimensions is a hundred numbers, and four steps on it some hundred operations: too few
for calls to a library, and whole vectors of tasks too large for the cache. Here `LANES` tasks are read once, and all
that follows from them stays in the cache.

Names are those of `memformer.core.problem`. Arrays within a block end in a dimension of `LANES`; lanes beyond the last
task hold zeros, which come to nothing.
"""

from __future__ import annotations

import numpy as np

from memformer.kernels.simd import (
    LANES,
    choose,
    clear,
    compiled,
    divide,
    fma,
    kept_on_disk,
    load,
    root,
    splat,
    store,
    zeros,
)


def _conjugate_gradient(X, y, weights, norms, curvatures):
    """Write what `memformer.kernels.recurrences.conjugate_gradient` gives."""
    B, N, d = X.shape
    context, H, b = _empty(N, d, X.dtype)
    w, g, p, Hp = _vectors(d, X.dtype)
    minus = splat(X.dtype.type(-1))
    for start in range(0, B, LANES):
        count = min(LANES, B - start)
        _moments(context, H, b, X, y, start, count)
        clear(w)
        for i in range(d):
            store(p, i, load(b, i))
            store(g, i, fma(minus, load(b, i), zeros(b)))
        gg = _dot(g, g)
        _keep(weights[0], norms[0], w, gg, start, count)
        for k in range(len(curvatures)):
            _times(Hp, H, p)
            curvature = _dot(p, Hp)
            alpha = divide(gg, curvature)
            for i in range(d):
                store(w, i, fma(alpha, load(p, i), load(w, i)))
                store(g, i, fma(alpha, load(Hp, i), load(g, i)))
            following = _dot(g, g)
            beta = divide(following, gg)
            for i in range(d):
                store(p, i, fma(beta, load(p, i), fma(minus, load(g, i), zeros(g))))
            gg = following
            _keep(weights[k + 1], norms[k + 1], w, gg, start, count)
            _put(curvatures[k], curvature, start, count)


def _three_term(X, y, eta, momentum, shift, weights, norms):
    """Write what `memformer.kernels.recurrences.three_term` gives; coefficients are `(K, B)`."""
    B, N, d = X.shape
    context, H, b = _empty(N, d, X.dtype)
    w, g, before, slope_before = _vectors(d, X.dtype)
    of_step = np.zeros((3, LANES), X.dtype)
    minus = splat(X.dtype.type(-1))
    for start in range(0, B, LANES):
        count = min(LANES, B - start)
        _moments(context, H, b, X, y, start, count)
        clear(w)
        clear(before)
        for i in range(d):
            store(g, i, fma(minus, load(b, i), zeros(b)))
            store(slope_before, i, load(g, i))
        _keep(weights[0], norms[0], w, _dot(g, g), start, count)
        for k in range(len(eta)):
            for t in range(count):
                of_step[0, t] = -eta[k, start + t]
                of_step[1, t] = momentum[k, start + t]
                of_step[2, t] = shift[k, start + t]
            step, m, s = load(of_step, 0), load(of_step, 1), load(of_step, 2)
            for i in range(d):
                at, slope = load(w, i), load(g, i)
                point = fma(m, fma(minus, load(before, i), at), at)
                changed = fma(s, fma(minus, load(slope_before, i), slope), slope)
                store(before, i, at)
                store(slope_before, i, slope)
                store(w, i, fma(step, changed, point))
            _times(g, H, w)
            for i in range(d):
                store(g, i, fma(minus, load(b, i), load(g, i)))
            _keep(weights[k + 1], norms[k + 1], w, _dot(g, g), start, count)


def _extreme_eigenvalues(H, least, most):
    """Write the extreme eigenvalues of symmetric matrices `(B, d, d)`, whose largest entries are near 1 or all zero.

    Householder's tridiagonal form, then Laguerre's iteration from Gershgorin's bounds: from outside of the spectrum it
    falls on the nearest eigenvalue, without passing it.
    """
    B, d, _ = H.shape
    A = np.empty((d, d, LANES), H.dtype)
    v, q, diagonal, squares = _vectors(d, H.dtype)
    for start in range(0, B, LANES):
        count = min(LANES, B - start)
        _gather(A.reshape((d * d, LANES)), H.reshape((B, d * d)), start, count)
        _tridiagonal(A, v, q, diagonal, squares)
        _put(most, _largest(diagonal, squares, v), start, count)
        for i in range(d):
            store(diagonal, i, fma(splat(H.dtype.type(-1)), load(diagonal, i), zeros(diagonal)))
        _put(least, fma(splat(H.dtype.type(-1)), _largest(diagonal, squares, v), zeros(diagonal)), start, count)


CONJUGATE_GRADIENT = kept_on_disk(_conjugate_gradient)
THREE_TERM = kept_on_disk(_three_term)
EXTREME_EIGENVALUES = kept_on_disk(_extreme_eigenvalues)


@compiled
def _empty(N, d, kind):
    """Covariates `(N, d)` and labels of a block, and their moments."""
    context = np.empty((N, d, LANES), kind), np.empty((N, LANES), kind)
    return context, np.empty((d, d, LANES), kind), np.empty((d, LANES), kind)


@compiled
def _vectors(d, kind):
    return (
        np.empty((d, LANES), kind),
        np.empty((d, LANES), kind),
        np.empty((d, LANES), kind),
        np.empty((d, LANES), kind),
    )


@compiled
def _gather(out, source, start, count):
    """Rows `start, ...` of `source` `(B, size)` into the lanes of `out` `(size, LANES)`."""
    if count == LANES:
        for i in range(len(out)):
            for t in range(LANES):
                out[i, t] = source[start + t, i]
        return
    clear(out)
    for t in range(count):
        for i in range(len(out)):
            out[i, t] = source[start + t, i]


@compiled
def _moments(context, H, b, X, y, start, count):
    """Read a block of tasks, and find its moments."""
    B, N, d = X.shape
    covariates, labels = context
    _gather(covariates.reshape((N * d, LANES)), X.reshape((B, N * d)), start, count)
    _gather(labels, y, start, count)
    share, none = splat(X.dtype.type(1.0 / N)), zeros(H)
    for j in range(d):
        for k in range(j, d - 1, 2):
            one, two = none, none
            for i in range(N):
                x, at = load(covariates, i * d + j), i * d + k
                one = fma(x, load(covariates, at), one)
                two = fma(x, load(covariates, at + 1), two)
            _mirrored(H, j, k, fma(share, one, none))
            _mirrored(H, j, k + 1, fma(share, two, none))
        total, last = none, none
        for i in range(N):
            x = load(covariates, i * d + j)
            total = fma(x, load(labels, i), total)
            last = fma(x, load(covariates, i * d + d - 1), last)
        store(b, j, fma(share, total, none))
        if (d - j) % 2:
            _mirrored(H, j, d - 1, fma(share, last, none))


@compiled
def _mirrored(H, j, k, value):
    store(H, j * H.shape[1] + k, value)
    store(H, k * H.shape[1] + j, value)


@compiled
def _times(out, H, v):
    """`H v`."""
    d = len(v)
    for i in range(d):
        total = zeros(H)
        for j in range(d):
            total = fma(load(H, i * d + j), load(v, j), total)
        store(out, i, total)


@compiled
def _dot(u, v):
    total = zeros(u)
    for i in range(len(u)):
        total = fma(load(u, i), load(v, i), total)
    return total


@compiled
def _keep(weights, norms, w, gg, start, count):
    """Put an iterate into `weights` `(B, d)`, and the square of its gradient's norm into `norms`."""
    for t in range(count):
        for i in range(len(w)):
            weights[start + t, i] = w[i, t]
    _put(norms, gg, start, count)


@compiled
def _put(out, vector, start, count):
    """The lanes of a vector into numbers `start, ...` of `out` `(B,)`."""
    lanes = np.empty((1, LANES), out.dtype)
    store(lanes, 0, vector)
    for t in range(count):
        out[start + t] = lanes[0, t]


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
