"""Tests of semaug.engine.device."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from semaug._torch.depthwise import DepthwiseGradients
from semaug.engine import device as module
from semaug.engine.device import (
    choose_device,
    count_threads,
    count_workers,
    cpu_threads,
    gradients,
    settle,
)
from semaug.engine.processes import Processes
from semaug.errors import UserError
from semaug.recipe import BaseRecipe
from semaug.recipes import find_recipe
from tests.engine import toys


def test_auto_takes_what_is_there():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto").type == expected


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:", "cuda:x", "auto:1", ""])
def test_unknown_device_is_named(name):
    message = f"expected `device` to be auto, cpu, cuda, or one GPU such as cuda:1, got '{name}'$"
    with pytest.raises(UserError, match=message):
        choose_device(name)


def test_apples_gpus_are_refused_with_the_reason():
    with pytest.raises(UserError, match="got 'mps'; MPS has no float64, in which losses count"):
        choose_device("mps")


def test_missing_cuda_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"expected a CUDA device, but torch .* finds none"):
        choose_device("cuda")


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 3)


def test_one_gpu_of_several_is_chosen_by_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    asked = []
    monkeypatch.setattr("semaug.engine.processes.Fabric", lambda **options: asked.append(options))
    Processes(choose_device("cuda:1"), "32")
    Processes(torch.device("cpu"), "32")
    assert [options["devices"] for options in asked] == [[1], 1]
    with pytest.raises(UserError, match=r"of 2 GPUs, from cuda:0 to cuda:1, got 'cuda:2'; the var"):
        choose_device("cuda:2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(UserError, match="torchrun gives each process its GPU, got 'cuda:1'; choo"):
        choose_device("cuda:1")


# Threads of CPUs.


@pytest.mark.parametrize(
    ("name", "threads"),
    [
        ("digits_resnet8_isda", 1),
        ("digits_resnet8,network=resnet20_cifar", 1),
        ("digits_resnet8,batch_size=1000", 3),
        ("digits_resnet8,method=ait,network=resnet110_cifar", 3),
        ("cifar10_5k_resnet20", 3),
        ("folder_resnet18", 3),
    ],
)
def test_small_work_is_done_by_one_thread(monkeypatch, name, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    recipe = find_recipe(name)
    assert count_threads(recipe, None) == threads
    assert count_threads(recipe, 7) == 7


def test_work_of_unknown_size_is_done_by_all_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert count_threads(BaseRecipe(data="digits", epochs=1), None) == 3
    recipe = replace(find_recipe("digits_resnet8"), network=toys.Plain(drop_rate=0.5))
    assert count_threads(recipe, None) == 3


def test_threads_are_set_for_a_while():
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


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


def test_only_bf16_on_a_cpu_has_faster_gradients_of_depthwise_convolutions():
    recipe = replace(find_recipe("cifar10_20_finetune"), precision="bf16")
    depthwise, cpu = nn.Conv2d(4, 4, 3, groups=4), torch.device("cpu")

    def is_faster(recipe, device=cpu, method=depthwise):
        return isinstance(gradients(recipe, device, method), DepthwiseGradients)

    assert is_faster(recipe)
    assert not is_faster(replace(recipe, precision="32"))
    assert not is_faster(replace(recipe, compile=True))
    assert not is_faster(recipe, device=torch.device("meta"))
    assert not is_faster(recipe, method=nn.Conv2d(4, 4, 3))
