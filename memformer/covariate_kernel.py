"""Layers that change covariates, compiled for the CPU: all layers of a block of tasks, before the next block begins.

Products of 5×5 matrices are too small for calls to a library, and whole vectors of tasks too large for the cache. Here
`LANES` tasks go through all layers, and back, while what they leave behind is in the cache. The gradient is written by
hand; for it nothing is kept but parameters and tasks.

Names are those of `memformer.covariates`, and `F = d + 1` features, `N` tokens of the context (0 with moments), `p`
registers a layer. All arrays within a block end in a dimension of `LANES`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.lanes import LANES, compiled, fma, kept_on_disk, load, read, splat, store, zeros

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


@kept_on_disk
def forward(K, Q, P, features, labels, N, window, w, begin, end):
    """Write `w` of models `begin, ..., end - 1`; shapes as in `memformer.covariates`, all C-contiguous."""
    L, d, n = w.shape[1:]
    block = _empty_block(K[0], Q[0], len(labels[0]), N)
    for model in range(begin, end):
        lanes_Q, lanes_P = _spread(Q[model]), _spread(P[model])
        for start in range(0, n, LANES):
            _begin(block, _of(features, model), _of(labels, model), N, start)
            _run(block, K[model], lanes_Q, lanes_P, N, window)
            for layer in range(L):
                for i in range(d):
                    for t in range(min(LANES, n - start)):
                        w[model, layer, i, start + t] = -block.Z[layer + 1, N + i, d, t]


@kept_on_disk
def backward(K, Q, P, features, labels, N, window, grad_w, grad_K, grad_Q, grad_P, chunks, begin, end):
    """Write gradients, `(S, chunks, ...)`: tasks are cut into chunks, so that one model can keep many cores busy."""
    L, d, n = grad_w.shape[1:]
    size = (n + chunks * LANES - 1) // (chunks * LANES) * LANES
    block = _empty_block(K[0], Q[0], len(labels[0]), N)
    lanes_w = np.empty((L, d, LANES), Q.dtype)
    lanes_grads = _empty_grads(K[0], Q[0], N)
    for job in range(begin, end):
        model, chunk = job // chunks, job % chunks
        lanes_Q, lanes_P = _spread(Q[model]), _spread(P[model])
        own_K, own_Q, own_P = np.zeros((*K[0].shape, LANES), K.dtype), np.zeros_like(lanes_Q), np.zeros_like(lanes_P)
        for start in range(chunk * size, min(n, (chunk + 1) * size), LANES):
            _begin(block, _of(features, model), _of(labels, model), N, start)
            for layer in range(L):
                _gather(lanes_w[layer], grad_w[model, layer], start)
            _run(block, K[model], lanes_Q, lanes_P, N, window)
            _run_back(block, K[model], lanes_Q, lanes_P, N, window, lanes_w, own_K, own_Q, own_P, lanes_grads)
        _collect(grad_K[model, chunk], own_K)
        _collect(grad_Q[model, chunk], own_Q)
        _collect(grad_P[model, chunk], own_P)


@compiled
def _run(block, K, Q, P, N, window):
    """All layers of a block, whose first state is there. The last layer has unit vectors' labels alone."""
    L, heads, d = Q.shape[:3]
    F, p = d + 1, K.shape[2]
    for layer in range(L):
        first, top = (d, N) if layer == L - 1 else (0, 0)
        Z, G = block.Z[layer], block.G[layer]
        if N == 0:
            E = block.E[layer]
            _product(E, block.features, Z, (0, d), (0, d), first, False)
            for i in range(d):
                at = i * F + d
                store(E, at, fma(load(block.labels, i), splat(K.dtype.type(1)), load(E, at)))
            _product_tn(G, Z, E, (0, d), first, False)
        else:
            _product_tn(G, Z, Z, (0, N), first, False)
        for head in range(heads):
            V = block.V[layer, head]
            _product(V, Q[layer, head], G, (0, d), (0, d), first, False)
            _product_nt(block.B[layer, min(head, p - 1)], V, P[layer, head], (0, d), first, head >= p)
        for q in range(p):
            _product(block.R[layer, q], Z, block.B[layer, q], (top, N + d), (0, d), first, False)
        after = block.Z[layer + 1]
        for i in range(top, N + d):
            for f in range(first, F):
                total = load(Z, i * F + f)
                for source in range(max(0, layer + 1 - window), layer + 1):
                    for q in range(p):
                        weight = splat(K[layer, source, q, min(i, N), f])
                        total = fma(weight, load(block.R[source, q], i * F + f), total)
                store(after, i * F + f, total)


