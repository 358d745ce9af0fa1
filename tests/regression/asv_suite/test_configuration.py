"""asv's configuration: asv itself accepts any key, so a misspelt one would be silently without effect."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from asv.config import Config
from asv.environment import get_environment_class_by_name
from asv.util import load_json

ROOT = Path(__file__).parents[3]
FILES = [ROOT / "asv.conf.json", ROOT / "benchmarks/regression/asv_isolated.conf.json"]
ALSO = {"version", "build_cache_size"}
"""Keys that asv reads without giving them a default."""


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_every_key_is_one_that_asv_reads(file: Path) -> None:
    given = load_json(str(file), js_comments=True)
    assert set(given) <= set(vars(Config())) | ALSO
    assert set(given["matrix"]) <= {"req", "env", "env_nobuild"}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_folders_are_where_they_should_be(file: Path) -> None:
    given = load_json(str(file), js_comments=True)
    assert (file.parent / given["benchmark_dir"]).resolve() == ROOT / "benchmarks/regression/asv_suite"
    assert (file.parent / given["results_dir"]).resolve() == ROOT / "results/asv"
    ignored = [file.parent / given[key] / "x" for key in ("env_dir", "html_dir")]
    for path in ignored:
        done = subprocess.run(["git", "-C", str(ROOT), "check-ignore", "-q", str(path.resolve())], check=False)
        assert done.returncode in (0, 128), path  # 128: not a checkout, an unpacked archive


def test_the_default_environment_is_the_one_that_borrows() -> None:
    import benchmarks.regression.asv_environment

    given = json.loads(FILES[0].read_text())
    assert given["plugins"] == [f".{benchmarks.regression.asv_environment.__name__}"]
    assert get_environment_class_by_name(given["environment_type"]) is benchmarks.regression.asv_environment.Borrowed


def test_the_isolated_environment_has_everything_the_project_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["real"]
    needed = {re.split(r"[<>=]", words)[0] for words in packages}
    required = json.loads(FILES[1].read_text())["matrix"]["req"]
    assert set(required) == needed | set(project["build-system"]["requires"])
    pinned = re.search(r"^torch==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert required["torch"] == [pinned[1]]


def test_asv_finds_these_benchmarks_and_no_others_and_imports_them_without_computing() -> None:
    code = (
        "import sys; sys.path.insert(0, 'benchmarks/regression')\n"
        "from asv_runner.discovery import disc_benchmarks\n"
        "import torch\n"
        "from torch.utils._python_dispatch import TorchDispatchMode\n"
        "class Nothing(TorchDispatchMode):\n"
        "    def __torch_dispatch__(self, func, types, args=(), kwargs=None):\n"
        "        raise AssertionError(f'computed at import: {func}')\n"
        "with Nothing():\n"
        "    found = list(disc_benchmarks('benchmarks/regression/asv_suite'))\n"
        "assert not torch.cuda.is_initialized()\n"
        "print(*sorted(b.name for b in found), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "problems.Drawing.time_sample",
        "problems.Moments.time_moments",
        "problems.Moments.time_spectrum",
        "problems.TruthLines.time_krylov_oracle",
        "problems.TruthLines.time_lfom_floor",
        "program.Harness.time_run_cell",
        "program.Harness.time_solves_alone",
        "program.StartUp.timeraw_help",
        "program.StartUp.timeraw_import_memformer",
        "program.StartUp.timeraw_import_torch",
        "scoring.Score3Steps.track_gap_to_floor",
        "scoring.Score3Steps.track_log_test_loss",
        "solving.LargeBatch.peakmem_solve",
        "solving.SolveByLaw.time_solve",
        "solving.SolveBySize.time_solve",
        "training.LearnedSteps.time_training_steps",
        "training.LongContext.peakmem_training_step",
        "training.StepsToFloor.track_training_steps",
        "training.Variant.time_forward",
        "training.Variant.time_forward_backward",
        "training.Variant.time_training_step",
    ]
