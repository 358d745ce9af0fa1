"""The one place where git is called."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path


def git(folder: Path, *words: str) -> bytes:
    """What git prints when it is called in a folder, whatever repository the environment points to.

    A hook of git runs with `GIT_DIR`, `GIT_INDEX_FILE` and others set, which would send a command to the hook's
    repository and index instead of to the folder's.

    Raises:
        OSError: if there is no git.
        subprocess.CalledProcessError: if git fails; `stderr` says why, in bytes.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _local_variables()}
    return subprocess.run(["git", "-C", folder, *words], capture_output=True, check=True, env=environment).stdout


@cache
def _local_variables() -> frozenset[str]:
    """Names of the environment variables that tie git to one repository."""
    listed = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, check=True)
    return frozenset(listed.stdout.decode().split())
