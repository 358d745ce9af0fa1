"""The loss that is compiled with its gradient, against the iterates and autograd."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.tasks.gaussian import Anisotropic, OODVariance
from benchmarks.tasks.law import Purpose
from memformer.kernels import first_order_loss, first_order_numba, gdpp, gdpp_numba
from memformer.model.config import MemformerConfig
from memformer.solvers.adaptive import AdaptiveMemformer
from memformer.solvers.memformer import Memformer
from memformer.solvers.mixture import MixtureMemformer
from memformer.training.objective import Batch, LossKind, draw, losses

CONFIGS = [
    MemformerConfig(d=3, depth=3, preconditioner="scalar", memory="first_order"),
    MemformerConfig(d=3, depth=3, preconditioner="scalar", memory="conjugate"),
    MemformerConfig(d=3, depth=4, preconditioner="scalar", memory="first_order", window=2),
    MemformerConfig(d=3, depth=3, memory="first_order"),
    MemformerConfig(d=3, depth=2, memory="none"),
    MemformerConfig(d=3, depth=3, memory="first_order", heads=2, gamma_per_head=True),
    MemformerConfig(d=1, depth=1, memory="none"),
    MemformerConfig(d=3, depth=3, memory="first_order", covariate_update=True),
    MemformerConfig(d=3, depth=3, memory="conjugate", gamma="feature", covariate_update=True),
    MemformerConfig(d=3, depth=4, memory="first_order", window=2, covariate_update=True, heads=2, gamma_per_head=True),
    MemformerConfig(d=2, depth=1, covariate_update=True),
    MemformerConfig(d=3, depth=3, memory="first_order", gamma="token", num_tokens=8, covariate_update=True),
    MemformerConfig(d=3, depth=3, memory="first_order", gamma="token", gamma_sharing="past", num_tokens=8),
    MemformerConfig(d=3, depth=2, memory="conjugate", gamma="token", num_tokens=8, heads=2, gamma_per_head=True),
]


def found(config: MemformerConfig, parameters: dict[str, Tensor], batch: Batch) -> list[Tensor]:
    loss = losses(config, parameters, batch)
    slopes = torch.autograd.grad((loss * torch.arange(1.0, len(loss) + 1)).sum(), [*parameters.values()])
    return [loss.detach(), *slopes]


@pytest.mark.parametrize(
    "config",
    CONFIGS,
    ids=lambda c: f"{c.preconditioner}-{c.memory}-{c.depth}-{c.heads}-{c.window}-{c.gamma}-{c.covariate_update}",
)
@pytest.mark.parametrize("kind", ["expected", "query"])
@pytest.mark.parametrize(("n", "groups"), [(1, 1), (16, 2), (700, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_loss_and_gradient_are_those_of_the_iterates(
    config: MemformerConfig, kind: LossKind, n: int, groups: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
):
    law = Anisotropic(d=config.d, N=8)
    streams = [law.stream(seed, Purpose.TRAIN, dtype, torch.device("cpu")).spread(2.1) for seed in range(groups)]
    (batch,) = draw(config, streams, n, n, kind)
    compare(config, batch, 2 * groups, dtype, monkeypatch)


def test_a_metric_of_each_task(monkeypatch: pytest.MonkeyPatch):
    law, config = OODVariance(d=3, N=8), CONFIGS[0]
    (batch,) = draw(config, [law.stream(0, Purpose.TRAIN)], 40, 40, "expected")
    assert batch.metric is not None
    own = batch.metric if batch.metric.ndim == 4 else batch.metric[..., None].expand(-1, -1, -1, 40)
    compare(config, replace(batch, metric=own * torch.rand(40, dtype=own.dtype)), 3, torch.float64, monkeypatch)


def compare(config: MemformerConfig, batch: Batch, models: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(0)
    parameters = {
        name: (0.2 * torch.randn(models, *shape, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()
        for name, shape in config.shapes().items()
    }
    compiled = found(config, parameters, batch)
    with torch.no_grad():
        alone = losses(config, parameters, batch)
    monkeypatch.setattr("memformer.kernels.first_order_loss.serves", lambda C: False)
    monkeypatch.setattr("memformer.kernels.gdpp.serves", lambda weights: False)
    plain = found(config, parameters, batch)
    for mine, known in zip((*compiled, alone), (*plain, plain[0]), strict=True):
        torch.testing.assert_close(
            mine, known, rtol=400 * torch.finfo(dtype).eps, atol=400 * torch.finfo(dtype).eps * known.abs().max().item()
        )


@pytest.mark.parametrize("config", [CONFIGS[3], CONFIGS[7]], ids=["P = 0", "GD++"])
def test_threads_change_no_digit(config: MemformerConfig):
    law = Anisotropic(d=3, N=8)
    (batch,) = draw(config, [law.stream(0, Purpose.TRAIN)], 1500, 1500, "expected")
    parameters = {
        name: torch.full((2, *shape), 0.1, dtype=torch.float64).requires_grad_()
        for name, shape in config.shapes().items()
    }
    one = found(config, parameters, batch)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        three = found(config, parameters, batch)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_what_prepares_compiles_what_training_calls(kind: str):
    gdpp.prepare(getattr(torch, kind), torch.device("cpu"))
    first_order_loss.prepare(getattr(torch, kind), torch.device("cpu"))
    prepared = [table[kind] for table in (gdpp_numba.FORWARD, gdpp_numba.ADJOINT, first_order_numba.ADJOINTS)]
    compiled = [len(function.signatures) for function in prepared]  # pyright: ignore[reportFunctionMemberAccess]
    assert compiled == [1, 1, 1]
    for config in CONFIGS:
        law = Anisotropic(d=config.d, N=8)
        (batch,) = draw(config, [law.stream(0, Purpose.TRAIN, getattr(torch, kind), torch.device("cpu"))], 4, 4, "auto")
        parameters = {
            name: torch.ones(1, *shape, dtype=batch.of("w_star")[0].dtype) for name, shape in config.shapes().items()
        }
        found(config, {name: tensor.requires_grad_() for name, tensor in parameters.items()}, batch)
    assert [len(function.signatures) for function in prepared] == compiled, "training compiles nothing more"


QUICK: dict[str, Any] = {"iterations": 2, "tasks": 8, "batch": 8, "starts": 1}
SOLVERS = [
    Memformer(**QUICK),
    Memformer(memory="first_order", preconditioner="scalar", **QUICK),
    Memformer(memory="conjugate", gamma="feature", **QUICK),
    Memformer(memory="first_order", heads=2, gamma_per_head=True, **QUICK),
    Memformer(covariate_update=True, **QUICK),
    Memformer(memory="first_order", gamma="token", covariate_update=True, **QUICK),
    Memformer(memory="first_order", gamma="token", **QUICK),
    Memformer(memory="conjugate", gamma="token", heads=2, gamma_per_head=True, **QUICK),
    Memformer(covariate_update=True, attention="relu", **QUICK),
    MixtureMemformer(memory="first_order", **QUICK),
    MixtureMemformer(memory="first_order", gamma="token", **QUICK),
    MixtureMemformer(covariate_update=True, **QUICK),
]


@pytest.mark.parametrize(
    "solver", SOLVERS, ids=lambda s: f"{type(s).__name__}-{s.memory}-{s.gamma}-{s.covariate_update}-{s.attention}"
)
def test_a_solver_prepares_what_its_fit_calls(solver: Memformer, monkeypatch: pytest.MonkeyPatch):
    prepared, called = [], set()
    for module, loss in ((gdpp, "layers_loss"), (first_order_loss, "first_order_loss")):
        own = getattr(module, loss)
        monkeypatch.setattr(module, "prepare", lambda *_, module=module: prepared.append(module))
        monkeypatch.setattr(module, loss, lambda *given, module=module, own=own: called.add(module) or own(*given))
    solver.prepare(torch.float64, torch.device("cpu"))
    solver.fit(Anisotropic(d=2, N=4).stream(0, Purpose.TRAIN), [1])
    assert called == set(prepared)


@pytest.mark.parametrize(
    ("solver", "kernels"),
    [
        (Memformer(memory="first_order", **QUICK), set()),
        (Memformer(covariate_update=True, **QUICK), {(gdpp, False)}),
        (AdaptiveMemformer(memory="first_order", folds=2, adapts=True, **QUICK), {(first_order_loss, True)}),
        (AdaptiveMemformer(covariate_update=True, folds=2, adapts=True, **QUICK), {(gdpp, True)}),
        (MixtureMemformer(memory="first_order", **QUICK), {(first_order_loss, True)}),
    ],
    ids=lambda one: type(one).__name__,
)
def test_once_fitted_a_solver_prepares_what_its_solve_calls(
    solver: Memformer, kernels: set[Any], monkeypatch: pytest.MonkeyPatch
):
    law, prepared, called = Anisotropic(d=2, N=4), set(), set()
    fitted = solver.fit(law.stream(0, Purpose.TRAIN), [1])
    monkeypatch.setattr(gdpp, "prepare", lambda _, __, fits: prepared.add((gdpp, fits)))
    monkeypatch.setattr(first_order_loss, "prepare", lambda *_: prepared.add((first_order_loss, True)))
    for module, loss in ((gdpp, "layers_loss"), (first_order_loss, "first_order_loss")):
        own = getattr(module, loss)
        monkeypatch.setattr(module, loss, lambda *given, module=module, own=own: called.add(module) or own(*given))
    fitted.prepare(torch.float64, torch.device("cpu"))
    fitted.solve(law.stream(0, Purpose.SCORE).sample(3), 1)
    assert prepared == kernels
    assert called == {module for module, fits in kernels if fits}


def test_tasks_of_another_size_are_refused():
    config, law = CONFIGS[10], Anisotropic(d=3, N=8)
    (batch,) = draw(config, [law.stream(0, Purpose.TRAIN)], 4, 4, "auto")
    parameters = {name: torch.ones(1, *shape) for name, shape in config.shapes().items()}
    with pytest.raises(ValueError, match="tasks have d = 3; these layers are of d = 2"):
        losses(config, parameters, batch)
