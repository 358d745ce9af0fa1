"""The files of `examples` are as short as the pages say, and right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks import api
from benchmarks.harness.resolve import load_plugin
from tests.pages import ROOT, in_small
from tests.tasks.variants import arrays, assert_mean


def test_the_law_takes_at_most_20_lines_and_has_the_moments_and_the_bayes_it_states(tmp_path: Path) -> None:
    text = (ROOT / "examples/offset.py").read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 20
    (tmp_path / "offset.py").write_text(text)
    with in_small(tmp_path):
        load_plugin("offset.py")
        law = api.law("offset", d=3, N=6, noise_std=0.5, mean=0.7)
        drawn = arrays(api.stream(law, 0, "truth").sample(20_000))
        assert_mean(np.einsum("bni,bnj->bij", drawn["X"], drawn["X"]) / law.N, law.second_moment.numpy())
        losses = {
            name: api.losses(api.fitted(api.solver(name), law, [1]), law, 0, 4_000, [1]).mean()
            for name in ("bayes", "ols")
        }
    assert losses["bayes"] < losses["ols"]


def test_the_solver_descends(tmp_path: Path) -> None:
    (tmp_path / "sign_descent.py").write_text((ROOT / "examples/sign_descent.py").read_text())
    with in_small(tmp_path):
        load_plugin("sign_descent.py")
        problem = api.stream(api.law("isotropic", d=3, N=12), 0, "score").sample(50)
        predicted = api.solver("sign_descent", eta=0.01).solve(problem, 20).predict(problem.X)
    loss = torch.linalg.vector_norm(predicted - problem.y, dim=-1).mean(-1)
    assert bool((loss.diff() < 0).all())
