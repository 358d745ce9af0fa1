from __future__ import annotations

import pytest
import torch

from baselines.lfom_optimal import LfomOptimal
from benchmarks.validation.plots import plot_history, plot_polynomial, plot_preconditioners
from memformer.core.problem import matvec
from memformer.model import construct
from memformer.model.config import MemformerConfig
from memformer.model.forward import forward
from memformer.model.inspect import (
    polynomial_table,
    polynomials,
    preconditioner_table,
    residual_polynomial,
    step_sizes,
)
from memformer.training.recipe import Recipe
from memformer.training.train import Trained, train
from tests.memformer.helpers import GaussianSource, assert_close, random_parameters, random_problem

SCALES = [1.0, 1.0, 0.5, 0.25, 1.0]


@pytest.mark.parametrize(
    ("memory", "per_head"),
    [("none", False), ("conjugate", False), ("conjugate", True), ("first_order", False), ("first_order", True)],
)
def test_polynomial_is_what_the_model_does(memory, per_head):
    config = MemformerConfig(
        d=3, depth=3, memory=memory, preconditioner="scalar", heads=2, gates="shared", gamma_per_head=per_head
    )
    parameters, problem = random_parameters(config, 2), random_problem()
    weights = forward(config, parameters, problem).weights
    H, b = problem.moments
    assert weights is not None
    for model in range(2):
        for k in (1, 2, 3):
            coefficients = polynomials(step_sizes(config, parameters))[model, k - 1]
            expected, power = torch.zeros_like(b), b
            for c in coefficients:
                expected, power = expected + c * power, matvec(H, power)
            assert_close(weights[k, model], expected)


def test_residual_polynomial_of_chebyshev_is_least_at_the_ends():
    mu, L = torch.tensor([0.5]).double(), torch.tensor([2.0]).double()
    config, parameters = construct.chebyshev(mu, L, depth=4, d=2)
    coefficients = polynomials(step_sizes(config, parameters))[0, -1]
    grid = torch.linspace(0.5, 2.0, 501).double()
    values = residual_polynomial(coefficients, grid)
    bound = 1 / torch.cosh(4 * torch.acosh((L + mu) / (L - mu)))
    assert_close(values.abs().max(), bound[0], atol=1e-9)


def test_only_first_order_methods_have_step_sizes():
    config = MemformerConfig(d=3, depth=1, covariate_update=True)
    with pytest.raises(ValueError, match="only a model with P = 0"):
        step_sizes(config, random_parameters(config, 1))


@pytest.fixture(scope="module")
def trained() -> Trained:
    config = MemformerConfig(d=5, depth=2, memory="first_order")
    return train(config, [GaussianSource(scales=SCALES)], [2], [0], Recipe(steps=150, interval=50))


def test_training_finds_the_inverse_covariance_and_the_optimal_polynomial(trained):
    config, source = MemformerConfig(d=5, depth=2, memory="first_order"), GaussianSource(seed=2, scales=SCALES)
    table = preconditioner_table(config, trained.parameters, source.second_moment, N=20)
    assert (table.deviation < 0.02).all()
    best = LfomOptimal().fit(GaussianSource(seed=3), [2])
    white = GaussianSource(seed=4).sample(500)
    found = polynomial_table(config, trained.parameters, _coefficients(best, white, 2), source.second_moment)
    assert ((found.ratio - 1).abs() < 0.03).all()


def _coefficients(solver, problem, k):
    """Coefficients c of `w_k = sum_j c_j H^j b`, from a few tasks' iterates."""
    H, b = problem.moments
    basis = [b]
    for _ in range(k - 1):
        basis.append(matvec(H, basis[-1]))
    w = solver.solve(problem, k).weights[-1]
    return torch.linalg.lstsq(torch.stack(basis, -1).flatten(0, 1), w.flatten()[:, None]).solution[:, 0]


def test_table_of_free_P_shows_it():
    config = MemformerConfig(d=5, depth=2, covariate_update=True)
    parameters = random_parameters(config, 1)
    root = torch.diag(torch.tensor(SCALES)).double()
    parameters["P"] = 0.7 * (root @ torch.eye(5).double() @ root.inverse()).expand(1, 2, 1, 5, 5)
    table = preconditioner_table(config, parameters, root @ root, N=20)
    assert list(table.columns[-2:]) == ["P_scale", "P_deviation"]
    assert table.P_scale.tolist() == pytest.approx([0.7, 0.7])
    assert table.P_deviation.tolist() == pytest.approx([0, 0], abs=1e-12)


def test_pictures_show_what_they_say(trained, tmp_path):
    config, source = MemformerConfig(d=5, depth=2, memory="first_order"), GaussianSource(scales=SCALES)
    history = plot_history(trained.history, ["two layers"], [-1.019])
    drawn = history.axes[0].lines[0].get_ydata()
    assert drawn == pytest.approx(
        [torch.tensor(r.validation[0]).log().item() for r in trained.history.records], rel=1e-5
    )
    spectrum = torch.linalg.eigvalsh(GaussianSource().sample(200).moments.H)
    figures = {
        "history": history,
        "Q": plot_preconditioners(config, trained.parameters, source.second_moment, N=20),
        "polynomial": plot_polynomial(
            config, trained.parameters, spectrum, torch.tensor([1.0, -0.3]).double(), source.second_moment
        ),
    }
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
