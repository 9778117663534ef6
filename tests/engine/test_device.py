"""Tests of semaug.engine.device."""

from dataclasses import replace

import pytest
import torch

from semaug.engine.device import choose_device, settle
from semaug.recipes import find_recipe


def test_auto_takes_what_is_there():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto").type == expected


def test_unknown_device_is_named():
    with pytest.raises(ValueError, match="expected `device` to be one of 'auto', 'cpu', 'cuda'"):
        choose_device("gpu")


def test_missing_cuda_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"expected a CUDA device, but torch .* finds none"):
        choose_device("cuda")


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
