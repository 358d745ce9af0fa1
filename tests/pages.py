"""The code blocks of README and docs: what they are, what is wrong with a command in them, and running them."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import itertools
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import typer

from baselines import lfom
from benchmarks.catalogue.registry import LAWS, METRICS, SOLVERS
from benchmarks.cli.main import app
from benchmarks.harness.scores import floors
from benchmarks.regression.asv_suite.catalogue import TIMED_BUDGET
from tests.helpers import call, made_once

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?"
    r'^```(?:{ \.)?(?P<language>\w*)(?: title="(?P<title>[^"]+)")?(?: })?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
INCLUDED = re.compile(r'^--8<-- "([^"]+)"$', re.MULTILINE)
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

OTHERS = {".", "asv", "cd", "dask", "git", "open", "pytest", "python3"}
"""Programs that pages call and that are not ours to check."""

QUICK = ("list", "show", "env", "leaderboard")
"""Commands that are run where a page shows them."""

PASSES = {"scores": "tasks = 50", "timings": "batch = 2\nrepeats = 3"}
"""What a suite of a page gets where it says nothing itself,"""

LESS = {"tasks": 50, "iterations": 2}
"""and in place of what it says."""


class Block(NamedTuple):
    """A code block: its language, the file it stands for, why it is not run (empty: it is), and its text."""

    language: str
    title: str
    why: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page, the files they include put in."""
    found = [match.groupdict(default="") for match in BLOCK.finditer(page.read_text())]
    for one in found:
        one["text"] = INCLUDED.sub(lambda line: (ROOT / line[1]).read_text().rstrip("\n"), one["text"])
    return [Block(**one) for one in found]


def lines(text: str) -> list[list[str]]:
    """The commands of a shell block, each in words, without comments and settings of the environment."""
    parts = [part for line in text.replace("\\\n", " ").splitlines() for part in line.split("&&")]
    commands = [shlex.split(part, comments=True) for part in parts]
    return [list(itertools.dropwhile(re.compile(r"[A-Z_]+=").match, line)) for line in commands if line]


def commands(page: Path) -> list[list[str]]:
    """Every command that a page shows, in a block or within a sentence."""
    text = page.read_text()
    inline = re.findall(r"`((?:memformer-bench|make|pip install|python -m) [^`\n]+)`", BLOCK.sub("", text))
    shown = [block.text for block in blocks(page) if block.language == "sh"]
    return [line for part in (*shown, *inline) for line in lines(part)]


def mistake_in(line: list[str]) -> str | None:
    """What is wrong with a command; nothing is started."""
    program, *words = line
    if program == "memformer-bench":
        return _mistake_in_ours(words)
    if program == "make":
        gone = [word for word in words if "=" not in word and word not in TARGETS]
        return f"no target {gone}" if gone else None
    if program == "python" and words[0] == "-m":
        return None if importlib.util.find_spec(words[1]) else f"no module {words[1]}"
    if program == "pip":
        named = [extra for word in words for extra in re.findall(r"[\w-]+", "".join(re.findall(r"\[(.+)\]", word)))]
        return next((f"no extra {extra}" for extra in named if extra not in EXTRAS), None)
    return None if program in OTHERS else f"unknown program {program}"


def _mistake_in_ours(words: list[str]) -> str | None:
    command: Any = made_once(app)
    while hasattr(command, "commands"):
        name, *words = words or [""]
        if name.startswith("--"):
            known = [option for one in command.params for option in one.opts] + ["--help"]
            return None if name in known else f"no option {name}"
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    try:
        if words:  # a sentence may name a command without what it needs
            command.make_context(command.name, words)
    except typer.BadParameter.__bases__ as error:
        return error.format_message()
    return None


@contextlib.contextmanager
def in_small(folder: Path) -> Iterator[None]:
    """In a folder: training is short, floors are rough, and the plug-ins there are forgotten at the end."""
    with contextlib.ExitStack() as stack:
        for registry in (LAWS, SOLVERS, METRICS):
            entries = {name: registry[name] for name in registry}
            for name in TIMED_BUDGET if registry is SOLVERS else ():
                implied = {**entries[name].defaults, **TIMED_BUDGET[name]}
                entries[name] = dataclasses.replace(entries[name], defaults=implied)
            stack.enter_context(mock.patch.object(registry, "_entries", entries))
        stack.enter_context(mock.patch.object(floors, "FLOOR_TASKS", 500))
        stack.enter_context(mock.patch.object(lfom, "VALIDATION_TASKS", 64))
        stack.callback(floors._optimal.cache_clear)
        stack.enter_context(mock.patch.object(sys, "path", [*sys.path]))
        stack.enter_context(contextlib.chdir(folder))
        for path in [path for path in sys.path_importer_cache if not Path(path).is_absolute()]:
            del sys.path_importer_cache[path]  # it is that of another folder
        yield
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(f"{folder}/"):
                del sys.modules[name]


def run_line(line: list[str], folder: Path) -> bool:
    """Run a command in a folder if it is quick; whether it was. It must end well.

    A suite that the page itself shows is quick, and so are the curves of its run.
    """
    program, *words = line
    own = [path.name for path in folder.glob("*.toml")]
    asked = " ".join(words[:2])
    if program != "memformer-bench" or not (
        words[0] in QUICK or asked in [f"run {name}" for name in own] or (own and asked == "views curves")
    ):
        return False
    with in_small(folder):
        done = call(*words)
    assert done.code == 0, (line, done.error)
    return True


def small(suite: str) -> str:
    """A suite on few tasks, learned solvers trained for a moment; a part of one made whole."""
    if "schema" not in suite:
        suite = 'schema = 1\nsteps = [1, 2]\nseeds = [0]\nsolvers = ["cg"]\n' + suite
    suite = re.sub(r"\b(tasks|iterations) = \d+", lambda setting: f"{setting[1]} = {LESS[setting[1]]}", suite)
    return suite + "".join(f"\n[{name}]\n{text}\n" for name, text in PASSES.items() if f"[{name}]" not in suite)
