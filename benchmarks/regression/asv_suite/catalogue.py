"""What is measured, as static lists: asv finds a parameter by its index, and must not take it from the code under test.

A new entry goes at the end of its list; nothing is ever removed or moved. A test holds the lists equal to the registry.
"""

from __future__ import annotations

from typing import Any

SOLVERS = [
    "gradient_descent",
    "gradient_descent_l",
    "gradient_descent_tuned",
    "steepest_descent",
    "barzilai_borwein",
    "barzilai_borwein_short",
    "heavy_ball",
    "heavy_ball_tuned",
    "nesterov",
    "nesterov_quadratic",
    "nesterov_convex",
    "nesterov_tuned",
    "chebyshev",
    "marchenko_pastur",
    "cg",
    "pcg",
    "cgls",
    "newton_schulz",
    "lfom",
    "lfom_diagonal",
    "lfom_optimal",
    "lfom_optimal_preconditioned",
    "ols",
    "ridge",
    "bayes",
    "scipy_cg",
    "scipy_minres",
    "scipy_gmres",
    "scipy_lsqr",
    "scipy_lsmr",
    "scipy_lstsq",
    "scipy_solve",
    "scipy_minimize_cg",
    "scipy_minimize_bfgs",
    "scipy_minimize_lbfgsb",
    "scipy_minimize_newton_cg",
    "linear_transformer",
    "memformer_conjugate",
    "memformer_conjugate_scalar",
    "memformer_first_order",
    "memformer_first_order_scalar",
    "memformer_gdpp",
    "memformer_gated",
    "memformer_adaptive",
    "ridge_loo",
    "ridge_cholesky",
    "memformer_constructed",
    "memformer_constructed_preconditioned",
]

LAWS = ["isotropic", "anisotropic", "ood_variance", "gmm", "sphere", "gamma", "real"]

NO_PRIOR = ["real"]
"""Laws that do not state the prior of their weights."""

NEED_PRIOR = ["ridge", "bayes", "ridge_cholesky"]
"""Solvers that cannot be fitted without it."""

DEVICES = ["cpu", "cuda"]

VARIANTS: dict[str, dict[str, Any]] = {
    "linear_transformer": {},
    "conjugate": {"memory": "conjugate"},
    "conjugate_scalar": {"memory": "conjugate", "preconditioner": "scalar"},
    "first_order": {"memory": "first_order"},
    "first_order_scalar": {"memory": "first_order", "preconditioner": "scalar"},
    "gdpp": {"memory": "first_order", "covariate_update": True},
    "two_gated_heads": {"memory": "first_order", "heads": 2, "gates": "layer"},
    "token_gamma": {"memory": "first_order", "gamma": "token", "gamma_sharing": "past", "num_tokens": 20},
    "softmax": {"memory": "first_order", "attention": "softmax", "gates": "layer"},
}
"""Memformers whose forward pass, backward pass and training step are timed: fields of `MemformerConfig`."""


_TUNED = ["gradient_descent_tuned", "heavy_ball_tuned", "nesterov_tuned"]
_LEARNED = ["lfom", "lfom_diagonal"]
_OPTIMAL = ["lfom_optimal", "lfom_optimal_preconditioned"]
_MEMFORMERS = [
    "linear_transformer",
    "memformer_conjugate",
    "memformer_conjugate_scalar",
    "memformer_first_order",
    "memformer_first_order_scalar",
    "memformer_gdpp",
    "memformer_gated",
    "memformer_adaptive",
]


def _budgets(tuned: int, lfom: dict[str, int], optimal: int, memformer: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Hyper-parameters of what is fitted, by solver."""
    return {
        **{name: {"num_tasks": tuned} for name in _TUNED},
        **dict.fromkeys(_LEARNED, lfom),
        **{name: {"num_tasks": optimal} for name in _OPTIMAL},
        **dict.fromkeys(_MEMFORMERS, memformer),
    }


TIMED_BUDGET = _budgets(200, {"iterations": 5, "batch": 64}, 1000, {"tasks": 100, "iterations": 2})
"""Training where only the time of a solve counts: it needs parameters, not good ones."""

SCORED_BUDGET = _budgets(1000, {"iterations": 60}, 20_000, {"tasks": 4000, "batch": 500, "iterations": 60})
"""Training where the loss counts: short, and always the same."""

SLOW = [name for name in SOLVERS if name.startswith("scipy_")]
"""Solvers that loop over tasks, and are given fewer of them."""
