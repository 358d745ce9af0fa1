"""The board of entries as it is kept: what `results/entries/board.json` says, checked when it is read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from benchmarks.errors import UserError
from benchmarks.reports.write import make_folder, writing
from benchmarks.suites.entries import Strict

BOARD, SCHEMA = "board.json", "board.schema.json"

RULE = "the first 48 bits of the SHA-256 of 'memformer-bench board {base} seed {index}'"
"""How a board's seeds follow from its base commit."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class Version(Strict):
    """A version of the board: all entries are scored on the same tasks, which nobody knew when they were written.

    Attributes:
        name: of the version.
        base: the commit that the seeds follow from; it holds every entry's file, so no file can have known it.
        previous: name of the version before, empty for the first.
    """

    name: Name
    base: Commit
    previous: str = ""

    def seeds(self, count: int) -> list[int]:
        """So many seeds, by `RULE`.

        Example:
            >>> Version(name="1", base="0" * 40).seeds(2)
            [267142937491666, 257017230721281]
        """
        texts = [f"memformer-bench board {self.base} seed {index}" for index in range(count)]
        return [int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") for text in texts]

    @property
    def rule(self) -> str:
        """What a row says of its tasks."""
        return f"version {self.name}; seeds: {RULE.format(base=self.base, index='0, 1, ...')}"


class Row(Strict):
    """One entry on one law after one number of steps.

    Attributes:
        law, law_version, law_params (JSON), d, N, noise_std, fingerprint: the law.
        steps: number of steps.
        tasks: which scored tasks: the version, and the rule of its seeds.
        num_tasks: how many.
        group: what the entry needs, or `direct`: rows are ranked within it.
        log_loss, low, high: natural logarithm of the mean test loss, and its 95 % interval; None without a number.
        levels: what the interval holds random.
        tail_limited: whether a few tasks carry the mean, so that no interval of it can be trusted.
        gap: log ratio to the floor of its class, `floor`, on the same tasks; None where none is known.
        rank, last: the ranks that it shares, from the first to the last; None where it has none.
        tied: who else shares them.
        alarm: what is suspicious about the number.
        status, reason: `ok`, or what went wrong.
    """

    law: str
    law_version: int
    law_params: str
    d: int
    N: int
    noise_std: float
    fingerprint: str
    steps: int
    tasks: str
    num_tasks: int
    group: str
    log_loss: float | None
    low: float | None
    high: float | None
    levels: Literal["tasks", "seeds_and_tasks"]
    tail_limited: bool | None
    gap: float | None
    floor: str
    rank: int | None
    last: int | None
    tied: list[str]
    alarm: str
    status: str
    reason: str

    @property
    def key(self) -> tuple[str | int | float, ...]:
        """The law as it draws today, and the number of steps: what rows of two versions are paired by."""
        law = (self.law, self.law_version, self.law_params, self.d, self.N, self.noise_std, self.fingerprint)
        return (*law, self.steps)

    @property
    def law_title(self) -> str:
        """The law for people."""
        noise = f", noise = {self.noise_std:g}" * bool(self.noise_std)
        return f"{self.law}, d = {self.d}, N = {self.N}{noise}"


class Flag(Strict):
    """A difference between two versions that is outside the interval of such a difference.

    Attributes:
        law, steps: of the row.
        before: the version that it is compared with.
        difference: log loss in this version minus that in the one before.
        p_value: of the hypothesis that the two are the same, with Holm's correction for all rows of the entry.
    """

    law: str
    steps: int
    before: str
    difference: float
    p_value: float


class Entry(Strict):
    """An entry, or a solver of this project that it is shown beside.

    Attributes:
        name: of the entry.
        kind: `entry` or `reference`.
        status: `runs`; `no longer runs`, with the reason; `withdrawn`, if its folder is gone.
        reason: a sentence.
        authors, source, licence, budget, sha256, commit: where it is from: what the file says of itself, the hash of
            the file, and the commit that last changed it. Empty for a reference.
        foreknown: whether the file is not in the base commit as it is: its tasks could have been known.
        needs, learned: what it is told, and whether it is learned.
        train_tasks, train_seconds: what its fits used, all laws and seeds; 0 where nothing is fitted.
        rows: its scores.
        flags: see `Flag`.
    """

    name: str
    kind: Literal["entry", "reference"]
    status: Literal["runs", "no longer runs", "withdrawn"] = "runs"
    reason: str = ""
    authors: list[str] = []
    source: str = ""
    licence: str = ""
    budget: str = ""
    sha256: str = ""
    commit: str = ""
    foreknown: bool = False
    needs: str = ""
    learned: bool = False
    train_tasks: int = 0
    train_seconds: float = 0.0
    rows: list[Row] = []
    flags: list[Flag] = []


class Board(Strict):
    """All entries under one version.

    Attributes:
        board_schema: of this file (`schema` in JSON).
        version: whose tasks they were scored on.
        release: the tag that it was frozen for, empty if for none.
        suite, suite_hash: what was run.
        software: version of memformer-bench.
        source: hash of the source that rows depend on.
        entries: and references.
    """

    board_schema: Literal[1] = Field(1, alias="schema")
    version: Version
    release: str = ""
    suite: str
    suite_hash: str
    software: str
    source: str
    entries: list[Entry]

    def entry(self, name: str) -> Entry | None:
        """The entry of that name, no reference."""
        return next((one for one in self.entries if one.kind == "entry" and one.name == name), None)


def read_board(path: Path) -> Board | None:
    """A board; None if there is no such file.

    Raises:
        UserError: if it is none.
    """
    try:
        return Board.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} is no board of entries: {where}: {first['msg'].lower()}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def write_board(board: Board, path: Path) -> None:
    """Write a board, and beside it the JSON Schema of every board.

    Raises:
        UserError: if it cannot be written.
    """
    make_folder(path.parent)
    schema = json.dumps(Board.model_json_schema(by_alias=True), indent=1)
    with writing(path, "the board"):
        path.write_text(board.model_dump_json(indent=1, by_alias=True) + "\n", encoding="utf-8")
        (path.parent / SCHEMA).write_text(schema + "\n", encoding="utf-8")


def kept_board(folder: Path, version: str) -> Board | None:
    """The board of a version, wherever in a folder it is kept.

    Raises:
        UserError: if a file there is no board.
    """
    paths = sorted(path for path in folder.glob("*.json") if path.name != SCHEMA)
    boards = [board for path in paths if (board := read_board(path)) is not None]
    return next((board for board in boards if board.version.name == version), None)
