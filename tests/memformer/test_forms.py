"""The three evaluations are one function: values, gradients, for every variant that admits them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from memformer.core.problem import Problem
from memformer.kernels import gdpp
from memformer.kernels.first_order import _unrolled, first_order_iterates
from memformer.kernels.gdpp import Weights, _given, covariate_method, token_method
from memformer.kernels.gdpp_plain import plain_layers
from memformer.model.config import MemformerConfig
from memformer.model.forward import Form, cheapest_form, first_layers, forward
from memformer.model.from_moments import reduced_forward
from memformer.model.memory import memory_matrix
from tests.memformer.helpers import assert_close, random_parameters, random_problem


@st.composite
def configs(draw, **fixed):
    d, depth = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    memory = draw(st.sampled_from(["none", "conjugate", "first_order"]))
    parts: dict[str, Any] = {
        "preconditioner": draw(st.sampled_from(["scalar", "full"])),
        "covariate_update": draw(st.booleans()),
        "heads": draw(st.integers(1, 3)),
        "gates": draw(st.sampled_from(["none", "shared", "layer"])),
    }
    if memory != "none":
        parts["gamma"] = draw(st.sampled_from(["scalar", "feature", "token"]))
        parts["gamma_per_head"] = draw(st.booleans())
    if memory == "first_order":
        parts["gamma_sharing"] = draw(st.sampled_from(["none", "past", "all"]))
        parts["window"] = draw(st.sampled_from([None, 1, 2]))
    parts.update(fixed)
    N = draw(st.integers(1, 6))
    num_tokens = N if parts.get("gamma") == "token" else None
    return MemformerConfig(d=d, depth=depth, memory=memory, num_tokens=num_tokens, **parts), N


@settings(max_examples=120, deadline=None)
@given(configs(), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**20), st.booleans())
def test_three_forms_agree(drawn, models, q, seed, padded):
    config, N = drawn
    problem = random_problem(B=3, N=N, d=config.d, q=q, seed=seed)
    parameters = random_parameters(config, models, seed)
    depths = [1 + (seed + s) % config.depth for s in range(models)] if padded else None
    weight = torch.randn(config.depth + 1, models, 3, q, generator=torch.Generator().manual_seed(seed)).double()
    found = {}
    forms: list[Form] = ["definition", "associative", "reduced"]
    for form in forms if config.reducible else forms[:2]:
        output = forward(config, parameters, problem, form, depths)
        # Label weights of later layers and, with P = 0, covariate weights are read by no form.
        gradients = torch.autograd.grad(
            (output.predictions * weight).sum(), list(parameters.values()), allow_unused=True, materialize_grads=True
        )
        found[form] = (output.weights, output.predictions, *gradients)
    for form in found:
        for one, other in zip(found[form], found["definition"], strict=True):
            assert_close(one, other)


@settings(max_examples=20, deadline=None)
@given(configs(), st.sampled_from(["softmax", "relu"]), st.integers(0, 2**20))
def test_other_attention_reads_nothing_of_the_queries_labels_or_order(drawn, attention, seed):
    config, N = drawn
    assume(config.gamma != "token")
    config = replace(config, attention=attention)
    problem = random_problem(B=2, N=N, d=config.d, seed=seed)
    parameters = random_parameters(config, 2, seed)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    shuffled = Problem(problem.X[:, order], problem.y[:, order], problem.x_query)
    one, other = (forward(config, parameters, p) for p in (problem, shuffled))
    assert one.weights is None
    assert_close(one.predictions, other.predictions)
    alone = forward(config, parameters, Problem(problem.X, problem.y, problem.x_query[:, :1]))
    assert_close(one.predictions[..., :1], alone.predictions)


@settings(max_examples=40, deadline=None)
@given(configs(), st.integers(0, 2**20))
def test_first_layers_are_the_model_cut_short(drawn, seed):
    config, N = drawn
    problem = random_problem(N=N, d=config.d, seed=seed)
    parameters = random_parameters(config, 2, seed)
    whole = forward(config, parameters, problem).predictions
    for depth in range(1, config.depth + 1):
        shorter = forward(*first_layers(config, parameters, depth), problem).predictions
        assert_close(shorter, whole[: depth + 1])


@settings(max_examples=20, deadline=None)
@given(configs(covariate_update=False), st.integers(0, 2**20))
def test_memory_matrix_is_what_registers_do(drawn, seed):
    """What each layer adds is K times the attention of the layers so far."""
    config, _ = drawn
    assume(config.gamma != "token" and not config.gamma_per_head)
    parameters = random_parameters(config, 1, seed)
    K = memory_matrix(config, parameters)[0]
    problem = random_problem(B=1, N=2, d=config.d, seed=seed)
    output = forward(config, parameters, problem)
    H, b = problem.moments
    assert output.weights is not None
    w = output.weights[:, 0, 0]
    Q = torch.stack([_effective(config, parameters, layer) for layer in range(config.depth)])
    attention = torch.stack([Q[layer] @ (b[0] - H[0] @ w[layer]) for layer in range(config.depth)])
    assert_close(w[:-1] - w[1:], K @ attention)


def _effective(config, parameters, layer):
    Q = parameters["Q"][0, layer]
    if config.preconditioner == "scalar":
        Q = Q[:, None, None] * torch.eye(config.d).double()
    gates = torch.ones(config.heads).double()
    if config.gates != "none":
        gates = parameters["gates"][0] if config.gates == "shared" else parameters["gates"][0, layer]
    return (gates[:, None, None] * Q).sum(0)


@pytest.mark.parametrize("scalar", [True, False])
@pytest.mark.parametrize("window", [None, 1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_kernel_gradient(scalar, window, groups):
    generator = torch.Generator().manual_seed(0)
    S, K, d, B = 4, 3, 2, 5
    A = torch.randn(groups, d, d, B, generator=generator).double()
    H, b = A + A.transpose(1, 2), torch.randn(groups, d, B, generator=generator).double()
    shape = (S, K, K) if scalar else (S, K, d, K * d)
    C = (0.3 * torch.randn(*shape, generator=generator)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda C: first_order_iterates(C, H, b, window), (C,))
    assert_close(torch.stack(first_order_iterates(C, H, b, window)), torch.stack(_unrolled(C, H, b, window)))


def _plainly(weights, features, labels, N):
    return plain_layers(_given(weights, features, labels, N))


@pytest.mark.parametrize(("channels", "registers", "heads"), [(1, 1, 1), (1, 1, 2), (1, 2, 2), (3, 1, 1), (3, 2, 2)])
@pytest.mark.parametrize("window", [None, 1, 2])
@pytest.mark.parametrize(("N", "fixed"), [(0, False), (4, False), (4, True)])
def test_kernel_gradient_with_covariates(channels, registers, heads, window, N, fixed):
    """From moments (N = 0) and from tokens, P = 0 there too; against finite differences, and plain operations."""
    generator = torch.Generator().manual_seed(0)
    S, L, d, n = 2, 3, 2, 3

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    Q, P = 0.3 * normal(S, L, heads, d, d), 0.3 * normal(S, L, heads, d, d)
    features, labels = normal(1, N or d, d, n), normal(1, N or d, n)
    if N == 0:
        features = features + features.transpose(1, 2)
    K = normal(S, L, L, registers, N + 1 if channels > 1 else 1, channels)
    inputs = tuple(tensor.requires_grad_() for tensor in ((K, Q) if fixed else (K, Q, P)))
    method = token_method if N else covariate_method

    def found(K, Q, P=None):
        return method(Weights(K, Q, P, window), features, labels)

    assert torch.autograd.gradcheck(found, inputs)
    plain = _plainly(Weights(K, Q, None if fixed else P, window), features, labels, N)
    assert_close(torch.stack(found(*inputs)), torch.stack(plain))


@pytest.mark.parametrize("N", [0, 3])
def test_the_kernel_adds_up_chunks_of_tasks_alike_on_any_number_of_threads(N):
    """1,100 tasks are several chunks, and the last block of 16 is not full; each model has tasks of its own."""
    generator = torch.Generator().manual_seed(0)
    S, L, d, n = 2, 3, 2, 1100
    features = torch.randn(S, N or d, d, n, generator=generator) / 2
    labels, Q = torch.randn(S, N or d, n, generator=generator), 0.3 * torch.randn(S, L, 1, d, d, generator=generator)
    K, P = torch.ones(S, L, L, 1, N + 1, d + 1), 0.3 * torch.randn(S, L, 1, d, d, generator=generator)
    if N == 0:
        features = features + features.transpose(1, 2)
    inputs = [tensor.requires_grad_() for tensor in (K, Q, P)]
    method = token_method if N else covariate_method

    def gradients(w):
        return (*w, *torch.autograd.grad(sum(one.square().mean() for one in w), inputs))

    weights = Weights(K, Q, P)

    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(gradients(method(weights, features, labels)))
    finally:
        torch.set_num_threads(before)
    plain = gradients(_plainly(weights, features, labels, N))
    for one, two, three, other in zip(*found, plain, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


def test_the_kernel_on_no_tasks_at_all():
    nothing = torch.zeros(1, 2, 2, 0)
    Q = torch.ones(3, 1, 1, 2, 2, requires_grad=True)
    weights = Weights(torch.ones(3, 1, 1, 1, 1, 1), Q, torch.ones(3, 1, 1, 2, 2))
    (w,) = covariate_method(weights, nothing, nothing[0])
    assert w.shape == (3, 2, 0)
    assert torch.autograd.grad(w.sum(), Q)[0].abs().sum() == 0


def test_groups_of_models_see_their_own_tasks():
    config = MemformerConfig(d=3, depth=2, memory="conjugate", covariate_update=True)
    parameters = random_parameters(config, 4)
    problems = [random_problem(seed=1), random_problem(seed=2)]
    H = torch.stack([p.moments.H.movedim(0, -1) for p in problems])
    b = torch.stack([p.moments.b.mT for p in problems])
    together = torch.stack(reduced_forward(config, parameters, H, b))
    for group, problem in enumerate(problems):
        own = {name: tensor[2 * group : 2 * group + 2] for name, tensor in parameters.items()}
        alone = forward(config, own, problem).weights
        assert alone is not None
        assert_close(together[:, 2 * group : 2 * group + 2].mT, alone[1:])


def test_form_is_the_cheapest_exact_one():
    assert cheapest_form(MemformerConfig(d=2, depth=1)) == "reduced"
    token = MemformerConfig(d=2, depth=1, memory="first_order", gamma="token", num_tokens=3)
    assert cheapest_form(token) == "associative"
    assert cheapest_form(MemformerConfig(d=2, depth=1, attention="relu")) == "definition"


def test_float32_and_prediction_is_weights_times_query():
    config = MemformerConfig(d=3, depth=3, memory="first_order", covariate_update=True)
    problem = random_problem().to(torch.float32)
    parameters = {name: tensor.float() for name, tensor in random_parameters(config, 2).items()}
    output = forward(config, parameters, problem)
    assert output.weights is not None
    assert output.predictions.dtype == torch.float32
    torch.testing.assert_close(output.predictions, torch.einsum("bqd,lsbd->lsbq", problem.x_query, output.weights))


def test_the_kernel_is_plain_operations_where_numba_must_not_compile(monkeypatch):
    config = MemformerConfig(d=3, depth=2, covariate_update=True)
    given = config, random_parameters(config, 1), random_problem()
    compiled = forward(*given).predictions
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    monkeypatch.setattr(gdpp, "in_threads", None)
    assert_close(forward(*given).predictions, compiled)
