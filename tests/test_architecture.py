"""The house: who may import whom (the contracts in pyproject.toml), and how many rooms there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import benchmarks

ROOT = Path(__file__).parents[1]


def test_doors_open_downward(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No import goes upward between packages or rooms, so none goes round in a circle between them either."""
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == 0, capsys.readouterr().out


def test_the_contracts_can_be_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for room, text in {"low": "import house.high\n", "high": "x = 1\n"}.items():
        (tmp_path / "house").mkdir(exist_ok=True)
        (tmp_path / "house" / f"{room}.py").write_text(text)
    (tmp_path / "house" / "__init__.py").touch()
    contract = '[[tool.importlinter.contracts]]\nname = "x"\ntype = "layers"\nlayers = ["house.high", "house.low"]\n'
    (tmp_path / "pyproject.toml").write_text(f'[tool.importlinter]\nroot_package = "house"\n{contract}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert lint_imports(config_filename=str(tmp_path / "pyproject.toml"), no_cache=True) == 1


def test_at_most_fifteen_rooms_and_nothing_loose() -> None:
    top = Path(str(benchmarks.__file__)).parent
    rooms = {path.parent.name for path in top.glob("*/__init__.py")}
    loose = {path.name for path in top.glob("*.py")}
    assert len(rooms) <= 15
    assert loose <= {"__init__.py", "api.py", "errors.py"}


def test_git_is_called_in_one_place() -> None:
    """There its environment is cleaned: in a hook, any other call would change the commit that is being made."""
    packages = [ROOT / name for name in ("memformer", "baselines", "benchmarks")]
    callers = {
        path.relative_to(ROOT).as_posix()
        for package in packages
        for path in package.rglob("*.py")
        if re.search(r"""["']git["'],""", path.read_text())
    }
    assert callers == {"benchmarks/runs/git.py"}
