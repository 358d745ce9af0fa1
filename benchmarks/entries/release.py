"""A release freezes its board: the board under its tag, and what Zenodo and those who cite read."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks.entries.board import BOARD, read_board, write_board
from benchmarks.errors import UserError
from benchmarks.reports.write import writing
from memformer import __version__

ZENODO = {
    "title": "memformer-bench: a benchmark suite for learned and classical first-order methods",
    "upload_type": "software",
    "license": "Apache-2.0",
    "creators": [{"name": "The memformer-bench developers"}],
    "keywords": ["in-context learning", "learned optimization", "first-order methods", "benchmark", "transformers"],
    "related_identifiers": [{"identifier": "arXiv:2410.07263", "relation": "isSupplementTo", "scheme": "arxiv"}],
}


def freeze(tag: str, date: str, board: Path, root: Path) -> list[Path]:
    """Write `TAG.json` beside the board, `.zenodo.json`, and the version and date of `CITATION.cff`.

    Args:
        tag: of the release, `v1.2.3`: this version of the project.
        date: of the release, `2026-11-30`.
        board: folder of the boards.
        root: of the repository.

    Returns:
        What was written.

    Raises:
        UserError: if the tag is not this version's, it is frozen already, there is no board, or no CITATION.cff.
    """
    if tag != f"v{__version__}":
        raise UserError(f"the tag {tag!r} is not that of this version; it must be v{__version__}")
    found, target = read_board(board / BOARD), board / f"{tag}.json"
    if found is None:
        raise UserError(f"there is no {board / BOARD}; 'memformer-bench entries board' makes it")
    frozen = found.model_copy(update={"release": tag})
    if target.is_file() and read_board(target) != frozen:
        raise UserError(f"{target} is frozen and holds another board; a release's board does not change")
    citation = root / "CITATION.cff"
    if not citation.is_file():
        raise UserError(f"there is no {citation}; name the root of the repository by --root")
    with writing(root, "the release"):
        lines = [
            line for line in citation.read_text(encoding="utf-8").splitlines() if not line.startswith("date-released")
        ]
        text = re.sub(r"(?m)^version: .*$", f"version: {__version__}\ndate-released: {date}", "\n".join(lines) + "\n")
        citation.write_text(text, encoding="utf-8")
        about = {**ZENODO, "version": __version__, "publication_date": date}
        (root / ".zenodo.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    write_board(frozen, target)
    return [target, citation, root / ".zenodo.json"]
