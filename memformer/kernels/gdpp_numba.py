"""Layers that change covariates, compiled for the CPU: all layers of a block of tasks, before the next block begins.

Products of 5×5 matrices are too small for calls to a library, and whole vectors of tasks too large for the cache. Here
`LANES` tasks go through all layers, are judged, and go back, while what they leave behind is in the cache. The gradient
is written by hand (`memformer.kernels.gdpp_layers_numba`); for it nothing is kept but parameters and tasks.

A job is a chunk of a model's tasks, so that one model can keep many cores busy. All arrays are C-contiguous; shapes are
as in `memformer.kernels.gdpp`, but K has all tokens and features, `(S, L, L, p, N + 1, F)`, P is `(.., F, F)` with the
1 that passes labels on, and with tokens Q has been divided by N. Where P is empty covariates are fixed, and K has the
label's feature alone.
"""

from __future__ import annotations

import numpy as np

from memformer.kernels.gdpp_layers_numba import empty_block, empty_gradients, run, run_back
from memformer.kernels.judge_numba import begin, empty_case, judged, summed
from memformer.kernels.kept_numba import compiled, kept_on_disk
from memformer.kernels.simd import LANES, clear, collect, fma, gather, load, splat, spread, store


def _forward(K, Q, P, features, labels, N, window, w, chunks, start, end):
    """Write `w` `(S, L, d, n)` of jobs `start, ..., end - 1`."""
    S, L, d, n = w.shape
    fixed, block = P.shape[3] == 0, empty_block(K[0], Q[0], labels.shape[1], N)
    for job in range(start, end):
        model, chunk = job // chunks, job % chunks
        group, lanes_Q, lanes_P = model // (S // len(labels)), spread(Q[model]), spread(P[model])
        first, last = _of_chunk(chunk, chunks, n)
        for at in range(first, last, LANES):
            _begin(block, features[group], labels[group], N, at)
            run(block, K[model], lanes_Q, lanes_P, N, window, fixed)
            for layer in range(L):
                for i in range(d):
                    for t in range(min(LANES, n - at)):
                        w[model, layer, i, at + t] = -block.Z[layer + 1, N + i, d, t]


def _adjoint(K, Q, P, features, labels, N, window, grad_w, judge, grad_K, grad_Q, grad_P, losses, chunks, start, end):
    """Write gradients of the same jobs, `(S, chunks, ...)`: given that of `w`, or of the mean loss of the last `w`.

    Where `grad_w` is empty the judge is one of `memformer.kernels.judge_numba`, and sums of `losses` `(S, chunks)` are
    written too; then gradients are not, where theirs are empty.
    """
    S, L, _, d = Q.shape[:4]
    n, fixed, given = labels.shape[2], P.shape[3] == 0, grad_w.size > 0
    block, case = empty_block(K[0], Q[0], labels.shape[1], N), empty_case(judge)
    grad, w = empty_gradients(K[0], Q[0], P[0], N), np.empty((d, LANES), Q.dtype)
    lanes_w = np.zeros((L, d, LANES), Q.dtype)
    minus, none = splat(Q.dtype.type(-1)), splat(Q.dtype.type(0))
    for job in range(start, end):
        model, chunk = job // chunks, job % chunks
        group, lanes_Q, lanes_P = model // (S // len(labels)), spread(Q[model]), spread(P[model])
        clear(grad.K)
        clear(grad.of_Q)
        clear(grad.of_P)
        begin(case, judge, group)
        first, last = _of_chunk(chunk, chunks, n)
        for at in range(first, last, LANES):
            _begin(block, features[group], labels[group], N, at)
            run(block, K[model], lanes_Q, lanes_P, N, window, fixed)
            if given:
                for layer in range(L):
                    gather(lanes_w[layer], grad_w[model, layer], at)
            else:
                for i in range(d):
                    store(w, i, fma(load(block.Z[L], (N + i) * (d + 1) + d), minus, none))
                judged(lanes_w[L - 1], w, case, judge, group, at)
            if grad_K.size > 0:
                run_back(block, K[model], lanes_Q, lanes_P, N, window, fixed, lanes_w, grad)
        if not given:
            losses[model, chunk] = summed(case)
        if grad_K.size > 0:
            collect(grad_K[model, chunk], grad.K)
            collect(grad_Q[model, chunk], grad.of_Q)
            collect(grad_P[model, chunk], grad.of_P)


FORWARD, ADJOINT = kept_on_disk(_forward), kept_on_disk(_adjoint)


@compiled
def _begin(block, features, labels, N, start):
    """Read a block of tasks, and make its first state; with moments, the first `G` too."""
    size, d, n = features.shape
    gather(block.features, features.reshape((size * d, n)), start)
    gather(block.labels, labels, start)
    Z, F = block.Z[0], d + 1
    clear(Z)
    one = splat(block.Z.dtype.type(1))
    begun = Z if N > 0 else block.G[0]  # with M = I, moments are what the first layer sees
    for i in range(size):
        for f in range(d):
            store(begun, i * F + f, load(block.features, i * d + f))
        store(begun, i * F + d, load(block.labels, i))
    for i in range(d):
        store(Z, (N + i) * F + i, one)


@compiled
def _of_chunk(chunk, chunks, n):
    """The first of n tasks that belongs to a chunk of whole blocks, and the end of them."""
    size = (n + chunks * LANES - 1) // (chunks * LANES) * LANES
    return min(n, chunk * size), min(n, (chunk + 1) * size)
