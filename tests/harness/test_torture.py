"""Solvers and laws that do what they must not: each costs its own rows, says why, and harms nobody beside it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.catalogue.registry import LAWS, SOLVERS
from benchmarks.cli.progress import _Lines
from benchmarks.errors import UserError, one_line
from benchmarks.harness import run as running
from benchmarks.harness.resolve import build_cells, load_plugin
from benchmarks.harness.run import run_suite
from benchmarks.harness.scores.fitting import ParameterStore, header_of
from benchmarks.harness.workers.cells import Job, cell_worker, run_cells, score
from benchmarks.runs.read import Run, read_run
from benchmarks.runs.validate import problems
from benchmarks.suites.suite import Suite
from benchmarks.tasks.gaussian import Isotropic
from memformer.core.problem import Problem, TaskSource
from memformer.core.solver import Fitting, Needs, Outcome, Solver, Trace

HONEST = "cg"


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


class Stop(BaseException):
    """No `Exception`, as `SystemExit` is none."""


def raises(error: BaseException) -> Callable[[Problem], None]:
    def do(problem: Problem) -> None:
        raise error

    return do


def swallows(problem: Problem) -> None:
    for _ in range(75):
        try:
            time.sleep(0.02)
        except BaseException:
            continue


def turns_into_another(problem: Problem) -> None:
    try:
        time.sleep(5)
    except BaseException:
        raise ValueError("something else") from None


def sorts(problem: Problem) -> None:
    problem.X.numpy().sort(axis=1)


WHAT: dict[str, tuple[Callable[[Problem], Any], str, str]] = {
    "exits": (lambda p: raises(SystemExit(0))(p), "error", "it raised SystemExit: 0"),
    "stops": (lambda p: raises(Stop("here"))(p), "error", "it raised Stop: here"),
    "leaves": (lambda p: os._exit(0), "error", "it called os._exit(0)"),
    "unspeakable": (lambda p: raises(Unspeakable())(p), "error", "Unspeakable, which does not say why"),
    "surrogate": (lambda p: raises(OSError("no file \udc80\x1b"))(p), "error", r"OSError: no file \udc80\x1b"),
    "scales X": (lambda p: p.X.mul_(2), "error", "it changed X of the problem"),
    "scales y unseen": (lambda p: p.y.data.numpy().__imul__(2), "error", "it changed y of the problem"),
    "sorts X": (sorts, "error", "it changed X of the problem"),
    "moves queries": (lambda p: p.x_query.data.add_(1), "error", "it changed x_query of the problem"),
    "wants gradients": (lambda p: p.X.requires_grad_(), "error", "it changed X of the problem"),
    "scales H": (lambda p: p.moments.H.mul_(2), "error", "it changed its moments of the problem"),
    "moves": (lambda p: os.chdir("/"), "error", "it changed the working folder"),
    "sets a dtype": (lambda p: torch.set_default_dtype(torch.float16), "error", "it changed torch's default dtype"),
    "stops gradients": (lambda p: torch.set_grad_enabled(False), "error", "it changed whether torch keeps gradients"),
    "takes threads": (lambda p: torch.set_num_threads(3), "error", "it changed torch's number of threads"),
    "raises on nan": (lambda p: np.seterr(all="raise"), "error", "it changed how NumPy treats errors"),
    "swallows": (swallows, "time_limit", "ran past its time limit of 1 s"),
    "hides": (turns_into_another, "time_limit", "ran past its time limit of 1 s"),
}
"""What is done in `solve` before an honest answer, the status that it has, and what the reason says."""


def answer(problem: Problem, num_steps: int, **changes: Any) -> Trace:
    return replace(Trace.direct(torch.zeros_like(problem.moments.b), num_steps), **changes)


def far(problem: Problem, num_steps: int, value: float) -> Trace:
    return answer(
        problem, num_steps, weights=torch.full((num_steps + 1, problem.B, problem.d), value, dtype=problem.dtype)
    )


def codes(problem: Problem, code: float) -> Tensor:
    return torch.full((problem.B,), code).to(torch.int8 if code == int(code) else torch.float64)


ANSWERS: dict[str, tuple[Callable[[Problem, int], Any], str, str]] = {
    "nothing": (lambda p, k: None, "error", "returned a NoneType; it must be a Trace"),
    "empty": (lambda p, k: Trace(None, None, codes(p, 0), codes(p, 0)), "error", "neither weights nor predictions"),
    "nan": (lambda p, k: far(p, k, torch.nan), "nonfinite", "40 of 40 tasks"),
    "inf": (lambda p, k: far(p, k, torch.inf), "nonfinite", "40 of 40 tasks"),
    "overflows": (lambda p, k: far(p, k, 1e200), "nonfinite", "40 of 40 tasks"),
    "single": (lambda p, k: answer(p, k, weights=torch.zeros(k + 1, p.B, p.d)), "error", "weights in torch.float32"),
    "array": (lambda p, k: answer(p, k, weights=np.zeros((k + 1, p.B, p.d))), "error", "that are a ndarray"),
    "sparse": (
        lambda p, k: answer(p, k, weights=torch.zeros(k + 1, p.B, p.d).to_sparse()),
        "error",
        "sparse_coo",
    ),
    "outcome 7": (lambda p, k: answer(p, k, outcome=codes(p, 7)), "error", "has outcome 7; it must be from 0 to 4"),
    "outcome 0.5": (lambda p, k: answer(p, k, outcome=codes(p, 0.5)), "error", "has outcome in torch.float64"),
    "finished late": (lambda p, k: answer(p, k, finished=codes(p, 9)), "error", "has finished 9; it must be from 0"),
}
"""What `solve` returns."""


@dataclass(frozen=True)
class Nasty(Solver):
    needs = Needs.NOTHING
    what: str = ""

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        if self.what in ANSWERS:
            return ANSWERS[self.what][0](problem, num_steps)
        WHAT[self.what][0](problem)
        return answer(problem, num_steps)


def halve(tasks: TaskSource) -> dict[str, Any]:
    tasks.second_moment.mul_(0.5)
    return {}


FITS: dict[str, tuple[Callable[[TaskSource], Any], str]] = {
    "halves the law": (halve, "it changed the law's second_moment"),
    "numbers": (lambda tasks: {"eta": 0.5}, "must be tensors by name"),
    "no solver": (lambda tasks: None, "it must give 1 fitted solvers"),
    "exits in fit": (lambda tasks: raises(SystemExit(3))(tasks), "it raised SystemExit: 3"),  # type: ignore[arg-type]
}


@dataclass(frozen=True)
class Misfit(Solver):
    needs = Needs.LAW
    fitting = Fitting.RANDOM
    what: str = ""
    parameters: Any = field(default=None, compare=False)

    def fit(self, tasks: TaskSource, steps: Any, seed: int = 0) -> Solver:
        found: Any = FITS[self.what][0](tasks)
        return None if found is None else replace(self, parameters=found)  # type: ignore[return-value]

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        return answer(problem, num_steps)


WHEN_TIMED = ("scales X", "exits", "leaves", "moves")


@dataclass(frozen=True)
class OnlyWhenTimed(Solver):
    """Does it with batches of 4 alone, which are timed and not scored."""

    needs = Needs.NOTHING
    what: str = ""

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        if problem.B == 4:
            WHAT[self.what][0](problem)
        return answer(problem, num_steps)


@dataclass(frozen=True)
class Sparse(Solver):
    needs = Needs.NOTHING

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        X = problem.X.flatten(0, 1).to_sparse()
        return answer(
            problem, num_steps, weights=torch.zeros(num_steps + 1, problem.B, problem.d).double() + X.sum() * 0
        )


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    kinds = {"nasty": Nasty, "misfit": Misfit, "only_when_timed": OnlyWhenTimed, "sparse": Sparse}
    for name, kind in kinds.items():
        SOLVERS.add(name, kind)
    yield
    for name in kinds:
        del SOLVERS._entries[name]


def suite(*solvers: Any, law: str = "isotropic", limit: float = 60.0) -> Suite:
    return Suite.model_validate(
        {
            "schema": 1,
            "name": "torture",
            "steps": [2],
            "seeds": [0],
            "scores": {"tasks": 40, "time_limit": limit},
            "timings": {"batch": 4, "repeats": 1},
            "tasks": [{"law": law, "d": 2, "N": 6}],
            "solvers": list(solvers),
        }
    )


def carried_out(folder: Path, *solvers: Any, name: str = "one", **options: Any) -> Run:
    return read_run(run_suite(suite(*solvers, **options), folder / "runs", None, ["x"], _Lines(), name).path)


TOLD = {"name": "heavy_ball_tuned_preconditioned", "params": {"num_tasks": 300}}
"""An honest solver that is told the law's second moment."""

