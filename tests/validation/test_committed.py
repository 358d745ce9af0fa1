"""Every committed file under results/ has a command that makes it, and what is stale is said."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer import Exit

from benchmarks.errors import UserError
from benchmarks.runs.source import ROOT
from benchmarks.validation import committed
from benchmarks.validation import reached as reach
from benchmarks.validation.committed import (
    PROVENANCE,
    RESULTS,
    Product,
    edited,
    keep,
    make,
    products,
    read_provenance,
    source_digest,
    stale,
)
from benchmarks.validation.reached import reached


def tracked() -> list[str]:
    """Files under results/ that git knows."""
    done = subprocess.run(["git", "ls-files", "."], cwd=RESULTS, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_every_committed_file_is_made_by_a_command() -> None:
    made = {file.relative_to(RESULTS).as_posix() for product in products() for file in product.files()}
    assert set(tracked()) - made == {PROVENANCE}


def test_no_file_belongs_to_two_products() -> None:
    files = [file for product in products() for file in product.files()]
    assert len(files) == len(set(files))


@pytest.mark.parametrize("product", products(), ids=lambda product: product.name)
def test_is_made_by_this_source(product: Product) -> None:
    """Old results are no failure of the code, so they are said as skipped tests; `make results` makes them anew."""
    assert edited(product) == []
    why = stale(product)
    if why:
        pytest.skip(f"stale: {why}")


def test_provenance_names_committed_files_alone() -> None:
    assert set(read_provenance()) - set(tracked()) == set()


@pytest.fixture
def toy(tmp_path: Path) -> tuple[Product, Path, Path]:
    source = tmp_path / "code.py"
    source.write_text('"""A docstring."""\nx = 1  # a comment\n')
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "table.csv").write_text("a\n1\n")
    return Product("toy", ("true",), ("table.csv",), (str(source),)), tmp_path / "results", source


def test_what_was_made_by_this_source_is_not_stale(toy: tuple[Product, Path, Path]) -> None:
    product, results, _ = toy
    assert "nobody kept" in stale(product, results)
    keep(product, 1.0, results)
    assert stale(product, results) == ""


def test_a_file_edited_by_hand_is_stale(toy: tuple[Product, Path, Path]) -> None:
    product, results, source = toy
    keep(product, 1.0, results)
    assert edited(product, results) == []
    (results / "table.csv").write_text("a\n2\n")
    assert "nobody kept" in stale(product, results)
    assert edited(product, results) == ["table.csv"]
    source.write_text("x = 2\n")
    fresh = replace(product, sources=(str(shutil.copy(source, source.with_name("moved.py"))),))
    assert edited(fresh, results) == []  # other source may have made it


def test_source_is_what_code_does_and_not_how_it_is_written(tmp_path: Path) -> None:
    texts = ['"""One."""\nx = 1  # why\n', '"""Two."""\n\nx = (\n    1\n)\n', "x = 2\n"]
    files = [tmp_path / f"{number}.py" for number in range(3)]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    one, two, other = (source_digest([file]) for file in files)
    assert one == two != other


def test_a_program_reaches_what_it_imports_and_what_it_names(tmp_path: Path) -> None:
    program, settings = tmp_path / "study.py", tmp_path / "study.toml"
    program.write_text('def main():\n    from benchmarks.tasks import law\n    return law, "isotropic"\n')
    settings.write_text('solvers = ["cg"]\n')
    alone, named = reached([program])
    assert ROOT / "memformer/core/problem.py" in alone  # by way of the law
    assert ROOT / "benchmarks/tasks/gaussian.py" in alone
    assert ROOT / "baselines/krylov.py" not in alone
    assert list(named) == ["isotropic"]
    files, named = reached([program, settings])
    assert ROOT / "baselines/krylov.py" in files
    assert named["cg"] == ["baselines.krylov:ConjugateGradient", "conjugate gradient on H"]
    assert source_digest([program], named) != source_digest([program])


@pytest.mark.parametrize("product", products(), ids=lambda product: product.name)
def test_every_source_of_a_product_is_there(product: Product) -> None:
    assert all((ROOT / name).exists() for name in product.sources if name != "rows")


def test_a_study_that_fails_keeps_no_provenance(toy: tuple[Product, Path, Path]) -> None:
    product, results, _ = toy
    with pytest.raises(UserError, match="'false' ended with exit status 1"):
        make(replace(product, commands=("false",)), results)
    assert read_provenance(results) == {}


def test_what_imports_cannot_be_told_is_said_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(reach, "import_module", missing)
    monkeypatch.setattr(committed.subprocess, "run", missing)  # nothing is begun
    reach._graph.cache_clear()
    for only_said in (False, True):
        with pytest.raises(Exit) as ended:
            committed.main(["core"], only_said)
        assert ended.value.exit_code == 2
        assert capsys.readouterr().err == (
            "error: grimp is not installed, which tells what imports what: pip install -e '.[dev]'\n"
        )
