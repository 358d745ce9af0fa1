"""Layers that change covariates, compiled for the CPU: all layers of a block of tasks, before the next block begins.

Products of 5×5 matrices are too small for calls to a library, and whole vectors of tasks too large for the cache. Here
`LANES` tasks go through all layers, and back, while what they leave behind is in the cache. The gradient is written by
hand; for it nothing is kept but parameters and tasks.

Names are those of `memformer.kernels.gdpp`, and `F = d + 1` features, `N` tokens of the context (0 with moments), `p`
registers a layer. All arrays within a block end in a dimension of `LANES`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.kernels.simd import (
    LANES,
    clear,
    collect,
    compiled,
    fma,
    gather,
    kept_on_disk,
    load,
    product,
    product_nt,
    product_tn,
    splat,
    spread,
    store,
)

Array = NDArray[np.floating]


class Block(NamedTuple):
    """A block of tasks, and what its layers leave.

    Attributes:
        features, labels: `(d, d)` and `(d,)` moments, or `(N, d)` and `(N,)` tokens.
        Z: `(L + 1, N + d, F)` states: tokens of the context, then those of the unit vectors.
        E: `(L, d, F)` `[H M | r]`, with moments.
        G: `(L, d, F)` `M^T [H M | r]`, or the same summed over tokens.
        V: `(L, heads, d, F)` `Q G`.
        B: `(L, p, d, F)` `V P^T`.
        R: `(L, p, N + d, F)` registers.
    """

    features: Array
    labels: Array
    Z: Array
    E: Array
    G: Array
    V: Array
    B: Array
    R: Array


def _forward(K, Q, P, features, labels, N, window, w, chunks, begin, end):
    """Write `w` `(S, L, d, n)` of jobs `begin, ..., end - 1`.

    A job is a chunk of a model's tasks, so that one model can keep many cores busy. All arrays are C-contiguous; shapes
    are as in `memformer.kernels.gdpp`, but K has all tokens and features, `(S, L, L, p, N + 1, F)`, P is `(.., F, F)`
    with the 1 that passes labels on, and with tokens Q has been divided by N.
    """
    L, d, n = w.shape[1:]
    block = _empty_block(K[0], Q[0], len(labels[0]), N)
    for job in range(begin, end):
        model, chunk = job // chunks, job % chunks
        lanes_Q, lanes_P = spread(Q[model]), spread(P[model])
        first, last = _of_chunk(chunk, chunks, n)
        for start in range(first, last, LANES):
            _begin(block, _of(features, model), _of(labels, model), N, start)
            _run(block, K[model], lanes_Q, lanes_P, N, window)
            for layer in range(L):
                for i in range(d):
                    for t in range(min(LANES, n - start)):
                        w[model, layer, i, start + t] = -block.Z[layer + 1, N + i, d, t]


def _backward(K, Q, P, features, labels, N, window, grad_w, grad_K, grad_Q, grad_P, chunks, begin, end):
    """Write gradients of the same jobs, `(S, chunks, ...)`, given that of `w`."""
    L, d, n = grad_w.shape[1:]
    block = _empty_block(K[0], Q[0], len(labels[0]), N)
    lanes_w = np.empty((L, d, LANES), Q.dtype)
    lanes_grads = _empty_grads(K[0], Q[0], N)
    for job in range(begin, end):
        model, chunk = job // chunks, job % chunks
        lanes_Q, lanes_P = spread(Q[model]), spread(P[model])
        own_K, own_Q, own_P = np.zeros((*K[0].shape, LANES), K.dtype), np.zeros_like(lanes_Q), np.zeros_like(lanes_P)
        first, last = _of_chunk(chunk, chunks, n)
        for start in range(first, last, LANES):
            _begin(block, _of(features, model), _of(labels, model), N, start)
            for layer in range(L):
                gather(lanes_w[layer], grad_w[model, layer], start)
            _run(block, K[model], lanes_Q, lanes_P, N, window)
            _run_back(block, K[model], lanes_Q, lanes_P, N, window, lanes_w, own_K, own_Q, own_P, lanes_grads)
        collect(grad_K[model, chunk], own_K)
        collect(grad_Q[model, chunk], own_Q)
        collect(grad_P[model, chunk], own_P)


FORWARD, BACKWARD = kept_on_disk(_forward), kept_on_disk(_backward)


@compiled
def _run(block, K, Q, P, N, window):
    """All layers of a block, whose first state is there. The last layer has unit vectors' labels alone."""
    L, heads, d = Q.shape[:3]
    F, p = d + 1, K.shape[2]
    for layer in range(L):
        first, top = (d, N) if layer == L - 1 else (0, 0)
        Z, G = block.Z[layer], block.G[layer]
        if N > 0:
            product_tn(G, Z, Z, (0, N), first, False)
        elif layer > 0:
            E = block.E[layer]
            product(E, block.features, Z, (0, d), (0, d), first, False)
            for i in range(d):
                at = i * F + d
                store(E, at, fma(load(block.labels, i), splat(K.dtype.type(1)), load(E, at)))
            product_tn(G, Z, E, (0, d), first, False)
        for head in range(heads):
            V = block.V[layer, head]
            product(V, Q[layer, head], G, (0, d), (0, d), first, False)
            product_nt(block.B[layer, min(head, p - 1)], V, P[layer, head], (0, d), first, head >= p)
        for q in range(p):
            product(block.R[layer, q], Z, block.B[layer, q], (top, N + d), (0, d), first, False)
        after = block.Z[layer + 1]
        for i in range(top, N + d):
            for f in range(first, F):
                total = load(Z, i * F + f)
                for source in range(max(0, layer + 1 - window), layer + 1):
                    for q in range(p):
                        weight = splat(K[layer, source, q, min(i, N), f])
                        total = fma(weight, load(block.R[source, q], i * F + f), total)
                store(after, i * F + f, total)


