"""The contract as tests of pytest: `pytest -p benchmarks.entries.pytest_plugin --entry FILE`.

Each check is a test of its own, and no other is run. No pytest loads it of itself: where one is run, `benchmarks` may
be another project's package.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--entry FILE`, and `--entry-unsafe`."""
    group = parser.getgroup("memformer-bench", "an entry of memformer-bench")
    group.addoption("--entry", metavar="FILE", default=None, help="run the contract of an entry, and no other test")
    group.addoption("--entry-unsafe", action="store_true", help="without a box")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """With an entry nothing else is collected."""
    return True if config.getoption("entry") else None


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """The checks of an entry."""
    file = config.getoption("entry")
    if file:
        from benchmarks.entries.contract import CHECKS

        items[:] = [_Check.from_parent(session, name=check.name, check=check) for check in CHECKS]


class _Check(pytest.Item):
    """One check."""

    def __init__(self, *, check: Any, **given: Any) -> None:
        super().__init__(**given)
        self.check = check

    def runtest(self) -> None:
        candidate = _candidate(self.config.getoption("entry"), not self.config.getoption("entry_unsafe"))
        self.check.run(candidate)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        return str(excinfo.value) or excinfo.typename

    def reportinfo(self) -> tuple[Path, int, str]:
        return Path(str(self.config.getoption("entry"))), 0, self.name


@cache
def _candidate(file: str, isolated: bool) -> Any:
    from benchmarks.entries.boxed import Boxed
    from benchmarks.entries.contract import Candidate

    return Candidate(Boxed(file, isolated=isolated))