SLOW = {what for what, (_, status, _) in WHAT.items() if status == "time_limit"}


def nasty(name: str, what: str) -> dict[str, Any]:
    return {"name": name, "params": {"what": what}}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What honest solvers find where nobody disturbs them."""
    return carried_out(tmp_path_factory.mktemp("alone"), HONEST, TOLD)


@pytest.fixture(scope="module")
def among(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same among all the others, of which each would harm those after it."""
    others = [
        *(nasty("misfit", what) for what in FITS),
        *(nasty("nasty", what) for what in {**WHAT, **ANSWERS} if what not in SLOW),
        *(nasty("only_when_timed", what) for what in WHEN_TIMED),
    ]
    return carried_out(tmp_path_factory.mktemp("among"), *others, HONEST, TOLD)


def rows(run: Run, solver: str, table: str = "scores", what: str = "") -> set[tuple[str, str]]:
    found = getattr(run, table)
    found = found[(found["solver"] == solver) & (found["solver_params"] == json.dumps({"what": what} if what else {}))]
    return set(zip(found["status"], found["reason"], strict=True))


def test_honest_solvers_have_the_digits_that_they_have_alone(alone: Run, among: Run) -> None:
    for solver in (HONEST, str(TOLD["name"])):
        mine, theirs = (run.scores[run.scores["solver"] == solver] for run in (among, alone))
        assert mine["mean"].tolist() == theirs["mean"].tolist()
        assert set(mine["status"]) == {"ok"}
    assert set(among.timings[among.timings["solver"] == HONEST]["status"]) == {"ok"}
    assert problems(among) == []


