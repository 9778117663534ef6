"""The memory that a run took at its peak.

On a GPU it is what torch allocated there. On a CPU it is the resident memory of the process:
images, network and what autograd keeps, and also Python and torch themselves, which take more
than half a GiB. Processes that decode images are not counted.
"""

import gc
import os
import sys
from contextlib import suppress
from pathlib import Path

import torch

from semaug.covariance import ClassCovariance
from semaug.engine.allocator import give_back

_MIB = 1 << 20
_PROCESS = Path("/proc/self")  # of Linux
_RESET_PEAK = "5"  # as `man 5 proc_pid_clear_refs` numbers it


def reset_peak_memory(device: torch.device) -> None:
    """Let what comes from now on count alone, and not what this process did before.

    Systems other than Linux cannot forget the peak of a process: there, of several runs in one
    process, the later ones count the earlier ones in.
    """
    if device.type == "cuda":
        torch.cuda.init()  # there are no statistics before
        torch.cuda.reset_peak_memory_stats(device)
        return
    give_back()
    with suppress(OSError):  # no Linux, or one that does not allow it
        (_PROCESS / "clear_refs").write_text(_RESET_PEAK)


def peak_memory(device: torch.device) -> float | None:
    """Return the peak in MiB; None on a CPU where the system does not tell it (Windows)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MIB
    with suppress(OSError):
        for line in (_PROCESS / "status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":  # "high water mark", such as "539532 kB"
                return int(value.split()[0]) / 1024
    return _peak_since_start()


def total_memory(device: torch.device) -> float:
    """Return the bytes of a device, or of the machine, or those that the process may use of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    with suppress(ImportError, AttributeError, OSError, ValueError):  # Windows
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return total if limit == resource.RLIM_INFINITY else min(limit, total)
    return float("inf")


def largest_statistics(device: torch.device) -> str | None:
    """Describe covariances that take a quarter of the memory or more, of all that there are now.

    For a look after an error, which knows no estimator.
    """
    estimators = [x for x in gc.get_objects() if type(x) is ClassCovariance]
    largest = max(estimators, key=lambda estimator: estimator.num_bytes, default=None)
    if largest is None or largest.num_bytes < total_memory(device) / 4:
        return None
    return largest.describe_memory()


def _peak_since_start() -> float | None:
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (_MIB if sys.platform == "darwin" else 1024)  # bytes there, KiB elsewhere
