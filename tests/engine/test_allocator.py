"""Tests of semaug.engine.allocator."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from semaug.engine.allocator import _glibc, give_back, keep_freed_memory

GLIBC = pytest.mark.skipif(_glibc() is None, reason="malloc is not that of glibc")

# Writes 64 MiB, frees them, and prints how many MiB of them stay, before and after give_back().
WRITE = """
import ctypes, resource
from pathlib import Path
from semaug.engine.allocator import give_back, keep_freed_memory
def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20
kept, libc, size = keep_freed_memory(), ctypes.CDLL(None), ctypes.c_size_t(64 << 20)
libc.malloc.restype = ctypes.c_void_p
before = resident()
block = ctypes.c_void_p(libc.malloc(size))
libc.memset(block, 1, size)
libc.free(block)
after = resident()
give_back()
print(kept, after - before, resident() - before)
"""


def write(**variables):
    """Return whether memory is kept, how much stays, and how much after it was given back."""
    ours = {name: text for name, text in os.environ.items() if "MALLOC" not in name}
    ours.pop("GLIBC_TUNABLES", None)
    ours |= {"PYTHONPATH": str(Path(__file__).parents[2] / "src")} | variables
    command = [sys.executable, "-c", WRITE]
    output = subprocess.run(command, env=ours, capture_output=True, text=True, check=True).stdout
    answer, *numbers = output.split()
    return answer == "True", *map(int, numbers)


@GLIBC
def test_freed_memory_is_kept_until_it_is_given_back():
    kept, stays, after = write()
    assert kept
    assert after < 16 < 48 < stays


@GLIBC
@pytest.mark.parametrize(
    "variables",
    [{"MALLOC_ARENA_MAX": "4"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=4"}],
    ids=str,
)
def test_a_malloc_that_variables_adjust_is_left_as_it_is(variables):
    kept, stays, _ = write(**variables)
    assert not kept
    assert stays < 16


def forbidden(*arguments):
    raise AssertionError(f"called with {arguments}")


@pytest.mark.parametrize(
    ("platform", "library"),
    [
        ("darwin", SimpleNamespace(mallopt=forbidden, gnu_get_libc_version=forbidden)),
        ("win32", SimpleNamespace(mallopt=forbidden, gnu_get_libc_version=forbidden)),
        ("linux", SimpleNamespace(malloc_trim=forbidden)),  # musl
    ],
)
def test_another_malloc_is_left_as_it_is(monkeypatch, platform, library):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    assert not keep_freed_memory()
    give_back()


def test_where_a_large_threshold_is_refused_no_block_is_mapped(monkeypatch):
    asked = []

    def mallopt(option, value):
        asked.append((option, value))
        return 0 if (option, value > 32 << 20) == (-3, True) else 1

    library = SimpleNamespace(mallopt=mallopt, gnu_get_libc_version=None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    for name in [*os.environ]:
        if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES":
            monkeypatch.delenv(name)
    assert keep_freed_memory()
    assert asked == [(-3, 1 << 30), (-4, 0), (-1, -1)]