@pytest.mark.parametrize("what", [what for what in {**WHAT, **ANSWERS} if what not in SLOW])
def test_a_nasty_solver_is_a_row_that_says_why(among: Run, what: str) -> None:
    _, status, why = {**WHAT, **ANSWERS}[what]
    ((found, reason),) = rows(among, "nasty", what=what)
    assert found == status
    assert why in reason


@pytest.mark.parametrize("what", FITS)
def test_so_is_one_that_is_fitted(among: Run, what: str) -> None:
    ((status, reason),) = rows(among, "misfit", what=what)
    assert status == "error"
    assert FITS[what][1] in reason


@pytest.mark.parametrize("what", WHEN_TIMED)
def test_so_is_one_that_is_nasty_only_when_timed(among: Run, what: str) -> None:
    assert rows(among, "only_when_timed", what=what) == {("ok", "")}
    ((status, reason),) = rows(among, "only_when_timed", "timings", what)
    assert status == "error"
    assert WHAT[what][2] in reason


@pytest.mark.parametrize("what", sorted(SLOW))
def test_a_time_limit_cannot_be_caught(tmp_path: Path, what: str) -> None:
    run = carried_out(tmp_path, nasty("nasty", what), nasty("only_when_timed", what), HONEST, limit=1.0)
    limit = {("time_limit", "ran past its time limit of 1 s")}
    assert rows(run, "nasty", what=what) == rows(run, "only_when_timed", "timings", what) == limit
    assert rows(run, HONEST) == rows(run, HONEST, "timings") == {("ok", "")}


def test_the_run_keeps_every_traceback(among: Run) -> None:
    text = (among.path / "errors.log").read_text(encoding="utf-8")
    errors = sum(status == "error" for _, status, _ in [*WHAT.values(), *ANSWERS.values()])
    assert text.count("nasty on isotropic d=2\nTraceback (most recent call last):\n") == errors
    assert text.count("misfit on isotropic d=2\nTraceback") == len(FITS)
    assert text.count("only_when_timed on isotropic d=2, a batch of 4 for 2 steps\nTraceback") == len(WHEN_TIMED)


def test_the_work_of_a_solver_with_sparse_tensors_is_counted(tmp_path: Path) -> None:
    timings = carried_out(tmp_path, "sparse").timings
    assert timings["status"].tolist() == ["ok"]
    assert timings["peak_bytes"].iloc[0] > 0


