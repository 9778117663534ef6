"""Bring pretrained weights of any framework into a network of timm."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from semaug.export.layouts import LAYOUTS, Layout
from semaug.export.weights import find_file, read_weights

__all__ = ["BackboneReport", "digest", "left_at_initial_weights", "load_backbone"]

_MOST_NAMED = 8
_LEFT = "left at its initial weights"
HEADS_LEFT = f"{_LEFT}, as all heads"  # of a network that has its backbone from a file

# Averages are what their authors test; a slash ends the name of a dict, see `read_weights`.
AVERAGED = re.compile(r"(^|[._/])(ema|teacher|averaged?)([._/]|$)")

# What other versions of a network keep among its weights, though it follows from its sizes.
_DERIVED = re.compile(
    r"(^|\.)(num_batches_tracked|relative_position_index|relative_coords_table|attn_mask"
    r"|position_ids|total_ops|total_params)$"
)


@dataclass(frozen=True, kw_only=True)
class BackboneReport:
    """What :func:`load_backbone` found in a file, and did with it.

    Args:
        file: The file of weights.
        sha256: Its digest; None where there is no file.
        layout: Whose names the weights had.
        prefix: What stood before all of them; a slash ends the name of a dict inside the file.
        converted: Names, of the network, of what was loaded.
        unused: Names of what else there was, as far as converted.
        missing: Names of what keeps its initial values: the classifier, or counters of batches.
        head: What became of the classifier.
        notes: What was adapted, and what the names do not tell.
    """

    file: str
    sha256: str | None
    layout: str
    prefix: str
    converted: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    head: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return one line."""
        prefix = f" after {self.prefix!r}" if self.prefix else ""
        unused = f" ({_begun(self.unused)})" if self.unused else ""
        return "; ".join(
            [
                f"weights of {self.file}, layout {self.layout}{prefix}: "
                f"{len(self.converted)} loaded, {len(self.unused)} unused{unused}, "
                f"{len(self.missing)} missing",
                f"classifier {self.head}",
                *self.notes,
            ]
        )

    def plain(self) -> dict[str, Any]:
        """Return plain data for the record of a run."""
        return {**asdict(self), "converted": len(self.converted)}


def load_backbone(
    network: nn.Module, file: str | Path, *, prefix: str | None = None
) -> BackboneReport:
    """Load pretrained weights into a network of timm, or one of ours.

    The names in the file tell whose layout it is. Known are: timm; torchvision's ResNet, DenseNet,
    ConvNeXt, ViT, Swin and EfficientNet; the same of Hugging Face, but DenseNet; the ResNets of
    MMDetection, MMPretrain and MMSegmentation, of detectron2 and of CSAILVision; the released
    files of ISDA; ``efficientnet_pytorch``; files of authors that timm converts; and runs of this
    package. Wrappers (``module.``, ``backbone.``, a ``state_dict`` inside a checkpoint, and any
    other name before all weights) are found by counting which one fits most weights; of equals an
    average (``ema``, ``teacher``) is taken.

    Nothing in the file is executed: pickles are read with ``weights_only=True``, or with an
    unpickler that knows arrays alone.

    Args:
        network: Built with the sizes of the task; its weights are replaced in place. Of one with
            ``backbone`` and ``get_heads()``, such as
            :class:`semaug.networks.SegmentationNetwork`, the backbone is loaded, or all of it where
            the file has weights of its heads too.
        file: Weights of ``torch.save``, safetensors, or detectron2's ``.pkl`` of arrays; or a
            folder, of a run or of Hugging Face.
        prefix: What stands before the weights; None finds it.

    Returns:
        What was loaded and what was not. A classifier of another size keeps its initial weights.
        Weights of a first convolution of three channels are adapted to others as timm does: summed
        for one channel, repeated and scaled for more.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged or has no known layout, weights of the backbone are missing or
            of another shape, the file has layers that the network lacks, or the network has
            another padding or epsilon than the one that the weights are of.
    """
    found = find_file(file)
    state = {name.replace("_orig_mod.", ""): x for name, x in read_weights(found).items()}
    whole, network = network, _part_in(state, network)
    own = network.state_dict()
    heads = _head_places(network)
    if whole is not network:  # whose last layers are gone
        heads += [name for name, one in network.named_children() if isinstance(one, nn.Identity)]
    head = [name for name in own if name.startswith(tuple(f"{place}." for place in heads))]
    layout, before, converted = _closest(state, network, own, prefix)
    context = f"load_backbone: {file} as {layout.name}"
    backbone = [name for name in own if name not in head and not _DERIVED.search(name)]
    lacking = [name for name in backbone if name not in converted]
    if 2 * len(lacking) > len(backbone):
        raise ValueError(
            f"load_backbone: {file} has no known layout for this network: expected weights such "
            f"as {_listed(lacking)}, got {_listed(list(state))}"
        )
    if lacking:
        raise ValueError(f"{context}: expected all weights, got none of {_listed(lacking)}")
    unused = [name for name in converted if name not in own and not _DERIVED.search(name)]
    if extra := [name for name in unused if _is_inside(name, network, heads)]:
        raise ValueError(f"{context}: has layers that the network lacks: {_listed(extra)}")
    if reason := layout.unfit(network):
        raise ValueError(f"{context}: {reason}")
    fitted, notes = _fitted(converted, own, _first_convolutions(network))
    said = _said_of_head(head, own, fitted) if whole is network else HEADS_LEFT
    if said != "loaded":
        fitted = {name: tensor for name, tensor in fitted.items() if name not in head}
    if wrong := [name for name, tensor in fitted.items() if tensor.shape != own[name].shape]:
        shapes = [f"{x}: expected {_sizes(own[x])}, got {_sizes(fitted[x])}" for x in wrong]
        raise ValueError(f"{context}: shapes do not fit: {_listed(shapes)}")
    network.load_state_dict(fitted, strict=False)
    return BackboneReport(
        file=str(file),
        sha256=digest(file),
        layout=layout.name,
        prefix=before,
        converted=tuple(fitted),
        unused=tuple(unused),
        missing=tuple(name for name in own if name not in fitted),
        head=said,
        notes=(*notes, layout.note) if layout.note else notes,
    )


