"""Devices: which one a word names, what is settled before anything is measured there, and whether it still answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from benchmarks.errors import UserError
from memformer.core.tensors import factorised, holds_double


def build_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        UserError: if this machine does not have it.
    """
    kinds = {
        "cpu": lambda: 1,
        "cuda": torch.cuda.device_count,
        "mps": lambda: int(torch.backends.mps.is_available()),
    }
    kind, _, index = name.partition(":")
    if kind not in kinds or not re.fullmatch("cpu|mps|cuda(:(0|[1-9][0-9]*))?", name):
        raise UserError(f"unknown device {name!r}; it must be cpu, cuda, cuda:<number> or mps")
    if int(index or 0) >= kinds[kind]():
        present = ", ".join(kind for kind, count in kinds.items() if count())
        raise UserError(f"this machine has no device {name!r}; it has {present}")
    return torch.device(name)


def require_dtype(device: torch.device, dtype: torch.dtype) -> None:
    """Raise UserError unless the device has numbers of that type."""
    if dtype is torch.float64 and not holds_double(device):
        raise UserError(f'the device {device.type!r} has no float64; a suite for it needs dtype = "float32"')


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def start_up(device: torch.device, dtype: torch.dtype) -> None:
    """Let libraries make their handles and workspaces on an accelerator: once a process, and no solver's work."""
    if device.type == "cpu":
        return
    pair = torch.eye(2, dtype=dtype, device=device).repeat(2, 1, 1)
    library = torch.linalg
    for call in (torch.square, library.eigvalsh, library.qr, library.svd, library.cholesky_ex, library.inv):
        with suppress(RuntimeError):  # what a device lacks, solvers do without
            factorised(call, pair @ pair)
    synchronise(device)


def is_lost(device: torch.device) -> bool:
    """Whether nothing can be computed on a device any more by this process, as after an illegal memory access."""
    try:
        synchronise(device)
    except RuntimeError:
        return True
    return False


@contextmanager
def full_precision() -> Iterator[None]:
    """Products of float32 are taken in float32 within this block, not in the shorter TF32 that GPUs have."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
