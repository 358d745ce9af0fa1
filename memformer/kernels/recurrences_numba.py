"""Classical methods for least squares, compiled for the CPU: all steps of a block of tasks before the next block.

A task of N = 20 points in d = 5 dimensions is a hundred numbers, and four steps on it some hundred operations: too few
for calls to a library, and whole vectors of tasks too large for the cache. Here `LANES` tasks are read once, and all
that follows from them stays in the cache.

Names are those of `memformer.core.problem`. Arrays within a block end in a dimension of `LANES`; lanes beyond the last
task hold zeros, which come to nothing.
"""

from __future__ import annotations

import numpy as np

from memformer.kernels.kept_numba import compiled, kept_on_disk
from memformer.kernels.simd import LANES, clear, divide, fma, gather_rows, load, put, splat, store, zeros


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
            put(curvatures[k], curvature, start, count)


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


CONJUGATE_GRADIENT = kept_on_disk(_conjugate_gradient)
THREE_TERM = kept_on_disk(_three_term)


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
def _moments(context, H, b, X, y, start, count):
    """Read a block of tasks, and find its moments."""
    B, N, d = X.shape
    covariates, labels = context
    gather_rows(covariates.reshape((N * d, LANES)), X.reshape((B, N * d)), start, count)
    gather_rows(labels, y, start, count)
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
    put(norms, gg, start, count)
