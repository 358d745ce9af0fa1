"""What docs/security.md promises of suites, of runs from strangers, and of a cluster with TLS."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.runs.read import LOSSES, Run
from memformer.core import checkpoint
from tests.conftest import Command
from tests.helpers import call, mistake

PAGE = (Path(__file__).parents[1] / "docs/security.md").read_text()


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture
def bomb(tmp_path: Path) -> Bomb:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "proof")))
    assert (tmp_path / "proof").exists()
    return Bomb(tmp_path / "exploded")


@pytest.mark.parametrize("name", ["os:system", "os.system", "benchmarks.api", "../solver.py"])
def test_a_suite_cannot_name_code(name: str, small_suite: Path, tmp_path: Path) -> None:
    small_suite.write_text(small_suite.read_text().replace('"cg"', f'"{name}"'))
    assert mistake("run", small_suite, folder=tmp_path).startswith(f"unknown solver {name!r}")


def test_a_suite_cannot_say_where_files_are_written(small_suite: Path, tmp_path: Path) -> None:
    small_suite.write_text('name = "../../elsewhere"\n' + small_suite.read_text())
    assert "it must be at most 100 letters" in mistake("run", small_suite, folder=tmp_path)


def test_pickles_in_the_losses_of_a_run_are_not_read(run: Run, bomb: Bomb, tmp_path: Path) -> None:
    hostile = shutil.copytree(run.path, tmp_path / "results/runs/hostile")
    np.savez(hostile / LOSSES, **{"0": np.array([bomb], dtype=object)})
    done = call("results", "validate", "hostile", "--results", tmp_path / "results")
    assert (done.code, bomb.path.exists()) == (1, False)
    assert "is not a file of arrays: Object arrays cannot be loaded when allow_pickle=False" in done.output


def test_pickles_in_place_of_fitted_parameters_are_not_read(bomb: Bomb, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(pickle.dumps(bomb))
    with pytest.raises(checkpoint.CheckpointError):
        checkpoint.load(tmp_path / "x.safetensors")
    assert not bomb.path.exists()


def test_list_sends_a_terminal_no_control_characters(run: Run, tmp_path: Path) -> None:
    hostile = shutil.copytree(run.path, tmp_path / "results/runs/hostile")
    (hostile / "meta.json").write_text('{"schema_version": 4, "command": "\\u001b]0;gone\\u0007\\nsmoke"}')
    output = call("list", "runs", "--results", tmp_path / "results").output
    assert all(letter.isprintable() for letter in output.replace("\n", ""))
    assert len(output.splitlines()) == 2


@pytest.mark.parametrize("words", [["validate", "evil"], ["compare", "evil", "evil"]], ids=lambda words: words[0])
def test_names_in_the_tables_of_a_stranger_send_a_terminal_no_control_characters(
    words: list[str], run: Run, tmp_path: Path
) -> None:
    evil = shutil.copytree(run.path, tmp_path / "results/runs/evil")
    meta = json.loads((evil / "meta.json").read_text()) | {"measured_at": "\x1b[2J", "cpu": "\x9b2J"}
    (evil / "meta.json").write_text(json.dumps(meta))
    for name in ("scores.csv", "timings.csv"):
        text = (evil / name).read_text().replace(",cgls,", ",\x1b]0;gone\x07,")
        (evil / name).write_text(text)
    output = "".join(call("results", *words, "--results", tmp_path / "results")[1:])
    assert "evil" in output
    assert all(letter.isprintable() for letter in output.replace("\n", ""))


def test_commands_print_in_one_place() -> None:
    """`say` sends a terminal no control characters, whatever a run's tables say."""
    printing = {
        path.name
        for path in (Path(__file__).parents[1] / "benchmarks/cli").glob("*.py")
        if "typer.echo(" in path.read_text()
    }
    assert printing == {"options.py"}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="this machine cannot make certificates")
def test_a_cluster_with_the_settings_of_the_page_is_encrypted_and_reached(
    command: Command, small_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed", exc_type=ImportError)
    import dask

    monkeypatch.chdir(tmp_path)
    for line in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca",
        "req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=cluster",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2",
    ):
        subprocess.run(["openssl", *line.split()], check=True, capture_output=True)
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    with dask.config.set(dask.config.merge(dask.config.config, yaml.safe_load(block))):
        options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
        with distributed.LocalCluster(protocol="tls", security=distributed.Security(), **options) as cluster:
            assert cluster.scheduler_address.startswith("tls://")
            done = command("run", small_suite, "--scheduler", cluster.scheduler_address, "--name", "dask")
            assert done.code == 0, done.error
            plain = cluster.scheduler_address.replace("tls://", "tcp://")
            with dask.config.set({"distributed.comm.require-encryption": False}):
                refused = command("run", small_suite, "--scheduler", plain)
            assert (refused.code, "no Dask scheduler answers at" in refused.error) == (2, True)
