"""Turn the words of a recipe into data, a method and an optimizer."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import timm
import torch
from torch import nn

import semaug.networks  # registers ours with timm
from semaug._names import unknown_name
from semaug.data import DataSet, load_data, normalize
from semaug.losses import ISDALoss
from semaug.methods import Supervised
from semaug.training.recipe import Recipe
from semaug.training.seeding import derive_seed

__all__ = ["build_data", "build_method", "build_optimizer"]


def build_data(recipe: Recipe, root: Path | None, device: torch.device) -> DataSet:
    """Read the images of a recipe and put them on the device.

    Raises:
        FileNotFoundError: If there are no files; the message says how to fetch them.
        ValueError: If the data set is unknown, or has fewer images than asked for.
    """
    data = load_data(recipe.data, root, recipe.train_per_class)
    if recipe.test_images is not None:
        if recipe.test_images > len(data.test):
            raise ValueError(
                f"recipe: expected `test_images` <= {len(data.test)}, got {recipe.test_images}"
            )
        data = replace(data, test=data.test.subset(torch.arange(recipe.test_images)))
    return data.to(device)


def build_method(recipe: Recipe, data: DataSet, *, seed: int, num_steps: int) -> Supervised:
    """Build network and loss on the CPU; initial weights depend on the seed alone.

    Args:
        recipe: Names the network and the loss.
        data: Gives the number of classes.
        seed: Of the run.
        num_steps: Steps of the whole run, over which ISDA ramps.

    Raises:
        ValueError: If timm does not know the network.
    """
    if not timm.is_model(recipe.network):
        choices = {*semaug.networks.NETWORKS, *timm.list_models()}
        raise ValueError(unknown_name("recipe", "network", recipe.network, choices))
    torch.manual_seed(derive_seed(seed, "weights"))
    network = timm.create_model(recipe.network, num_classes=data.num_classes)
    example = normalize(data.test.images[:2].cpu(), data.mean, data.std)
    return Supervised(network, _build_loss(recipe, network, data, num_steps), example)


def build_optimizer(recipe: Recipe, method: nn.Module) -> torch.optim.SGD:
    """Build SGD over all parameters, biases and batch norm decayed too, as in the papers."""
    return torch.optim.SGD(
        method.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,  # one kernel for all parameters, where a loop over them costs milliseconds
    )


def _build_loss(recipe: Recipe, network: nn.Module, data: DataSet, num_steps: int) -> nn.Module:
    loss = recipe.loss
    if loss.strength is None or loss.covariance is None:  # no ISDA
        return nn.CrossEntropyLoss()
    return ISDALoss(
        data.num_classes,
        cast(int, network.num_features),
        strength=loss.strength,
        ramp_steps=num_steps if loss.ramp == "linear" else None,
        covariance=loss.covariance,
    )
