"""What a number was measured on: versions, machine, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.runs.git import git
from benchmarks.runs.source import OWN

if TYPE_CHECKING:
    import torch

PACKAGES = ("memformer-bench", "torch", "numba", "numpy", "scipy", "pandas", "pydantic", "safetensors")
"""Packages whose version is kept with every run."""


def describe() -> dict[str, Any]:
    """Versions, processor, accelerators, BLAS, threads and git commit; JSON-able, no path and no host name."""
    import numpy as np
    import torch

    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})  # type: ignore[union-attr]
    of_torch = "mkl" if torch.backends.mkl.is_available() else "other"
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "blas": {"numpy": f"{blas.get('name')} {blas.get('version')}", "torch": of_torch},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "torch_threads": torch.get_num_threads(),
        "tf32": torch.get_float32_matmul_precision() != "highest" or torch.backends.cudnn.allow_tf32,
        "git": git_state(),
    }


def machine(device: torch.device) -> str:
    """What a time on a device belongs to: the processor with its cores, or the accelerator, with its number after 0."""
    import torch

    if device.type == "cuda":
        # What is another card may be another model, or hotter than the first.
        return torch.cuda.get_device_name(device) + (f", cuda:{device.index}" if device.index else "")
    return machine_name(cpu_name(), os.cpu_count())


def machine_name(cpu: str, cores: int | None) -> str:
    """A processor with its cores, as the column `machine` says it.

    Example:
        >>> machine_name("AMD EPYC", 2)
        'AMD EPYC, 2 cores'
    """
    return f"{cpu}, {cores} core{'s' * (cores != 1)}" if cores else cpu


def conditions() -> dict[str, Any]:
    """What the machine is doing at this moment, which times depend on; None for what cannot be read here.

    Returns:
        `load`: processes that want to run, mean of the last minute; `cpu_mhz`: clock, mean over cores; `cpu_celsius`:
        the hottest sensor; `gpus`: `mhz` and `celsius` of each CUDA device (read with `nvidia-ml-py`, if installed).
    """
    import torch

    clock = _read(psutil.cpu_freq)
    sensors = _read(lambda: [one.current for group in psutil.sensors_temperatures().values() for one in group])
    return {
        "load": _read(lambda: round(psutil.getloadavg()[0], 2)),
        "cpu_mhz": clock and round(clock.current),
        "cpu_celsius": max(sensors) if sensors else None,
        "gpus": [
            {
                "mhz": _read(lambda i=index: torch.cuda.clock_rate(i)),
                "celsius": _read(lambda i=index: torch.cuda.temperature(i)),
            }
            for index in range(torch.cuda.device_count())
        ],
    }


def _read(sensor: Callable[[], Any]) -> Any:
    """What a sensor says; None where the system, the machine or a library has no such thing, however it says so."""
    try:
        return sensor()
    except Exception:
        return None


@cache
def _version(package: str) -> str | None:
    return _read(lambda: version(package))


def git_state() -> dict[str, Any]:
    """Commit of this source and whether it has uncommitted changes; None for both outside a checkout of it.

    Installed packages may lie inside the repository of somebody else's project.
    """
    root = Path(__file__).resolve().parents[2]
    try:
        git(root, "ls-files", "--error-unmatch", "--", *OWN)
        inner, commit = git(root, "rev-parse", "--show-prefix", "HEAD").decode().split("\n")[:2]
        dirty = bool(git(root, "status", "--porcelain", "--", *OWN))
    except (OSError, subprocess.CalledProcessError):
        inner, commit, dirty = "", None, None
    return {"commit": None, "dirty": None} if inner else {"commit": commit, "dirty": dirty}


@cache
def cpu_name() -> str:
    """The processor, as the system calls it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
