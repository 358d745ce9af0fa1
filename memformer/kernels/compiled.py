"""What all compiled functions share: which tensors they take, and how threads share their work."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

_CHUNK = 512
"""At most so many tasks are a chunk. Gradients of chunks are added in order, so threads change no digit."""


def compiles(tensor: Tensor) -> bool:
    """Whether compiled functions take numbers of this kind and place, now."""
    known = tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64)
    return known and not torch.compiler.is_compiling() and _numba()


def _numba() -> bool:
    """Whether numba compiles; `NUMBA_DISABLE_JIT=1` forbids it."""
    from numba import config  # only where it is needed: numba takes a second to import

    return not getattr(config, "DISABLE_JIT", False)


def array(tensor: Tensor) -> np.ndarray:
    """A tensor's numbers, C-contiguous."""
    return tensor.detach().contiguous().numpy()


def chunks(n: int) -> int:
    """How many chunks n tasks are cut into."""
    return -(-n // _CHUNK)


def in_threads(function: Callable[..., None], models: int, n: int, *arguments: Any) -> None:
    """Share the chunks of all models' n tasks among as many threads as torch has.

    Args:
        function: is given the arguments, how many chunks a model has, and the first of its jobs and their end.
        models: S; a job is a chunk of one of them.
        n: tasks.
        arguments: of the function.
    """
    of_model = chunks(n)
    jobs = models * of_model
    threads = min(torch.get_num_threads(), jobs)
    if threads <= 1:
        function(*arguments, of_model, 0, jobs)
        return
    cuts = [jobs * i // threads for i in range(threads + 1)]
    pool = _pool(torch.get_num_threads(), os.getpid())
    for one in [pool.submit(function, *arguments, of_model, *cut) for cut in pairwise(cuts)]:
        one.result()


@functools.cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)
