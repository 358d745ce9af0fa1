"""The door for trained methods: what a module must be, what training promises, and how modules are found again."""

from __future__ import annotations

import copy
import math
import pickle
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from benchmarks import api
from benchmarks.harness.timings.cost import count_work
from benchmarks.tasks.gaussian import Isotropic
from memformer import LearnedSolver, matvec
from memformer.core import checkpoint
from memformer.training.budget import Budget
from memformer.training.recipe import Progress, TrainingError
from memformer.training.search import Search
from tests.baselines.helpers import scored, training

LAW = Isotropic(d=3, N=8, noise_std=0.1)


class Rates(nn.Module):
    """Gradient descent with a learned rate a step, and noise on the rates in training."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.rates = nn.ParameterList(0.3 + 0.1 * torch.rand(()) for _ in range(steps))

    def forward(self, H: Tensor, b: Tensor) -> Tensor:
        w, readouts = torch.zeros_like(b), []
        for rate in self.rates:
            w = w - nn.functional.dropout(rate, 0.1, self.training) * (matvec(H, w) - b)
            readouts.append(w)
        return torch.stack(readouts)


@dataclass(frozen=True)
class Descent(LearnedSolver):
    iterations: int = 20
    batch: int = 32
    starts: int = 2

    answers: ClassVar[Any] = "weights"
    reads: ClassVar[Any] = "moments"
    nested: ClassVar[bool] = True

    def build(self, d: int, N: int, steps: int) -> nn.Module:
        return Rates(steps)


class Bent(nn.Module):
    """Answers that are wrong in one way."""

    def __init__(self, bend: Any) -> None:
        super().__init__()
        self.size, self.bend = nn.Parameter(torch.ones(())), bend

    def forward(self, X: Tensor, y: Tensor, x_query: Tensor) -> Any:
        return self.bend(self.size * x_query.sum(-1).expand(2, -1, -1))


@dataclass(frozen=True)
class Wrong(LearnedSolver):
    bend: Any = None
    iterations: int = 2
    batch: int = 4

    def build(self, d: int, N: int, steps: int) -> nn.Module:
        return Bent(self.bend)


@pytest.mark.parametrize(
    ("bend", "said"),
    [
        (
            lambda found: found[:, :2],
            r"Bent answers with shape \(2, 2, 8\); it must be \(2, 8, 8\), or \(8, 8\) of the",
        ),
        (lambda found: None, "Bent answers with a NoneType; it must be"),
        (
            lambda found: found.double(),
            "Bent answers in torch.float64 on cpu; the tasks are torch.float32 on cpu",
        ),
        (lambda found: found.to("meta"), "Bent answers in torch.float64 on meta"),
        (lambda found: found[-1], "Bent answers for its last step alone; that needs loss='last'"),
        (lambda found: found.detach(), "what Bent answers does not depend on its parameters"),
    ],
)
def test_answers_that_do_not_fit_are_refused_in_one_sentence(bend: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        Wrong(bend=bend).fit(training(LAW), [2])
    assert "\n" not in str(error.value)


def test_what_never_trains_is_an_error_that_says_so() -> None:
    with pytest.raises(TrainingError, match="no start of Bent has a finite loss before training"):
        Wrong(bend=lambda found: found / 0).fit(training(LAW), [2])
    flat = Wrong(bend=lambda found: 0 * found, iterations=100, starts=1)
    with pytest.raises(TrainingError, match=r"the loss of Bent never fell in \d+ steps .*another learning_rate may"):
        flat.fit(training(LAW), [2])


def test_a_build_that_gives_no_module_or_nothing_to_train_is_refused() -> None:
    class Function(Wrong):
        def build(self, d: int, N: int, steps: int) -> Any:
            return math.sin

    class Empty(Wrong):
        def build(self, d: int, N: int, steps: int) -> nn.Module:
            return nn.Identity()

    with pytest.raises(ValueError, match=r"Function\.build gave a builtin_function_or_method; it must give an nn"):
        Function().fit(training(LAW), [2])
    with pytest.raises(ValueError, match="Identity has no parameters to train"):
        Empty().fit(training(LAW), [2])


@pytest.mark.parametrize("field", ["iterations", "batch", "starts", "learning_rate"])
def test_budgets_are_checked(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Descent(**{field: 0})


def test_moments_tell_no_queries_so_weights_must_be_answered() -> None:
    class Blind(Descent):
        answers = "predictions"

    with pytest.raises(ValueError, match="Blind reads moments and answers predictions; it must answer weights"):
        Blind()


def test_the_same_seed_gives_the_same_bits_and_torchs_own_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = Descent().fit(training(LAW), [2], seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert Descent().fit(training(LAW), [2], seed=5) == first
    assert Descent().fit(training(LAW), [2], seed=6) != first


def test_a_start_hangs_on_nothing_that_trains_beside_it() -> None:
    alone, beside = (Descent(starts=starts).fit(training(LAW), [2]) for starts in (1, 2))
    assert alone.parameters is not None
    assert beside.parameters is not None
    assert beside.parameters["search_losses"][0, 0] == alone.parameters["search_losses"][0, 0]


def test_a_loss_of_each_readout_tells_all_steps_and_of_the_last_has_a_module_each() -> None:
    each = Descent().fit(training(LAW), [1, 3])
    last = Descent(loss="last").fit(training(LAW), [1, 3])
    assert (each.anytime, last.anytime) == (True, False)
    assert each.parameters is not None
    assert last.parameters is not None
    assert (each.parameters["depths"].tolist(), last.parameters["depths"].tolist()) == ([3], [3, 1])
    assert each.solve(scored(LAW, 4), 2).predict(scored(LAW, 4).x_query).shape == (3, 4, 1)
    with pytest.raises(ValueError, match=r"Descent was fitted for \[1, 3\] steps and cannot take 2"):
        last.solve(scored(LAW, 4), 2)
    with pytest.raises(ValueError, match=r"Descent was fitted for \[3\] steps and cannot take 4"):
        each.solve(scored(LAW, 4), 4)
    with pytest.raises(ValueError, match="Descent was fitted for d=3; the problem has d=2"):
        each.solve(scored(Isotropic(d=2, N=8), 4), 2)


def test_a_step_that_repeats_can_be_taken_more_often_than_it_was_trained() -> None:
    class Step(nn.Module):
        def __init__(self, steps: int) -> None:
            super().__init__()
            self.rate, self.steps = nn.Parameter(0.3 + 0.1 * torch.rand(())), steps

        def forward(self, H: Tensor, b: Tensor) -> Tensor:
            readouts = [torch.zeros_like(b)]
            for _ in range(self.steps):
                readouts.append(readouts[-1] - self.rate * (matvec(H, readouts[-1]) - b))
            return torch.stack(readouts[1:])

    @dataclass(frozen=True)
    class Repeated(Descent):
        repeats: ClassVar[bool] = True

        def build(self, d: int, N: int, steps: int) -> nn.Module:
            return Step(steps)

    fitted = Repeated().fit(training(LAW), [2])
    few, many = (fitted.solve(scored(LAW, 4), steps).weights for steps in (2, 6))
    assert few is not None
    assert many is not None
    assert torch.equal(many[:3], few)
    assert len(many) == 7
    assert fitted.training_record(6) == fitted.training_record(2)


def test_the_last_step_alone_may_be_answered() -> None:
    solver = Wrong(bend=lambda found: found[-1], loss="last").fit(training(LAW), [2])
    found = solver.solve(scored(LAW, 4), 2).predictions
    assert found is not None
    assert not found[:2].any()
    assert found[2].any()


def test_fewer_steps_of_a_nested_module_cost_less() -> None:
    @dataclass(frozen=True)
    class Whole(Descent):
        nested: ClassVar[bool] = False

    problem, steps = scored(LAW, 4), 2
    assert problem.moments
    fitted = [kind().fit(training(LAW), [3]) for kind in (Descent, Whole)]
    one, other = (solver.solve(problem, steps) for solver in fitted)
    assert one.weights is not None
    assert other.weights is not None
    assert torch.equal(one.weights, other.weights)
    forming = LAW.d + 1
    products = [count_work(lambda given, s=s: s.solve(given, steps), problem).products for s in fitted]
    assert products == [forming + 2, forming + 3]


def test_answers_are_in_proportion_to_the_labels_and_to_the_units_of_the_law() -> None:
    problem = scored(LAW, 5)
    fitted = Descent().fit(training(LAW), [2])
    larger = replace(problem, y=1024 * problem.y)
    ours, theirs = fitted.solve(problem, 2).weights, fitted.solve(larger, 2).weights
    assert ours is not None
    assert theirs is not None
    torch.testing.assert_close(1024 * ours, theirs)


def test_gradients_in_the_inputs_are_those_of_finite_differences() -> None:
    fitted, problem = Descent().fit(training(LAW), [2]), scored(LAW, 2)

    def answer(X: Tensor, y: Tensor) -> Tensor:
        weights = fitted.solve(replace(problem, X=X, y=y), 2).weights
        assert weights is not None
        return weights

    assert torch.autograd.gradcheck(answer, (problem.X.clone().requires_grad_(), problem.y.clone().requires_grad_()))


def test_what_was_fitted_survives_a_file_a_pickle_and_a_copy(tmp_path: Any) -> None:
    fitted, problem = Descent().fit(training(LAW), [2]), scored(LAW, 3)
    wanted = fitted.solve(problem, 2).weights
    assert wanted is not None
    assert fitted.parameters is not None
    checkpoint.save(tmp_path / "m.safetensors", fitted.parameters, {"solver": "descent"})
    parameters = checkpoint.load(tmp_path / "m.safetensors").parameters
    for again in (Descent(parameters=parameters), pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert again == fitted
        found = again.solve(problem, 2).weights
        assert found is not None
        assert torch.equal(found, wanted)
    lacking = {name: value for name, value in parameters.items() if name != "2.rates.1"}
    with pytest.raises(ValueError, match=r"the parameters of Descent lack rates.1 of shape \(\)"):
        Descent(parameters=lacking).solve(problem, 2)


def test_weak_starts_are_dropped_and_the_record_tells() -> None:
    seen: list[Progress] = []
    fitted = Descent(iterations=40, starts=4).fit(training(LAW), [2], progress=seen.append)
    record = fitted.training_record(1)
    assert record is not None
    assert (record.steps, record.tasks, record.starts) == (40, 40 * 32, 4)
    assert fitted.parameters is not None
    assert sorted(fitted.parameters["search_steps"][0].tolist()) == [10, 10, 40, 40]
    # Two products of 3 by 3 matrices forward, and one with each backward but in b: at least, for 100 steps of 32 tasks.
    assert record.flops is not None
    assert record.flops >= 100 * 32 * 2 * 9
    assert seen[-1].done == 40
    assert Descent().training_record(2) is None


def test_a_start_that_becomes_nonfinite_goes_back_and_the_others_go_on() -> None:
    class Wild(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.size = nn.Parameter(torch.rand(()))

        def forward(self, H: Tensor, b: Tensor) -> Tensor:
            return (b * torch.where(self.size > 0.99, torch.nan, self.size))[None]

    @dataclass(frozen=True)
    class Leaping(Descent):
        learning_rate: float = 0.2

        def build(self, d: int, N: int, steps: int) -> nn.Module:
            return Wild()

    weights = Leaping(iterations=30).fit(training(LAW), [1]).solve(scored(LAW, 4), 1).weights
    assert weights is not None
    assert weights.isfinite().all()


def test_training_stops_early_where_nothing_is_gained() -> None:
    @dataclass(frozen=True)
    class Patient(Descent):
        @property
        def budget(self) -> Budget:
            return replace(super().budget, patience=1, search=Search(starts=1), learning_rate=1e-9)

    record = Patient(iterations=40).fit(training(LAW), [2]).training_record(2)
    assert record is not None
    assert record.steps == 2


def test_tasks_are_asked_at_points_of_others_where_their_covariates_are_alike() -> None:
    from memformer.training.modules import _asked

    problem = scored(LAW, 4)
    asked = _asked(problem, 3)
    assert problem.w_star is not None
    assert asked.y_query is not None
    assert asked.x_query.shape == (4, 3, 3)
    assert torch.equal(asked.x_query[:, 0], problem.x_query[:, 0])
    assert torch.equal(asked.x_query[1, 1], problem.x_query[0, 0])
    torch.testing.assert_close(asked.y_query, matvec(asked.x_query, problem.w_star))
    own = replace(problem, second_moment=torch.eye(3, dtype=problem.dtype).expand(4, 3, 3))
    assert _asked(own, 3) is own


def test_a_method_of_ones_own_takes_at_most_25_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "examples/learned_solver.py").read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 25
    monkeypatch.setattr(api.SOLVERS, "_entries", {name: api.SOLVERS[name] for name in api.SOLVERS})
    monkeypatch.setitem(sys.modules, "learned_solver", module := types.ModuleType("learned_solver"))
    exec(compile(text, "learned_solver.py", "exec"), vars(module))
    law = api.law("isotropic", d=3, N=12)
    fitted = api.fitted(api.solver("learned_rates", iterations=60, batch=64, starts=1), law, steps=[1, 2, 3])
    losses = api.losses(fitted, law, seed=0, tasks=2000, steps=[1, 2, 3], metric="test_loss").mean(1)
    assert losses[0] > 1.5 * losses[1] > 2.25 * losses[2]
