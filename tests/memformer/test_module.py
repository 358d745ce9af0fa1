"""The Memformer as an `nn.Module`: what it computes, its gradients, its files, and torch around it."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.func import functional_call, jacfwd, jacrev, stack_module_state, vmap

from memformer import LearnedSolver, Memformer, MemformerModule, Problem, forward
from memformer.core import checkpoint
from memformer.core.checkpoint import CheckpointError
from memformer.model.forward import Form
from memformer.solvers.adaptive import AdaptiveMemformer
from memformer.training.search import Search
from tests.memformer.helpers import GaussianSource, random_parameters, random_problem

N, D, DEPTH = 3, 2, 3

SOLVERS: dict[str, dict[str, Any]] = {
    "no memory": {},
    "scalar": {"preconditioner": "scalar"},
    "conjugate": {"memory": "conjugate", "preconditioner": "scalar"},
    "first-order": {"memory": "first_order"},
    "shared": {"memory": "first_order", "gamma_sharing": "past"},
    "shared, all": {"memory": "first_order", "gamma_sharing": "all", "window": 2},
    "features": {"memory": "conjugate", "gamma": "feature"},
    "tokens": {"memory": "first_order", "gamma": "token"},
    "heads": {"memory": "conjugate", "heads": 2, "gates": "shared", "gamma_per_head": True},
    "heads, tokens": {"memory": "first_order", "gamma": "token", "heads": 2, "gamma_per_head": True},
    "gates": {"heads": 2, "gates": "layer", "preconditioner": "scalar"},
    "P free": {"covariate_update": True},
    "P free, scalar": {"covariate_update": True, "preconditioner": "scalar", "memory": "conjugate"},
    "P free, features": {"covariate_update": True, "memory": "first_order", "gamma": "feature", "window": 2},
    "P free, heads": {"covariate_update": True, "memory": "first_order", "heads": 2, "gamma_per_head": True},
    "P free, tokens": {"covariate_update": True, "memory": "conjugate", "gamma": "token", "gates": "layer"},
    "softmax": {"attention": "softmax", "memory": "first_order", "gates": "shared"},
    "softmax, P free": {"attention": "softmax", "covariate_update": True, "heads": 2},
    "relu": {"attention": "relu", "memory": "conjugate", "gamma": "token"},
    "relu, P free": {"attention": "relu", "covariate_update": True, "preconditioner": "scalar"},
}
every_kind = pytest.mark.parametrize("parts", SOLVERS.values(), ids=SOLVERS.keys())
some_kinds = pytest.mark.parametrize(
    "parts", [SOLVERS[name] for name in ("first-order", "features", "tokens", "P free", "softmax")]
)
torch_warns = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what it calls itself


def solver_of(parts: dict[str, Any], depths: tuple[int, ...] = (DEPTH, 1)) -> Memformer:
    """As if fitted: with random parameters."""
    solver = Memformer(**parts)
    found = random_parameters(solver.config(D, N, max(depths)), len(depths))
    held = {name: tensor.detach() for name, tensor in found.items()}
    return Memformer(**parts, parameters={"depths": torch.tensor(depths), "made_for": torch.tensor([D, N]), **held})


def module_of(parts: dict[str, Any], form: Form | None = None) -> MemformerModule:
    module = MemformerModule(Memformer(**parts).config(D, N, DEPTH), form=form, dtype=torch.float64)
    module.reset_parameters(torch.Generator().manual_seed(1))
    return module


def inputs(B: int = 2, q: int = 2, grad: bool = False) -> tuple[torch.Tensor, ...]:
    problem = random_problem(B, N, D, q)
    return tuple(tensor.requires_grad_(grad) for tensor in (problem.X, problem.y, problem.x_query))


@every_kind
def test_it_predicts_what_the_fitted_solver_does(parts: dict[str, Any]) -> None:
    solver, problem = solver_of(parts), Problem(*inputs(B=5))
    for steps in (1, DEPTH):
        module = MemformerModule.of(solver, steps)
        assert {name: tuple(one.shape) for name, one in module.named_parameters()} == module.config.shapes()
        found = module(problem.X, problem.y, problem.x_query)
        assert torch.equal(found, solver.solve(problem, steps).predict(problem.x_query)[1:])


def test_it_predicts_what_a_solver_fitted_in_earnest_does() -> None:
    solver = Memformer(memory="first_order", iterations=2, tasks=64, batch=32, starts=1)
    solver = solver.fit(GaussianSource(N=6, d=3), [2])
    problem = random_problem()
    module = MemformerModule.of(solver, 2).double()
    with torch.no_grad():
        found = module(problem.X, problem.y, problem.x_query)
    assert torch.equal(found, solver.solve(problem, 2).predict(problem.x_query)[1:])
    before = module.Q.detach().clone()
    module.Q.data += 1.0  # is the module's own
    assert torch.equal(MemformerModule.of(solver, 2).double().Q, before)


@every_kind
def test_gradients_of_inputs_and_parameters_are_those_of_finite_differences(parts: dict[str, Any]) -> None:
    module = module_of(parts)
    names = list(module.config.shapes())

    def predictions(*given: torch.Tensor) -> torch.Tensor:
        return functional_call(module, dict(zip(names, given[3:], strict=True)), given[:3])

    parameters = [parameter.detach().requires_grad_() for parameter in module.parameters()]
    assert torch.autograd.gradcheck(predictions, (*inputs(grad=True), *parameters), fast_mode=True)


@every_kind
def test_gradients_of_one_input_alone_are_those_of_all(parts: dict[str, Any]) -> None:
    """Each of them may choose another form."""
    module, together = module_of(parts), inputs(grad=True)
    expected = torch.autograd.grad(module(*together).square().sum(), together)
    for i, wanted in enumerate(expected):
        alone = [one.detach().requires_grad_(i == j) for j, one in enumerate(together)]
        (found,) = torch.autograd.grad(module(*alone).square().sum(), alone[i])
        torch.testing.assert_close(found, wanted)


@some_kinds
def test_the_definition_can_be_differentiated_twice(parts: dict[str, Any]) -> None:
    module = module_of(parts, form="definition")
    assert torch.autograd.gradgradcheck(module, inputs(B=1, q=1, grad=True), fast_mode=True)


def test_a_kernel_says_that_it_cannot_be_differentiated_twice() -> None:
    module, (X, y, x_query) = module_of({}), inputs()
    (grad,) = torch.autograd.grad(module(X, y, x_query).square().sum(), module.Q, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()


def test_a_form_without_gradients_of_inputs_refuses_them() -> None:
    module, (X, y, x_query) = module_of({}, "reduced"), inputs()
    for given in ((X.clone().requires_grad_(), y, x_query), (X, y.clone().requires_grad_(), x_query)):
        with pytest.raises(ValueError, match="the reduced form has no gradient with respect to X and y; form=None"):
            module(*given)
        with torch.no_grad():
            assert module(*given).shape == (DEPTH, 2, 2)
    assert module(X, y, x_query.requires_grad_()).requires_grad


def test_the_functions_beneath_have_no_gradients_of_inputs() -> None:
    """Why the module chooses its form: should this fail, it need not."""
    X, y, x_query = inputs(grad=True)
    module = module_of({})
    models = {name: parameter[None] for name, parameter in module.named_parameters()}
    predictions = forward(module.config, models, Problem(X, y, x_query)).predictions
    assert torch.autograd.grad(predictions.sum(), [X, y], allow_unused=True) == (None, None)
    assert not solver_of({}).solve(Problem(X, y, x_query), 1).predict(x_query.detach()).requires_grad


@torch_warns
@some_kinds
def test_torch_func(parts: dict[str, Any]) -> None:
    module, (X, y, x_query) = module_of(parts), inputs(grad=True)
    X.requires_grad_()
    (expected,) = torch.autograd.grad(module(X, y, x_query).sum(), X)
    for jacobian in (jacrev, jacfwd):
        found = jacobian(lambda X: module(X, y.detach(), x_query.detach()).sum((0, 1, 2)))(X.detach())
        torch.testing.assert_close(found, expected)
    others = [module, MemformerModule(module.config, dtype=torch.float64)]
    together, _ = stack_module_state(others)  # pyright: ignore[reportArgumentType]
    found = vmap(lambda one: functional_call(module, one, (X, y, x_query)))(together)
    torch.testing.assert_close(found, torch.stack([one(X, y, x_query) for one in others]))
    found = vmap(lambda *task: module(*(one[None] for one in task))[:, 0], out_dims=1)(X, y, x_query)
    torch.testing.assert_close(found, module(X, y, x_query))


@torch_warns
def test_torch_compile_in_one_graph() -> None:
    module, given = module_of(SOLVERS["features"]), inputs(grad=True)
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    asked = [*given, *module.parameters()]
    found = torch.autograd.grad(compiled(*given).square().sum(), asked, materialize_grads=True)
    expected = torch.autograd.grad(module(*given).square().sum(), asked, materialize_grads=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@torch_warns
def test_torch_export_with_any_number_of_tasks_and_queries() -> None:
    module, any_size = module_of(SOLVERS["P free, scalar"]), torch.export.Dim.AUTO
    shapes = ({0: any_size}, {0: any_size}, {0: any_size, 1: any_size})
    exported = torch.export.export(module, inputs(), dynamic_shapes=shapes).module()
    torch.testing.assert_close(exported(*inputs(B=5, q=4)), module(*inputs(B=5, q=4)))


@some_kinds
def test_numbers_of_other_kinds(parts: dict[str, Any]) -> None:
    module, given = module_of(parts), inputs()
    exact = module(*given)
    with torch.autocast("cpu"):
        assert torch.equal(module(*given), exact)
    with torch.inference_mode():
        assert torch.equal(module(*given), exact)
    for dtype, close in ((torch.float32, 1e-5), (torch.bfloat16, 0.1)):
        found = copy.deepcopy(module).to(dtype)(*(one.to(dtype) for one in given))
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), exact, rtol=close, atol=close)
    with pytest.raises(ValueError, match=r"X is torch.float64 on cpu; the module is torch.float32 on cpu"):
        module.float()(*given)
    assert module.to("meta")(*(one.float().to("meta") for one in given)).shape == exact.shape


def test_what_does_not_fit_is_said() -> None:
    module, (X, y, x_query) = module_of({"memory": "first_order", "gamma": "token"}), inputs()
    with pytest.raises(ValueError, match="x_query has shape"):
        module(X, y, x_query[0])
    with pytest.raises(ValueError, match="made for N = 3 and the problem has N = 2"):
        module(X[:, 1:], y[:, 1:], x_query)
    with pytest.raises(ValueError, match="form is 'exact'; it must be"):
        MemformerModule(d=2, depth=1, form="exact")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="it was given both: depth"):
        MemformerModule(module.config, depth=2)
    with pytest.raises(ValueError, match="window=2 needs memory='first_order'"):
        MemformerModule(d=2, depth=1, window=2)


@pytest.mark.parametrize(
    ("solver", "steps", "sentence"),
    [
        (Memformer(), 1, "has no parameters yet; call fit first"),
        (Memformer().fit(GaussianSource(), [0]), 1, r"was fitted for \[\] layers and cannot take 1"),
        (solver_of({}), 2, r"was fitted for \[1, 3\] layers and cannot take 2"),
        (solver_of({}), 0, "num_steps is 0; it must be a whole number, 1 or more"),
        (AdaptiveMemformer(), 1, "AdaptiveMemformer is no single model"),
        (None, 1, "NoneType is no single model"),
    ],
)
def test_no_module_of_what_is_no_model(solver: Any, steps: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MemformerModule.of(solver, steps)


def test_it_shows_what_it_is_made_of() -> None:
    shown = repr(MemformerModule(d=2, depth=1, memory="first_order", form="definition"))
    assert shown == "MemformerModule(d=2, depth=1, memory='first_order', form='definition')"


def test_plain_torch_trains_it() -> None:
    module, source = MemformerModule(d=5, depth=2, memory="first_order"), GaussianSource()
    module.reset_parameters(torch.Generator().manual_seed(0))
    adam, losses = torch.optim.Adam(module.parameters(), lr=0.03), []
    for _ in range(60):
        tasks = source.sample(256).to(torch.float32)
        loss = (module(tasks.X, tasks.y, tasks.x_query)[-1] - tasks.y_query).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5]) / 5


def test_a_start_is_one_of_the_projects_training() -> None:
    module = MemformerModule(d=50, depth=4, memory="first_order", covariate_update=True)
    state = torch.random.get_rng_state()
    generator = torch.Generator().manual_seed(0)
    module.reset_parameters(generator)
    assert torch.equal(torch.random.get_rng_state(), state)
    search = Search()
    assert module.Q.std().item() == pytest.approx(search.scale / 50**0.5, rel=0.05)
    assert (module.P - torch.diag_embed(module.P.diagonal(dim1=-2, dim2=-1))).abs().max() > 0
    assert (module.gamma - torch.eye(4)).std().item() == pytest.approx(search.memory_scale, rel=0.5)
    again = MemformerModule(module.config, dtype=torch.float64)
    again.reset_parameters(torch.Generator().manual_seed(0), torch.eye(50))
    torch.testing.assert_close(again.Q.float(), module.Q)
    again.reset_parameters(torch.Generator().manual_seed(0), 4 * torch.eye(50))
    torch.testing.assert_close(again.Q.float(), module.Q / 4)
    torch.testing.assert_close(again.P.float(), module.P)


def test_it_is_copied_pickled_and_put_into_a_state() -> None:
    module, given = module_of({"memory": "conjugate"}), inputs()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), module_of({"memory": "conjugate"})):
        other.load_state_dict(module.state_dict())
        assert torch.equal(other(*given), module(*given))


@every_kind
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_saved_and_loaded_it_is_the_same(parts: dict[str, Any], dtype: torch.dtype, tmp_path: Path) -> None:
    module = module_of(parts).to(dtype)
    module.save_pretrained(tmp_path / "new" / "model")
    assert sorted(one.name for one in (tmp_path / "new" / "model").iterdir()) == ["config.json", "model.safetensors"]
    random = torch.random.get_rng_state()
    loaded = MemformerModule.from_pretrained(str(tmp_path / "new" / "model"))
    assert torch.equal(torch.random.get_rng_state(), random)
    assert loaded.config == module.config
    assert list(loaded.state_dict()) == list(module.state_dict())
    for name, tensor in module.state_dict().items():
        assert loaded.state_dict()[name].dtype == dtype
        assert torch.equal(loaded.state_dict()[name], tensor)
    given = [one.to(dtype) for one in inputs()]
    assert torch.equal(loaded(*given), module(*given))
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_a_model_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    module = module_of({})
    module.save_pretrained(tmp_path)
    kept = {one: one.read_bytes() for one in tmp_path.iterdir()}
    module.Q.data[0] = torch.nan
    with pytest.raises(ValueError, match="Q holds values that are not finite; such a model is not saved"):
        module.save_pretrained(tmp_path)
    assert {one: one.read_bytes() for one in tmp_path.iterdir()} == kept


def edited(**entries: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        content = json.loads(path.read_text()) | entries
        path.write_text(json.dumps({name: value for name, value in content.items() if value != "gone"}))

    return change


def written(text: bytes, name: str = "config.json") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(text)

    return write


def tensors(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    """The parameters changed, their header kept."""

    def rewrite(folder: Path) -> None:
        path = folder / "model.safetensors"
        found, header = checkpoint.load(path)
        checkpoint.save(path, change(found), header)

    return rewrite


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "there is no file .*config.json"),
    "no parameters": (lambda folder: (folder / "model.safetensors").unlink(), "no file of parameters .*safetensors"),
    "no JSON": (written(b"{"), "config.json is damaged or no JSON: Expecting"),
    "no text": (written(b"\xff\xfe\x00"), "config.json is damaged or no JSON"),
    "empty": (written(b""), "config.json is damaged or no JSON"),
    "deep": (written(b"[" * 100_000), "config.json is damaged or no JSON"),
    "a huge number": (written(b'{"d": ' + b"9" * 5000 + b"}"), "config.json is damaged or no JSON: Exceeds"),
    "a list": (written(b"[]"), "is not the config.json of a Memformer"),
    "of another model": (edited(model_type="bert"), "is not the config.json of a Memformer"),
    "a later version": (edited(format_version=2), "has format version 2; this memformer reads 1"),
    "an unknown entry": (edited(heds=2), r"does not fit: it has an unknown entry 'heds' \(did you mean 'heads'\?\)"),
    "a missing entry": (edited(gamma_sharing="gone"), "does not fit: it has no entry 'gamma_sharing'"),
    "a string": (edited(d="2"), "does not fit: d is '2'; it must be a whole number, 1 or more"),
    "a fraction": (edited(depth=2.5), "depth is 2.5; it must be a whole number"),
    "true for a number": (edited(heads=True), "heads is True; it must be a whole number"),
    "a number for true": (edited(covariate_update=1), "covariate_update is 1; it must be true or false"),
    "a list for a choice": (edited(memory=["none"]), r"memory is \['none'\]; it must be 'none' or"),
    "a choice that is none": (edited(memory="lstm"), "memory is 'lstm'; it must be 'none' or"),
    "a contradiction": (edited(memory="conjugate"), "gamma_sharing='past' needs memory='first_order'"),
    "another depth": (edited(depth=2), "was made with depth='3', and '2' is wanted"),
    "more than any memory": (edited(d=10**9), "was made with d='2', and '1000000000' is wanted"),
    "another meaning, the same shapes": (edited(gamma_sharing="all"), "gamma_sharing='past', and 'all' is wanted"),
    "cut": (
        lambda folder: written((folder / "model.safetensors").read_bytes()[:-9], "model.safetensors")(folder),
        "is damaged or no safetensors file",
    ),
    "a pickle": (written(pickle.dumps({"Q": 1}), "model.safetensors"), "is damaged or no safetensors file"),
    "of someone else": (
        lambda folder: save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors"),
        "is a safetensors file, but not one that memformer-bench wrote",
    ),
    "a missing parameter": (
        tensors(lambda found: {"Q": found["Q"]}),
        r"holds \['Q'\], and \['Q', 'gamma'\] are wanted",
    ),
    "a shape": (tensors(lambda found: found | {"Q": found["Q"][:1]}), r"holds Q of shape \(1, 1, 2, 2\), and \(3, 1"),
    "no finite numbers": (
        tensors(lambda found: found | {"gamma": found["gamma"] / 0.0}),
        "holds gamma with values that are not finite",
    ),
    "two dtypes": (
        tensors(lambda found: found | {"gamma": found["gamma"].float()}),
        "holds torch.float32, torch.float64, and floating-point numbers of one type are wanted",
    ),
    "whole numbers": (
        tensors(lambda found: {name: one.long() for name, one in found.items()}),
        "holds torch.int64, and floating-point numbers of one type are wanted",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_folder_is_refused_in_a_sentence(
    change: Callable[[Path], None], sentence: str, tmp_path: Path
) -> None:
    module_of({"memory": "first_order", "gamma_sharing": "past"}).save_pretrained(tmp_path)
    change(tmp_path)
    with pytest.raises((CheckpointError, FileNotFoundError), match=sentence):
        MemformerModule.from_pretrained(tmp_path)


def test_a_learned_solver_may_be_built_of_it() -> None:
    class Trained(LearnedSolver):
        def build(self, d: int, N: int, steps: int) -> MemformerModule:
            return MemformerModule(d=d, depth=steps, memory="first_order")

    fitted = Trained(iterations=3, batch=16, starts=1).fit(GaussianSource(N=6, d=3), [2])
    assert fitted.solve(random_problem(), 2).predict(torch.empty(0)).shape == (3, 4, 2)
