"""Costs that the papers print, counted from our networks: nothing is trained for them."""

from functools import cache

import timm
import torch

from semaug.analysis import paper_flops, paper_isda_cost
from semaug.networks import NETWORKS
from semaug.published.numbers import PublishedNumber

_CLASSES = {"cifar": 10, "cifar10": 10, "cifar100": 100, "imagenet": 1000}
_UNITS = {"flops_millions": 1e6, "flops_billions": 1e9, "extra_flops_millions": 1e6}
_HALF_BATCHES = ("densenet", "shake_shake")  # 64 images a step on CIFAR, the others 128


def count_cost(number: PublishedNumber) -> str | None:
    """Count what a published cost says of a network, with as many digits as are printed.

    Parameters, operations by the papers' own count, and what ISDA adds to them.

    Returns:
        None if the number is no such cost, or the network not one of ours.

    >>> from semaug.published import find_published
    >>> [number] = find_published("isda", 3, row="ResNet-32", column="Standard FLOPs")
    >>> str(number), count_cost(number)
    ('69.43', '69.43')
    """
    in_memory = number.data != "imagenet"
    is_cost = number.metric in ("params_millions", "extra_flops_percent", *_UNITS)
    is_ours = number.data in _CLASSES and (number.network in NETWORKS or not in_memory)
    if not (is_cost and is_ours):
        return None
    num_classes = _CLASSES[number.data]
    parameters, operations, num_features = _count(
        number.network, num_classes, 32 if in_memory else 224
    )
    if number.metric == "params_millions":
        value = parameters / 1e6
    elif number.metric.startswith("flops"):
        value = operations / _UNITS[number.metric]
    else:
        batch_size = 64 if number.network.startswith(_HALF_BATCHES) else 128
        covariance = "full" if in_memory else "diagonal"
        extra = paper_isda_cost(num_classes, num_features, batch_size, covariance)
        whole = number.metric == "extra_flops_percent"
        value = 100 * extra / operations if whole else extra / _UNITS[number.metric]
    _, _, digits = number.mean_text.partition(".")
    return f"{value:.{len(digits)}f}"


@cache
def _count(network: str, num_classes: int, image_size: int) -> tuple[int, int, int]:
    """Return parameters, operations of a forward pass and features of a network."""
    with torch.device("meta"):
        model = timm.create_model(network, num_classes=num_classes)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return parameters, paper_flops(model, image_size), int(model.head_hidden_size)  # type: ignore[arg-type]
