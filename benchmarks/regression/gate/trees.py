"""The two trees of a comparison: the checkout one stands in, and the files of another commit in a folder."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.errors import UserError
from benchmarks.runs.git import git


def checkout_root(folder: Path) -> Path:
    """Root of the git checkout that a folder lies in.

    Raises:
        UserError: if it lies in none, or not in one of this project.
    """
    try:
        root = Path(os.fsdecode(git(folder, "rev-parse", "--show-toplevel")).rstrip("\n"))
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
        return git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").decode().strip()
    except subprocess.CalledProcessError:
        raise UserError(f"there is no commit {ref!r} in this checkout; fetch it, or name another") from None


@contextmanager
def tree_of(root: Path, commit: str) -> Iterator[Path]:
    """The files of a commit in a temporary folder; git keeps no record of it, so nothing is left to be cleaned up."""
    with TemporaryDirectory(prefix="memformer-bench-") as folder:
        tree = Path(folder, commit[:12])
        try:
            archive = git(root, "archive", "--format=tar", commit)
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().splitlines() or ["git gives no reason"]
            raise UserError(f"the files of commit {commit[:12]} cannot be read: {said[-1]}") from None
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(tree, filter="data")
        _borrow_compiled(root, tree)
        yield tree


def _borrow_compiled(root: Path, tree: Path) -> None:
    """Give a tree what numba has compiled of files that are the same in the checkout, which takes up to half a minute.

    numba knows a file by its time and size; the name of an entry has a hash of all sources that went into it.
    """
    for compiled in (root / "memformer").rglob("__pycache__/*.nb[ic]"):
        source = compiled.parent.with_name(f"{compiled.name.split('.')[0]}.py")
        twin = tree / source.relative_to(root)
        if source.is_file() and twin.is_file() and source.read_bytes() == twin.read_bytes():
            (twin.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copy2(compiled, twin.parent / "__pycache__")
            times = source.stat()
            os.utime(twin, ns=(times.st_atime_ns, times.st_mtime_ns))
