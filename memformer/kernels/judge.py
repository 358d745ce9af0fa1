"""What weights are judged by when loss and gradient are compiled together: tensors, as a kernel reads them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from memformer.kernels.compiled import array


class Judge(NamedTuple):
    """What weights `(S, d, n)` are judged by, for each of G groups of models; either the first two or the next two.

    Attributes:
        w_star: `(G, d, n)`.
        metric: `(G, d, d)`, or `(G, d, d, n)` of each task: the loss is `(w - w_star)^T metric (w - w_star)`.
        x_query: `(G, q, d, n)`.
        y_query: `(G, q, n)`: the loss is the mean of `(x^T w - y)^2`.
        task_weights: `(G, n)`; None if all tasks count alike.
    """

    w_star: Tensor | None
    metric: Tensor | None
    x_query: Tensor | None
    y_query: Tensor | None
    task_weights: Tensor | None

    @property
    def counted(self) -> int:
        """How many errors a loss is the mean of: tasks, or queries of all of them."""
        (known,) = (tensor for tensor in (self.w_star, self.y_query) if tensor is not None)
        return known.shape[-1] * (1 if self.w_star is not None else known.shape[1])

    def arrays(self) -> tuple[np.ndarray, ...]:
        """What `memformer.kernels.judge_numba` reads, in as many dimensions as it expects; of size 0 what is None."""
        w_star, metric, x_query, y_query, weights = self
        (known,) = (tensor for tensor in (w_star, x_query) if tensor is not None)
        G, d, n = len(known), *known.shape[-2:]
        none = known.new_empty(0)
        return (
            array(none.view(G, d, 0) if w_star is None else w_star),
            array(none.view(G, d, d, 0) if metric is None else metric[..., None] if metric.ndim == 3 else metric),
            array(none.view(G, 0, d, n) if x_query is None else x_query),
            array(none.view(G, 0, n) if y_query is None else y_query),
            array(none.view(G, 0) if weights is None else weights),
        )


def no_judge(G: int, d: int, like: Tensor) -> tuple[np.ndarray, ...]:
    """The arrays of nobody, for a kernel that is given the gradient of weights instead."""
    shapes = (G, d, 0), (G, d, d, 0), (G, 0, d, 0), (G, 0, 0), (G, 0)
    return tuple(array(torch.empty(shape, dtype=like.dtype)) for shape in shapes)
