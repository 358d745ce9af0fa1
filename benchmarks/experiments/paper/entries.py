"""The published experiments as data: what was trained how, on which tasks, beside which baselines."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Literal

from benchmarks.experiments.experiment import read_toml
from benchmarks.suites.entries import Strict


class Stage(Strict):
    """One stage of training, with AdamW.

    Attributes:
        steps: how many.
        rate: learning rate.
        betas: of the running means.
        decay: of weights.
        clip: largest Frobenius norm of the gradient of each Q and P; None does not clip.
        warmup: steps over which the rate rises from 0.
        redrawn: a new batch after so many steps; None keeps the first.
    """

    steps: int
    rate: float = 0.01
    betas: list[float] = [0.9, 0.999]
    decay: float = 0.0
    clip: float | None = None
    warmup: int = 0
    redrawn: int | None = None


class Pretraining(Stage):
    """The usual first stage."""

    betas: list[float] = [0.99, 0.9]
    clip: float | None = 0.01
    redrawn: int | None = 100


class ModelEntry(Strict):
    """A trained curve.

    Attributes:
        curve: its name in the published figure.
        parts: how it differs from a linear Transformer with full Q and P = 0 (see `MemformerConfig`).
        start: where memory weights and gates start, and Q or P where they do not start at random.
        deviation: standard deviation of Q and P at the start.
        scalar_q: Q is brought to a multiple of the identity: before every step, or at the start.
        pretraining: without memory, on batches that change; None leaves it out.
        tuning: on the one fitted batch.
        batch: tasks in it.
        split: in how many parts the batch is cut, each with a model of its own ("heads").
        scored: on the test batch, or on the fitted one.
    """

    curve: str
    parts: dict[str, Any] = {}
    start: dict[str, float] = {}
    deviation: float = 1e-4
    scalar_q: Literal["never", "start", "always"] = "never"
    pretraining: Pretraining | None = None
    tuning: Stage = Stage(steps=1000)
    batch: int = 1000
    split: int = 1
    scored: Literal["test", "fit"] = "test"


class Component(Strict):
    """Whitened covariates and weights are normal with this mean and variance; `share` is that of its tasks."""

    variance: float
    mean: float = 0.0
    share: float = 1.0


class MixtureEntry(Strict):
    """A curve of a mixture of experts, whose gates are fitted to the batch that is scored.

    Attributes:
        curve: its name in the published figure.
        experts: one is trained on each component.
        tested: the components of the scored batch.
        free: what is fitted to it.
        training, tuning: of the experts, and of what is free.
        deviation: standard deviation of Q and P at the start.
    """

    curve: str
    experts: list[Component]
    tested: list[Component]
    free: list[str] = ["gates"]
    training: Stage = Stage(steps=500)
    tuning: Stage = Stage(steps=500)
    deviation: float = 1e-4


class ExtractedEntry(Strict):
    """A learned first-order method without a Transformer: coefficients shared by all later steps.

    Attributes:
        curve: its name in the published figure.
        batch: tasks that are fitted and scored.
        epochs: steps of Adam.
    """

    curve: str
    batch: int
    epochs: int


class BaselineEntry(Strict):
    """A classical curve.

    Attributes:
        curve: its name in the published figure.
        solver: `cg`, `nesterov` or `heavy_ball`.
        eta, beta: constants, for the gradient of the *sum* of squares.
        tasks: drawn anew for each seed, or the batch that models are fitted on.
        rows: of the context that it sees; None is all but the last.
        count: tasks.
    """

    curve: str
    solver: Literal["cg", "nesterov", "heavy_ball"] = "cg"
    eta: float | None = None
    beta: float | None = None
    tasks: Literal["seeds", "seed 0", "fit"] = "seeds"
    rows: int | None = None
    count: int = 1000


class PaperExperiment(Strict):
    """One figure of the paper.

    Attributes:
        id: letter, as in the report.
        title: what it is about.
        published: key in `published.json`.
        scales: square roots of the eigenvalues of the covariance.
        N: context length.
        layers: numbers of layers of its trained curves.
        seeds: number of training seeds.
        rotated: whether each training seed has a rotation; else covariates are not turned.
        models, mixtures, extracted, baselines: its curves.
        borrowed: curves that are those of another experiment: its id and the curve's name there.
        honest: solvers of the suite `paper` that are its counterparts.
        remark: what a reader must know.
    """

    id: str
    title: str
    published: str
    scales: list[float]
    N: int = 20
    layers: list[int] = [1, 2, 3, 4]
    seeds: int = 5
    rotated: bool = True
    models: list[ModelEntry] = []
    mixtures: list[MixtureEntry] = []
    extracted: list[ExtractedEntry] = []
    baselines: list[BaselineEntry] = []
    borrowed: dict[str, list[str]] = {}
    honest: list[str] = []
    remark: str = ""


def experiments() -> list[PaperExperiment]:
    """All of them, in order."""
    content = read_toml("benchmarks.experiments.paper", "experiments.toml")
    return [PaperExperiment.model_validate(entry) for entry in content["experiment"]]


def published() -> dict[str, dict[str, dict[str, Any]]]:
    """Published curves and independent re-runs: `[experiment][curve]` with `figure`, and `mean`, `std` where re-run."""
    return json.loads(resources.files("benchmarks.experiments.paper").joinpath("published.json").read_text())
