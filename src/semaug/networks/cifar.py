"""What all networks for small images share: the methods timm expects, and how they register.

A family is a file with a subclass of :class:`CifarNetwork` and a table of its variants.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from timm.layers import create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from semaug._torch.batch_norm import running_statistics_kept


class CifarNetwork(nn.Module):
    """A stem, stages of blocks, pooling and a linear classifier.

    A subclass calls :meth:`make_stem`, makes its stages ``layer1``, ``layer2`` and so on, and
    calls :meth:`finish`.
    """

    num_stages = 3

    feature_info: list[dict[str, Any]]
    global_pool: Any  # of timm
    grad_checkpointing = False

    def make_stem(
        self, in_chans: int, channels: int, *, norm: bool = True, act: nn.Module | None = None
    ) -> None:
        """Make what precedes the stages: a 3x3 convolution, and batch norm and activation."""
        self.in_chans = in_chans
        self.conv1 = nn.Conv2d(in_chans, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.act1 = act or nn.Identity()

    def make_stages(
        self,
        block: Callable[[int, int, int], nn.Module],
        num_blocks: int,
        channels: Sequence[int],
    ) -> None:
        """Make stages of equally many blocks; all but the first halve height and width.

        Args:
            block: As of :func:`make_stage`.
            num_blocks: In each stage.
            channels: Of the stem, and of each stage.
        """
        for i, (before, after) in enumerate(pairwise(channels), start=1):
            stride = 1 if i == 1 else 2
            self.add_module(f"layer{i}", make_stage(block, num_blocks, before, after, stride))

    def finish(
        self,
        maps: Mapping[str, int],
        num_classes: int,
        pool: str,
        drop_rate: float,
        *,
        norm: nn.Module | None = None,
        act: nn.Module | None = None,
        reductions: Sequence[int] = (1, 1, 2, 4),
        zero_bias: bool = False,
        by_fan_out: bool = True,
    ) -> None:
        """Make what follows the stages, and draw initial weights.

        Args:
            maps: Channels of the modules that timm takes feature maps from; the last ones are
                what the classifier takes.
            num_classes: Outputs of the classifier.
            pool: Pooling of timm.
            drop_rate: Dropout before the classifier.
            norm: Follows the last stage, in networks with pre-activation.
            act: Follows ``norm``.
            reductions: How many times fewer pixels on a side than the image the ``maps`` have.
            zero_bias: As of :func:`init_by_fan_out`.
            by_fan_out: Whether that draws the convolutions; else they start as torch's.
        """
        self.norm, self.act = norm or nn.Identity(), act or nn.Identity()
        self.feature_info = [
            {"num_chs": channels, "reduction": reduction, "module": module}
            for (module, channels), reduction in zip(maps.items(), reductions, strict=True)
        ]
        self.num_features = self.feature_info[-1]["num_chs"]
        self.head_drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes, pool)
        if by_fan_out:
            init_by_fan_out(self, zero_bias=zero_bias)

    def stages(self) -> list[Any]:
        """Return the stages, each a sequence of blocks."""
        return [getattr(self, f"layer{i}") for i in range(1, self.num_stages + 1)]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that sort parameters into groups by depth, for timm's layer decay."""
        blocks = r"^layer(\d+)" if coarse else r"^layer(\d+)\.(\d+)"
        return {"stem": r"^conv1|^bn1", "blocks": [(blocks, None), (r"^norm", (99999,))]}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory: keep only the input of each block for the backward pass."""
        self.grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        """Return the last layer, an ``nn.Linear`` unless ``num_classes`` is 0."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last layer by a fresh one; ``global_pool=None`` keeps the pooling."""
        pool = self.global_pool.pool_type if global_pool is None else global_pool
        self.num_classes = num_classes
        self.global_pool, self.fc = create_classifier(
            self.num_features, num_classes, pool_type=pool
        )
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        self.fc.to(next(self.parameters()))  # device and dtype
        self.fc.train(self.training)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, in_chans, H, W) to the last feature maps (N, num_features, h, w)."""
        x = self.forward_stages(self.act1(self.bn1(self.conv1(x))))
        return self.act(self.norm(x))

    def forward_stages(self, x: Tensor) -> Tensor:
        """Map what the stem returns to the output of the last stage."""
        for stage in self.stages():
            if self.grad_checkpointing and self.training:
                for block in stage:
                    x = checkpointed(block, x)
            else:
                x = stage(x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map feature maps to logits (N, num_classes), or to features (N, num_features)."""
        x = self.head_drop(self.global_pool(x))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_chans, H, W) to logits (N, num_classes)."""
        return self.forward_head(self.forward_features(x))


def make_stage(
    block: Callable[[int, int, int], nn.Module],
    num_blocks: int,
    in_channels: int,
    out_channels: int,
    stride: int,
) -> nn.Sequential:
    """Make a stage of blocks; the first takes other channels and has the stride.

    Args:
        block: Makes one from the channels that it takes and gives, and its stride.
        num_blocks: How many.
        in_channels: Of the first.
        out_channels: Of all.
        stride: Of the first; the others have 1.
    """
    return nn.Sequential(
        block(in_channels, out_channels, stride),
        *(block(out_channels, out_channels, 1) for _ in range(num_blocks - 1)),
    )


def init_by_fan_out(network: CifarNetwork, *, zero_bias: bool = False) -> None:
    """Draw each convolution from a normal of variance 2 / fan-out, counted over all groups.

    Args:
        network: Other layers stay as torch starts them.
        zero_bias: Whether the bias of the classifier starts at 0, too.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if zero_bias and network.num_classes > 0:
        nn.init.zeros_(network.fc.bias)