@compiled
def _run_back(block, K, Q, P, N, window, grad_w, grad_K, grad_Q, grad_P, scratch):
    """Add a block's gradients, lane by lane, to those of the parameters."""
    L, heads, d = Q.shape[:3]
    F, p = d + 1, K.shape[2]
    grad_Z, grad_R, grad_B, grad_V, grad_G, grad_E = scratch
    _clear(grad_Z)
    _clear(grad_R)
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
            _product_tn(grad_B[q], Z, grad_R[layer, q], (top, N + d), first, False)
        for head in range(heads):
            grad_own = grad_B[min(head, p - 1)]
            _product(grad_V, grad_own, P[layer, head], (0, d), (first, F), first, False)
            if layer < L - 1:
                _product_tn(grad_P[layer, head], grad_own, block.V[layer, head], (0, d), 0, True)
            _product_nt(grad_Q[layer, head], grad_V, G, (0, d), first, True)
            _product_tn(grad_G, Q[layer, head], grad_V, (0, d), first, head > 0)
        if layer == 0:
            break
        for q in range(p):
            _product_nt(grad_Z, grad_R[layer, q], block.B[layer, q], (top, N + d), first, True)
        if N == 0:
            _product_nt(grad_Z, block.E[layer], grad_G, (0, d), first, True)
            _product(grad_E, Z, grad_G, (0, d), (0, d), first, False)
            _product(grad_Z, block.features, grad_E, (0, d), (0, d), first, True)
        else:
            _product_nt(grad_Z, Z, grad_G, (0, N), first, True)
            _product(grad_Z, Z, grad_G, (0, N), (0, d), first, True)


@compiled
def _product(out, A, B, rows, inner, first, add):
    """Rows of `A B`, summed over `inner`, from column `first` on: added to `out`, or in its place."""
    _multiply(out, A, B, (A.shape[1], 1), (B.shape[1], 1), rows, inner, (first, out.shape[1]), add)


@compiled
def _product_tn(out, A, B, inner, first, add):
    """`A^T B`, likewise."""
    _multiply(out, A, B, (1, A.shape[1]), (B.shape[1], 1), (0, out.shape[0]), inner, (first, out.shape[1]), add)


@compiled
def _product_nt(out, A, B, rows, first, add):
    """Rows of `A B^T`, summed over the features from `first` on, likewise."""
    _multiply(out, A, B, (A.shape[1], 1), (1, B.shape[1]), rows, (first, A.shape[1]), (0, B.shape[0]), add)


@compiled
def _multiply(out, A, B, of_A, of_B, rows, inner, columns, add):
    """Two columns at a time, which share what they read of `A`; `of_A` and `of_B` are strides of rows and columns."""
    for i in range(rows[0], rows[1]):
        for j in range(columns[0], columns[1] - 1, 2):
            at = i * out.shape[1] + j
            one = load(out, at) if add else zeros(out)
            two = load(out, at + 1) if add else zeros(out)
            for k in range(inner[0], inner[1]):
                factor, right = load(A, i * of_A[0] + k * of_A[1]), k * of_B[0] + j * of_B[1]
                one = fma(factor, load(B, right), one)
                two = fma(factor, load(B, right + of_B[1]), two)
            store(out, at, one)
            store(out, at + 1, two)
        if (columns[1] - columns[0]) % 2:
            j = columns[1] - 1
            at = i * out.shape[1] + j
            one = load(out, at) if add else zeros(out)
            for k in range(inner[0], inner[1]):
                one = fma(load(A, i * of_A[0] + k * of_A[1]), load(B, k * of_B[0] + j * of_B[1]), one)
            store(out, at, one)


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
    """Read a block of tasks, and make its first state."""
    size, d, n = features.shape
    _gather(block.features, features.reshape((size * d, n)), start)
    _gather(block.labels, labels, start)
    Z, F = block.Z[0], d + 1
    _clear(Z)
    one = splat(block.Z.dtype.type(1))
    for i in range(N):
        for f in range(d):
            store(Z, i * F + f, load(block.features, i * d + f))
        store(Z, i * F + d, load(block.labels, i))
    for i in range(d):
        store(Z, (N + i) * F + i, one)


@compiled
def _of(tasks, model):
    """A model's own tasks, or those of all."""
    return tasks[min(model, len(tasks) - 1)]


@compiled
def _gather(out, source, start):
    """Tasks from `start` on, of `(..., n)`; lanes beyond the last task become zero."""
    size, n = source.shape
    count = min(LANES, n - start)
    if count == LANES:
        for i in range(size):
            store(out, i, read(source, i * n + start))
        return
    flat = out.reshape((-1, LANES))
    for i in range(size):
        for t in range(count):
            flat[i, t] = source[i, start + t]
        for t in range(count, LANES):
            flat[i, t] = 0


@compiled
def _spread(numbers):
    """The same numbers in all lanes."""
    out = np.empty((*numbers.shape, LANES), numbers.dtype)
    for i, number in enumerate(numbers.flat):
        store(out, i, splat(number))
    return out


@compiled
def _collect(out, lanes):
    """Sums over lanes."""
    summed, flat = out.reshape(-1), lanes.reshape((-1, LANES))
    for i in range(len(summed)):
        total = flat[i, 0]
        for t in range(1, LANES):
            total += flat[i, t]
        summed[i] = total


@compiled
def _clear(array):
    for i in range(array.size // LANES):
        store(array, i, zeros(array))
