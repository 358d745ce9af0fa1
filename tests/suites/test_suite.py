"""Suites: what is accepted, and the sentence for everything that is not."""

import re
from pathlib import Path

import pytest

from benchmarks.errors import UserError
from benchmarks.harness.resolve import build_cells
from benchmarks.runs.write import check_name
from benchmarks.suites.suite import built_in_suites, load_suite


def test_every_built_in_suite_can_be_built() -> None:
    for name in built_in_suites():
        cells = build_cells(load_suite(name))
        assert cells, name


def test_core_covers_what_it_promises() -> None:
    suite = load_suite("core")
    assert {(task.law, task.d) for task in suite.tasks} >= {
        ("isotropic", 5), ("anisotropic", 5), ("gmm", 5), ("ood_variance", 5), ("isotropic", 20), ("anisotropic", 20),
    }  # fmt: skip
    assert suite.steps == [1, 2, 3, 4, 5]
    assert len(suite.seeds) == 3


def test_the_hash_follows_the_content_not_the_layout(small_suite: Path) -> None:
    before = load_suite(str(small_suite)).content_hash
    text = small_suite.read_text()
    small_suite.write_text("# a comment\n" + text.replace("steps = [1, 2]", "steps = [\n  1,\n  2,\n]"))
    assert load_suite(str(small_suite)).content_hash == before
    small_suite.write_text(text.replace("seeds = [0, 1]", "seeds = [0, 2]"))
    assert load_suite(str(small_suite)).content_hash != before


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seeds = [0, 1]", "seds = [0, 1]", r"small\.toml: unknown key 'seds'; the keys there are schema, name"),
        ("tasks = 60", "task = 60", r"unknown key 'scores\.task'; the keys there are tasks, time_limit"),
        ('law = "isotropic"', 'low = "isotropic"', r"key 'tasks\[0\]\.low'|key 'tasks\[0\]\.law' is missing"),
        ("steps = [1, 2]", 'steps = ["1"]', r"steps\[0\]: .*integer"),
        ("steps = [1, 2]", "steps = []", r"steps: .*at least 1"),
        ("steps = [1, 2]", "steps = [-1]", r"steps\[0\]: .*greater than or equal to 0"),
        ("steps = [1, 2]", "steps = [2, 2]", r"2 occurs twice"),
        ("schema = 1", "schema = 2", r"schema: "),
        ("schema = 1", "", r"'schema' is missing"),
        ("d = 3", "d = 0", r"law 'isotropic': d is 0; it must be a whole number, 1 or more"),
        ("N = 8", "N = 0", r"law 'isotropic': N is 0; it must be a whole number, 1 or more"),
        ("N = 8", "N = 8\nnoise_std = -1.0", r"noise_std is -1\.0; it must be a finite number, 0 or more"),
        ("N = 8", "N = 8\nparams = {spectrum = 1}", r"unknown parameter 'spectrum' of the law 'isotropic'; it has"),
        ('"isotropic"', '"isotopic"', r"unknown law 'isotopic'; did you mean 'isotropic'\?"),
        ('"heavy_ball"', '"heavyball"', r"unknown solver 'heavyball'; did you mean 'heavy_ball'\?"),
        ('"cg"', '{ name = "cg", params = { eta = 1 } }', r"unknown parameter 'eta' of the solver 'cg'; it has"),
        ("seeds = [0, 1]", 'device = "gpu"', r"unknown device 'gpu'; it must be cpu"),
        ("seeds = [0, 1]", "seeds = [0", r"is not valid TOML"),
        ("seeds = [0, 1]", "seeds = [9223372036854775808]", r"seeds\[0\]: .*less than 9223372036854775808"),
        ("tasks = 60", "tasks = 60\ntime_limit = inf", r"scores\.time_limit: .*finite"),
        ("tasks = 60", "tasks = 60\ntime_limit = 1e300", r"scores\.time_limit: .*less than or equal to 1000000000"),
        ("tasks = 60", "tasks = 60\nmemory_limit = inf", r"scores\.memory_limit: .*finite"),
        ("batch = 5", "batch = 5\nbudget = nan", r"timings\.budget: .*finite"),
        ("N = 8", "N = 8\nnoise_std = inf", r"tasks\[0\]\.noise_std: .*finite"),
        ('"cg"', '{ name = "heavy_ball", params = { beta = inf } }', r"solvers\[0\]\.params\S*: .*finite"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_sentence(small_suite: Path, old: str, new: str, sentence: str) -> None:
    text = small_suite.read_text()
    assert old in text
    small_suite.write_text(text.replace(old, new))
    with pytest.raises(UserError) as caught:
        build_cells(load_suite(str(small_suite)))
    assert re.search(sentence, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value).rstrip()


def test_an_unknown_suite_names_those_there_are() -> None:
    with pytest.raises(
        UserError, match=r"no suite 'cor'.*core, paper, protocols, real-quick, real, scaling-quick, scaling, smoke"
    ):
        load_suite("cor")


def test_a_file_of_an_editor_that_marks_its_bytes_is_read(small_suite: Path) -> None:
    before = load_suite(str(small_suite)).content_hash
    small_suite.write_bytes(b"\xef\xbb\xbf" + small_suite.read_bytes())
    assert load_suite(str(small_suite)).content_hash == before


@pytest.mark.parametrize(("stem", "name"), [("my suite", "my-suite"), (".été 2", "t-2"), ("語", "suite")])
def test_a_file_of_any_name_gives_a_name_that_a_run_can_have(small_suite: Path, stem: str, name: str) -> None:
    path = small_suite.rename(small_suite.with_name(f"{stem}.toml"))
    assert load_suite(str(path)).name == name
    check_name(f"{name}-1")