def _part_in(state: Mapping[str, Tensor], network: nn.Module) -> nn.Module:
    """Return the network, or its backbone, if its other parts are not among the weights."""
    if not hasattr(network, "get_heads"):
        return network
    heads = [name for name in network.state_dict() if not name.startswith("backbone.")]
    heads = [name for name in heads if not _DERIVED.search(name)]
    known = {name[place:] for name in state for place in _begins(name)}
    return network if known.issuperset(heads) else network.get_submodule("backbone")


def _begins(name: str) -> list[int]:
    """Return where a name begins, and where those inside of it do."""
    return [match.end() for match in re.finditer(r"^|[./]", name)]


def digest(file: str | Path) -> str:
    """Return the SHA-256 of a file of weights; of the one that is meant, for a folder.

    Raises:
        OSError: If it cannot be read.
    """
    with find_file(file).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


# Names.


def _closest(
    state: Mapping[str, Tensor], network: nn.Module, own: Mapping[str, Tensor], given: str | None
) -> tuple[Layout, str, dict[str, Tensor]]:
    """Return the layout and the prefix that give the network most of its weights, and those."""
    wanted = {name for name in own if not _DERIVED.search(name)}
    prefixes = _prefixes(state, len(wanted)) if given is None else [given]
    best: tuple[int, Layout, str, dict[str, Tensor]] = (-1, LAYOUTS[0], "", {})
    named = {prefix: _without(state, prefix) for prefix in prefixes}
    for layout in LAYOUTS:
        for prefix in prefixes:
            converted = layout.converted(named[prefix], network)
            score = len(wanted & converted.keys())
            if score > best[0]:
                best = (score, layout, prefix, converted)
        if best[0] == len(wanted):
            break
    return best[1:]


def _prefixes(state: Mapping[str, Tensor], num_wanted: int) -> list[str]:
    """Return what stands before many of the weights, averages first."""
    count = Counter(
        name[:place] for name in state if not _DERIVED.search(name) for place in _begins(name)
    )
    many = [prefix for prefix, times in count.items() if 3 * times >= num_wanted]
    return sorted(many, key=lambda prefix: AVERAGED.search(prefix) is None)


def _without(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the prefix from names, or as much of it as they have: a head stands beside a backbone.

    What lies in other dicts of the file is left out.
    """
    entry = prefix[: prefix.rfind("/") + 1]
    cuts = [place for place in _begins(prefix) if place >= len(entry)]
    found: dict[str, Tensor] = {}
    for cut in cuts:  # the longest last, so that it wins
        for name, tensor in state.items():
            begins = name.startswith(prefix[:cut]) and "/" not in name[cut:]
            if begins and not any(name.startswith(prefix[:more]) for more in cuts if more > cut):
                found[name[cut:]] = tensor
    return found


def _head_places(network: Any) -> list[str]:
    """Return where the classifier is in the network, or where several are."""
    found = network.get_classifier() if hasattr(network, "get_classifier") else ()
    wanted = {id(module) for module in (found if isinstance(found, tuple | list) else (found,))}
    return [place for place, module in network.named_modules() if id(module) in wanted]


def _is_inside(name: str, network: nn.Module, heads: list[str]) -> bool:
    """Whether a weight would belong into a part of the network that is not its head."""
    modules = dict(network.named_modules())
    place = name
    while place and place not in modules:
        place = place.rpartition(".")[0]
    return bool(place) and not any(f"{head}.".startswith(f"{place}.") for head in heads)


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _begun(names: tuple[str, ...]) -> str:
    parts = dict.fromkeys(name.partition(".")[0] for name in names)
    return _listed([f"{part}.*" for part in parts])


# Shapes.


def _fitted(
    converted: Mapping[str, Tensor], own: Mapping[str, Tensor], first: list[str]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return what the network has, with its dimensions of size 1 and its channels of images."""
    found, notes = {}, []
    for name in filter(converted.__contains__, own):
        tensor, wanted = converted[name], own[name].shape
        if tensor.shape != wanted and _long(tensor.shape) == _long(wanted):
            tensor = tensor.reshape(wanted)
        if name in first and tensor.ndim == 4 and tensor.shape[1] == 3 != wanted[1]:
            tensor = adapt_input_conv(wanted[1], tensor)
            notes.append(f"{name} adapted from 3 to {wanted[1]} channels")
        found[name] = tensor
    return found, tuple(notes)


def _long(shape: torch.Size) -> list[int]:
    return [size for size in shape if size != 1]


def _sizes(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _said_of_head(head: list[str], own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    if not head:
        return "none in the network"
    if not all(name in found for name in head):
        return f"{_LEFT}: the file has none"
    for name in head:
        if found[name].shape != own[name].shape:
            return left_at_initial_weights(len(found[name]), len(own[name]))
    return "loaded"


def left_at_initial_weights(theirs: int, ours: int) -> str:
    """Say what became of a classifier of another number of classes."""
    return f"{_LEFT}: pretrained on {theirs} classes, the network has {ours}"


def _first_convolutions(network: nn.Module) -> list[str]:
    first = (getattr(network, "pretrained_cfg", None) or {}).get("first_conv") or ()
    return [f"{name}.weight" for name in ((first,) if isinstance(first, str) else first)]
