"""Real data as a law: what is trained on, what is scored, what is known, and what is refused."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV

from baselines.direct import OLS, Bayes
from baselines.direct import Ridge as OwnRidge
from baselines.krylov import law_preconditioner
from baselines.ridge_loo import PENALTIES, RidgeLoo, left_out
from baselines.scipy_solvers import Scipy
from benchmarks.errors import UserError
from benchmarks.harness.resolve import build_law
from benchmarks.suites.entries import TaskEntry
from benchmarks.tasks import real, tables
from benchmarks.tasks.law import Purpose
from benchmarks.tasks.real import RealData, _smallest
from benchmarks.tasks.tables import DATA_SETS, Table, load_table
from memformer.core.problem import Problem
from tests.helpers import mistake

COLUMNS = {"diabetes": (442, 10), "boston_housing": (506, 13), "auto_mpg": (392, 7)}

FINGERPRINTS = {"diabetes": "ca93a259320d", "boston_housing": "b83be7de14ce", "auto_mpg": "10db0e966517"}
"""Where one changes, raise the version in the law's metadata: other tasks are drawn, or the package has other data."""

every_data_set = pytest.mark.parametrize("dataset", DATA_SETS)


def law_of(dataset: str, **parameters) -> RealData:
    return RealData(dataset=dataset, **{"d": COLUMNS[dataset][1], "N": 40, "num_queries": 20, **parameters})


def rows_of(law: RealData, seed: int, problem: Problem) -> np.ndarray:
    """Numbers of the table's rows in the tasks of a stream, `(B, N + q)`."""
    assert problem.y_query is not None
    X, y = law.under(seed, Purpose.TRAIN).standardised
    drawn = torch.cat(
        [torch.cat([problem.X, problem.x_query], 1), torch.cat([problem.y, problem.y_query], 1)[..., None]], 2
    )
    table = {row.tobytes(): number for number, row in enumerate(np.column_stack([X, y]))}
    assert len(table) == len(y), "rows that occur twice could not be told apart"
    return np.array([[table[row.tobytes()] for row in task] for task in drawn.numpy()])


@every_data_set
def test_no_scored_row_is_ever_drawn_for_anything_else(dataset: str) -> None:
    law = law_of(dataset)
    scored_by_seed = []
    for seed in range(law.folds):
        scored = set(rows_of(law, seed, law.stream(seed, Purpose.SCORE).sample(300)).flatten())
        for purpose in set(Purpose) - {Purpose.SCORE}:
            other = set(rows_of(law, seed, law.stream(seed, purpose).sample(300)).flatten())
            assert len(other) == COLUMNS[dataset][0] - len(scored)
            assert not scored & other
        scored_by_seed.append(scored)
    assert sum(map(len, scored_by_seed)) == len(set.union(*scored_by_seed)) == COLUMNS[dataset][0]


def test_an_episode_has_no_row_twice_and_episodes_differ() -> None:
    law = law_of("diabetes")
    rows = rows_of(law, 0, law.stream(0, Purpose.SCORE).sample(200))
    assert all(len(set(task)) == 60 for task in rows)
    assert len({tuple(sorted(task)) for task in rows}) == 200


@pytest.mark.parametrize(("rows", "count"), [(1, 1), (40, 40), (500, 3), (500, 60), (20_000, 60)])
def test_an_episode_is_that_of_sorting_all_rows(rows: int, count: int) -> None:
    keys = np.random.default_rng(rows).random(rows)
    for some in (keys, 1 - 1e-3 * keys):  # the second has far fewer small keys than uniform ones have
        np.testing.assert_array_equal(_smallest(some, count), some.argsort()[:count])


