"""Suites: what is accepted, and the sentence for everything that is not."""

import re
from pathlib import Path

import pytest

from benchmarks.errors import UserError
from benchmarks.harness.resolve import build_cells
from benchmarks.runs.read import read_run
from benchmarks.runs.validate import problems
from benchmarks.runs.write import check_name
from benchmarks.suites.suite import built_in_suites, load_suite
from tests.helpers import call


def test_every_built_in_suite_can_be_built() -> None:
    for name in built_in_suites():
        cells = build_cells(load_suite(name))
        assert cells, name


def test_core_covers_what_it_promises() -> None:
    suite = load_suite("core")
    assert {(task.law, task.d) for task in suite.tasks} >= {
        ("isotropic", 5), ("anisotropic", 5), ("gmm", 5), ("ood_variance", 5), ("isotropic", 20), ("anisotropic", 20),
    }  # fmt: skip
    assert suite.steps == [1, 2, 3, 4]
    assert {task.law for task in suite.tasks if task.optional} == {"real"}
    assert any(task.noise_std > 0 and 2 * task.d >= task.N for task in suite.tasks)
    assert any(task.params.get("kappa", 1.0) >= 1e3 for task in suite.tasks)
    shifted = {task.law: task.trained_on.law for task in suite.tasks if task.trained_on is not None}
    assert shifted == {"ood_variance": "anisotropic"}
    learned = {"memformer_gdpp", "memformer_heads", "memformer_gated", "memformer_mixture"}
    assert learned <= {entry.name for entry in suite.solvers}
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
        ("d = 3", "d = -3", r"law 'isotropic': d is -3; it must be a whole number, 1 or more"),
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
        ("seeds = [0, 1]", "seeds = [1, 1]", r"seeds: 1 occurs twice"),
        ("tasks = 60", "tasks = 60\nmemory_limit = nan", r"scores\.memory_limit: .*finite"),
        ("schema = 1", 'schema = 1\nname = "my suite"', r"name: it must be at most 100 letters.*given: 'my suite'"),
        ("schema = 1", 'schema = 1\nname = "../escaped"', r"name: it must be at most 100 letters"),
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


GMM = '[[tasks]]\nlaw = "gmm"\nd = 3\nN = 8\n'


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"cg"', '{ name = "cg", steps = [1, 1] }', r"solvers\[0\]\.steps: 1 occurs twice"),
        ("N = 8", "N = 8\nbatch = [10, 10]", r"tasks\[0\]\.batch: 10 occurs twice"),
        ("[[tasks]]", '[[tasks]]\nlaw = "isotropic"\nd = 3\nN = 8\nparams = { law_seed = 0 }\n[[tasks]]',
         r"tasks\[0\] and tasks\[1\] are the same law"),
        ("[[tasks]]", '[[tasks]]\nlaw = "isotropic"\nd = 3\nN = 8\ntasks = 9\nbatch = [2]\n[[tasks]]', r"the same law"),
        ("[[tasks]]", GMM + GMM + "[[tasks]]", r"tasks\[0\] and tasks\[1\] are the same law"),
        ('"cg"', '"cg", { name = "cg", tasks = 10 }', r"solvers\[0\] and solvers\[1\] are the same solver 'cg'"),
        ('"cg"', '"cg", { name = "cg", steps = [2, 3] }', r"the same solver 'cg' on the same tasks"),
        ('"cg"', '"cg", { name = "cg", only = { d_max = 4 } }', r"the same solver 'cg' on the same tasks"),
        ('"cg"', '"gradient_descent", { name = "gradient_descent", params = { step_rule = "mu_L" } }',
         r"the same solver 'gradient_descent'"),
        ('"cg"', '{ name = "lfom", trained_on = "gmm" }, { name = "lfom", trained_on = { law = "gmm", params = {} } }',
         r"the same solver 'lfom'"),
        ('"cg"', '{ name = "cg", only = { law = "isotropc" } }', r"solvers\[0\]: cg is only for {'law': 'isotropc'}"),
        ('["cg", "ols", "heavy_ball"]', '[{ name = "cg", only = { d = 4 } }]', r"which no task of the suite is"),
        ('["cg", "ols", "heavy_ball"]\n', '[{ name = "cg", only = { d = 3 } }]\n[[tasks]]\nlaw = "gmm"\n',
         r"tasks\[0\]: no solver of the suite is for the law gmm at d = 5"),
    ],
)  # fmt: skip
def test_rows_that_could_not_be_told_apart_or_would_not_be_are_refused(
    small_suite: Path, old: str, new: str, sentence: str
) -> None:
    """Such suites wrote a row twice, or left out without a word what they asked for."""
    test_each_mistake_is_one_sentence(small_suite, old, new, sentence)


