"""The box: what an entry sees and may write in it, what it may use, and that its answers are those of the solver."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from benchmarks import api
from benchmarks.entries import box, contract, wire
from benchmarks.entries.box import Box, BoxError
from benchmarks.entries.boxed import Boxed, _Fit, seed_of_fit
from benchmarks.entries.metadata import Tier
from benchmarks.tasks.law import Purpose
from tests.entries.local import loaded
from tests.entries.samples import LAW, MOMENTUM, boxed, entry

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


@boxed
def test_a_file_may_have_any_name_and_say_as_much_as_it_likes(tmp_path: Path) -> None:
    file = entry(tmp_path, **{"import torch\n": "import sys\nimport torch\nsys.stderr.write('x' * 10**7)\n"})
    file.rename(tmp_path / "torch.py")
    with Box(tmp_path / "torch.py") as box:
        assert box.traits["needs"] == "nothing"


def test_a_message_that_is_none_is_refused() -> None:
    for content in (b"\x00" * 15, b"\xff" * 16, b"\x00" * 7 + b"\x02" + b"\x00" * 8 + b"[]"):
        with pytest.raises((EOFError, wire.NoMessage)):
            wire.receive(io.BytesIO(content))
    with pytest.raises(wire.NoMessage, match="larger than any can be"):
        wire.receive(io.BytesIO((2**20 + 1).to_bytes(8) + bytes(8)))  # 1 MiB of words is the most
