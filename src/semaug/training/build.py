"""Turn the words of a recipe into data, a method and an optimizer.

What does not fit together is found here, by trying it on two images, before anything is
written.
"""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

import semaug.networks  # registers ours with timm
from semaug._names import unknown_name
from semaug._probe import PROBE_ERRORS, run_probe
from semaug.augmentation import CropFlip, normalize
from semaug.covariance import ClassCovariance
from semaug.data import DataSet, load_data
from semaug.features import with_features
from semaug.losses import ISDALoss
from semaug.methods import Supervised
from semaug.training.errors import UserError, as_user_error
from semaug.training.recipe import Recipe
from semaug.training.seeding import derive_seed

__all__ = ["build_augmentation", "build_data", "build_method", "build_optimizer"]


def build_data(recipe: Recipe, root: Path | None, device: torch.device) -> DataSet:
    """Read the images of a recipe and put them on the device.

    Raises:
        FileNotFoundError: If there are no files; the message says how to fetch them.
        UserError: If the data set is unknown or damaged, or has fewer images than asked for.
    """
    with as_user_error("", ValueError):
        data = load_data(recipe.data, root, recipe.train_per_class)
    if recipe.test_images is not None:
        if recipe.test_images > len(data.test):
            raise UserError(
                f"recipe: expected `test_images` <= {len(data.test)}, got {recipe.test_images}"
            )
        data = replace(data, test=data.test.subset(torch.arange(recipe.test_images)))
    return data.to(device)


def build_augmentation(recipe: Recipe, data: DataSet) -> CropFlip:
    """Build the augmentation, and try it.

    Raises:
        UserError: If it cannot take the images.
    """
    context = (
        f"recipe: padding={recipe.padding} padding_mode={recipe.padding_mode} "
        f"do not fit data={recipe.data}: "
    )
    with as_user_error(context, ValueError):
        augment = CropFlip(recipe.padding, recipe.padding_mode, recipe.flip)
        images = data.train.images[:2]
        augment(images, torch.zeros(len(images), augment.num_draws, device=images.device))
    return augment


def build_method(recipe: Recipe, data: DataSet, *, seed: int, num_steps: int) -> Supervised:
    """Build network and loss on the CPU; initial weights depend on the seed alone.

    Args:
        recipe: Names the network and the loss.
        data: Gives the number of classes, and images to try the network on.
        seed: Of the run.
        num_steps: Steps of the whole run, over which ISDA ramps.

    Raises:
        UserError: If timm does not know the network, it cannot take the images, or the loss
            needs features and it has no classifier.
    """
    if not timm.is_model(recipe.network):
        choices = {*semaug.networks.NETWORKS, *timm.list_models()}
        raise UserError(unknown_name("recipe", "network", recipe.network, choices))
    torch.manual_seed(derive_seed(seed, "weights"))
    network = timm.create_model(recipe.network, num_classes=data.num_classes)
    images = normalize(data.train.images[:2].cpu(), data.mean, data.std)
    _try_network(recipe, network, images)
    _try_last_step(recipe, network, images, len(data.train))

    loss = recipe.loss
    if loss.strength is None or loss.covariance is None:  # no ISDA
        return Supervised(network, nn.CrossEntropyLoss())
    with as_user_error(f"recipe: loss={loss.name} network={recipe.network}: ", *PROBE_ERRORS):
        net = with_features(network, example_images=images)
    # Not `network.num_features`: many networks of timm have layers between that and the classifier.
    with as_user_error("recipe: ", ValueError):
        covariance = ClassCovariance(
            data.num_classes, net.num_features, loss.covariance, memory=loss.memory
        )
    criterion = ISDALoss(
        data.num_classes,
        net.num_features,
        strength=loss.strength,
        ramp_steps=num_steps if loss.ramp == "linear" else None,
        covariance=covariance,
    )
    return Supervised(net, criterion)


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


def _try_network(recipe: Recipe, network: nn.Module, images: Tensor) -> None:
    size = " x ".join(str(length) for length in images.shape[1:])
    context = f"recipe: network={recipe.network} cannot take data={recipe.data} of {size} pixels: "
    with as_user_error(context, *PROBE_ERRORS):
        run_probe(network, images, {})


@torch.no_grad()
def _try_last_step(recipe: Recipe, network: nn.Module, images: Tensor, num_images: int) -> None:
    """Try a step of one image, if there is one: batch norm may have no spread to divide by."""
    if recipe.batch_size > 1 and num_images % recipe.batch_size != 1:
        return
    context = (
        f"recipe: with batch_size={recipe.batch_size} a step has one of {num_images} training "
        f"images, too few for network={recipe.network}: "
    )
    copy = deepcopy(network).train()  # its running statistics are thrown away
    with as_user_error(context, *PROBE_ERRORS), torch.random.fork_rng(devices=[]):
        copy(images[:1])