# The adjoint. A layer computes, with M the first d columns of Z and sums over the heads h of a register q,
#
#     E = H Z + [0 | b],  G = M^T E  (with tokens G = M^T Z),  V_h = Q_h G,  B_q = sum_h V_h P_h^T,  R_q = M B_q,
#     Z' = Z + sum_{j, q} K[j, q] * R_{j, q}  (* number by number),  w = -(last column of Z').
#
# Write ~X for the gradient in X. Layers go from the last to the first; ~Z' is ~Z of the layer above, and ~M is added to
# the first d columns of ~Z. In the order of the code:
#
#     (1)  ~Z' -= [0 | ~w],  ~Z = ~Z'
#     (2)  ~K[j, q] += ~Z' * R_{j, q},      ~R_{j, q} += K[j, q] * ~Z'
#     (3)  ~B_q = M^T ~R_q                  (~R_q is whole: all layers above have added to it)
#     (4)  ~V_h = ~B_q P_h,                 ~P_h += ~B_q^T V_h
#     (5)  ~Q_h += ~V_h G^T,                ~G = sum_h Q_h^T ~V_h
#     (6)  ~M += sum_q ~R_q B_q^T + E ~G^T,    ~E = M ~G,    ~Z += H ~E     (with tokens ~M += Z ~G^T, ~Z += M ~G)
#
# The first layer needs no (6), nor ~G: its Z holds no parameter.
@compiled
def _run_back(block, K, Q, P, N, window, grad_w, grad_K, grad_Q, grad_P, scratch):
    """Add a block's gradients, lane by lane, to those of the parameters."""
    L, heads, d = Q.shape[:3]
    F, p = d + 1, K.shape[2]
    grad_Z, grad_R, grad_B, grad_V, grad_G, grad_E = scratch
    clear(grad_Z)
    clear(grad_R)
    minus = splat(K.dtype.type(-1))
    for layer in range(L - 1, -1, -1):
        first, top = (d, N) if layer == L - 1 else (0, 0)
        Z, G = block.Z[layer], block.G[layer]
        for i in range(d):
            at = (N + i) * F + d
            store(grad_Z, at, fma(load(grad_w[layer], i), minus, load(grad_Z, at)))
        for i in range(top, N + d):
            for f in range(first, F):
                grad = load(grad_Z, i * F + f)
                at, own = i * F + f, min(i, N) * F + f
                for source in range(max(0, layer + 1 - window), layer + 1):
                    for q in range(p):
                        of_K, of_R = grad_K[layer, source, q], grad_R[source, q]
                        weight = splat(K[layer, source, q, min(i, N), f])
                        store(of_K, own, fma(grad, load(block.R[source, q], at), load(of_K, own)))
                        store(of_R, at, fma(weight, grad, load(of_R, at)))
        for q in range(p):
            product_tn(grad_B[q], Z, grad_R[layer, q], (top, N + d), first, False)
        for head in range(heads):
            grad_own = grad_B[min(head, p - 1)]
            product(grad_V, grad_own, P[layer, head], (0, d), (first, F), first, False)
            if layer < L - 1:
                product_tn(grad_P[layer, head], grad_own, block.V[layer, head], (0, d), 0, True)
            product_nt(grad_Q[layer, head], grad_V, G, (0, d), first, True)
            if layer > 0:
                product_tn(grad_G, Q[layer, head], grad_V, (0, d), first, head > 0)
        if layer == 0:
            break
        for q in range(p):
            product_nt(grad_Z, grad_R[layer, q], block.B[layer, q], (top, N + d), first, True)
        if N == 0:
            product_nt(grad_Z, block.E[layer], grad_G, (0, d), first, True)
            product(grad_E, Z, grad_G, (0, d), (0, d), first, False)
            product(grad_Z, block.features, grad_E, (0, d), (0, d), first, True)
        else:
            product_nt(grad_Z, Z, grad_G, (0, N), first, True)
            product(grad_Z, Z, grad_G, (0, N), (0, d), first, True)


@compiled
def _empty_block(K, Q, size, N):
    L, heads, d = Q.shape[:3]
    F, p, kind = d + 1, K.shape[2], Q.dtype
    return Block(
        np.empty((size, d, LANES), kind),
        np.empty((size, LANES), kind),
        np.empty((L + 1, N + d, F, LANES), kind),
        np.empty((L, d, F, LANES), kind),
        np.empty((L, d, F, LANES), kind),
        np.empty((L, heads, d, F, LANES), kind),
        np.empty((L, p, d, F, LANES), kind),
        np.empty((L, p, N + d, F, LANES), kind),
    )


@compiled
def _empty_grads(K, Q, N):
    """Of `Z`, `R`, `B` and one layer's `V`, `G` and `E`."""
    L, _, d = Q.shape[:3]
    F, p, kind = d + 1, K.shape[2], Q.dtype
    return (
        np.empty((N + d, F, LANES), kind),
        np.empty((L, p, N + d, F, LANES), kind),
        np.empty((p, d, F, LANES), kind),
        np.empty((d, F, LANES), kind),
        np.empty((d, F, LANES), kind),
        np.empty((d, F, LANES), kind),
    )


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


@compiled
def _of(tasks, model):
    """A model's own tasks, or those of all."""
    return tasks[min(model, len(tasks) - 1)]
