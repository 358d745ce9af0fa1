"""An asv plugin: an environment that borrows torch and the rest from the one asv runs in.

asv makes it once, without a network, in seconds; going to another commit is a `git checkout`. The commit under test
comes first on the path, so an installed copy of this project is never measured in its place.
"""

from __future__ import annotations

import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asv import util
from asv.plugins.virtualenv import Virtualenv


class Borrowed(Virtualenv):
    """An empty virtual environment with two lines of path: the commit's checkout, and asv's own site-packages."""

    tool_name = "borrowed"

    def __init__(self, conf: Any, python: str, requirements: dict[str, str], tagged_env_vars: Any) -> None:
        # Kept with every result and part of the environment's name: numbers of two torches are two curves.
        super().__init__(conf, python, {**requirements, "torch": version("torch")}, tagged_env_vars)

    @staticmethod
    def _find_python(python: str) -> str | None:
        """The interpreter asv runs in: packages compiled for it fit no other."""
        return sys.executable if python == f"{sys.version_info[0]}.{sys.version_info[1]}" else None

    def _setup(self) -> None:
        words = ["-m", "virtualenv", "--no-download", "--without-pip", "-p", sys.executable, self._path]
        util.check_call([sys.executable, *words])
        inner = util.check_output(
            [self.find_executable("python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        )
        lines = [self._build_root, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
        Path(inner.strip(), "borrowed.pth").write_text("\n".join(dict.fromkeys(lines)) + "\n", encoding="utf-8")
