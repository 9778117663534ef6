"""What all networks for small images share: the methods timm expects, and how they register.

A family is a file with a subclass of :class:`CifarNetwork` and a table of its variants.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from timm.layers import SelectAdaptivePool2d, create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class CifarNetwork(nn.Module, ABC):
    """A stem, stages of blocks, pooling and a linear classifier.

    A subclass makes its layers, then calls :meth:`make_head`, then draws initial weights.
    """

    num_classes: int
    in_chans: int
    num_features: int
    head_hidden_size: int
    feature_info: list[dict[str, Any]]
    global_pool: SelectAdaptivePool2d
    grad_checkpointing = False

    @abstractmethod
    def forward_stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_chans, H, W) to what the first stage takes."""

    @abstractmethod
    def stages(self) -> Sequence[nn.Sequential]:
        """Return the stages, each a sequence of blocks."""

    def forward_norm(self, x: Tensor) -> Tensor:
        """Map the output of the last stage to feature maps; networks with pre-activation do."""
        return x

    def make_head(self, num_features: int, num_classes: int, pool: str, drop_rate: float) -> None:
        """Make what follows the feature maps: pooling, dropout and classifier."""
        self.num_features = num_features
        self.head_drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes, pool)

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
        if global_pool is None:
            global_pool = self.global_pool.pool_type
        self.num_classes = num_classes
        self.global_pool, self.fc = create_classifier(
            self.num_features, num_classes, pool_type=global_pool
        )
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        self.fc.to(next(self.parameters()))  # device and dtype
        self.fc.train(self.training)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, in_chans, H, W) to the last feature maps (N, num_features, h, w)."""
        return self.forward_norm(self.forward_stages(self.forward_stem(x)))

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
    first = block(in_channels, out_channels, stride)
    rest = [block(out_channels, out_channels, 1) for _ in range(num_blocks - 1)]
    return nn.Sequential(first, *rest)


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


def feature_info(*rows: tuple[int, int, str]) -> list[dict[str, Any]]:
    """Tell timm where to take feature maps: channels, reduction and name of a module."""
    names = ("num_chs", "reduction", "module")
    return [dict(zip(names, row, strict=True)) for row in rows]


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

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(block)

    return checkpoint(block, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Let batch norms blend nothing in and count no batch."""
    norms = [m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count


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
    file = sys.modules[module]
    # Where timm looks for them, and whether there are weights to load (there are none).
    configurations = generate_default_cfgs(
        {name: {**_configuration(paper), **configuration} for name in variants}
    )
    vars(file)["default_cfgs"] = configurations
    for name, variant in variants.items():
        vars(file)[name] = register_model(_entry_point(module, family, name, variant))


def _entry_point(
    module: str, family: type[CifarNetwork], name: str, variant: Variant
) -> Callable[..., nn.Module]:
    """Return the function that timm calls to make a network."""

    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        network: nn.Module = build_model_with_cfg(
            family,
            name,
            pretrained,
            feature_cfg={"out_indices": (0, 1, 2, 3)},
            **{**variant.arguments, **kwargs},
        )
        return network

    create.__name__ = create.__qualname__ = name
    create.__module__ = module
    create.__doc__ = f"{variant.description}."
    return create


def _configuration(paper: str) -> dict[str, Any]:
    return {
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
        "paper_ids": paper,
    }
