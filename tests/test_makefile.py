"""`make run` on a machine where something goes wrong on the way."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PYTHON = """#!/bin/sh
# Stands for python3: the first environment it makes is interrupted before there is a pip in it.
[ "$1 $2" = "-m venv" ] || exit 0
for bin; do :; done; bin=$bin/bin
mkdir -p $bin
cat > $bin/python <<'END'
#!/bin/sh
[ -e "$(dirname "$0")/pip" ] || { echo "No module named pip" >&2; exit 1; }
END
printf '#!/bin/sh\\necho "memformer-bench $*"\\n' > $bin/memformer-bench
chmod +x $bin/*
[ -e interrupted ] || { touch interrupted; kill -KILL $$; }
touch $bin/pip; echo made >> made
"""


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    line = ["make", "run", f"PYTHON={folder}/python", "SUITE=smoke"]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("make") is None, reason="this machine has no make")
def test_an_environment_that_was_interrupted_is_made_anew_and_a_good_one_is_kept(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    assert make(tmp_path).returncode != 0
    assert (tmp_path / ".venv/bin/python").exists()
    for _ in range(2):
        done = make(tmp_path)
        assert done.returncode == 0, done.stderr
        assert "memformer-bench run smoke\nmemformer-bench leaderboard" in done.stdout
        (tmp_path / ".venv/.made").unlink()  # as in an environment of an older Makefile
    assert (tmp_path / "made").read_text() == "made\n"
