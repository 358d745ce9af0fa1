"""`import memformer` offers the library's names, and imports them when they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import memformer


@pytest.mark.parametrize("name", memformer.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(memformer, name).__module__.startswith("memformer.")


def test_everything_that_is_at_home_somewhere_is_exported() -> None:
    assert sorted(name for names in memformer._HOME.values() for name in names) == sorted(memformer.__all__)


def test_an_unknown_name_is_said() -> None:
    with pytest.raises(AttributeError, match="memformer has no 'Memfromer'; it has AdaptiveMemformer"):
        _ = memformer.Memfromer


def test_the_import_alone_takes_no_torch() -> None:
    code = "import sys, memformer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
