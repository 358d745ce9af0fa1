"""What is measured: the lists of `catalogue.toml`, whose order asv depends on."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

_LISTS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))

SOLVERS: list[str] = _LISTS["solvers"]
LAWS: list[str] = _LISTS["laws"]
DEVICES: list[str] = _LISTS["devices"]
LEARNED: list[str] = _LISTS["learned"]
NO_PRIOR: list[str] = _LISTS["no_prior"]
NEED_PRIOR: list[str] = _LISTS["need_prior"]
NO_NOISE: list[str] = _LISTS["no_noise"]
ELSEWHERE: dict[str, str] = _LISTS["elsewhere"]
VARIANTS: dict[str, dict[str, Any]] = _LISTS["variants"]

Budget = dict[str, dict[str, Any]]
"""Hyper-parameters of what is fitted, by solver."""

TIMED_BUDGET: Budget = {name: entry["timed"] for entry in _LISTS["fitted"] for name in entry["solvers"]}
SCORED_BUDGET: Budget = {name: entry["scored"] for entry in _LISTS["fitted"] for name in entry["solvers"]}

SLOW = [name for name in SOLVERS if name.startswith("scipy_") or name == "lasso"]
"""Solvers that loop over tasks, and are given fewer of them."""