def test_a_block_of_a_long_table_sorts_few_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).random((20_000, 3))
    monkeypatch.setattr(real, "load_table", lambda *_: Table("long.csv", ("a", "b", "c"), "y", X, X.sum(1)))
    stream = RealData(dataset="long.csv", target="y", d=3, N=12).stream(0, Purpose.TRAIN)
    assert isinstance(stream.law, RealData)
    assert stream.law.standardised[0].shape == X.shape
    tracemalloc.start()
    try:
        stream.sample(1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * X.nbytes, "that of one episode's keys, not of all 256"


def test_another_law_seed_cuts_other_parts() -> None:
    parts = [set(law_of("diabetes", law_seed=seed).under(0, Purpose.SCORE).rows) for seed in (0, 1)]
    assert parts[0] != parts[1]


@every_data_set
def test_the_data_are_those_of_their_source(dataset: str) -> None:
    table, (rows, columns) = load_table(dataset, None), COLUMNS[dataset]
    assert (table.X.shape, table.y.shape, len(table.features)) == ((rows, columns), (rows,), columns)
    assert np.isfinite(table.X).all()
    assert law_of(dataset).fingerprint == FINGERPRINTS[dataset]


def test_standardised_with_the_training_rows_and_nothing_else(tmp_path: Path) -> None:
    law, changed = csv_law(tmp_path / "a.csv"), csv_law(tmp_path / "b.csv")
    scored = law.under(1, Purpose.SCORE).rows
    numbers = np.loadtxt(tmp_path / "a.csv", delimiter=",", skiprows=1)
    numbers[scored] = 1e3 * numbers[scored] + 7
    write(tmp_path / "b.csv", numbers)
    changed = RealData(dataset=str(tmp_path / "b.csv"), target="price", d=3, N=12, num_queries=4)
    before, after = (one.stream(1, Purpose.TRAIN) for one in (law, changed))
    assert torch.equal(before.second_moment, after.second_moment)
    assert before.noise_var == after.noise_var
    a, b = before.sample(50), after.sample(50)
    assert torch.equal(a.X, b.X)
    assert torch.equal(a.y, b.y)
    X, y = law.under(1, Purpose.TRAIN).standardised
    training = law.under(1, Purpose.TRAIN).rows
    np.testing.assert_allclose(X[training].mean(0), 0, atol=1e-12)
    np.testing.assert_allclose([*X[training].std(0), y[training].std()], 1, rtol=1e-12)
    assert law.fingerprint != changed.fingerprint


def test_what_nobody_knows_of_real_rows_is_absent() -> None:
    problem = law_of("diabetes").stream(0, Purpose.SCORE).sample(3)
    assert (problem.w_star, problem.second_moment, problem.noise_var) == (None, None, None)
    assert problem.y_query is not None


def test_some_of_the_features() -> None:
    law = law_of("diabetes", d=4)
    stream = law.stream(0, Purpose.TRAIN)
    problem = stream.sample(20_000)
    assert problem.X.shape == (20_000, 40, 4)
    assert stream.prior(problem.X) is None
    X, _ = law.under(0, Purpose.TRAIN).standardised
    values = [set(column) for column in X.T]
    drawn = [next(k for k, known in enumerate(values) if problem.X[i, :, 0].tolist()[0] in known) for i in range(300)]
    assert set(drawn) == set(range(10)), "every feature is drawn in every place"
    moment = torch.einsum("bnd,bne->bde", problem.X, problem.X) / 40
    off = (moment.mean(0) - stream.second_moment).abs() / (moment.std(0) / 20_000**0.5)
    assert off.max() < 5


@every_data_set
def test_least_squares_and_ridge_are_those_of_scikit_learn(dataset: str) -> None:
    law = law_of(dataset)
    problem = law.stream(2, Purpose.SCORE).sample(25)
    fitted = OwnRidge().fit(law.stream(2, Purpose.TRAIN), [1])
    assert fitted.parameters is not None
    penalty = float(fitted.parameters["penalty"])
    assert penalty > 0
    for solver, theirs in (
        (OLS(), LinearRegression(fit_intercept=False)),
        (fitted, Ridge(alpha=penalty, fit_intercept=False, solver="cholesky")),
    ):
        mine = solver.solve(problem.blinded(), 1).predict(problem.x_query)[-1].numpy()
        for i in range(problem.B):
            theirs.fit(problem.X[i].numpy(), problem.y[i].numpy())
            np.testing.assert_allclose(mine[i], theirs.predict(problem.x_query[i].numpy()), rtol=1e-8, atol=1e-8)


@every_data_set
@pytest.mark.parametrize("N", [5, 40])
def test_leaving_one_out_chooses_what_ridge_cv_chooses(dataset: str, N: int) -> None:
    problem = law_of(dataset, N=N).stream(1, Purpose.SCORE).sample(25)
    U, s, _ = torch.linalg.svd(problem.X, full_matrices=False)
    path = left_out(U, s, problem.y)
    chosen = path.penalties.gather(1, path.errors.argmin(1, keepdim=True))[:, 0].numpy()
    weights = RidgeLoo().solve(problem, 1).weights
    assert weights is not None
    assert len(set(path.errors.argmin(1).tolist())) > 3, "a choice that never differs would show nothing"
    for i in range(problem.B):
        theirs = RidgeCV(alphas=path.penalties[i].numpy(), fit_intercept=False)
        theirs.fit(problem.X[i].numpy(), problem.y[i].numpy())
        assert theirs.alpha_ == pytest.approx(chosen[i], rel=1e-12)
        np.testing.assert_allclose(weights[-1, i].numpy(), theirs.coef_, rtol=1e-8, atol=1e-8)


def test_left_out_errors_are_those_of_leaving_out() -> None:
    problem = law_of("auto_mpg", N=9).stream(0, Purpose.TRAIN).sample(1)
    X, y = problem.X[0].numpy(), problem.y[0].numpy()
    U, s, _ = torch.linalg.svd(problem.X, full_matrices=False)
    path = left_out(U, s, problem.y)
    assert path.errors.shape == (1, len(PENALTIES))
    for g in (5, 14, 28):
        alone = Ridge(alpha=float(path.penalties[0, g]), fit_intercept=False, solver="cholesky")
        kept = [np.arange(9) != i for i in range(9)]
        errors = [(alone.fit(X[k], y[k]).predict(X[~k]) - y[~k])[0] ** 2 for k in kept]
        assert float(path.errors[0, g]) == pytest.approx(np.mean(errors), rel=1e-8)


@every_data_set
def test_bayes_is_the_regression_on_training_rows_and_context(dataset: str) -> None:
    law = law_of(dataset)
    problem = law.stream(3, Purpose.SCORE).sample(5)
    weights = Bayes().fit(law.stream(3, Purpose.TRAIN), [1]).solve(problem, 1).weights
    assert weights is not None
    under = law.under(3, Purpose.TRAIN)
    X, y = (part[under.rows] for part in under.standardised)
    for i in range(problem.B):
        both = np.vstack([X, problem.X[i]]), np.concatenate([y, problem.y[i]])
        np.testing.assert_allclose(weights[-1, i].numpy(), np.linalg.lstsq(*both)[0], rtol=1e-7, atol=1e-8)


def one_hot_law(path: Path, seed: int) -> RealData:
    """Rows with a number and three one-hot groups: three columns too many for the rank."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame({"size": generator.normal(size=180)})
    for name, values in (("town", 3), ("kind", 4), ("heat", 2)):
        frame[name] = generator.integers(0, values, 180).astype(str)
    frame = pd.get_dummies(frame)
    frame["price"] = frame.to_numpy(float) @ generator.normal(size=10) + generator.normal(size=180)
    frame.to_csv(path, index=False)
    return RealData(dataset=str(path), target="price", d=10, N=16, num_queries=4)


@pytest.mark.parametrize("seed", range(8))
def test_one_hot_columns_have_the_pseudo_inverse_of_their_rank(seed: int, tmp_path: Path) -> None:
    law = one_hot_law(tmp_path / "houses.csv", seed)
    for fold in range(law.folds):
        training, under = law.stream(fold, Purpose.TRAIN), law.under(fold, Purpose.TRAIN)
        X, y = (part[under.rows] for part in under.standardised)
        U, s, Vt = np.linalg.svd(X, full_matrices=False)
        U, s, Vt = U[:, :7], s[:7], Vt[:7]
        w = Vt.T @ (U.T @ y / s)
        noise_var = np.sum((y - X @ w) ** 2) / (len(y) - 7)
        covariance = noise_var * (Vt.T / s**2) @ Vt
        np.testing.assert_allclose(under.fit.covariance, covariance, rtol=1e-9, atol=1e-14)
        ridge = OwnRidge().fit(training, [1])
        assert ridge.parameters is not None
        prior_var = (w @ w + covariance.trace()) / 10
        assert float(ridge.parameters["penalty"]) == pytest.approx(noise_var / prior_var, rel=1e-9)
        for dtype, atol in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
            C = law_preconditioner(law.stream(fold, Purpose.TRAIN, dtype)).numpy()
            np.testing.assert_allclose(C, len(y) * (Vt.T / s**2) @ Vt, rtol=0, atol=atol)

        problem = law.stream(fold, Purpose.SCORE).sample(20)
        bayes, *least = (
            solver.solve(problem, 1).predict(torch.eye(10, dtype=torch.float64).expand(20, -1, -1))[-1].numpy()
            for solver in (Bayes().fit(training, [1]), OLS(), Scipy("lstsq"))
        )
        for i in range(problem.B):
            both = np.vstack([X, problem.X[i]]), np.concatenate([y, problem.y[i]])
            np.testing.assert_allclose(bayes[i], np.linalg.lstsq(*both, rcond=1e-12)[0], rtol=0, atol=1e-8)
            own = np.linalg.lstsq(problem.X[i].numpy(), problem.y[i].numpy(), rcond=1e-12)[0]
            for weights in least:
                np.testing.assert_allclose(weights[i], own, rtol=1e-6, atol=1e-6 * np.abs(own).max())


@pytest.mark.parametrize("scale", [2.0**700, 2.0**-700])
def test_units_change_nothing(scale: float, tmp_path: Path) -> None:
    law = csv_law(tmp_path / "a.csv")
    write(tmp_path / "b.csv", np.loadtxt(tmp_path / "a.csv", delimiter=",", skiprows=1) * [1, scale, 1, scale])
    other = RealData(dataset=str(tmp_path / "b.csv"), target="price", d=3, N=12, num_queries=4)
    for mine, theirs in zip(law.standardised, other.standardised, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-13, atol=1e-13)


def test_too_many_columns_is_what_is_said(tmp_path: Path) -> None:
    pd.DataFrame(np.random.default_rng(0).normal(size=(40, 32))).add_prefix("x").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match="31 features need 33 training rows, and 40 rows in 5 parts leave 32"):
        RealData(dataset=str(tmp_path / "t.csv"), target="x7", N=5)


def write(path: Path, numbers: np.ndarray) -> None:
    np.savetxt(path, numbers, delimiter=",", header="rooms,age,size,price", comments="")


def csv_law(path: Path) -> RealData:
    generator = np.random.default_rng(0)
    write(path, np.column_stack([X := generator.normal(size=(100, 3)), X.sum(1) + generator.normal(size=100)]))
    return RealData(dataset=str(path), target="price", d=3, N=12, num_queries=4)


def test_a_csv_file_is_read_once_and_its_rows_come_back(tmp_path: Path) -> None:
    law = csv_law(tmp_path / "mine.csv")
    (tmp_path / "mine.csv").unlink()
    table = law.table
    assert (table.features, table.target, len(table.y)) == (("rooms", "age", "size"), "price", 100)
    assert law.stream(4, Purpose.SCORE).sample(2).X.shape == (2, 12, 3)


GOOD = "a,b,y\n" + "\n".join(f"{i},{i * i % 17},{i % 5}" for i in range(60)) + "\n"


@pytest.mark.parametrize(
    ("change", "parameters", "message"),
    [
        (lambda text: None, {}, "there is no file"),
        (lambda text: "", {}, "is not a CSV file"),
        (lambda text: text + "1,2,3,4,5\n", {}, "line 62 of t.csv has 5 fields, not 3"),
        (
            lambda text: text.replace("\n7,15,", "\n7,,"),
            {},
            "the column 'b' of t.csv has missing values (1, the first in line 9)",
        ),
        (lambda text: text.replace("7,15,", "7,inf,"), {}, "the column 'b' of t.csv has infinite values"),
        (lambda text: text.replace("7,15,", "7,red,"), {}, "the column 'b' of t.csv is text"),
        (
            lambda text: "c," + text.replace("\n", "\n3,").removesuffix("3,"),
            {},
            "the column 'c' of t.csv is constant (3)",
        ),
        (lambda text: text, {"target": None}, "target is not given; target must be a column of t.csv: a, b, y"),
        (lambda text: text, {"target": "yy"}, "t.csv has no column 'yy'"),
        (lambda text: text, {"N": 20}, "t.csv has too few rows: one of 5 parts of 60 rows is 12"),
        (lambda text: text[:12], {}, "t.csv has too few rows: 1"),
        (lambda text: text, {"d": 3}, "d is 3, but t.csv has 2 features"),
        (lambda text: text, {"folds": 1}, "folds is 1; it must be a whole number, 2 or more"),
        (
            lambda text: "c," + text.replace("\n", "\n3,").removesuffix("3,").replace("\n3,7,", "\n4,7,"),
            {},
            "the column 'c' of t.csv is constant but for few rows",
        ),
    ],
)
def test_a_file_that_is_no_good_is_one_sentence(
    change: Callable[[str], str | None], parameters: dict, message: str, tmp_path: Path
) -> None:
    text = change(GOOD)
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    settings = {"target": "y", "num_queries": 2, **parameters}
    size = {name: settings.pop(name) for name in ("d", "N") if name in settings}
    given = {"dataset": str(tmp_path / "t.csv"), **settings}
    with pytest.raises(UserError) as caught:
        build_law(TaskEntry(law="real", params=given, **{"d": 2, "N": 10, **size}))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dataset": "diabets"}, "(did you mean 'diabetes'?)"),
        ({"dataset": "diabetes", "target": "bmi"}, "diabetes has its own"),
        ({"dataset": "diabetes", "d": 11}, "d is 11, but diabetes has 10 features"),
    ],
)
def test_bad_parameters(parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=r"must|own") as caught:
        RealData(**parameters)
    assert message in str(caught.value)


@pytest.mark.parametrize("hidden", ["sklearn", "mlxtend"])
def test_without_the_extra_the_suite_says_what_to_install(
    hidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == hidden]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, hidden, None)
    monkeypatch.setattr(tables, "_built_in", tables._built_in.__wrapped__)  # without the tables of tests before
    said = mistake("run", "real", folder=tmp_path)
    assert "install it with: pip install 'memformer-bench[real]'" in said
    assert not list(tmp_path.iterdir())