def conv_norm(
    in_channels: int, out_channels: int, size: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """Make a convolution that halves height and width by its stride alone, and its batch norm."""
    conv = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(out_channels)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Make a shortcut: a 1x1 convolution and batch norm, nothing where the shape stays."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(*conv_norm(in_channels, out_channels, 1, stride))


def checkpointed(block: nn.Module, *inputs: Tensor) -> Tensor:
    """Run a block keeping only its inputs; the backward pass runs it again.

    It drops the same elements again, and batch norms follow the first run only: gradients
    and statistics are those of an ordinary run.

    Args:
        block: Maps tensors to a tensor.
        *inputs: What it takes.
    """
    if torch.compiler.is_compiling():  # a graph writes statistics once, whatever it repeats
        return checkpoint(block, *inputs, use_reentrant=False)
    return checkpoint(
        block,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), running_statistics_kept(block)),
    )


class Variant(NamedTuple):
    """One network of a family."""

    description: str  # one line for a person who chooses
    arguments: dict[str, Any]  # of its class


def register_family(
    module: str,
    family: type[CifarNetwork],
    variants: dict[str, Variant],
    *,
    paper: str,
    **configuration: Any,
) -> None:
    """Register the networks of one file with timm.

    Args:
        module: ``__name__`` of the file; each network becomes a function of it too.
        family: Class of all of them.
        variants: Each network by its name; an argument given to ``timm.create_model``
            replaces that of the variant.
        paper: Of the architecture, such as ``"arXiv:1512.03385"``.
        **configuration: Entries of timm's ``default_cfg`` where this family differs, such as
            ``min_input_size``.
    """
    file = vars(sys.modules[module])
    # Where timm looks for them, and whether there are weights to load (there are none).
    file["default_cfgs"] = generate_default_cfgs(
        {name: {**_CONFIGURATION, "paper_ids": paper, **configuration} for name in variants}
    )
    for name, variant in variants.items():
        file[name] = register_model(_entry_point(module, family, name, variant))


def _entry_point(
    module: str, family: type[CifarNetwork], name: str, variant: Variant
) -> Callable[..., nn.Module]:
    """Return the function that timm calls to make a network."""

    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return build_model_with_cfg(
            family,
            name,
            pretrained,
            feature_cfg={"out_indices": (0, 1, 2, 3)},
            **{**variant.arguments, **kwargs},
        )

    create.__name__ = create.__qualname__ = name
    create.__module__, create.__doc__ = module, f"{variant.description}."
    return create


_CONFIGURATION = {
    "input_size": (3, 32, 32),
    "min_input_size": (3, 8, 8),
    "pool_size": (8, 8),
    "num_classes": 10,
    "crop_pct": 1.0,
    "interpolation": "bilinear",
    "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2470, 0.2435, 0.2616),
    "first_conv": "conv1",
    "classifier": "fc",
    "license": "mit",
}
