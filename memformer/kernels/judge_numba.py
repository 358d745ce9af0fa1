"""The loss of a block of tasks, and its gradient in their weights, inside functions that numba compiles.

A judge is the tuple of arrays that `memformer.kernels.judge.Judge` tells: `w_star` `(G, d, n)` with `metric`
`(G, d, d, n)` or `(G, d, d, 1)`, and where their n is 0 `x_query` `(G, q, d, n)` with `y_query` `(G, q, n)`; then
`task_weights` `(G, n)`, or `(G, 0)` where all count alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.kernels.kept_numba import compiled
from memformer.kernels.simd import LANES, clear, fma, gather, load, splat, store, zeros

Array = NDArray[np.floating]


class Case(NamedTuple):
    """What the judge needs of one block; all end in a dimension of `LANES`.

    Attributes:
        w_star: `(d,)`.
        metric: `(d^2,)`.
        x, y: `(q d,)` and `(q,)`.
        weight: `(1,)`, of each task.
        losses: `(1,)`, summed over the blocks of a job.
    """

    w_star: Array
    metric: Array
    x: Array
    y: Array
    weight: Array
    losses: Array


@compiled
def empty_case(judge):
    """For tasks of the size that the judge's have."""
    w_star, _, _, y_query, _ = judge
    d, q, kind = w_star.shape[1], y_query.shape[1], w_star.dtype
    return Case(
        np.empty((d, LANES), kind),
        np.empty((d * d, LANES), kind),
        np.empty((q * d, LANES), kind),
        np.empty((q, LANES), kind),
        np.ones((1, LANES), kind),
        np.empty((1, LANES), kind),
    )


@compiled
def begin(case, judge, group):
    """Before the blocks of a job: no loss yet, and what all its tasks share."""
    metric = judge[1]
    clear(case.losses)
    if metric.shape[3] == 1:
        flat = metric[group].reshape(-1)
        for i in range(len(flat)):
            store(case.metric, i, splat(flat[i]))


@compiled
def judged(grad_w, w, case, judge, group, start):
    """Add the losses of the tasks from `start` on; write the gradient, in their weights, of the mean over all n.

    `w` and `grad_w` are `(d, LANES)`.
    """
    w_star, metric, x_query, y_query, task_weights = judge
    d, kind = len(w), w.dtype
    if task_weights.shape[1] > 0:
        gather(case.weight, task_weights[group : group + 1], start)
    if w_star.shape[2] > 0:
        n = w_star.shape[2]
        gather(case.w_star, w_star[group], start)
        if metric.shape[3] != 1:
            gather(case.metric, metric[group].reshape((d * d, n)), start)
        _of_weights(grad_w, w, case, splat(kind.type(2.0 / n)))
    else:
        q, n = y_query.shape[1:]
        gather(case.x, x_query[group].reshape((q * d, n)), start)
        gather(case.y, y_query[group], start)
        _of_queries(grad_w, w, case, splat(kind.type(2.0 / (n * q))))


@compiled
def summed(case):
    """The sum of the losses of a job."""
    total = case.losses[0, 0]
    for t in range(1, LANES):
        total += case.losses[0, t]
    return total


@compiled
def _of_weights(grad, w, case, share):
    """`(w - w_star)^T metric (w - w_star)`, times the weights; its gradient times a share."""
    d = len(w)
    minus, none, counts = splat(w.dtype.type(-1)), zeros(w), load(case.weight, 0)
    loss, factor = none, fma(share, counts, none)
    for i in range(d):
        slope = none
        for j in range(d):
            slope = fma(load(case.metric, i * d + j), fma(minus, load(case.w_star, j), load(w, j)), slope)
        loss = fma(fma(minus, load(case.w_star, i), load(w, i)), slope, loss)
        store(grad, i, fma(factor, slope, none))
    store(case.losses, 0, fma(counts, loss, load(case.losses, 0)))


@compiled
def _of_queries(grad, w, case, share):
    """The same for the squared errors `(x^T w - y)^2` of the queries."""
    d, minus, none, counts = len(w), splat(w.dtype.type(-1)), zeros(w), load(case.weight, 0)
    loss, factor = none, fma(share, counts, none)
    clear(grad)
    for k in range(len(case.y)):
        error = fma(minus, load(case.y, k), none)
        for i in range(d):
            error = fma(load(case.x, k * d + i), load(w, i), error)
        loss = fma(error, error, loss)
        scaled = fma(factor, error, none)
        for i in range(d):
            store(grad, i, fma(scaled, load(case.x, k * d + i), load(grad, i)))
    store(case.losses, 0, fma(counts, loss, load(case.losses, 0)))