def test_work_that_cannot_be_counted_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.harness.timings.clock.count_work", lambda call, problem: 1 // 0)
    timings = carried_out(tmp_path, HONEST).timings
    assert timings["status"].tolist() == ["error"]
    assert timings["reason"].tolist()[0].startswith("its work cannot be counted: ZeroDivisionError")


def test_a_nasty_cell_is_kept_and_resumed_like_every_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [nasty("nasty", "surrogate"), HONEST]

    def first(*arguments: Any) -> Any:
        yield next(iter(run_cells(*arguments)))
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run_cells", first)
    with pytest.raises(KeyboardInterrupt):
        carried_out(tmp_path, *entries)
    monkeypatch.undo()
    done = run_suite(suite(*entries), tmp_path / "runs", None, ["x"], _Lines(), "one", resume=True)
    assert rows(read_run(done.path), HONEST) == {("ok", "")}
    assert (done.path / "errors.log").read_text().count("Traceback") == 1
    assert os.listdir(tmp_path / "runs") == ["one"]


def test_a_solver_that_leaves_a_worker_process_is_a_row(tmp_path: Path) -> None:
    (cell,) = build_cells(suite(nasty("nasty", "leaves")))
    worker = cell_worker()
    try:
        result = score(worker, Job(cell, ParameterStore(), 1)).result
    finally:
        worker.close()
    assert (result.status, result.reason) == ("error", "Misdeed: it called os._exit(0)")
    assert "in solve" in result.traceback


class NoDataclass(Solver):
    needs = Needs.NOTHING

    def solve(self, problem: Problem, num_steps: int) -> Trace:
        return answer(problem, num_steps)


@dataclass(frozen=True)
class SaysNothing(NoDataclass):
    needs = None  # type: ignore[assignment]


@dataclass(frozen=True)
class OddVersion(NoDataclass):
    version = "1.0"  # type: ignore[assignment]


@dataclass(frozen=True)
class ExitsWhenMade(NoDataclass):
    def __post_init__(self) -> None:
        raise SystemExit(0)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (NoDataclass, "must be a dataclass; put @dataclass"),
        (SaysNothing, "must declare needs, of type Needs; it is None"),
        (OddVersion, "must declare version, of type int; it is '1.0'"),
        (ExitsWhenMade, "cannot be made: SystemExit: 0"),
    ],
)
def test_a_class_that_is_no_solver_is_a_sentence(kind: type, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOLVERS._entries, "nasty", replace(SOLVERS["nasty"], target=kind))
    with pytest.raises(UserError) as caught:
        build_cells(suite("nasty"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


class Grown(Isotropic):
    """A law that is nasty in one way or another."""

    metadata = replace(Isotropic.metadata, name="grown")


@dataclass(frozen=True, kw_only=True)
class DrawsNan(Grown):
    def draw(self, batch: int, generator: np.random.Generator) -> Any:
        drawn = super().draw(batch, generator)
        drawn.X[0, 0] = np.nan
        return drawn


@dataclass(frozen=True, kw_only=True)
class ExitsWhenDrawn(Grown):
    def draw(self, batch: int, generator: np.random.Generator) -> Any:
        raise SystemExit(0)


@dataclass(frozen=True, kw_only=True)
class Unhashable(Grown):
    table: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class NoJson(Grown):
    where: Path = Path("x")


@dataclass(frozen=True, kw_only=True)
class NoMoment(Grown):
    @cached_property
    def second_moment(self) -> Tensor:
        raise RuntimeError("nobody knows")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (ExitsWhenDrawn, "it raised SystemExit: 0"),
        (Unhashable, "unhashable type: 'list'"),
        (NoJson, "not JSON serializable"),
        (NoMoment, "nobody knows"),
    ],
)
def test_a_nasty_law_is_a_sentence_before_anything_is_computed(
    tmp_path: Path, kind: type, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAWS._entries, "nasty", replace(LAWS["isotropic"], target=kind))
    with pytest.raises(UserError) as caught:
        carried_out(tmp_path, HONEST, law="nasty")
    assert said in str(caught.value)
    assert os.listdir(tmp_path / "runs") == []


