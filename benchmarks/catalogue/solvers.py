"""Every solver that comes with the project, by name; modules are imported when a solver is first used."""

from __future__ import annotations

from benchmarks.catalogue.registry import SOLVERS

SOLVERS.add("gradient_descent", "baselines.gradient:GradientDescent", "gradient descent, step 2/(mu+L)")
SOLVERS.add("gradient_descent_l", "baselines.gradient:GradientDescent", "gradient descent, step 1/L", step_rule="L")
SOLVERS.add(
    "gradient_descent_tuned",
    "baselines.tuning:Tuned",
    "gradient descent, best fixed step for the law",
    method="gradient_descent",
)
SOLVERS.add("steepest_descent", "baselines.gradient:SteepestDescent", "gradient descent with an exact line search")
SOLVERS.add("barzilai_borwein", "baselines.gradient:BarzilaiBorwein", "Barzilai-Borwein, long step")
SOLVERS.add(
    "barzilai_borwein_short", "baselines.gradient:BarzilaiBorwein", "Barzilai-Borwein, short step", variant="short"
)
SOLVERS.add("heavy_ball", "baselines.accelerated:HeavyBall", "Polyak's heavy ball, optimal constants")
SOLVERS.add(
    "heavy_ball_tuned", "baselines.tuning:Tuned", "heavy ball, best fixed constants for the law", method="heavy_ball"
)
SOLVERS.add(
    "heavy_ball_tuned_preconditioned",
    "baselines.tuning:Tuned",
    "heavy ball preconditioned by the law's covariance, best fixed constants for it",
    method="heavy_ball",
    preconditioned=True,
)
SOLVERS.add("nesterov", "baselines.accelerated:Nesterov", "Nesterov, strongly convex constants")
SOLVERS.add("nesterov_quadratic", "baselines.accelerated:Nesterov", "Nesterov, tuned for quadratics", form="quadratic")
SOLVERS.add("nesterov_convex", "baselines.accelerated:Nesterov", "Nesterov, convex (FISTA)", form="convex")
SOLVERS.add("nesterov_tuned", "baselines.tuning:Tuned", "Nesterov, best fixed constants for the law", method="nesterov")
SOLVERS.add(
    "nesterov_tuned_preconditioned",
    "baselines.tuning:Tuned",
    "Nesterov preconditioned by the law's covariance, best fixed constants for it",
    method="nesterov",
    preconditioned=True,
)
SOLVERS.add("chebyshev", "baselines.accelerated:Chebyshev", "Chebyshev semi-iteration, minimax over [mu, L]")
SOLVERS.add(
    "marchenko_pastur", "baselines.averaging:MarchenkoPastur", "average-case optimal for isotropic covariates, d -> oo"
)
SOLVERS.add("cg", "baselines.krylov:ConjugateGradient", "conjugate gradient on H")
SOLVERS.add("pcg", "baselines.krylov:PreconditionedCG", "conjugate gradient preconditioned by the law's covariance")
SOLVERS.add("cgls", "baselines.krylov:CGLS", "conjugate gradient for least squares, on X")
SOLVERS.add("newton_schulz", "baselines.newton:NewtonSchulz", "Newton-Schulz iteration for the inverse of H")
SOLVERS.add(
    "newton_schulz_law", "baselines.newton:NewtonSchulzLaw", "Newton-Schulz from the law's inverse, best scales for it"
)
SOLVERS.add("lfom", "baselines.lfom:Lfom", "learned linear first-order method, scalar coefficients")
SOLVERS.add(
    "lfom_diagonal", "baselines.lfom:Lfom", "learned linear first-order method, diagonal coefficients", gamma="diagonal"
)
SOLVERS.add("lfom_optimal", "baselines.lfom_optimal:LfomOptimal", "best fixed scalar coefficients, in closed form")
SOLVERS.add(
    "lfom_optimal_preconditioned",
    "baselines.lfom_optimal:LfomOptimal",
    "best fixed scalar coefficients with the law's covariance as preconditioner",
    preconditioned=True,
)
SOLVERS.add(
    "memformer_constructed",
    "baselines.constructed:ConstructedMemformer",
    "Memformer written down from the law: lfom_optimal as layers, P = 0, scalar Q",
)
SOLVERS.add(
    "memformer_constructed_preconditioned",
    "baselines.constructed:ConstructedMemformer",
    "Memformer written down from the law: lfom_optimal_preconditioned as layers, P = 0, full Q",
    preconditioned=True,
)
SOLVERS.add("ols", "baselines.direct:OLS", "ordinary least squares of least norm")
SOLVERS.add("ridge", "baselines.direct:Ridge", "ridge regression, penalty from the law")
SOLVERS.add("ridge_cholesky", "baselines.direct:Ridge", "ridge regression by Cholesky", method="cholesky")
SOLVERS.add("ridge_loo", "baselines.ridge_loo:RidgeLoo", "ridge regression, penalty by leaving one out of the context")
SOLVERS.add("bayes", "baselines.direct:Bayes", "posterior mean under the law's prior")
SOLVERS.add("scipy_cg", "baselines.scipy_solvers:Scipy", "scipy.sparse.linalg.cg on H", method="cg")
SOLVERS.add("scipy_minres", "baselines.scipy_solvers:Scipy", "scipy.sparse.linalg.minres on H", method="minres")
SOLVERS.add("scipy_gmres", "baselines.scipy_solvers:Scipy", "scipy.sparse.linalg.gmres on H", method="gmres")
SOLVERS.add("scipy_lsqr", "baselines.scipy_solvers:Scipy", "scipy.sparse.linalg.lsqr on X", method="lsqr")
SOLVERS.add("scipy_lsmr", "baselines.scipy_solvers:Scipy", "scipy.sparse.linalg.lsmr on X", method="lsmr")
SOLVERS.add("scipy_lstsq", "baselines.scipy_solvers:Scipy", "scipy.linalg.lstsq on X", method="lstsq")
SOLVERS.add("scipy_solve", "baselines.scipy_solvers:Scipy", "scipy.linalg.solve (Cholesky) on H", method="solve")
SOLVERS.add("scipy_minimize_cg", "baselines.scipy_solvers:Scipy", "scipy.optimize.minimize, nonlinear CG", method="CG")
SOLVERS.add("scipy_minimize_bfgs", "baselines.scipy_solvers:Scipy", "scipy.optimize.minimize, BFGS", method="BFGS")
SOLVERS.add(
    "scipy_minimize_lbfgsb", "baselines.scipy_solvers:Scipy", "scipy.optimize.minimize, L-BFGS-B", method="L-BFGS-B"
)
SOLVERS.add(
    "scipy_minimize_newton_cg",
    "baselines.scipy_solvers:Scipy",
    "scipy.optimize.minimize, Newton-CG",
    method="Newton-CG",
)

