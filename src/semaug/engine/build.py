"""Turn the words of a recipe into data, a method and an optimizer.

What does not fit together is found here, by trying it on two images, before anything is
written.
"""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import Any

import timm
import torch
from torch import Tensor, nn

import semaug.networks  # registers ours with timm
from semaug._torch.names import unknown_name
from semaug.covariance import ClassCovariance
from semaug.data import DataSet, LoadError, Selection, load_data, select
from semaug.engine.seeding import derive_seed
from semaug.errors import UserError, as_user_error
from semaug.features import WithFeatures, with_features
from semaug.features.probe import PROBE_ERRORS, run_probe
from semaug.losses import (
    AugmentationInvariantLoss,
    ExplicitAugmentationLoss,
    ISDALoss,
    MutualLoss,
)
from semaug.methods import AIT, Method, Mutual, Supervised
from semaug.recipe.recipe import Recipe, Subset

__all__ = [
    "build_data",
    "build_method",
    "build_optimizer",
    "compile_steps",
    "synchronize_batch_norm",
]


def build_data(
    recipe: Recipe,
    root: Path | None,
    device: torch.device,
    *,
    quick: bool = False,
    workers: int | None = None,
) -> tuple[DataSet, Selection]:
    """Read the images of a recipe, choose among them and put them on the device.

    Args:
        recipe: Names the data set and the choice.
        root: Folder of the data sets.
        device: For images in memory, and for all labels.
        quick: Whether numbers of images are limits only, and a smaller set is taken as it is.
        workers: Processes that decode a set which lies in files and is read whole; None is as
            :func:`semaug.data.load_data` chooses.

    Returns:
        The images, and how those to train on were chosen.

    Raises:
        FileNotFoundError: If there are no files; the message says how to fetch them.
        UserError: If the data set is unknown or damaged, or has fewer images than asked for.
    """
    subset = recipe.subset
    with as_user_error("", ValueError, LoadError):
        data = load_data(recipe.data, root, workers=workers)
    if quick:
        subset = _at_most(subset, data)
    with as_user_error("recipe: ", ValueError):
        data, selection = select(
            data,
            train_per_class=subset.train_per_class,
            hold_out=subset.hold_out,
            imbalance=subset.imbalance,
            train_percent=subset.train_percent,
            corrupt_percent=subset.corrupt_percent,
            seed=subset.subset_seed,
        )
    if len(data.test) == 0:
        raise UserError(
            f"recipe: data={recipe.data} has no images to test on; keep some of the training "
            "images back with hold_out=N"
        )
    if subset.test_images is not None:
        if subset.test_images > len(data.test):
            raise UserError(
                f"recipe: expected `test_images` <= {len(data.test)}, got {subset.test_images}"
            )
        # Evenly spread, for many sets are sorted by class.
        places = torch.arange(subset.test_images) * len(data.test) // subset.test_images
        data = replace(data, test=data.test.subset(places))
    return data.to(device), selection


