"""CSV files as people have them: read where it is certain what they say, refused in one sentence where it is not."""

from __future__ import annotations

import codecs
import csv
import io
import re
import textwrap
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'", " ": "spaces"}
"""What may separate columns, and its name; spaces do where the line of names has nothing else."""

_MISSING = ["?", "-", ".", "*"]
"""Read as missing, beside what pandas takes so: empty fields, NA, null and the like."""

_GROUPS = {".": ",", ",": "."}
"""Decimal marks, and what may group thousands beside each."""

_NUMBERS = {
    mark: re.compile(
        rf"[+-]?(?:(?:[1-9]\d{{0,2}}(?:[{group}]\d{{3}})+|\d+)(?:[{mark}]\d*)?|[{mark}]\d+)(?:[eE][+-]?\d+)?"
    )
    for mark, group in _GROUPS.items()
}

_EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)
"""Numbers are read to the last digit: of itself from pandas 3.1 on, which deprecates the option."""


def read_frame(path: Path) -> pd.DataFrame:
    """The columns of a CSV file under the names of its first line, rows indexed by the number of their line.

    Separator, decimal mark and encoding (UTF-8, UTF-16 with its mark, or Windows-1252) are found out. Lines that are
    empty or begin with `#` are left out, and so is a column without a name that is empty or counts the rows. Columns
    are numeric, boolean, or text.

    Raises:
        ValueError: if it cannot be read, or what it says is not certain; names the file and the line.
    """
    name = path.name
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from None
    lines = enumerate(_text(name, data).split("\n"), 1)
    kept = [(number, line) for number, line in lines if line.strip() and not line.lstrip().startswith("#")]
    told = re.fullmatch(r'"?sep=([^\w\s"]|\t)"?', kept[0][1].strip(" ")) if kept else None  # by Excel
    kept = kept[1:] if told else kept
    if not kept:
        raise ValueError(f"{name} is not a CSV file: it is empty")
    heads = accumulate(line for _, line in kept[:9])  # a name in quotes may go on in the next line
    head = next((head for head in heads if head.count('"') % 2 == 0), kept[0][1])
    found = [separator for separator in ",;\t|" if separator in head] or [" "]
    cut = _cut(name, kept, [told[1]] if told else found)
    _check_names(name, cut.names)
    return _without_row_numbers(name, _numbers(name, cut))


def shown(value: object) -> str:
    """A value or a name in quotes, at a length that a sentence bears."""
    return repr(text if len(text := str(value)) <= 40 else text[:37] + "...")


def listed(names: list[str]) -> str:
    """Names at a length that a sentence bears."""
    return textwrap.shorten(", ".join(names), 200, placeholder=f" ... ({len(names)} in all)")


def _text(name: str, data: bytes) -> str:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise ValueError(f"{name} is not a CSV file: it holds bytes that are no text; save it as CSV in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _Cut(NamedTuple):
    """A file cut into fields: names, the number of each row's line, and the text of the rows."""

    separator: str
    names: list[str]
    numbers: list[int]
    rows: str


def _cut(name: str, kept: list[tuple[int, str]], separators: list[str]) -> _Cut:
    """The cut by the one separator that gives every row as many fields as there are names.

    Raises:
        ValueError: if none does, or several do.
    """
    cuts: list[_Cut] = []
    failures: list[ValueError] = []
    for separator in sorted(separators, key=kept[0][1].count, reverse=True):
        try:
            cuts.append(_cut_by(separator, name, kept))
        except ValueError as error:
            failures.append(error)
    if not cuts:
        raise failures[0]
    if len(cuts) > 1:
        both = " or by ".join(_SEPARATORS[cut.separator] for cut in cuts)
        raise ValueError(f"the columns of {name} may be separated by {both}; take one of them out of the names")
    return cuts[0]


def _cut_by(separator: str, name: str, kept: list[tuple[int, str]]) -> _Cut:
    text = [(" ".join(line.split()) if separator == " " else line) + "\n" for _, line in kept]
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True, strict=True)
    numbers, done = [], 0
    try:
        names = [" ".join(field.split()) for field in next(reader)]
        while names and not names[-1]:  # every line ends with a separator
            names.pop()
        done = first = reader.line_num
        for fields in reader:
            if len(fields) < len(names) or any(field.strip() for field in fields[len(names) :]):
                raise ValueError(
                    f"line {kept[done][0]} of {name} has {len(fields)} fields, not {len(names)} as the line of names "
                    f"(separated by {_SEPARATORS.get(separator, repr(separator))}); name every column, and write no "
                    "separator within a number"
                )
            numbers.append(kept[done][0])
            done = reader.line_num
    except csv.Error as error:
        raise ValueError(f"line {kept[done][0]} of {name} cannot be read ({error}); is a quote left open?") from None
    rows = re.sub(rf" +(?={re.escape(separator)}|$)", "", "".join(text[first:]), flags=re.MULTILINE)
    return _Cut(separator, names, numbers, rows)


