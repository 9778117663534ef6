"""Describe device and software for the record of a run."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("semaug", "torch", "lightning-fabric", "timm", "torchvision", "numpy")


def describe_device(device: torch.device) -> str:
    """Name the device as a person would, with what its speed depends on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_name()}, {torch.get_num_threads()} of {os.cpu_count()} cores"


def describe_software() -> dict[str, Any]:
    """Return versions, and the commit of this package if it runs from a checkout."""
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "commit": _commit(),
    }


def _cpu_name() -> str:
    if (information := Path("/proc/cpuinfo")).exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _commit() -> str:
    """Return the commit of the checkout this file lies in, with a mark if files differ from it."""
    here = Path(__file__).resolve().parent
    try:
        if _git(here, "ls-files", Path(__file__).name) == "":
            return "unknown"  # installed inside a checkout of something else
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
        return _git(here, "rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    return result.stdout.strip()
