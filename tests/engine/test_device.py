"""Tests of semaug.engine.device."""

from dataclasses import replace

import pytest
import torch

from semaug.engine import device as module
from semaug.engine.device import choose_device, count_workers, settle
from semaug.errors import UserError
from semaug.recipes import find_recipe


def test_auto_takes_what_is_there():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto").type == expected


def test_unknown_device_is_named():
    with pytest.raises(UserError, match="expected `device` to be one of 'auto', 'cpu', 'cuda'"):
        choose_device("gpu")


def test_missing_cuda_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"expected a CUDA device, but torch .* finds none"):
        choose_device("cuda")


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 3)


def test_auto_in_a_recipe_is_settled_and_choices_stay():
    settled = settle(find_recipe("digits_resnet8"), torch.device("cpu"))
    assert settled.precision in ("32", "bf16")
    assert settled.channels_last in (True, False)
    chosen = replace(settled, precision="bf16", channels_last=False)
    assert settle(chosen, torch.device("cpu")) == chosen


@pytest.mark.parametrize(("built_for_bf16", "precision"), [(True, "bf16"), (False, "32")])
def test_gpus_get_bf16_if_they_compute_in_it_without_emulation(
    monkeypatch, built_for_bf16, precision
):
    def is_bf16_supported(*, including_emulation):
        assert not including_emulation
        return built_for_bf16

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    recipe = find_recipe("digits_resnet8")
    assert settle(recipe, torch.device("cuda", 0)).precision == precision
    assert settle(recipe, torch.device("cpu")).precision == "32"


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (9, 8), (100, 16)])
def test_all_cores_but_one_decode(monkeypatch, cores, workers):
    monkeypatch.setattr(module, "_num_cores", lambda: cores)
    assert count_workers(None) == workers
    assert [count_workers(wanted) for wanted in (0, 3)] == [0, 3]
