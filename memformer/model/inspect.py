"""What training found: tables of learned preconditioners and memory weights, and the polynomial a model has become.

With P = 0 a model is a linear first-order method. In coordinates in which covariates are white its preconditioners are
close to multiples of the identity, and what it does to a task is then a polynomial: `w = p(H) b`. These tables show how
close, and which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from memformer.core.roots import symmetric_roots
from memformer.model.attention import as_matrix, gated_preconditioners
from memformer.model.config import MemformerConfig
from memformer.model.memory import memory_matrix

if TYPE_CHECKING:
    import pandas


def whitened(matrix: Tensor, second_moment: Tensor) -> Tensor:
    """`Sigma^{1/2} Q Sigma^{1/2}`, what a preconditioner `(..., d, d)` is to white covariates; Sigma `(d, d)`."""
    root = symmetric_roots(second_moment.to(matrix)).root
    return root @ matrix @ root


def preconditioner_table(
    config: MemformerConfig, parameters: Mapping[str, Tensor], second_moment: Tensor, N: int
) -> pandas.DataFrame:
    """Learned Q against `-N/(N+1+d) Sigma^{-1}`, the best of a single layer.

    Args:
        config: of the models.
        parameters: S models.
        second_moment: Sigma of the law, `(d, d)`.
        N: context length.

    Returns:
        One row a model, layer and head: `scale`, the mean of the diagonal of the whitened Q; `relative`, scale in
        units of the closed form's `-N/(N+1+d)`; `deviation`, the share of the whitened Q's Frobenius norm that is no
        multiple of the identity. With P free also `P_scale` and `P_deviation`, of `Sigma^{-1/2} P Sigma^{1/2}`.

    Example:
        >>> config = MemformerConfig(d=2, depth=1)
        >>> Q = -20 / 23 * torch.diag(torch.tensor([1.0, 4.0])).view(1, 1, 1, 2, 2)
        >>> table = preconditioner_table(config, {"Q": Q}, torch.diag(torch.tensor([1.0, 0.25])), N=20)
        >>> table[['relative', 'deviation']].round(5).values.tolist()
        [[1.0, 0.0]]
    """
    import pandas

    config.check(parameters)
    Q = whitened(as_matrix(config, parameters["Q"].detach()), second_moment)
    closed_form = -N / (N + 1 + config.d)
    rows = []
    for model, layer, head in torch.cartesian_prod(*(torch.arange(size) for size in Q.shape[:3])).view(-1, 3).tolist():
        scale, deviation = _near_identity(Q[model, layer, head])
        row = {"model": model, "layer": layer, "head": head, "scale": scale}
        row |= {"relative": scale / closed_form, "deviation": deviation}
        if config.covariate_update:
            P = parameters["P"][model, layer, head].detach()
            root, inverse_root = symmetric_roots(second_moment.to(P))
            row["P_scale"], row["P_deviation"] = _near_identity(inverse_root @ P @ root)
        rows.append(row)
    return pandas.DataFrame(rows)


def _near_identity(matrix: Tensor) -> tuple[float, float]:
    scale = matrix.diagonal().mean()
    rest = matrix - scale * torch.eye(len(matrix)).to(matrix)
    return scale.item(), (rest.norm() / matrix.norm().clamp(min=torch.finfo(matrix.dtype).tiny)).item()


def step_sizes(
    config: MemformerConfig, parameters: Mapping[str, Tensor], second_moment: Tensor | None = None
) -> Tensor:
    """Coefficients of `w_{l+1} = w_l - sum_{j<=l} c[l, j] C grad f(w_j)`, the method that a model with P = 0 is.

    Args:
        config: P = 0, linear attention, memory weights that are not token-shaped.
        parameters: S models.
        second_moment: Sigma, `(d, d)`, for full Q: then `C = Sigma^{-1}` and each whitened Q counts as the multiple of
            the identity nearest to it. None takes C = I.

    Returns:
        `(S, depth, depth)`, lower triangular: the table of `memformer.model.construct.first_order_method`.

    Raises:
        ValueError: if the model is no such method.

    Example:
        >>> from memformer.model.construct import heavy_ball
        >>> config, parameters = heavy_ball(torch.tensor([0.5]), torch.tensor([0.25]), depth=2, d=3)
        >>> step_sizes(config, parameters).tolist()
        [[[0.5, 0.0], [0.125, 0.5]]]
    """
    if config.covariate_update or not config.reducible:
        wanted = "only a model with P = 0, linear attention and no token-shaped weights"
        raise ValueError(f"{wanted} is a first-order method")
    config.check(parameters)
    Q = as_matrix(config, gated_preconditioners(config, parameters)).detach()
    Q = Q if second_moment is None else whitened(Q, second_moment)
    scale = -Q.diagonal(dim1=-2, dim2=-1).mean(-1)
    K = memory_matrix(config, parameters).detach()
    if config.gamma_per_head:
        return (K * scale.mT[:, :, None]).sum(1)
    return K * scale.sum(2)[:, None]


def polynomials(table: Tensor) -> Tensor:
    """Coefficients of the polynomials `p_k` with `w_k = p_k(CH) C b` that a first-order method applies.

    From a table `(S, K, K)`, as `step_sizes` returns it, `(S, K, K)`: `[:, k - 1, j]` is the coefficient of `(CH)^j` in
    `p_k`, k = 1, ..., K. The last row is what the closed form of `lfom_optimal` gives for the best method of K steps.

    Example:
        >>> polynomials(torch.tensor([[[0.5, 0.0], [0.0, 0.5]]])).tolist()
        [[[0.5, 0.0], [1.0, -0.25]]]
    """
    S, K, _ = table.shape
    p = table.new_zeros(S, K)
    residuals, found = [], []
    for k in range(K):
        # r = (1 - lambda p(lambda)) b
        residual = -torch.cat([torch.zeros_like(p[:, :1]), p[:, :-1]], 1)
        residual[:, 0] += 1
        residuals.append(residual)
        p = p + (table[:, k, : k + 1, None] * torch.stack(residuals, 1)).sum(1)
        found.append(p)
    return torch.stack(found, 1)


def residual_polynomial(coefficients: Tensor, eigenvalues: Tensor) -> Tensor:
    """`1 - lambda p(lambda)`, `(..., m)`: by what a method multiplies the error along an eigenvector of `CH`.

    `coefficients` `(..., K)` are those of p, lowest first; `eigenvalues` `(m,)`.
    """
    powers = eigenvalues[:, None] ** torch.arange(1, coefficients.shape[-1] + 1).to(eigenvalues)
    return 1 - coefficients @ powers.mT


def polynomial_table(
    config: MemformerConfig,
    parameters: Mapping[str, Tensor],
    optimal: Tensor,
    second_moment: Tensor | None = None,
) -> pandas.DataFrame:
    """The polynomial each model has become against the optimal one.

    Args:
        config: see `step_sizes`.
        parameters: S models of `config.depth` layers.
        optimal: `(depth,)`, best coefficients for the law, as `baselines.lfom_optimal` finds them.
        second_moment: see `step_sizes`.

    Returns:
        One row a model and power: `learned`, `optimal`, `ratio`.
    """
    import pandas

    learned = polynomials(step_sizes(config, parameters, second_moment))[:, -1]
    models, powers = torch.cartesian_prod(*map(torch.arange, learned.shape)).T.numpy()
    found = {"learned": learned.flatten().tolist(), "optimal": optimal.repeat(len(learned)).tolist()}
    table = pandas.DataFrame({"model": models, "power": powers, **found})
    return table.assign(ratio=table.learned / table.optimal.where(table.optimal != 0))
