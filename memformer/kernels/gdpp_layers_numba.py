"""All layers of a block of tasks, and back, for `memformer.kernels.gdpp_numba`.

Names are those of `memformer.kernels.gdpp`, and `F = d + 1` features, `N` tokens of the context (0 with moments), `p`
registers a layer. All arrays within a block end in a dimension of `LANES`. Where covariates are `fixed` (P = 0, from
tokens) they are those of the first state throughout, and of each state the last column alone, the label, is there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.kernels.kept_numba import compiled
from memformer.kernels.matrices_numba import product, product_nt, product_tn, span
from memformer.kernels.simd import LANES, clear, fma, load, splat, store

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


class Gradients(NamedTuple):
    """Those of a block, and of the parameters, lane by lane.

    Attributes:
        Z: `(N + d, F)`; R: `(L, p, N + d, F)`; B: `(p, d, F)`; V, G, E: `(d, F)` of one layer.
        K, of_Q, of_P: shaped as the parameters are, summed over the blocks of a job.
    """

    Z: Array
    R: Array
    B: Array
    V: Array
    G: Array
    E: Array
    K: Array
    of_Q: Array
    of_P: Array


@compiled
def empty_block(K, Q, size, N):
    """For tasks of `size` rows, and parameters of one model."""
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
def empty_gradients(K, Q, P, N):
    """For one model's."""
    L, _, d = Q.shape[:3]
    F, p, kind = d + 1, K.shape[2], Q.dtype
    return Gradients(
        np.empty((N + d, F, LANES), kind),
        np.empty((L, p, N + d, F, LANES), kind),
        np.empty((p, d, F, LANES), kind),
        np.empty((d, F, LANES), kind),
        np.empty((d, F, LANES), kind),
        np.empty((d, F, LANES), kind),
        np.empty((*K.shape, LANES), kind),
        np.empty((*Q.shape, LANES), kind),
        np.empty((*P.shape, LANES), kind),
    )


@compiled
def run(block, K, Q, P, N, window, fixed):
    """All layers of a block, whose first state is there. The last layer has unit vectors' labels alone."""
    L, heads, d = Q.shape[:3]
    F, p, least = d + 1, K.shape[2], d + 1 - K.shape[4]
    whole, tokens = span(0, d), span(0, N)
    for layer in range(L):
        first, top = (d if fixed or layer == L - 1 else 0), (N if layer == L - 1 else 0)
        Z, G = block.Z[layer], block.G[layer]
        M = block.Z[0] if fixed else Z
        if N > 0:
            product_tn(G, M, Z, tokens, first, False)
        elif layer > 0:
            E = block.E[layer]
            product(E, block.features, Z, whole, whole, first, False)
            for i in range(d):
                at = i * F + d
                store(E, at, fma(load(block.labels, i), splat(K.dtype.type(1)), load(E, at)))
            product_tn(G, Z, E, whole, first, False)
        for head in range(heads):
            V, B = block.V[layer, head], block.B[layer, min(head, p - 1)]
            product(V, Q[layer, head], G, whole, whole, first, False)
            if first == d:
                _add_labels(B, V, head >= p)
            else:
                product_nt(B, V, P[layer, head], whole, first, head >= p)
        unmoved = fixed or layer == 0  # the unit vectors' own M is I
        for q in range(p):
            R, B = block.R[layer, q], block.B[layer, q]
            product(R, M, B, span(top, N if unmoved else N + d), whole, first, False)
            if unmoved:
                _copy(R, N, B, 0, d, first)
        after = block.Z[layer + 1]
        for i in range(top, N + d):
            for f in range(first, F):
                total = load(Z, i * F + f)
                for source in range(max(0, layer + 1 - window), layer + 1):
                    for q in range(p):
                        weight = splat(K[layer, source, q, min(i, N), f - least])
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
# The first layer needs no (6), nor ~G: its Z holds no parameter. Fixed covariates need no ~M, nor ~P.
@compiled
def run_back(block, K, Q, P, N, window, fixed, grad_w, grad):
    """Add a block's gradients, lane by lane, to those of the parameters; `grad_w` is `(L, d)`."""
    L, heads, d = Q.shape[:3]
    F, p, least = d + 1, K.shape[2], d + 1 - K.shape[4]
    clear(grad.Z)
    clear(grad.R)
    minus, whole, tokens = splat(K.dtype.type(-1)), span(0, d), span(0, N)
    for layer in range(L - 1, -1, -1):
        first, top = (d if fixed or layer == L - 1 else 0), (N if layer == L - 1 else 0)
        Z, G = block.Z[layer], block.G[layer]
        M = block.Z[0] if fixed else Z
        for i in range(d):
            at = (N + i) * F + d
            store(grad.Z, at, fma(load(grad_w[layer], i), minus, load(grad.Z, at)))
        for i in range(top, N + d):
            for f in range(first, F):
                of_Z, at = load(grad.Z, i * F + f), i * F + f
                own = min(i, N) * (F - least) + f - least
                for source in range(max(0, layer + 1 - window), layer + 1):
                    for q in range(p):
                        of_K, of_R = grad.K[layer, source, q], grad.R[source, q]
                        weight = splat(K[layer, source, q, min(i, N), f - least])
                        store(of_K, own, fma(of_Z, load(block.R[source, q], at), load(of_K, own)))
                        store(of_R, at, fma(weight, of_Z, load(of_R, at)))
        unmoved = fixed or layer == 0
        for q in range(p):
            of_R = grad.R[layer, q]
            if unmoved:
                _copy(grad.B[q], 0, of_R, N, d, first)
            product_tn(grad.B[q], M, of_R, span(top, N if unmoved else N + d), first, unmoved)
        for head in range(heads):
            of_B = grad.B[min(head, p - 1)]
            if first == d:
                _add_labels(grad.V, of_B, False)
            else:
                product(grad.V, of_B, P[layer, head], whole, span(first, F), first, False)
                product_tn(grad.of_P[layer, head], of_B, block.V[layer, head], whole, 0, True)
            product_nt(grad.of_Q[layer, head], grad.V, G, whole, first, True)
            if layer > 0:
                product_tn(grad.G, Q[layer, head], grad.V, whole, first, head > 0)
        if layer == 0:
            break
        if not fixed:
            for q in range(p):
                product_nt(grad.Z, grad.R[layer, q], block.B[layer, q], span(top, N + d), first, True)
        if N == 0:
            product_nt(grad.Z, block.E[layer], grad.G, whole, first, True)
            product(grad.E, Z, grad.G, whole, whole, first, False)
            product(grad.Z, block.features, grad.E, whole, whole, first, True)
        else:
            if not fixed:
                product_nt(grad.Z, Z, grad.G, tokens, first, True)
            product(grad.Z, M, grad.G, tokens, whole, first, True)


@compiled
def _add_labels(out, source, add):
    """The last column, which P' passes on as it is: added to that of `out`, or in its place."""
    one = splat(out.dtype.type(1))
    for i in range(out.shape[0]):
        at = (i + 1) * out.shape[1] - 1
        store(out, at, fma(load(source, at), one, load(out, at)) if add else load(source, at))


@compiled
def _copy(out, to, source, start, rows, first):
    """Rows from `start` on to those from `to` on, columns from `first` on."""
    F = out.shape[1]
    for i in range(rows):
        for f in range(first, F):
            store(out, (to + i) * F + f, load(source, (start + i) * F + f))
