"""A device that is none: tensors that say they lie on `meta`, hold their numbers on the CPU, and tell what was done."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
"""What it calls itself: a build of torch for the CPU knows no other that is not the CPU."""

aten = torch.ops.aten

_WAITS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten._unique2, aten.unique_dim}
"""What a host cannot go on without an answer to: a number, or a size."""

_FREE = {aten.detach, aten.alias, aten.view, aten._unsafe_view, aten.expand, aten.permute, aten.transpose, aten.t}
_FREE |= {aten.slice, aten.select, aten.unsqueeze, aten.squeeze, aten.split, aten.split_with_sizes, aten.unbind}
_FREE |= {aten.unfold, aten.diagonal, aten.as_strided, aten.lift_fresh, aten.empty, aten.empty_like, aten.new_empty}
_FREE |= {aten.empty_strided, aten.new_empty_strided, aten.is_same_size, aten.reshape, aten._reshape_alias}
"""What starts nothing on a device."""

_INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}

_MISSING = {aten._linalg_eigh, aten.linalg_qr, aten._linalg_svd}
"""Factorisations that Metal did without for long."""


class Pretended(Tensor):
    """A tensor on the pretend device; its numbers are `numbers`, on the CPU."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> Pretended:
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, numbers.shape, numbers.stride(), numbers.storage_offset(), dtype=numbers.dtype, device=DEVICE
        )
        made.numbers = numbers
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Pretended({self.numbers!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} outside of a PretendDevice")


class PretendDevice:
    """Within this block there is a pretend device, `DEVICE`.

    It refuses what a real one refuses: tensors of the host beside its own, NumPy, and, as Metal does, float64 and some
    factorisations.

    Attributes:
        launches: operations that would start a kernel.
        copies: from the host or to it.
        waits: times that the host would wait for the device, copies to the host among them.
        done: how often each operation was done that copies or waits.

    Example:
        >>> with PretendDevice() as device:
        ...     there = torch.ones(2).to(DEVICE)
        ...     found = (there + 1).sum().item()
        >>> found, there.device.type, device.copies, device.waits
        (4.0, 'meta', 1, 1)
    """

    def __init__(self, metal: bool = False) -> None:
        self.metal = metal
        self.reset()

    def reset(self) -> None:
        """Count from nothing again."""
        self.launches = self.copies = self.waits = 0
        self.done: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._modes = ExitStack()
        self._modes.enter_context(_Dispatch(self))
        self._modes.enter_context(_Functions(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._modes.close()

    def wait(self, what: Any) -> None:
        """The host waits."""
        self.waits += 1
        self.done[f"wait {what}"] += 1

    def copy(self, what: Any) -> None:
        """Numbers cross from one memory to the other."""
        self.copies += 1
        self.done[f"copy {what}"] += 1

    def refuse(self, tensor: Tensor) -> None:
        """Raise TypeError if such numbers cannot be held here."""
        if self.metal and tensor.dtype in (torch.float64, torch.complex128):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")


class _Functions(TorchFunctionMode):
    """What torch does before anything is dispatched."""

    def __init__(self, device: PretendDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and _is_it(kwargs.get("device")) and not _pretended(args):
            made = func(*args, **{**kwargs, "device": "cpu"})
            needed, made = made.requires_grad, made.detach()
            self.device.refuse(made)
            self.device.copy(func.__name__)
            return Pretended(made).requires_grad_(needed)
        if func is Tensor.numpy and _pretended(args):
            raise TypeError(f"can't convert {DEVICE} device type tensor to numpy; use Tensor.cpu() first")
        if func is Tensor.tolist and _pretended(args):
            return args[0].cpu().tolist()
        return func(*args, **kwargs)


class _Dispatch(TorchDispatchMode):
    def __init__(self, device: PretendDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, kind = dict(kwargs or {}), func.overloadpacket
        there, wanted = _pretended((args, kwargs)), kwargs.get("device")
        if not there and not _is_it(wanted):
            return func(*args, **kwargs)
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu") if wanted is not None else None
        leaves = tree_leaves((args, kwargs))
        host = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, Pretended)]
        leaves_it = there and wanted is not None and not _is_it(wanted)
        self._account(func, kind, args, kwargs, there, host, leaves_it)
        held = tree_map(_numbers, (args, kwargs))
        found = func(*held[0], **held[1])
        if leaves_it:
            return found.clone() if any(found is one for one in tree_leaves(held)) else found
        if func._schema.is_mutable and kind is not aten._linalg_eigh:
            return _same(func, args, kwargs, found)
        return tree_map(self._wrapped, found)

    def _account(
        self, func: Any, kind: Any, args: Any, kwargs: Any, there: list[Pretended], host: list[Tensor], leaves_it: bool
    ) -> None:
        device = self.device
        moved = kind in (aten._to_copy, aten.copy_) and (leaves_it or bool(host))
        if kind is aten.copy_ and not isinstance(args[0], Pretended):
            leaves_it = moved = True
        if moved:
            device.copy(kind)
            if leaves_it:
                device.wait(kind)
        elif kind in _INDEXED:
            indices = [one for one in tree_leaves(args[1]) if isinstance(one, Tensor)]
            for one in indices:
                if not isinstance(one, Pretended):
                    device.copy(f"{kind} by an index of the host")
                elif one.dtype is torch.bool:
                    device.wait(f"{kind} by a mask")
            host = [one for one in host if not any(one is index for index in indices)]
        elif kind in _WAITS:
            device.wait(kind)
        if kind is aten._to_copy and kwargs.get("dtype") in (torch.float64, torch.complex128):
            device.refuse(torch.empty(0, dtype=kwargs["dtype"]))  # a cast on its way is made before it leaves
        if not moved and any(one.ndim for one in host):
            raise RuntimeError(f"Expected all tensors to be on the same device, but {func} got some on the CPU")
        if device.metal and kind in _MISSING:
            raise NotImplementedError(f"The operator '{func}' is not currently implemented for the MPS device")
        device.launches += kind not in _FREE

    def _wrapped(self, found: Any) -> Any:
        if isinstance(found, Tensor) and not isinstance(found, Pretended):
            self.device.refuse(found)
            return Pretended(found)
        return found


def _is_it(device: Any) -> bool:
    return device is not None and torch.device(device) == DEVICE


def _pretended(tree: Any) -> list[Pretended]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Pretended)]


def _numbers(leaf: Any) -> Any:
    return leaf.numbers if isinstance(leaf, Pretended) else leaf


def _same(func: Any, args: Any, kwargs: Any, found: Any) -> Any:
    """What an operation in place gives back: the tensors it was given, not others that hold the same numbers."""
    given = {id(_numbers(leaf)): leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
    return tree_map(lambda one: given.get(id(one), one), found)


def there(tensor: Tensor) -> Tensor:
    """A tensor of the host on the pretend device, uncounted; the same call inside a block counts a copy."""
    return cast("Tensor", Pretended(tensor.detach()))
