"""When two dataclasses that hold tensors are equal: number for number, where tensors themselves would not say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class ComparedByValue:
    """A base of dataclasses: equal if they are of one class and all fields are the same, mappings of tensors too."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in {"__eq__", "__hash__"} - set(vars(cls)):  # a dataclass makes its own where a class has none
            setattr(cls, name, getattr(ComparedByValue, name))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ComparedByValue) or type(other) is not type(self):
            return NotImplemented
        return self is other or _same(_fields(self), _fields(other))

    def __hash__(self) -> int:
        return hash((type(self), *(_hashable(value) for value in _fields(self).values())))


def _fields(owner: ComparedByValue) -> dict[str, Any]:
    """What makes it what it is; only itself for what is no dataclass."""
    if not dataclasses.is_dataclass(owner):
        return {"": id(owner)}
    return {one.name: getattr(owner, one.name) for one in dataclasses.fields(owner) if one.compare}


def _same(left: Any, right: Any) -> bool:
    """Whether two settings are equal, tensors number for number.

    Example:
        >>> _same({"eta": torch.ones(2)}, {"eta": torch.ones(2)}), _same(torch.ones(2), torch.ones(1))
        (True, False)
    """
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return (left.dtype, left.device) == (right.dtype, right.device) and torch.equal(left, right)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return bool(left == right)


def _hashable(value: Any) -> Any:
    """Something that is the same for settings that are: of tensors the shape, of mappings the keys."""
    if isinstance(value, Tensor):
        return value.shape
    return frozenset(value) if isinstance(value, Mapping) else value