SOLVERS.add(
    "linear_transformer", "memformer.solvers.memformer:Memformer", "linear Transformer without memory, P = 0, full Q"
)
SOLVERS.add(
    "memformer_conjugate",
    "memformer.solvers.memformer:Memformer",
    "Memformer, one conjugate register, P = 0, full Q",
    memory="conjugate",
)
SOLVERS.add(
    "memformer_conjugate_scalar",
    "memformer.solvers.memformer:Memformer",
    "Memformer, one conjugate register, P = 0, scalar Q",
    memory="conjugate",
    preconditioner="scalar",
)
SOLVERS.add(
    "memformer_first_order",
    "memformer.solvers.memformer:Memformer",
    "Memformer, one register a layer (LFOM), P = 0, full Q",
    memory="first_order",
)
SOLVERS.add(
    "memformer_first_order_scalar",
    "memformer.solvers.memformer:Memformer",
    "Memformer, one register a layer (LFOM), P = 0, scalar Q",
    memory="first_order",
    preconditioner="scalar",
)
SOLVERS.add(
    "memformer_gdpp",
    "memformer.solvers.memformer:Memformer",
    "Memformer, one register a layer, P free (GD++), full Q",
    memory="first_order",
    covariate_update=True,
)
SOLVERS.add(
    "memformer_gated",
    "memformer.solvers.adaptive:AdaptiveMemformer",
    "Memformer, first-order memory, scalar Q, a gate that adapts to each context",
    memory="first_order",
    preconditioner="scalar",
)
SOLVERS.add(
    "memformer_adaptive",
    "memformer.solvers.adaptive:AdaptiveMemformer",
    "Memformer, first-order memory, scalar Q, gate and memory weights that adapt to each context",
    memory="first_order",
    preconditioner="scalar",
    what="gates_and_memory",
)
