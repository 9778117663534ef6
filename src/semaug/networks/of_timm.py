"""Networks by the names that timm knows, ours among them."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MethodType
from typing import Any, ClassVar

import timm
import timm.utils
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from semaug._torch.names import unknown_name
from semaug.errors import UserError, as_user_error, check_option
from semaug.registry import Sizes, networks

_PASSES = 10


@dataclass(frozen=True)
class Preprocessing:
    """What images pretrained weights want.

    Args:
        mean: Of each channel, on a scale of 0 to 1.
        std: Standard deviation, likewise.
        image_size: Height and width.
        test_crop: Side of the center crop of the test, over the shorter side of the image.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    test_crop: float


@dataclass(frozen=True, kw_only=True)
class TimmNetwork:
    """A network that timm builds.

    Args:
        block_drop_rate: Dropout inside the blocks of networks that have it, 0.3 in the Wide
            ResNets of the papers; None is the network's default.
        weights: File of pretrained weights of any framework, or folder of a run, to begin with;
            None is random weights.
        pretrained: Whether to begin with weights that timm fetches from the internet.
        mean: Of each channel of the images that the weights want, on a scale of 0 to 1; none is
            what timm knows of the network.
        std: Standard deviation, likewise.
        freeze: Parts that are not trained, by name, such as ``stem,layers.0``; ``backbone`` is
            all but the classifier. Their batch norms stay as in evaluation.
        norm_eval: Whether batch norms stay as in evaluation while all else is trained: they use the
            statistics of pretrained weights, and keep them. Their scales and shifts are trained.
        passes: With ``freeze=backbone``, how often each training image is augmented: the features
            of these passes are computed once and kept, and the classifier is trained on them. 0
            keeps none, and images pass through the whole network in each epoch. None is 10.

    Raises:
        UserError: If a number is out of range, or there are two sources of weights.
    """

    model: ClassVar[str]

    block_drop_rate: float | None = None
    weights: str | None = None
    pretrained: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    freeze: tuple[str, ...] = ()
    norm_eval: bool = False
    passes: int | None = None

    def __post_init__(self) -> None:
        frozen = "backbone" in self.freeze
        holds = self.passes is None or frozen
        check_option("passes", self.passes, holds, "with freeze=backbone only")
        check_option("passes", self.passes, (self.passes or 0) >= 0, ">= 0, or none")
        rate = self.block_drop_rate
        holds = rate is None or 0 <= rate < 1
        check_option("block_drop_rate", rate, holds, "from 0 to below 1, or none")
        if self.pretrained and self.weights is not None:
            raise UserError("recipe: expected either `weights` or `pretrained` of a network")
        begins = self.pretrained or self.weights is not None
        holds = begins or not self.norm_eval
        check_option("norm_eval", self.norm_eval, holds, "false without pretrained weights")
        for name, values in (("mean", self.mean), ("std", self.std)):
            fits = not values or (begins and len(values) == 3 and all(0 < x < 1 for x in values))
            check_option(name, values, fits, "three numbers from 0 to 1, of pretrained weights")
        check_option("std", self.std, bool(self.std) == bool(self.mean), "where there is a `mean`")

    def build(self, sizes: Sizes) -> nn.Module:
        """Build the network with random weights, for those of a file or a checkpoint to replace.

        Raises:
            UserError: If it has no dropout inside its blocks, and some is wanted.
        """
        return self._create(sizes)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What images the weights want that it begins with; None if nobody knows."""
        if not (self.pretrained or self.weights):
            return None
        known = _preprocessing(self.source)
        if not self.mean:
            return known
        return replace(known or Preprocessing((), (), 224, 0.875), mean=self.mean, std=self.std)

    @property
    def passes_kept(self) -> int:
        """How many passes over the training images are kept as features; 0 is none."""
        if "backbone" not in self.freeze:
            return 0
        return _PASSES if self.passes is None else self.passes

    @staticmethod
    def earlier(plain: dict[str, Any]) -> dict[str, Any]:
        """Complete plain data of a run from before features were kept."""
        frozen = "backbone" in plain.get("freeze", ())
        return {"passes": 0, **plain} if frozen else plain

    def check_there(self, root: Path) -> None:
        """Find out in a moment whether the weights are there, and the parts that are frozen.

        Args:
            root: Data root, where no weights lie.

        Raises:
            FileNotFoundError: If there is no file of weights.
            UserError: If the network has no part of a name.
        """
        if self.weights is not None and not Path(self.weights).exists():
            raise FileNotFoundError(
                f"recipe: network.weights: expected a file or a folder, got {self.weights}, which "
                "is not there"
            )
        if self.freeze:
            with torch.device("meta"):
                self.freeze_parts(timm.create_model(self.model))

    def freeze_parts(self, network: nn.Module) -> None:
        """Freeze what is not to be trained, once the network has its weights.

        Args:
            network: Built of this spec.

        Raises:
            UserError: If it has no part of a name.
        """
        parts = [name for name in self.freeze if name != "backbone"]
        known = dict(network.named_modules())
        for name in parts:
            if name not in known:
                choices = ["backbone", *filter(None, known)]
                raise UserError(unknown_name(f"network={self.model}", "part", name, choices))
        pretrained = self.pretrained_part(network)
        if self.norm_eval:
            for module in pretrained.modules():
                if isinstance(module, _BatchNorm):
                    module.train(False)
                    module.train = MethodType(_stay, module)  # type: ignore[method-assign]
        if "backbone" in self.freeze:
            timm.utils.freeze(pretrained)
            if pretrained is network:
                network.get_classifier().requires_grad_(True)  # type: ignore[operator]
        elif self.freeze:
            timm.utils.freeze(network, parts)

    def pretrained_part(self, network: nn.Module) -> nn.Module:
        """Return what pretrained weights are of: all but, perhaps, the classifier."""
        return network

    @property
    def source(self) -> str:
        """Name by which timm knows the weights that the network begins with."""
        return self.model

    def fetch(self, sizes: Sizes) -> nn.Module:
        """Build the network with the weights of timm, but for a classifier of another size.

        Raises:
            UserError: If there are none, or they cannot be fetched.
        """
        context = (
            f"recipe: network={self.model} pretrained=true: timm has no weights here; give a file "
            "by network.weights=FILE, or connect to the internet: "
        )
        with as_user_error(context, OSError, RuntimeError, ValueError):
            return self._create(sizes, pretrained=True)

    def _create(self, sizes: Sizes, **options: Any) -> nn.Module:
        context = f"recipe: network={self.model} has no dropout inside its blocks: "
        dropout = () if self.block_drop_rate is None else (TypeError,)
        with as_user_error(context, *dropout):
            return timm.create_model(self.model, **self.arguments(sizes), **options)

    def arguments(self, sizes: Sizes) -> dict[str, Any]:
        """Return what ``timm.create_model`` takes behind the name."""
        rate = self.block_drop_rate
        return {"num_classes": sizes.num_classes} | (
            {} if rate is None else {"block_drop_rate": rate}
        )


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    """Stand in for ``train`` of a module that stays in evaluation mode."""
    return module


@cache
def _preprocessing(model: str) -> Preprocessing | None:
    told = timm.models.get_pretrained_cfg(model)
    if told is None or not (told.hf_hub_id or told.url):
        return None
    crop = told.crop_pct or 0.875
    return Preprocessing(tuple(told.mean), tuple(told.std), told.input_size[-1], crop)


@cache
def network_of_timm(name: str, description: str = "") -> type[TimmNetwork] | None:
    """Return the spec class of a name; None if timm does not know it."""
    if not timm.is_model(name):
        return None
    return type(name, (TimmNetwork,), {"model": name, "__doc__": description or f"{name} of timm."})


def register_networks(descriptions: dict[str, str]) -> None:
    """Register the networks that are listed."""
    for name, description in descriptions.items():
        kind = network_of_timm(name, description)
        assert kind is not None, name
        networks.register(name)(kind)
