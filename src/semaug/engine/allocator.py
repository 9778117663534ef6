"""Memory that a process keeps for its next use. No torch here.

The malloc of glibc asks the system for each block above 32 MiB, and returns it as soon as it is
freed. Activations are such blocks: at each layer the system fills them with zeros anew, page by
page, which takes up to half of the time of a forward pass on a CPU.
"""

import ctypes
import os
import sys
from typing import Any

__all__ = ["give_back", "keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of malloc.h
_LARGEST = 1 << 30  # bytes of a block that is kept


def keep_freed_memory() -> bool:
    """Let malloc keep what is freed, up to 1 GiB a block, for what is allocated next.

    The command line does so at its start, and no results change. In a process of your own, call
    it before the first training step on a CPU. It cannot be undone: the process stays as large as
    it once was, but for :func:`give_back`. Another malloc than that of glibc is left as it is, and
    so is one that the variables ``MALLOC_*`` or ``GLIBC_TUNABLES`` adjust.

    Returns:
        Whether malloc took it.
    """
    libc, tunables = _glibc(), os.environ.get("GLIBC_TUNABLES", "")
    is_adjusted = "glibc.malloc" in tunables or any(x.startswith("MALLOC_") for x in os.environ)
    if libc is None or is_adjusted:
        return False
    # Earlier versions refuse a threshold above 32 MiB; there blocks of any size are kept.
    kept = libc.mallopt(_MMAP_THRESHOLD, _LARGEST) or libc.mallopt(_MMAP_MAX, 0)
    return bool(kept and libc.mallopt(_TRIM_THRESHOLD, -1))


def give_back() -> None:
    """Return free memory to the system, where malloc is that of glibc."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> Any:
    """Return the C library of this process; None if it is another."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "gnu_get_libc_version") else None
