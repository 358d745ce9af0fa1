"""The two trees of a comparison: the checkout one stands in, and another commit of it in a folder of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.errors import UserError


def checkout_root(folder: Path) -> Path:
    """Root of the git checkout that a folder lies in.

    Raises:
        UserError: if it lies in none, or not in one of this project.
    """
    try:
        root = Path(_git(folder, "rev-parse", "--show-toplevel"))
    except (OSError, subprocess.CalledProcessError):
        raise UserError("this folder is not in a git checkout; run the check inside a clone of the project") from None
    if not all((root / package / "__init__.py").is_file() for package in ("memformer", "baselines", "benchmarks")):
        raise UserError("this git checkout is not one of memformer-bench; run the check inside a clone of the project")
    return root


def resolve(root: Path, ref: str) -> str:
    """The commit that a name means.

    Raises:
        UserError: if it means none.
    """
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except subprocess.CalledProcessError:
        raise UserError(f"there is no commit {ref!r} in this checkout; fetch it, or name another") from None


@contextmanager
def worktree(root: Path, commit: str) -> Iterator[Path]:
    """A checkout of a commit, removed afterwards."""
    with TemporaryDirectory(prefix="memformer-bench-") as folder:
        tree = Path(folder, commit[:12])
        try:
            _git(root, "worktree", "add", "--detach", "--force", str(tree), commit)
        except subprocess.CalledProcessError as error:
            said = (error.stderr or "").strip().splitlines() or ["git gives no reason"]
            raise UserError(f"commit {commit[:12]} cannot be checked out: {said[-1]}") from None
        try:
            yield tree
        finally:
            subprocess.run(["git", "-C", str(root), "worktree", "remove", "--force", str(tree)], capture_output=True)


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()
