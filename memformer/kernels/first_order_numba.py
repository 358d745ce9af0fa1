"""Training a linear first-order method, compiled for the CPU: iterates, loss and their adjoints of a block of tasks.

`LANES` tasks go forth and back while what they leave is in the cache. What is left in memory is what the gradient of
the coefficients is a product of: residuals, and the gradients of iterates. Names are those of
`memformer.kernels.first_order`; arrays within a block end in a dimension of `LANES`.

    r_l = b - H w_l,    w_{l+1} = w_l - sum_{j<=l} C[l, j] r_j;    the loss is that of w_K.

With ~x for the gradient in x, from the last step to the first, ~w_K being the loss's:

    ~r_j -= C[l, j]^T ~w_{l+1} for j <= l,    then r_l is read by no other step, and ~w_l = ~w_{l+1} - H ~r_l.
"""

from __future__ import annotations

import numpy as np

from memformer.kernels.judge_numba import begin, empty_case, judged, summed
from memformer.kernels.kept_numba import compiled, kept_on_disk
from memformer.kernels.simd import LANES, clear, fma, gather, load, splat, store, write, zeros


def _adjoints(C, H, b, judge, window, residuals, slopes, losses, jobs, first, end):
    """Write residuals and gradients of iterates, and sums of losses, of jobs `first, ..., end - 1`.

    A job is one of `jobs` chunks of a model's tasks. All arrays are C-contiguous: `C` `(S, K, p, K p)`, p = 1 for
    scalars or d for matrices; `H` `(G, d, d, n)`, `b` `(G, d, n)`, model s seeing group `s // (S / G)`; the judge is
    one of `memformer.kernels.judge_numba`. What is written: `residuals` and `slopes` `(S, K, d, n)`, neither where
    their n is 0, and `losses` `(S, jobs)`.
    """
    S, K, p = C.shape[:3]
    G, d, n = b.shape
    kind = b.dtype
    of_H, of_b, case = np.empty((d * d, LANES), kind), np.empty((d, LANES), kind), empty_case(judge)
    w, grad_w = np.empty((d, LANES), kind), np.empty((d, LANES), kind)
    r, grad_r = np.empty((K, d, LANES), kind), np.empty((K, d, LANES), kind)
    for job in range(first, end):
        model, chunk = job // jobs, job % jobs
        group, own = model // (S // G), C[model]
        size = (n + jobs * LANES - 1) // (jobs * LANES) * LANES
        begin(case, judge, group)
        for start in range(min(n, chunk * size), min(n, (chunk + 1) * size), LANES):
            gather(of_H, H[group].reshape((d * d, n)), start)
            gather(of_b, b[group], start)
            _run(w, r, own, of_H, of_b, p, window)
            judged(grad_w, w, case, judge, group, start)
            if residuals.shape[3] == 0:
                continue
            clear(grad_r)
            for step in range(K - 1, -1, -1):
                _put(slopes[model, step], grad_w, start)
                _put(residuals[model, step], r[step], start)
                if step == 0:
                    break
                for j in range(max(0, step + 1 - window), step + 1):
                    _add_transposed(grad_r[j], own, step, j, p, grad_w)
                _subtract_product(grad_w, of_H, grad_r[step])
        losses[model, chunk] = summed(case)


ADJOINTS = kept_on_disk(_adjoints)


@compiled
def _run(w, r, C, H, b, p, window):
    """All steps of a block, from zero."""
    K, d = r.shape[:2]
    clear(w)
    for step in range(K):
        for i in range(d):
            store(r[step], i, load(b, i))
        if step > 0:
            _subtract_product(r[step], H, w)
        for j in range(max(0, step + 1 - window), step + 1):
            of_j = r[j]
            if p == 1:
                c = splat(-C[step, 0, j])
                for i in range(d):
                    store(w, i, fma(c, load(of_j, i), load(w, i)))
            else:
                for i in range(d):
                    total = load(w, i)
                    for k in range(d):
                        total = fma(splat(-C[step, i, j * d + k]), load(of_j, k), total)
                    store(w, i, total)


@compiled
def _subtract_product(out, H, v):
    """`out - H v`, in place of `out`, for a symmetric H: rows of `-v` times H."""
    d = len(out)
    minus, none = splat(out.dtype.type(-1)), zeros(out)
    for i in range(d):
        one = none
        for j in range(d):
            one = fma(load(H, i * d + j), load(v, j), one)
        store(out, i, fma(minus, one, load(out, i)))


@compiled
def _add_transposed(out, C, step, j, p, slope):
    """`out - C[step, j]^T slope`, in place of `out`."""
    d = len(out)
    if p == 1:
        c = splat(-C[step, 0, j])
        for i in range(d):
            store(out, i, fma(c, load(slope, i), load(out, i)))
        return
    for i in range(d):
        total = load(out, i)
        for k in range(d):
            total = fma(splat(-C[step, k, j * d + i]), load(slope, k), total)
        store(out, i, total)


@compiled
def _put(out, lanes, start):
    """Lanes of a block into columns `start, ...` of `out` `(d, n)`."""
    d, n = out.shape
    if n - start >= LANES:
        for i in range(d):
            write(out, i * n + start, load(lanes, i))
        return
    for i in range(d):
        for t in range(n - start):
            out[i, start + t] = lanes[i, t]
