"""Checks of the parameters of laws, solvers and models: each returns the value in the form to store, or raises a
ValueError that says what is wrong in one sentence.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any


def require_int(name: str, value: Any, least: int) -> int:
    """`value` as an int, a whole number of at least `least`, of Python or of NumPy.

    Example:
        >>> require_int("d", 0, least=1)
        Traceback (most recent call last):
        ValueError: d is 0; it must be a whole number, 1 or more
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number, {least} or more")
    return int(value)


def store_ints(owner: Any, *names: str, least: int) -> None:
    """Check fields of a frozen dataclass with `require_int`, and keep them as ints."""
    for name in names:
        object.__setattr__(owner, name, require_int(name, getattr(owner, name), least))


def require_number(name: str, value: Any, least: float = -math.inf, strictly: bool = False) -> float:
    """`value` as a float, a finite number of at least (strictly: more than) `least`.

    Example:
        >>> require_number("variance", 2, least=0.0, strictly=True)
        2.0
    """
    number = _finite(value)
    if number is None or number < least or (strictly and number == least):
        bound = "" if least == -math.inf else f", more than {least:g}" if strictly else f", {least:g} or more"
        raise ValueError(f"{name} is {value!r}; it must be a finite number{bound}")
    return number


def require_numbers(name: str, values: Any, above: float = -math.inf) -> tuple[float, ...]:
    """`values`, a non-empty sequence of finite numbers above `above`, as a tuple of floats.

    Example:
        >>> require_numbers("weights", [1, 0.5], above=0.0)
        (1.0, 0.5)
    """
    items = list(values) if isinstance(values, Iterable) and not isinstance(values, str | bytes | dict) else []
    numbers = tuple(number for item in items if (number := _finite(item)) is not None and number > above)
    if not items or len(numbers) < len(items):
        bound = "" if above == -math.inf else f", each more than {above:g}"
        raise ValueError(f"{name} is {values!r}; it must be a list of finite numbers{bound}")
    return numbers


def require_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """`value`, one of `choices`; if it is not, the nearest one is suggested.

    Example:
        >>> require_choice("spectrum", "papper", ("paper", "power"))
        Traceback (most recent call last):
        ValueError: spectrum is 'papper'; it must be 'paper' or 'power' (did you mean 'paper'?)
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be {' or '.join(map(repr, choices))}{near(value, choices)}")
    return value


def near(value: Any, choices: Sequence[str]) -> str:
    """The choice that `value` is like, to end a sentence with; empty if it is like none.

    Example:
        >>> near("papper", ["paper", "power"])
        " (did you mean 'paper'?)"
    """
    found = difflib.get_close_matches(str(value), choices, n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _finite(value: Any) -> float | None:
    """`value` as a float if it is a finite real number that a float can hold."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