def test_a_law_that_draws_nan_is_an_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAWS._entries, "nasty", replace(LAWS["isotropic"], target=DrawsNan))
    run = carried_out(tmp_path, HONEST, law="nasty")
    assert {status for status, _ in rows(run, HONEST)} == {"nonfinite"}
    assert problems(run) == []


def test_a_law_that_fails_when_it_is_timed_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Isotropic.stream

    def fails(self: Isotropic, seed: int, purpose: Any, *arguments: Any, **options: Any) -> Any:
        if purpose.name == "TIMING":
            raise SystemExit(0)
        return stream(self, seed, purpose, *arguments, **options)

    monkeypatch.setattr(Isotropic, "stream", fails)
    run = carried_out(tmp_path, HONEST)
    assert rows(run, HONEST) == {("ok", "")}
    assert rows(run, HONEST, "timings") == {("error", "Misdeed: it raised SystemExit: 0")}


NASTY_FILES = {
    "raise SystemExit(0)": "it raised SystemExit: 0",
    "import os; os._exit(0)": "it called os._exit(0)",
    "import os; os.chdir('/')": "it changed the working folder",
    "raise OSError('\\udc80')": r"OSError: \udc80",
    "1 +": "SyntaxError",
}


@pytest.mark.parametrize("text", NASTY_FILES)
def test_a_file_that_is_nasty_when_imported_is_a_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine_that_is_nasty.py").write_text(text)
    here = os.getcwd()
    for _ in range(2):  # the first leaves nothing that stands in the way of the second
        with pytest.raises(UserError) as caught:
            load_plugin(str(tmp_path / "mine_that_is_nasty.py"))
        assert NASTY_FILES[text] in str(caught.value)
        assert os.getcwd() == here
        str(caught.value).encode()


@pytest.mark.parametrize("name", ["torch.py", "json.py", "sys.py"])
def test_a_file_replaces_no_module(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("raise SystemExit('it was imported')\n")
    with pytest.raises(UserError, match="would replace the module"):
        load_plugin(str(tmp_path / name))


PLUGIN = """
from dataclasses import dataclass
from benchmarks.catalogue.registry import SOLVERS
from baselines.gradient import GradientDescent
@SOLVERS.register("mine_that_is_edited")
@dataclass(frozen=True)
class Mine(GradientDescent):
    eta: float = ETA
"""


def test_fitted_parameters_belong_to_the_code_of_the_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, headers = tmp_path / "mine_that_is_edited.py", []
    for eta in ("1 / 3", "1 / 3", "1 / 4"):
        path.write_text(PLUGIN.replace("ETA", eta))
        monkeypatch.delitem(SOLVERS._entries, "mine_that_is_edited", raising=False)
        load_plugin(str(path))
        solver = SOLVERS.create("mine_that_is_edited", eta=0.1)
        about = (Isotropic(d=2, N=6), [1], 0, torch.float64, torch.device("cpu"))
        headers.append(json.dumps(header_of("mine", solver, *about)))
    assert headers[0] == headers[1] != headers[2]
    monkeypatch.delitem(SOLVERS._entries, "mine_that_is_edited")
    (tmp_path / "another_of_mine.py").write_text("x = 1\n")
    load_plugin(str(tmp_path / "another_of_mine.py"))  # what else is imported does not matter
    assert json.dumps(header_of("mine", solver, *about)) == headers[2]


def test_an_error_is_one_line_that_can_be_written() -> None:
    said = one_line(ValueError("a\nb \ud800 \x00 ü"))
    assert said == r"ValueError: a b \ud800 \x00 ü"


def test_outcomes_of_an_honest_trace_are_left_alone() -> None:
    from benchmarks.harness.guard import checked

    problem = Isotropic(d=2, N=6).stream(0, 2).sample(3).blinded()  # type: ignore[arg-type]
    trace = SOLVERS.create(HONEST).solve(problem, 3)
    assert checked(trace, problem, 3) is trace
    weights = trace.weights.clone()  # type: ignore[union-attr]
    weights[2, 1] = torch.nan
    marked = checked(replace(trace, weights=weights), problem, 3)
    assert marked.outcome.tolist()[1] == Outcome.NONFINITE
    assert [marked.outcome_at(step)[1] == Outcome.NONFINITE for step in range(4)] == [False, False, True, True]
