"""Entries: three honest ones enter, dishonest ones are stopped with a sentence, and nothing of theirs gets out."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from benchmarks import api
from benchmarks.catalogue.registry import SOLVERS
from benchmarks.entries import box, contract, inside, pytest_plugin, wire
from benchmarks.entries.box import Box, BoxError, available
from benchmarks.entries.boxed import Boxed, _Fit, seed_of_fit
from benchmarks.entries.contract import CHECKS, broken
from benchmarks.entries.enter import SUITE, preview, write
from benchmarks.entries.metadata import Tier, read_metadata
from benchmarks.errors import UserError
from benchmarks.harness.scores import floors
from benchmarks.runs.source import ENTRIES, ROOT
from benchmarks.suites.entries import Scores
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.law import Purpose
from memformer.core.solver import Needs
from tests.entries.local import loaded
from tests.experiments.requests import Silent
from tests.helpers import call, mistake
from tests.ready import Ready

FILES = Path(__file__).parent / "files"
"""Dishonest ones."""

MOMENTUM, LEARNED, DIRECT = (ENTRIES / name / f"{name}.py" for name in ("momentum", "learned_steps", "pseudoinverse"))
AUTHOR = "The memformer-bench developers"
LAW = api.law("isotropic", d=3, N=8)

boxed = pytest.mark.usefixtures("a_box")

copied = pytest.mark.usefixtures("copies")
"""For what is said to an entry and what it may say, whatever the walls between."""


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    list(SOLVERS)
    monkeypatch.setattr(SOLVERS, "_entries", dict(SOLVERS._entries))


@pytest.fixture
def a_box() -> None:
    """Skips where there is no box, but for Linux in CI, where one must be."""
    if not available():
        missing = pytest.fail if "CI" in os.environ and sys.platform == "linux" else pytest.skip
        missing("this machine has no bubblewrap, or does not allow it")


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes have no walls, and are there at once."""
    monkeypatch.setattr(box, "subprocess", SimpleNamespace(Popen=Ready, PIPE=subprocess.PIPE))
    monkeypatch.setattr(box, "command", lambda file, isolated: ["-m", inside.__name__, str(file)])
    for room in ("box", "boxed"):
        monkeypatch.setattr(f"benchmarks.entries.{room}.require", lambda: None)


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an entry declares is asked in this process: boxes, which take seconds, are for its fits and solves."""

    def traits(file: str, *_: object) -> dict[str, Any]:
        solver = loaded(file)
        return {"serves": solver.serves.__name__, **inside._traits(solver)}

    monkeypatch.setattr("benchmarks.entries.boxed._traits", traits)


def entry(tmp_path: Path, **changed: str) -> Path:
    """An honest file with some of its text changed."""
    text = MOMENTUM.read_text()
    for old, new in changed.items():
        text = text.replace(old, new)
    (tmp_path / "mine.py").write_text(text)
    return tmp_path / "mine.py"


@pytest.fixture
def learned(tmp_path: Path) -> str:
    """The file of the honest entry that learns, with a few of its training steps."""
    text = LEARNED.read_text()
    assert "iterations: int = 300\n" in text
    (tmp_path / LEARNED.name).write_text(text.replace("iterations: int = 300\n", "iterations: int = 5\n"))
    return str(tmp_path / LEARNED.name)


@copied
def test_an_honest_entry_that_learns_keeps_to_the_contract(learned: str) -> None:
    assert dict(broken(Boxed(learned))) == {check.name: "" for check in CHECKS}


@copied
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("peeks", "expected Tensor as element 1 in argument 0, but got NoneType"),
        ("greedy", "it drew 510,000 training tasks; its budget has 500,000"),
    ],
)
def test_a_dishonest_entry_is_stopped_by_what_it_is_shown(name: str, said: str) -> None:
    *_, (_, why) = broken(Boxed(str(FILES / f"{name}.py")))
    assert said in why


@copied
def test_what_looks_at_the_other_tasks_of_a_large_batch_alone_is_stopped(tmp_path: Path) -> None:
    leaks = "b = problem.moments.b + (problem.moments.b.mean(0) if problem.B > 100 else 0)\n"
    file = entry(tmp_path, **{"b = problem.moments.b\n": leaks})
    assert leaks in file.read_text()
    *kept, (check, why) = broken(Boxed(str(file)))
    assert {why for _, why in kept} == {""}
    assert check == "tasks of a batch as large as those scored do not know each other"
    assert why == "among 2,000 tasks, as many as are scored, a task must be answered as it is among 4"


@boxed
@pytest.mark.parametrize(
    ("name", "said"),
    [("redraws", "No module named 'benchmarks'"), ("writes", "Read-only file system: '/usr/share/seen.txt'")],
)
@pytest.mark.usefixtures("declared")
def test_a_dishonest_entry_is_stopped_by_its_box(name: str, said: str) -> None:
    *_, (_, why) = broken(Boxed(str(FILES / f"{name}.py")))
    assert said in why


@copied
def test_an_entry_enters_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = load_suite(SUITE)
    less = suite.model_copy(update={"tasks": suite.tasks[1:], "seeds": suite.seeds[:1], "scores": Scores(tasks=200)})
    monkeypatch.setattr("benchmarks.entries.enter.load_suite", {SUITE: less}.get)
    monkeypatch.setattr(floors, "FLOOR_TASKS", 2000)
    done = call("enter", str(DIRECT), folder=tmp_path)
    assert done.code == 0, done.error
    assert done.output.count("kept: ") == len(CHECKS)
    assert re.search(r"(?m)^pseudoinverse +-\d", done.output), "it stands on the board"
    folder = tmp_path / "baselines/entries/pseudoinverse"
    told = json.loads((folder / "entry.json").read_text())
    assert told["authors"] == [AUTHOR]
    assert told["licence"] == "MIT"
    assert told["needs"] == "direct"
    assert told["keeps"] == [check.name for check in CHECKS]
    assert (folder / "pseudoinverse.py").read_bytes() == DIRECT.read_bytes()


@copied
def test_what_breaks_the_contract_is_written_nowhere(tmp_path: Path) -> None:
    done = call("enter", str(FILES / "peeks.py"), folder=tmp_path)
    assert done.code == 1
    assert "broken: its trace is what a trace must be: TypeError" in done.error
    assert "nothing was written" in done.error
    assert list(tmp_path.iterdir()) == []


SNOOPS = {
    "the environment": "os.environ.get('SECRET_OF_MINE', '') or ''",
    "the network": "str(socket.create_connection(('1.1.1.1', 53), 2))",
    "this repository": f"Path({str(Path(__file__).parents[2] / 'README.md')!r}).read_text()",
    "other processes": "','.join(p for p in os.listdir('/proc') if p.isdigit() and int(p) > 50)",
    "a home": "str(os.listdir(os.path.expanduser('~root')))",
    "the environment of process 1": "'SECRET_OF_MINE' in Path('/proc/1/environ').read_text()",
    "any environment": "'SECRET_OF_MINE' in os.popen('cat /proc/[0-9]*/environ 2>&1').read()",
}


@boxed
def test_a_box_shows_nothing_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("SECRET_OF_MINE", "seen")
    code = f"import os, socket\nfrom pathlib import Path\nsaw = {{}}\nfor what, look in {SNOOPS}.items():\n"
    code += "    try: saw[what] = eval(look)\n    except Exception: pass\n"  # what is not there raises
    code += "assert False, 'saw ' + ', '.join(what for what in saw if saw[what]) + '.'\n"
    file = entry(tmp_path, **{"from dataclasses import dataclass\n": f"from dataclasses import dataclass\n{code}"})
    with pytest.raises(BoxError, match=r"saw \.$"):
        Box(file)
    request.getfixturevalue("copies")
    with pytest.raises(BoxError, match=r"saw .*this repository, other processes"):  # who is not in a box sees them
        Box(file, isolated=False)


@boxed
def test_a_box_can_write_to_its_scratch_folders_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = tmp_path / "site"
    (hidden / "baselines").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(hidden))
    monkeypatch.setattr(box, "SYSTEM", (*box.SYSTEM, str(hidden)))
    places = ["/x", "/dev/x", "/dev/null", str(hidden / "baselines/x"), "/tmp/x", "/dev/shm/x"]
    code = f"import os\nfrom pathlib import Path\nmade, sizes = [], []\nfor place in {places}:\n"
    code += "    try: made.append((Path(place).write_text('x'), place)[1])\n    except OSError: pass\n"
    code += "for place in ('/tmp', '/dev/shm'):\n"
    code += "    found = os.statvfs(place)\n    sizes.append(found.f_blocks * found.f_frsize)\n"
    code += "assert False, f'{made} {sizes}'\n"
    file = entry(tmp_path, **{"from dataclasses import dataclass\n": f"from dataclasses import dataclass\n{code}"})
    with pytest.raises(BoxError) as caught:
        Box(file)
    assert str(caught.value) == f"AssertionError: ['/dev/null', '/tmp/x', '/dev/shm/x'] {[box.SCRATCH_BYTES] * 2}"


@boxed
def test_an_environment_may_be_reached_by_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "venv").symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/bin" / Path(sys.executable).name))
    with Box(MOMENTUM) as box:
        assert box.traits["serves"] == "LeastSquares"


@boxed
def test_an_entry_that_takes_too_much_memory_or_time_is_ended(tmp_path: Path) -> None:
    hungry = "from dataclasses import dataclass\nimport time\nx = bytearray(2**29)\ntime.sleep(5)\n"
    with pytest.raises(BoxError, match=r"it held 0\.\d+ GB, and may hold 0\.4; its process was ended"):
        Box(entry(tmp_path, **{"from dataclasses import dataclass\n": hungry}), memory=0.4)
    with (
        Box(MOMENTUM) as box,
        pytest.raises(BoxError, match=r"it took more than 0\.02 s; its process was ended"),
    ):
        box.receive(0.02)  # it waits for us; by the clock it may take ten times that


@boxed
def test_an_entry_of_too_many_processes_is_ended(tmp_path: Path) -> None:
    code = "import subprocess, time\nfor _ in range(80): subprocess.Popen(['/bin/sleep', '60'])\ntime.sleep(60)\n"
    with pytest.raises(BoxError, match="it had more than 64 processes at once; they were ended"):
        Box(entry(tmp_path, **{"from dataclasses import dataclass\n": f"from dataclasses import dataclass\n{code}"}))


def test_what_an_ended_process_used_stays_used() -> None:
    burn = "(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done); echo done; read -r line"
    with subprocess.Popen(["sh", "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        assert box._used(psutil.Process(process.pid)) > 0.02
        process.kill()


class Scripted:
    """Stands for a box whose import took 8 s of the processor, and that answers as it is told."""

    def __init__(self, *answers: tuple[dict[str, Any], dict[str, torch.Tensor]]) -> None:
        self._answers, self.until = list(answers), set()

    def used(self) -> float:
        return 8.0

    def send(self, *_: object) -> None:
        pass

    def receive(self, seconds: float, until: float) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        self.until.add(until)
        return self._answers.pop(0)


def test_a_fit_has_one_deadline_and_pays_for_a_long_import() -> None:
    asks = ({"op": "second_moment", "id": 0}, {})
    stub: Any = Scripted(asks, asks, ({"op": "fitted"}, {"w": torch.ones(1)}))
    fit, began = _Fit(stub, LAW.stream(0, Purpose.TRAIN), Tier(10, 7.0)), time.monotonic()
    assert fit.run([1], 0) == {"w": torch.ones(1)}
    (until,) = stub.until
    assert until == pytest.approx(began + 70, abs=1)
    assert fit.seconds == 3


def test_a_fit_that_keeps_what_cannot_be_stored_is_a_sentence() -> None:
    stub: Any = Scripted(({"op": "fitted"}, {"w": torch.ones(1, dtype=torch.bfloat16)}))
    with pytest.raises(BoxError, match=r"it keeps 'w' as torch.bfloat16, which NumPy lacks"):
        _Fit(stub, LAW.stream(0, Purpose.TRAIN), Tier(10, 7.0)).run([1], 0)


@pytest.mark.parametrize(
    ("fitting", "says", "is_told"),
    [
        ("none", "nothing", "nothing"),
        ("none", "L", "L"),
        ("random", "nothing", "law"),
        ("random", "direct", "direct"),
        ("closed_form", "mu, L", "law"),
    ],
)
def test_what_is_fitted_knows_the_law_whatever_it_says(
    monkeypatch: pytest.MonkeyPatch, fitting: str, says: str, is_told: str
) -> None:
    told = {"reach": "any", "learned": False, "batched": True, "anytime": True, "version": 1}
    monkeypatch.setattr("benchmarks.entries.boxed._traits", lambda *_: {**told, "fitting": fitting, "needs": says})
    assert Boxed(str(MOMENTUM), isolated=False).needs == is_told


@boxed
@pytest.mark.usefixtures("declared")
def test_a_box_fits_and_solves_as_the_solver_itself_does(learned: str) -> None:
    stream = lambda: contract.LAW.stream(0, Purpose.TRAIN)  # noqa: E731
    mine = Boxed(learned).fit(stream(), [3], seed=0)
    same = loaded(learned).fit(stream(), [3], seed=seed_of_fit(0))
    problem = contract.tasks(contract.LAW, 6)
    torch.testing.assert_close(mine.solve(problem, 3).weights, same.solve(problem, 3).weights)


@boxed
@pytest.mark.usefixtures("declared")
def test_a_box_scores_as_the_solver_itself_does() -> None:
    mine = api.losses(Boxed(str(MOMENTUM)), LAW, 0, 40, [1, 3])
    same = api.losses(api.solver("heavy_ball", eta=0.5, beta=0.3), LAW, 0, 40, [1, 3])
    torch.testing.assert_close(torch.from_numpy(mine), torch.from_numpy(same), rtol=1e-12, atol=0)


@copied
def test_who_draws_the_scored_tasks_again_must_know_their_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solver = Boxed(str(FILES / "recounts.py"))
    assert api.losses(solver, LAW, 0, 40, [1]).max() == 0  # seeds that everybody knows
    seeds: list[int] = []
    monkeypatch.setattr(
        "benchmarks.entries.enter.run_suite", lambda suite, *_, **__: seeds.extend(suite.seeds) or "done"
    )
    for name in ("first", "second"):
        about = read_metadata(FILES / "recounts.py").model_copy(update={"name": name})
        preview(about, solver, tmp_path, [], Silent())
    assert len(set(seeds)) == len(seeds) == 4
    assert min(seeds) > 2**20
    assert api.losses(solver, LAW, seeds[0], 40, [1]).mean() > 1
    assert seed_of_fit(seeds[0]) not in seeds


def test_without_a_box_an_entry_is_refused_unless_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.entries.box.PROGRAM", "no-such-program")
    assert "lacks or does not allow (Debian: apt install bubblewrap); --unsafe runs it without" in mistake(
        "enter", str(MOMENTUM), folder=tmp_path
    )
    solver = Boxed(str(MOMENTUM), isolated=False)
    assert solver.needs is Needs.NOTHING
    assert next(iter(broken(solver))) == (CHECKS[0].name, "")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"# SPDX-License-Identifier: MIT\n": ""}, "names no licence; it must have a line such as"),
        ({"# /// entry\n": ""}, "has 0 blocks '# /// entry'; it must have one"),
        ({'name = "momentum"': 'name = "Momentum!"'}, "name: string should match pattern"),
        ({'budget = "none"': 'budget = "huge"'}, "budget: input should be 'none', 'small' or 'large'"),
        ({'# source = "https://doi.org/10.1016/0041-5553(64)90863-5"\n': ""}, "source: field required"),
        ({f'authors = ["{AUTHOR}"]': "authors = []"}, "authors: list should have at least 1 item"),
        ({f'authors = ["{AUTHOR}"]': "authors = ["}, "is no TOML"),
        ({'budget = "none"': 'budget = "none"\n# licence = "MIT"'}, "names a licence; that is the line above it"),
        ({'name = "momentum"': 'name = "momentum"\n# rank = "first"'}, "rank: extra inputs are not permitted"),
    ],
)
def test_metadata_that_is_wrong_is_a_sentence(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_metadata(entry(tmp_path, **changed))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@copied
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"class Momentum(IterativeSolver)": "class Momentum(object)"}, "a file must define one solver"),
        ({"needs = Needs.NOTHING": "needs = 'secrets'"}, "it must declare needs, one of nothing, L, "),
        *(
            ({"needs = Needs.NOTHING": f"needs = Needs.NOTHING; version = {version}"}, said)
            for version in ("0", "True", "'1'", "10**30")
            for said in ("it must declare version, a whole number from 1 on; it is ",)
        ),
        ({"import torch\n": "import torch\nraise ValueError(chr(0xD800))\n"}, "ValueError: \\ud800"),
        ({"import torch\n": "import torch\nraise SystemExit(3)\n"}, "SystemExit: 3"),
        ({"import torch\n": "import torch\nimport os; os._exit(3)\n"}, "its process ended with 3"),
        ({"import torch\n": "import not_there\nimport torch\n"}, "No module named 'not_there'"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_a_sentence(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    assert said in mistake("enter", str(entry(tmp_path, **changed)), folder=tmp_path)


@copied
def test_a_folder_of_somebody_else_or_a_damaged_one_is_left_alone(tmp_path: Path) -> None:
    about, solver = read_metadata(DIRECT), Boxed(str(DIRECT))
    write(about, solver, [], tmp_path)
    write(about, solver, [], tmp_path)  # again, after a change
    with pytest.raises(UserError, match=f"has an entry of {AUTHOR}; choose another name"):
        write(about.model_copy(update={"authors": ["Somebody"]}), solver, [], tmp_path)
    (tmp_path / "pseudoinverse" / "entry.json").write_text("[")
    with pytest.raises(UserError, match="is damaged; remove it or put it right"):
        write(about, solver, [], tmp_path)


@boxed
def test_a_file_may_have_any_name_and_say_as_much_as_it_likes(tmp_path: Path) -> None:
    file = entry(tmp_path, **{"import torch\n": "import sys\nimport torch\nsys.stderr.write('x' * 10**7)\n"})
    file.rename(tmp_path / "torch.py")
    with Box(tmp_path / "torch.py") as box:
        assert box.traits["needs"] == "nothing"


@copied
def test_a_name_that_is_taken_is_a_sentence(tmp_path: Path) -> None:
    file = entry(tmp_path, **{'name = "momentum"': 'name = "cg"'})
    assert "the name 'cg' is taken (built in); choose another" in mistake("enter", str(file), folder=tmp_path)


def test_a_message_that_is_none_is_refused() -> None:
    for content in (b"\x00" * 15, b"\xff" * 16, b"\x00" * 7 + b"\x02" + b"\x00" * 8 + b"[]"):
        with pytest.raises((EOFError, wire.NoMessage)):
            wire.receive(io.BytesIO(content))
    with pytest.raises(wire.NoMessage, match="larger than any can be"):
        wire.receive(io.BytesIO((2**20 + 1).to_bytes(8) + bytes(8)))  # 1 MiB of words is the most


@copied
def test_the_contract_is_a_plugin_of_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    file = str(shutil.copy(FILES / "peeks.py", pytester.path))
    done = pytester.runpytest_inprocess("-p", pytest_plugin.__name__, "--entry", file, "-q", "-x")
    done.stdout.fnmatch_lines(["*TypeError: expected Tensor as element 1 in argument 0, but got NoneType*"])
    assert done.ret == 1


def test_no_pytest_but_one_that_asks_loads_the_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project.get("entry-points", {})) == set()  # `benchmarks` may be a package of somebody else there
