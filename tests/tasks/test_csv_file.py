"""CSV files as they are found: each is read right, or refused in a sentence that says where and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.direct import OLS
from benchmarks.errors import UserError
from benchmarks.harness.resolve import build_law
from benchmarks.suites.entries import TaskEntry
from benchmarks.tasks.law import Purpose
from benchmarks.tasks.real import RealData
from benchmarks.tasks.tables import read_csv

NUMBERS = np.array(
    [[1.5 * i + 0.25, i * i % 11 - 4.5, 1000.0 + 37 * (i * 7 % 13), i * 5 % 7 + 0.125] for i in range(24)]
)
"""What every file below that is read says: three features and, last, the target."""

NAMES = ["rooms", "age", "sqft", "y"]


def lines(
    separator: str = ",", names: list[str] | str = NAMES, form: str = "{!r}", numbers: np.ndarray = NUMBERS
) -> str:
    """The numbers as text."""
    head = names if isinstance(names, str) else separator.join(names)
    rows = [separator.join(form.format(float(value)) for value in row) for row in numbers]
    return "\n".join([head, *rows]) + "\n"


def comma(text: str) -> str:
    return text.replace(".", ",")


def grouped(value: float, marks: str = ",.") -> str:
    return f"{value:,.3f}".translate(str.maketrans(",.", marks))


def frame() -> pd.DataFrame:
    return pd.DataFrame(NUMBERS, columns=NAMES)


def pandas_says(**options) -> str:
    return frame().to_csv(lineterminator="\n", **options)


def with_columns(*names: str, values: tuple[str, ...]) -> str:
    """Further columns in front of each line."""
    head, *rows = lines().splitlines()
    return "\n".join([",".join([*names, head]), *(",".join([*values, row]) for row in rows)])


READ: dict[str, str | bytes] = {
    "plain": lines(),
    "wine quality: semicolons and quoted names": lines(";", '"rooms";"age";"sqft";"y"'),
    "Boston housing: aligned by spaces": lines(" ", "  rooms   age    sqft  y", "{:>10}"),
    "airfoil noise: tabs": lines("\t"),
    "a database's dump: pipes": lines("|"),
    "spaces after commas": lines(", "),
    "spaces before commas": lines(" ,"),
    "Excel in Germany: semicolons and decimal commas": comma(lines(";")),
    "Excel in Germany: decimal commas and thousands": "\n".join(
        ["rooms;age;sqft;y", *(";".join(grouped(value, ".,") for value in row) for row in NUMBERS)]
    ),
    "tabs and decimal commas": comma(lines("\t")),
    "commas and quoted decimal commas": "\n".join(
        ["rooms,age,sqft,y", *(",".join(f'"{comma(repr(value))}"' for value in row) for row in NUMBERS.tolist())]
    ),
    "census: quoted thousands": "\n".join(
        ["rooms,age,sqft,y", *(",".join(f'"{grouped(value)}"' for value in row) for row in NUMBERS)]
    ),
    "a byte-order mark": lines().encode("utf-8-sig"),
    "UTF-16, as Excel's Unicode text": lines("\t").encode("utf-16"),
    "Windows-1252 in another name": lines(names=NAMES).replace("rooms", "größe").encode("cp1252"),
    "Windows line ends": lines().replace("\n", "\r\n"),
    "old Macintosh line ends": lines().replace("\n", "\r"),
    "no line end at the end": lines().rstrip("\n"),
    "pandas' index": pandas_says(),
    "pandas' index twice": frame().reset_index(names="").rename_axis("").to_csv(lineterminator="\n"),
    "R's row names": frame().set_axis(range(1, 25)).to_csv(quoting=2, lineterminator="\n"),
    "an index that was read back as a column": frame().reset_index(names="Unnamed: 0").to_csv(index=False),
    "separators at the end of lines": lines().replace("\n", ",\n"),
    "separators at the end of rows alone": lines().replace("\n", ",\n").replace("y,", "y", 1),
    "a spreadsheet's empty columns and rows": lines().replace("\n", ",,,\n") + ",,,,,,\n" * 3,
    "empty lines": "\n\n" + lines().replace("\n", "\n\n"),
    "comments": "# source: a survey, of 1978\n" + lines().replace("\n", "\n# half; of it\n", 5),
    "Excel's line about the separator": "sep=;\n" + lines(";", "rooms;age;sqft;y"),
    "every field quoted": pandas_says(index=False, quoting=1),
    "spaces within names": lines(names=[" rooms ", "age", '"sqft"', " y"]),
    "a comma within a name": lines(";", "rooms;age;sqft;y").replace("rooms", "rooms, in all"),
    "exponents": lines(form="{:.17E}"),
    "a line break within a name": lines(names=['"rooms\nin all"', "age", "sqft", "y"]),
}


def saved(text: str | bytes, folder: Path) -> Path:
    path = folder / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("text", READ.values(), ids=READ)
def test_a_file_says_what_its_writer_meant(text: str | bytes, tmp_path: Path) -> None:
    path = saved(text, tmp_path)
    table = read_csv(path, "y")
    np.testing.assert_array_equal(np.column_stack([table.X, table.y]), NUMBERS)
    assert table.features[1:] == ("age", "sqft")

    law = RealData(dataset=str(path), target="y", d=3, N=8, num_queries=4, folds=2)
    problem = law.stream(1, Purpose.SCORE).sample(1)
    assert problem.y_query is not None
    answer = OLS().solve(problem.blinded(), 1).predict(problem.x_query)[-1, 0].numpy()

    drawn = np.vstack([problem.X[0].numpy(), problem.x_query[0].numpy()])
    scored = law.under(1, Purpose.SCORE).rows
    rest = np.setdiff1d(np.arange(24), scored)
    standard = (NUMBERS - NUMBERS[rest].mean(0)) / NUMBERS[rest].std(0)
    episode = standard[[scored[np.abs(standard[scored, :3] - row).sum(1).argmin()] for row in drawn]]
    w = np.linalg.inv(episode[:8, :3].T @ episode[:8, :3]) @ episode[:8, :3].T @ episode[:8, 3]
    by_hand = np.mean((episode[8:, :3] @ w - episode[8:, 3]) ** 2)
    assert np.mean((answer - problem.y_query[0].numpy()) ** 2) == pytest.approx(by_hand, rel=1e-9)


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "unquoted thousands": (
        "rooms,sqft,y\n3,1,234,100640\n",
        "line 2 of t.csv has 4 fields, not 3 as the line of names",
    ),
    "unquoted decimal commas": ("a,y\n1,5,2,5\n", "line 2 of t.csv has 4 fields, not 2"),
    "R's row names without a name": (lines().replace("\n", "\n1,")[:-2], "line 2 of t.csv has 5 fields, not 4"),
    "a line too short": (lines() + "\n1,2,3\n", "line 27 of t.csv has 3 fields, not 4"),
    "a line of totals": (lines() + "Total: 24\n", "line 26 of t.csv has 1 fields"),
    "a title above the names": ("Houses of 1978\n" + lines(), "line 2 of t.csv has 1 fields, not 3"),
    "rows of another separator": ("a;b;y\n1,2,3\n", "(separated by semicolons)"),
    "a separator nobody knows": (lines(":"), "t.csv has too few columns (rooms:age:sqft:y); a feature and a target"),
    "two that fit": ("a,1;y,2\n1,5;2,5\n", "may be separated by commas or by semicolons"),
    "a second target": (lines(names=["rooms", "y ", "sqft", "y"]), "t.csv has two columns 'y'; give each a name"),
    "no line of names": (lines(names=["0.5", "18", "2.31", "1"]), "t.csv has no line of names: it begins with '0.5'"),
    "names within a comment": ("# " + lines(), "t.csv has no line of names"),
    "an index of cities": (lines(names=["", *NAMES[1:]]), "column 1 of t.csv has no name and does not count the rows"),
    "a shuffled index": (frame()[::-1].to_csv(), "('23' in line 2); name it, or leave it out"),
    "auto-mpg: question marks": (
        lines().replace("1000.0", "?"),
        "'sqft' of t.csv has missing values (2, the first in li",
    ),
    "adult: question marks and spaces": (
        lines(" , ").replace("1000.0", "? "),
        "has missing values (2, the first in line 2)",
    ),
    "NA": (lines().replace("1000.0", "NA"), "has missing values (2, the first in line 2)"),
    "nothing": (lines().replace("1000.0", ""), "has missing values (2, the first in line 2)"),
    "an answer that is missing": (
        with_columns("b", values=("True",)) + "\n,1,2,3,4",
        "'b' of t.csv has missing values (1",
    ),
    "insurance: text": (
        with_columns("sex", values=("female",)),
        "'sex' of t.csv is text ('female' in line 2); make numb",
    ),
    "a date": (with_columns("day", values=("2020-01-02",)), "is text ('2020-01-02' in line 2)"),
    "a German date": (comma(lines(";")).replace("1000,0", "01.02.2020"), "is text ('01.02.2020' in line 2)"),
    "a currency": (lines().replace("1370.0", '"$1,370"'), "'sqft' of t.csv is text ('$1,370' in line 9)"),
    "a share": (lines().replace("1370.0", "12%"), "is text ('12%' in line 9)"),
    "a value of 500 letters": (with_columns("s", values=("x" * 500,)), "is text ('" + "x" * 37 + "...' in line 2)"),
    "decimals or thousands": (
        "a;y\n1,234;5,678\n2,345;1,234\n",
        "whether '1,234' in line 2 of t.csv has decimals or th",
    ),
    "both kinds of decimals": ("a;y\n1;5.5\n2,5;1.5\n", "'2,5' in line 3 of t.csv"),
    "grouped twice, and a decimal point": ("a;y\n1.234.567;5\n2;1.5\n", "'1.234.567' in line 2 of t.csv"),
    "infinite": (lines().replace("1370.0", "1e400"), "has infinite values (line 9)"),
    "constant": (with_columns("c", values=("3",)), "the column 'c' of t.csv is constant (3); leave it out"),
    "an open quote": (lines().replace("1370.0", '"1370.0'), "line 9 of t.csv cannot be read"),
    "nothing at all": ("\n \n", "t.csv is not a CSV file: it is empty"),
    "names alone": ("a,b,y\n", "t.csv has too few rows: 0"),
    "separators alone": (",,\n,,\n", "t.csv has too few columns (none)"),
    "a workbook": (b"PK\x03\x04\x00\x00", "bytes that are no text; save it as CSV in UTF-8"),
    "UTF-16 without its mark": (lines().encode("utf-16-le"), "bytes that are no text"),
    "a hundred columns": (
        ",".join(f"a_rather_long_name_{i}" for i in range(100)) + "\n" + ",".join("1" * 100),
        "_7, ... (100 in all)",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_certain_is_refused_in_a_sentence(text: str | bytes, message: str, tmp_path: Path) -> None:
    path = saved(text, tmp_path)
    with pytest.raises(UserError) as caught:
        build_law(TaskEntry(law="real", d=2, N=4, params={"dataset": str(path), "target": "y"}))
    said = str(caught.value)
    assert message in said
    assert "\n" not in said
    assert len(said) < 350


def test_booleans_are_numbers(tmp_path: Path) -> None:
    head, *rows = lines().splitlines()
    text = "\n".join([f"owned,{head}", *(f"{i % 3 == 0},{row}" for i, row in enumerate(rows))])
    table = read_csv(saved(text, tmp_path), "y")
    assert table.X[:, 0].tolist() == [float(i % 3 == 0) for i in range(24)]


NUMBER = st.one_of(
    st.floats(-1e300, 1e300), st.integers(-(10**6), 10**6).map(float), st.integers(-9999, 9999).map(lambda i: i / 1000)
)
NAME = st.text("abc ,;|\t.0é'#", max_size=4)


@settings(max_examples=100, deadline=None)
@given(
    columns=st.lists(st.tuples(NAME, st.lists(NUMBER, min_size=3, max_size=3)), min_size=1, max_size=4),
    separator=st.sampled_from(",;\t| "),
    decimal=st.sampled_from(".,"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    index=st.booleans(),
    missing=st.sampled_from([None, "", "NA", "? "]),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_table_is_read_as_it_was_or_refused(
    tmp_path_factory, columns, separator: str, decimal: str, encoding: str, index: bool, missing: str | None, ends: str
) -> None:
    names = [name for name, _ in columns]
    written = pd.DataFrame({place: values for place, (_, values) in enumerate(columns)}).assign(y=[0.5, 1.5, -2.0])
    if missing is not None:
        written.iloc[1, 0] = np.nan
    text = written.set_axis([*names, "y"], axis=1).to_csv(
        sep=separator, decimal=decimal, index=index, na_rep=missing or "", lineterminator=ends
    )
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(text.encode(encoding))
    try:
        table = read_csv(path, "y")
    except ValueError as error:
        said = str(error)
    else:
        said = "any.csv is read"
        assert missing is None
        np.testing.assert_array_equal(np.column_stack([table.X, table.y]), written.to_numpy(float))
    assert "any.csv" in said
    assert "\n" not in said
