"""What is compiled and kept on disk: an entry is of all files that went into it, whichever of them changes."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from memformer.kernels import eigenvalues_numba, first_order_numba, gdpp_numba, kept_numba, recurrences_numba

KERNELS = Path(kept_numba.__file__).parent
KEPT = [
    recurrences_numba.CONJUGATE_GRADIENT,
    recurrences_numba.THREE_TERM,
    eigenvalues_numba.EXTREME_EIGENVALUES,
    gdpp_numba.FORWARD,
    gdpp_numba.ADJOINT,
    first_order_numba.ADJOINTS,
]


def sources(file: Path) -> set[Path]:
    """A file of kernels, and those that it imports, and so on."""
    found, names = {file}, ast.walk(ast.parse(file.read_text()))
    for name in [node.module for node in names if isinstance(node, ast.ImportFrom) and node.module]:
        if name.startswith("memformer.kernels."):
            found |= sources(KERNELS / f"{name.rsplit('.', 1)[1]}.py")
    return found


@pytest.mark.parametrize("table", KEPT, ids=lambda table: table["float32"].py_func.__name__)
def test_every_file_that_is_imported_counts(table):
    function = table["float32"].py_func
    counted = {Path(file) for file in kept_numba._files(function)}
    assert counted | {Path(kept_numba.__file__)} == sources(Path(function.__code__.co_filename))


TEXTS = {
    "operation": """from numba.extending import intrinsic
@intrinsic
def operation(typing, number):
    return number(number), lambda context, builder, signature, given: given[0]
""",
    "deepest": """from numba import njit
@njit
def deepest(x):
    return x
""",
    "inner": """from numba import njit
from kernels_deepest import deepest
@njit
def inner(x):
    return deepest(x)
""",
    "top": """from kernels_inner import inner
from kernels_operation import operation
def top(x):
    x[0] = inner(operation(x[0]))
""",
}


def test_a_change_of_any_file_is_another_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)

    def entry(changed: str = "") -> str:
        for name, text in TEXTS.items():
            sys.modules.pop(f"kernels_{name}", None)
            (tmp_path / f"kernels_{name}.py").write_text(text + "# anew\n" * (name == changed))
        importlib.invalidate_caches()
        function: Any = kept_numba.kept_on_disk(importlib.import_module("kernels_top").top)["float32"]
        return function.py_func.__qualname__

    names = [entry(), *(entry(name) for name in TEXTS)]
    assert entry() == names[0]
    assert len(set(names)) == len(names)
