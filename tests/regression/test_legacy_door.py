"""The door for commits that have none, tried on such a commit, which this clone may not hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import api
from benchmarks.errors import UserError
from benchmarks.regression.gate.trees import checkout_root, resolve, tree_of

ROOT = Path(__file__).parents[2]
COMMIT = "76bd9b2796"
"""The last commit of the old layout."""

PROGRAM = """
import json, sys
sys.path[0] = sys.argv[1]
import importlib.util, torch
spec = importlib.util.spec_from_file_location("legacy_door", sys.argv[2])
legacy = importlib.util.module_from_spec(spec)
sys.modules["legacy_door"] = legacy
spec.loader.exec_module(legacy)
door = legacy.open_door()
law, noisy = door.law("isotropic", d=3, N=9), door.law("isotropic", noise_std=0.5)
cg = door.solver("cg")
step = door.training_step(door.stream(law, 0, "timing", "float32").sample(20), 2, memory="conjugate")
before = step.loss()
step.step()
recipe = {"steps": 4, "interval": 2, "tasks": 100, "batch": 50, "validation": 50, "patience": 0}
print(json.dumps({
    "API": door.API,
    "names": {kind: door.names(kind) for kind in ("law", "solver", "metric")},
    "losses": door.losses(cg, law, 0, 50, [1, 2]).tolist(),
    "floor": door.floor(cg, law, 0, 50, [1, 2]).tolist(),
    "penalty": door.fitted(door.solver("ridge"), noisy, [1]).parameters["penalty"].item(),
    "random_fit": [door.random_fit(cg), door.random_fit(door.solver("lfom"))],
    "cell": door.harness_cell(cg, law, [1, 2], [0], 10)(),
    "improved": step.loss() < before,
    "history": [step for step, _ in door.training_history(law, 2, 0, recipe, memory="conjugate")],
    "ols": door.solver("ols").solve(door.problem(torch.eye(2)[None], torch.ones(1, 2), torch.ones(1, 1, 2)), 1)
    .weights[-1].tolist(),
}))
"""


def test_it_offers_on_the_old_layout_what_api_offers_now() -> None:
    try:
        commit = resolve(checkout_root(ROOT), COMMIT)
    except UserError:
        pytest.skip(f"this clone does not hold commit {COMMIT}")
    with tree_of(ROOT, commit) as tree:
        line = [sys.executable, "-B", "-c", PROGRAM, str(tree), str(ROOT / "benchmarks/regression/legacy_door.py")]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(line, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["API"] == 0
    assert {"cg", "memformer_gdpp"} <= set(found["names"]["solver"])
    assert "isotropic" in found["names"]["law"]
    cg, law = api.solver("cg"), api.law("isotropic", d=3, N=9)
    # cg is of version 2 now: other by rounding.
    assert np.allclose(found["losses"], api.losses(cg, law, 0, 50, [1, 2]), rtol=1e-9)
    assert found["floor"] == api.floor(cg, law, 0, 50, [1, 2]).tolist()  # type: ignore[union-attr]
    assert found["penalty"] == 0.25
    assert found["random_fit"] == [False, True]
    assert found["cell"] == "ok"
    assert found["improved"]
    assert found["history"] == [0, 2, 4]
    assert found["ols"] == [[1.0, 1.0]]
