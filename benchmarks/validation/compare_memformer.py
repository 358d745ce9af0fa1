"""A training step of the Memformer against the token form by its definition, written plainly.

Both do forward, backward and an Adam step on the same fixed batch with the same loss. The plain one is what the paper's
notebooks do: two einsums a layer, (N+1)×(N+1) scores, one model at a time, `torch.optim.Adam`.

    python -m benchmarks.validation.compare_memformer [--compile] [--threads 2] [--device cuda] [--output FILE]
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from typer import Option, run

from benchmarks import api
from benchmarks.reports.template import render
from benchmarks.runs.environment import machine
from benchmarks.validation.interleaved import interleaved
from memformer.core.problem import Problem
from memformer.model.config import MemformerConfig
from memformer.model.definition import prompts
from memformer.training.adam import BatchedAdam
from memformer.training.objective import Batch, losses, read
from memformer.training.whitening import Coordinates

TASKS, N, D = 1000, 20, 5
LEARNING_RATE = 1e-3
ROUNDS = 15


@dataclass(frozen=True)
class Case:
    """One row of the table: a Memformer and the least ratio that is wanted of it."""

    name: str
    config: MemformerConfig
    wanted: float


def cases() -> list[Case]:
    """What is compared."""
    content = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return [Case(**{**case, "config": MemformerConfig(d=D, **case["config"])}) for case in content["case"]]


class PlainMemformer(nn.Module):
    """The definition, layer by layer, for a single model."""

    def __init__(self, config: MemformerConfig, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        self.config = config
        self.own = nn.ParameterDict({name: nn.Parameter(tensor.clone()) for name, tensor in parameters.items()})

    def attention(self, Z: Tensor, layer: int) -> Tensor:
        """`(1/N) (Z Q' Z^T) M (Z P'^T)`."""
        d = self.config.d
        Q, P = (torch.zeros(d + 1, d + 1, device=Z.device) for _ in range(2))
        Q[:d, :d] = self.own["Q"][layer, 0]
        P[d, d] = 1.0
        if self.config.covariate_update:
            P[:d, :d] = self.own["P"][layer, 0]
        mask = torch.ones(Z.shape[1], device=Z.device)
        mask[-1] = 0.0
        scores = torch.einsum("bid,de,bje->bij", Z, Q, Z) * mask
        return torch.einsum("bij,bjd,ed->bie", scores, Z, P) / (Z.shape[1] - 1)

    def forward(self, Z: Tensor) -> Tensor:
        """Predictions `(B,)` for prompts `(B, N + 1, d + 1)`."""
        registers: list[Tensor] = []
        for layer in range(self.config.depth):
            attention = self.attention(Z, layer)
            if self.config.memory == "conjugate":
                if registers:
                    attention = attention + self.own["gamma"][layer] * registers[-1]
                registers.append(attention)
                Z = Z + self.own["alpha"][layer] * attention
                continue
            registers.append(attention)
            if self.config.gamma_sharing == "none":
                Z = Z + sum(self.own["gamma"][layer, j] * R for j, R in enumerate(registers))
            else:
                Z = Z + attention + sum(self.own["gamma"][j] * R for j, R in enumerate(registers[:-1]))
        return -Z[:, -1, -1]


def draw(tasks: int, device: str, seed: int = 0, length: int = N) -> Problem:
    """Isotropic tasks in float32."""
    return api.stream(api.law("isotropic", d=D, N=length), seed, "train", "float32", device).sample(tasks)


def start(config: MemformerConfig, device: str) -> dict[str, Tensor]:
    """One model near gradient descent."""
    generator = torch.Generator().manual_seed(1)
    found = {name: 0.05 * torch.randn(*shape, generator=generator) for name, shape in config.shapes().items()}
    found["Q"] -= 0.5 * torch.eye(config.d)
    if "alpha" in found:
        found["alpha"] += 1.0
    if config.memory == "first_order" and config.gamma_sharing == "none":
        found["gamma"] += torch.eye(config.depth)
    return {name: tensor.to(device) for name, tensor in found.items()}


def plain_step(config: MemformerConfig, problem: Problem, model: Any = None) -> Callable[[], Tensor]:
    """A step of the plain model, or of one that stands for it; returns its loss."""
    model = PlainMemformer(config, start(config, problem.device.type)) if model is None else model
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    Z = prompts(problem.X, problem.y, problem.x_query)
    assert problem.y_query is not None
    y_query = problem.y_query[:, 0]

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = (model(Z) - y_query).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def library_step(
    config: MemformerConfig, problems: list[Problem], compiled: bool = False, moments: bool = False
) -> Callable[[], Tensor]:
    """A step of one model a problem, batched; returns their losses. `moments` computes these anew at every step."""
    coordinates = Coordinates(config, None)
    one = start(config, problems[0].device.type)
    adam = BatchedAdam(coordinates.theta({name: part.expand(len(problems), *part.shape) for name, part in one.items()}))

    def prepare() -> Batch:
        return Batch.stack([read(config, Problem(p.X, p.y, p.x_query, p.y_query), "query") for p in problems])

    fixed = prepare()

    def objective(theta: Tensor, batch: Batch) -> Tensor:
        return losses(config, coordinates.parameters(theta), batch)

    evaluate = torch.compile(objective, dynamic=False) if compiled else objective

    def step() -> Tensor:
        theta = adam.theta.detach().requires_grad_()
        loss = evaluate(theta, prepare() if moments else fixed)
        adam.step(torch.autograd.grad(loss, theta, torch.ones_like(loss))[0], LEARNING_RATE)
        return loss.detach()

    return step


def compare(case: Case, device: str, compiled: bool) -> list[str]:
    """Check that both train the same; then a row of the table."""
    problems = [draw(TASKS, device, seed) for seed in range(5)]
    one, other = plain_step(case.config, problems[0]), library_step(case.config, problems[:1])
    for _ in range(20):
        torch.testing.assert_close(one(), other()[0], rtol=1e-3, atol=1e-5)
    steps = {
        "plain": plain_step(case.config, problems[0]),
        "library": library_step(case.config, problems[:1]),
        "with moments": library_step(case.config, problems[:1], moments=True),
        "5 seeds": library_step(case.config, problems),
    }
    if compiled:
        model = PlainMemformer(case.config, start(case.config, device))
        steps["plain, compiled"] = plain_step(case.config, problems[0], torch.compile(model, dynamic=False))
        steps["compiled"] = library_step(case.config, problems[:1], compiled=True)
    ms = interleaved(steps, ROUNDS)

    def times(name: str, of: str = "library") -> str:
        return f"{ms[name] / ms[of]:.1f}" if name in ms and of in ms else ""

    shown = [f"{ms[name]:.2f}" if name in ms else "" for name in ("plain", "plain, compiled", "library", "compiled")]
    moments, seeds = times("plain", "with moments"), times("5 seeds")
    return [case.name, *shown, times("plain"), times("plain, compiled"), f"{case.wanted:g}", moments, seeds]


def allocated(N: int, tasks: int = 100) -> int:
    """Bytes that one training step allocates in the reduced form, once the moments of contexts of length N exist."""
    config = MemformerConfig(d=D, depth=4, memory="first_order")
    step = library_step(config, [draw(tasks, "cpu", length=N)])
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    return sum(max(0, event.self_cpu_memory_usage) for event in profile.events() or ())


HEADERS = [
    "one training step",
    "plain, ms",
    "plain through `torch.compile`",
    "ours",
    "ours through `torch.compile`",
    "times plain",
    "times plain compiled",
    "wanted",
    "with new moments",
    "5 seeds",
]


def main(
    compiled: Annotated[bool, Option("--compile", help="torch.compile too; takes minutes")] = False,
    threads: Annotated[list[int], Option(help="of torch; repeatable")] = [1, 2],  # noqa: B006
    device: str = "cpu",
    output: Annotated[Path | None, Option(help="Markdown file; by default the page is printed")] = None,
) -> None:
    """Measure; print the page, or write it."""
    torch.manual_seed(0)
    tables = []
    for count in threads:
        torch.set_num_threads(count)
        tables.append((count, [compare(case, device, compiled) for case in cases()]))
    sizes = {"tasks": f"{TASKS:,}", "N": N, "d": D, "rounds": ROUNDS, "torch": torch.__version__}
    lengths = (20, 2_000, 20_000) if device == "cpu" else ()
    bytes_ = ", ".join(f"{allocated(length):,} at N = {length:,}" for length in lengths)
    here = machine(torch.device(device))
    shown = [number for number, header in enumerate(HEADERS) if compiled or "compile" not in header]
    tables = [(count, [[row[number] for number in shown] for row in rows]) for count, rows in tables]
    headers = [HEADERS[number] for number in shown]
    facts = {"tables": tables, "headers": headers, "machine": here, "bytes": bytes_, **sizes}
    page = render("benchmarks.validation", "compare_memformer.md.jinja", **facts)
    if output is None:
        print(page)
    else:
        output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run(main)