def _check_names(name: str, names: list[str]) -> None:
    if all(map(_is_number, names)) and not all(map(str.isdigit, names)):
        raise ValueError(f"{name} has no line of names: it begins with {shown(names[0])}; put the columns' names first")
    twice = next((column for column in names if column and names.count(column) > 1), None)
    if twice:
        raise ValueError(f"{name} has two columns {shown(twice)}; give each a name of its own, or leave one out")


def _is_number(text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in _NUMBERS.values())


def _numbers(name: str, cut: _Cut) -> pd.DataFrame:
    """The rows, with numbers wherever a whole column is numbers.

    Raises:
        ValueError: if it is not certain what a comma means.
    """
    if not cut.names or not cut.numbers:
        return pd.DataFrame(columns=cut.names)
    columns = range(len(cut.names))
    read: Any = partial(
        pd.read_csv,
        sep=cut.separator,
        header=None,
        names=columns,
        usecols=columns,
        skipinitialspace=True,
        na_values=_MISSING,
        low_memory=False,
        **_EXACT,
    )
    frame = read(io.StringIO(cut.rows))
    if len(frame) != len(cut.numbers):
        raise ValueError(
            f"{name} is not a CSV file: it has {len(cut.numbers)} or {len(frame)} rows; are quotes closed?"
        )
    if not all(map(pd.api.types.is_numeric_dtype, frame.dtypes)):
        words = read(io.StringIO(cut.rows), dtype=str).set_axis(cut.numbers)
        mark, numeric = _decimal_mark(name, words)
        for column in numeric:
            if mark == "," or not pd.api.types.is_numeric_dtype(frame[column]):
                plain = words[column].str.replace(_GROUPS[mark], "", regex=False).str.replace(mark, ".", regex=False)
                frame[column] = plain.to_numpy(dtype=np.float64)
    return frame.set_axis(cut.numbers).set_axis(cut.names, axis=1).dropna(how="all")


def _decimal_mark(name: str, words: pd.DataFrame) -> tuple[str, list[int]]:
    """The mark under which every column that can be numbers is numbers, and these columns."""
    fits = {
        column: {
            mark for mark, number in _NUMBERS.items() if all(map(number.fullmatch, words[column].dropna().tolist()))
        }
        for column in words
    }
    numeric = [column for column, marks in fits.items() if marks]
    common = set(_NUMBERS).intersection(*(fits[column] for column in numeric))
    if len(common) == 1:
        return common.pop(), numeric
    for column in numeric:
        present = words[column].dropna()
        for line, word in zip(present.index, present.tolist(), strict=True):
            if "," in word or word.count(".") > 1:
                raise ValueError(
                    f"it is not certain whether {shown(word)} in line {line} of {name} has decimals or thousands; "
                    "write numbers with a decimal point and without separators of thousands"
                )
    return ".", numeric


def _without_row_numbers(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Without columns that have no name and are empty or count the rows; pandas writes an index so."""
    nameless = [place for place, column in enumerate(frame) if re.fullmatch(r"|Unnamed: \d+(\.\d+)?", column)]
    for place in nameless:
        values = frame.iloc[:, place]
        counts = any(np.array_equal(values, np.arange(len(frame)) + start) for start in (0, 1))
        if not counts and values.notna().any():
            raise ValueError(
                f"column {place + 1} of {name} has no name and does not count the rows ({shown(values.iloc[0])} in "
                f"line {frame.index[0]}); name it, or leave it out (pandas: to_csv(..., index=False))"
            )
    return frame.iloc[:, [place for place in range(frame.shape[1]) if place not in nameless]]