def _at_most(subset: Subset, data: DataSet) -> Subset:
    """Lower numbers of images to what there is."""
    fewest = int(torch.bincount(data.train.labels, minlength=data.num_classes).min())
    per_class = min(subset.train_per_class or fewest, fewest)
    subset = replace(subset, train_per_class=per_class)
    num_test = len(data.test)
    if subset.hold_out is not None:  # half of each class; of half the classes, if they are tiny
        half = data.num_classes * (per_class // 2) or max(1, data.num_classes // 2)
        num_test = min(subset.hold_out, half)
        subset = replace(subset, hold_out=num_test)
    if subset.test_images is not None:
        subset = replace(subset, test_images=max(1, min(subset.test_images, num_test)))
    return subset


def build_method(
    recipe: Recipe, data: DataSet, example_images: Tensor, *, seed: int, num_steps: int
) -> Method:
    """Build networks and losses on the CPU; initial weights depend on the seed alone.

    The first network begins alike, whatever trains beside it.

    Args:
        recipe: Names the method, the networks and the loss.
        data: Gives the number of classes.
        example_images: ``(N, 3, H, W)`` to try the networks on.
        seed: Of the run.
        num_steps: Steps of the whole run, over which ISDA ramps.

    Raises:
        UserError: If timm does not know a network, it cannot take the images, or the loss
            needs features and it has no classifier.
    """
    images = example_images.cpu().float()  # Fabric changes the precision later
    networks, losses = [], []
    for k, name in enumerate((recipe.network, *recipe.method.peers)):
        # Dropout in blocks is the first network's: the tables of mutual learning have none.
        own = recipe if k == 0 else replace(recipe, network=name, block_drop_rate=None)
        field = "network" if k == 0 else "peers"
        purpose = "weights" if k == 0 else f"weights of network {k + 1}"
        torch.manual_seed(derive_seed(seed, purpose))
        network = _create_network(own, data.num_classes, field)
        _try_network(own, network, images, field)
        if recipe.method.name != "ait":  # which has several views of that one image
            _try_last_step(own, network, images, len(data.train), field)
        network, loss = _with_loss(own, network, images, data.num_classes, num_steps, field)
        networks.append(network)
        losses.append(loss)
    if recipe.method.name == "supervised":
        return Supervised(networks[0], losses[0])
    if recipe.method.name == "ait":
        return _build_ait(recipe, networks[0], losses[0], images)
    assert recipe.method.ai_weight is not None
    assert recipe.method.ai_target_gradient is not None
    return Mutual(
        networks,
        MutualLoss(
            weight=recipe.method.ai_weight,
            target_gradient=recipe.method.ai_target_gradient,
            classification=losses,
        ),
    )


def _build_ait(recipe: Recipe, network: nn.Module, loss: nn.Module, images: Tensor) -> AIT:
    options = recipe.method
    assert options.ai_weight is not None
    assert options.ai_metric is not None
    assert options.ai_layer is not None
    assert options.ai_target_gradient is not None
    assert options.ai_convention is not None
    with as_user_error("recipe: ", ValueError):
        criterion = AugmentationInvariantLoss(
            weight=options.ai_weight,
            metric=options.ai_metric,
            layer=options.ai_layer,
            target_gradient=options.ai_target_gradient,
            convention=options.ai_convention,
            classification=loss,
        )
    if options.ai_layer == "feature_map" and isinstance(network, WithFeatures):
        network = network.model
    context = f"recipe: ai_layer={options.ai_layer} network={recipe.network}: "
    with as_user_error(context, *PROBE_ERRORS):
        method = AIT(network, criterion, images)
        if options.ai_layer == "feature_map":
            run_probe(method.network, images, {})
    return method


def _with_loss(
    recipe: Recipe,
    network: nn.Module,
    images: Tensor,
    num_classes: int,
    num_steps: int,
    field: str,
) -> tuple[nn.Module, nn.Module]:
    """Build the classification loss of a network, and let the network show what it needs."""
    if recipe.loss.strength is None:
        return network, nn.CrossEntropyLoss()
    context = f"recipe: loss={recipe.loss.name} {field}={recipe.network}: "
    with as_user_error(context, *PROBE_ERRORS):
        net = with_features(network, example_images=images)
    # Not `network.num_features`: many networks of timm have layers between that and the classifier.
    return net, _build_loss(recipe, num_classes, net.num_features, num_steps)


def _build_loss(
    recipe: Recipe, num_classes: int, num_features: int, num_steps: int
) -> ISDALoss | ExplicitAugmentationLoss:
    """Build a loss that augments features."""
    loss = recipe.loss
    assert loss.strength is not None
    assert loss.covariance is not None
    with as_user_error("recipe: ", ValueError):
        covariance = ClassCovariance(num_classes, num_features, loss.covariance, memory=loss.memory)
    ramp_steps = num_steps if loss.ramp == "linear" else None
    if loss.num_samples is None:
        return ISDALoss(
            num_classes,
            num_features,
            strength=loss.strength,
            ramp_steps=ramp_steps,
            covariance=covariance,
        )
    if recipe.augment.mixup > 0 or recipe.augment.cutmix > 0:
        raise UserError("recipe: loss=explicit takes labels only, so no `mixup` and no `cutmix`")
    return ExplicitAugmentationLoss(
        num_classes,
        num_features,
        strength=loss.strength,
        num_samples=loss.num_samples,
        ramp_steps=ramp_steps,
        covariance=covariance,
    )


def _create_network(recipe: Recipe, num_classes: int, field: str) -> nn.Module:
    if not timm.is_model(recipe.network):
        ours, others = semaug.networks.NETWORKS, timm.list_models()
        raise UserError(unknown_name("recipe", field, recipe.network, others, ours))
    options: dict[str, Any] = {"num_classes": num_classes}
    if recipe.block_drop_rate is None:
        network: nn.Module = timm.create_model(recipe.network, **options)
        return network
    context = f"recipe: {field}={recipe.network} has no dropout inside its blocks: "
    with as_user_error(context, TypeError):
        network = timm.create_model(
            recipe.network, **options, block_drop_rate=recipe.block_drop_rate
        )
    return network


def build_optimizer(recipe: Recipe, method: nn.Module) -> torch.optim.SGD:
    """Build SGD over all parameters, biases and batch norm decayed too, as in the papers.

    Where peers have decays of their own, the parameters of each network are a group.
    """
    decays = recipe.method.peer_weight_decay
    if decays:
        assert isinstance(method, Mutual)
        parameters: Any = [
            {"params": network.parameters(), "weight_decay": decay}
            for network, decay in zip(method.networks, (recipe.weight_decay, *decays), strict=True)
        ]
        parameters.append({"params": method.criterion.parameters()})
    else:
        parameters = method.parameters()
    return torch.optim.SGD(
        parameters,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,  # one kernel for all parameters, where a loop over them costs milliseconds
    )


def synchronize_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """Make batch norm see the joint batch of all processes.

    Raises:
        UserError: If the device is not a GPU, where torch has it.
    """
    if device.type != "cuda":
        raise UserError("recipe: `sync_batch_norm` needs GPUs; torch has none for a CPU")
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return converted


def compile_steps(method: nn.Module) -> None:
    """Compile the two functions of a method, each with network and loss in one graph.

    The method stays the module that it is, so its parameters keep their names. Each size of
    batch has kernels of its own: with one for all sizes, what a run computes would depend on
    the size that came first, and so on where it was stopped.
    """
    for name in ("loss", "predict_each"):
        compiled = torch.compile(getattr(type(method), name), dynamic=False)
        setattr(method, name, MethodType(compiled, method))


def _try_network(recipe: Recipe, network: nn.Module, images: Tensor, field: str) -> None:
    size = " x ".join(str(length) for length in images.shape[1:])
    context = f"recipe: {field}={recipe.network} cannot take data={recipe.data} of {size} pixels: "
    with as_user_error(context, *PROBE_ERRORS):
        run_probe(network, images, {})


@torch.no_grad()
def _try_last_step(
    recipe: Recipe, network: nn.Module, images: Tensor, num_images: int, field: str
) -> None:
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
