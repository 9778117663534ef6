"""Tests of semaug.engine.memory."""

import sys
from types import SimpleNamespace

import pytest
import torch

from semaug.engine import memory
from semaug.engine.memory import peak_memory, reset_peak_memory

CPU = torch.device("cpu")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can forget a peak")


def take(mebibytes):
    """Touch and release so much memory."""
    torch.ones(mebibytes << 18)


@LINUX
def test_a_peak_stays_until_it_is_reset():
    reset_peak_memory(CPU)
    before = peak_memory(CPU)
    take(200)
    peak = peak_memory(CPU)
    assert peak > before + 150
    reset_peak_memory(CPU)
    assert peak_memory(CPU) < peak - 150


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_without_proc_it_is_the_peak_of_the_process(monkeypatch, tmp_path, platform):
    if sys.platform == "win32":
        pytest.skip("no resource module")
    monkeypatch.setattr(memory, "_PROCESS", tmp_path / "nowhere")
    monkeypatch.setattr(sys, "platform", platform)
    usage = SimpleNamespace(ru_maxrss=3 << 20)
    monkeypatch.setattr("resource.getrusage", lambda _: usage)
    reset_peak_memory(CPU)
    assert peak_memory(CPU) == {"linux": 3072, "darwin": 3}[platform]


def test_a_status_without_a_peak_is_passed_over(monkeypatch, tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\n")
    monkeypatch.setattr(memory, "_PROCESS", tmp_path)
    monkeypatch.setattr(memory, "_peak_since_start", lambda: 7.0)
    assert peak_memory(CPU) == 7


def test_windows_tells_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_PROCESS", tmp_path / "nowhere")
    monkeypatch.setattr(sys, "platform", "win32")
    assert peak_memory(CPU) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_is_what_torch_allocated_there():
    device = torch.device("cuda")
    reset_peak_memory(device)
    before = peak_memory(device)
    torch.empty(200 << 18, device=device)
    assert peak_memory(device) == pytest.approx(before + 200, abs=1)
    reset_peak_memory(device)
    assert peak_memory(device) < before + 1


def test_memory_that_was_kept_before_does_not_count(monkeypatch):
    given = []
    monkeypatch.setattr(memory, "give_back", lambda: given.append(True))
    reset_peak_memory(CPU)
    assert given
