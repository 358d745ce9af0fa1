"""The published experiments as data: what was trained how, on which tasks, beside which baselines."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ModelEntry(_Strict):
    """A trained curve.

    Attributes:
        curve: its name in the published figure.
        parts: how it differs from a linear Transformer with full Q and P = 0 (see `MemformerConfig`).
        start: where memory weights and gates start; Q and P start at random, of size 1e-4.
        frozen: parameters that are not trained.
        scalar_q: Q is brought back to a multiple of the identity before every step.
        pretraining: steps without memory, on batches that change every 100 steps.
        steps: of Adam on the one fitted batch.
        batch: tasks in it.
        split: in how many parts the batch is cut, each with a model of its own ("heads").
        scored: on the test batch, or on the fitted one.
    """

    curve: str
    parts: dict[str, Any] = {}
    start: dict[str, float] = {}
    frozen: list[str] = []
    scalar_q: bool = False
    pretraining: int = 0
    steps: int = 1000
    batch: int = 1000
    split: int = 1
    scored: Literal["test", "fit"] = "test"


class ExtractedEntry(_Strict):
    """A learned first-order method without a Transformer: coefficients shared by all later steps.

    Attributes:
        curve: its name in the published figure.
        batch: tasks that are fitted and scored.
        epochs: steps of Adam.
    """

    curve: str
    batch: int
    epochs: int


class BaselineEntry(_Strict):
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


class Experiment(_Strict):
    """One figure of the paper.

    Attributes:
        id: letter, as in the report.
        title: what it is about.
        published: key in `published.json`.
        scales: square roots of the eigenvalues of the covariance.
        N: context length.
        models, extracted, baselines: its curves.
        honest: solvers of the suite `paper` that are its counterparts.
        not_redone: what of the published protocol is left out, and why.
    """

    id: str
    title: str
    published: str
    scales: list[float]
    N: int = 20
    models: list[ModelEntry] = []
    extracted: list[ExtractedEntry] = []
    baselines: list[BaselineEntry] = []
    honest: list[str] = []
    not_redone: str = ""


def experiments() -> list[Experiment]:
    """All of them, in order."""
    text = resources.files("benchmarks.paper").joinpath("experiments.toml").read_text()
    return [Experiment.model_validate(entry) for entry in tomllib.loads(text)["experiment"]]


def published() -> dict[str, dict[str, dict[str, Any]]]:
    """Published curves and independent re-runs: `[experiment][curve]` with `figure`, and `mean`, `std` where re-run."""
    return json.loads(resources.files("benchmarks.paper").joinpath("published.json").read_text())