@pytest.mark.parametrize(
    "new",
    [
        '"cg", { name = "cg", steps = [3] }',
        '{ name = "heavy_ball_tuned", only = { d = 3 } }, { name = "heavy_ball_tuned", only = { law = "gmm" } }',
        '"lfom", { name = "lfom", trained_on = "gmm" }, { name = "lfom", params = { seed_tasks = 3 } }',
        '"cg", "cgls"',
    ],
)
def test_entries_that_meet_nowhere_are_taken(small_suite: Path, new: str) -> None:
    text = small_suite.read_text().replace('"cg"', new) + GMM.replace("d = 3", "d = 4")
    small_suite.write_text(text)
    load_suite(str(small_suite))


def test_a_suite_with_a_plugin_that_is_not_loaded_can_be_read(small_suite: Path) -> None:
    small_suite.write_text(small_suite.read_text().replace('"cg"', '"mine", { name = "mine", params = { x = 1 } }'))
    assert load_suite(str(small_suite)).solvers[0].name == "mine"


def test_a_byte_order_mark_and_a_space_in_the_name_do_no_harm(small_suite: Path) -> None:
    path = small_suite.with_name("my suite (2).toml")
    path.write_bytes(b"\xef\xbb\xbf" + small_suite.read_bytes())
    assert load_suite(str(path)).name == "my-suite-2"
    assert call("run", path, folder=path.parent).code == 0
    odd = small_suite.with_name("--.toml")
    odd.write_bytes(small_suite.read_bytes())
    assert load_suite(str(odd)).name == "suite"


def test_seeds_just_below_the_limit_are_scored_and_read_back(small_suite: Path) -> None:
    """They were rounded to floating-point numbers on their way into the table, or refused after the computation."""
    seeds = [2**63 - 1, 2**53 + 1]
    small_suite.write_text(small_suite.read_text().replace("[0, 1]", str(seeds)))
    assert call("run", small_suite, "--name", "big", folder=small_suite.parent).code == 0
    run = read_run(small_suite.parent / "results/runs/big")
    assert set(run.scores["seed"].dropna()) == set(seeds)
    assert problems(run) == []


def test_an_unknown_suite_names_those_there_are() -> None:
    with pytest.raises(
        UserError,
        match=r"no suite 'cor'.*core, entry, glm-quick, glm, learned, paper, protocols, real-quick, real",
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


def test_a_shift_of_dimension_and_depth(tmp_path: Path) -> None:
    (tmp_path / "shift.toml").write_text(
        """
        schema = 1
        steps = [1, 2]
        seeds = [0]
        solvers = ["cg", { name = "lfom", params = { iterations = 3, batch = 8 } },
          { name = "unrolled_scalar", params = { iterations = 3, batch = 8, starts = 1 } },
          { name = "lstm_optimizer", params = FEW, steps = [1, 3], trained_on = DEEP },
          { name = "unrolled", params = { iterations = 3, batch = 8, starts = 1 } }]
        [scores]
        tasks = 20
        [[tasks]]
        law = "isotropic"
        d = 5
        N = 12
        trained_on = { law = "isotropic", d = 3, N = 9 }
        """.replace("DEEP", '{ law = "isotropic", d = 3, N = 9, steps = [2] }').replace(
            "FEW", "{ iterations = 3, batch = 8, starts = 1 }"
        )
    )
    cells = {cell.solver_name: cell for cell in build_cells(load_suite(str(tmp_path / "shift.toml")))}
    assert {(cell.fitted_on.d, cell.fitted_on.N) for name, cell in cells.items() if name != "cg"} == {(3, 9)}
    assert cells["lstm_optimizer"].fitted_for == (2,)
    assert cells["lstm_optimizer"].trained_on == "isotropic d=3 N=9 steps=[2]"
    done = call("run", "shift.toml", "--name", "shifted", folder=tmp_path)
    scores = read_run(tmp_path / "results/runs/shifted").scores
    assert done.code == 1  # numbers a coordinate are those of three coordinates
    assert set(scores[scores["status"] == "error"]["solver"]) == {"unrolled"}
    assert set(scores[scores["status"] == "ok"]["solver"]) == set(cells) - {"unrolled"}
