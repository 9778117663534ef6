"""Outlines of objects as COCO writes them: polygons and run lengths, filled to masks and back.

faster-coco-eval fills and packs them as pycocotools does, pixel by pixel.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from semaug.errors import how_to_install

__all__ = ["Outlines", "outline_masks", "pack_masks", "require_coco"]


def require_coco() -> None:
    """Find out whether masks can be filled and packed, and average precision computed.

    Raises:
        ModuleNotFoundError: If faster-coco-eval is not installed.
    """
    try:
        import faster_coco_eval  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "detection: masks and scores need faster-coco-eval; install it with: "
            + how_to_install("detection"),
            name="faster_coco_eval",
        ) from error


@dataclass(frozen=True, eq=False)
class Outlines:
    """Outlines of B objects as COCO's JSON writes them, in tensors that processes share.

    Args:
        text: uint8, the JSON of all outlines one after the other.
        spans: ``(B, 2)`` int64, where an outline begins in ``text`` and where it has ended.
    """

    text: Tensor
    spans: Tensor

    @classmethod
    def of(cls, outlines: Iterable[Any]) -> Self:
        """Keep polygons ``[[x1, y1, x2, y2, ...], ...]``, run lengths, or None."""
        parts = [json.dumps(outline, separators=(",", ":")).encode() for outline in outlines]
        stops = torch.tensor([0, *map(len, parts)], dtype=torch.int64).cumsum(0)
        text = bytearray(b"".join(parts)) or bytearray(1)  # `frombuffer` takes no empty buffer
        spans = torch.stack([stops[:-1], stops[1:]], dim=1)
        return cls(torch.frombuffer(text, dtype=torch.uint8), spans)

    def __getitem__(self, index: int) -> Any:
        """Read one outline."""
        start, stop = self.spans[index].tolist()
        return json.loads(self.text[start:stop].numpy().tobytes())

    def subset(self, indices: Tensor) -> Self:
        """Take the outlines at ``indices`` (int64)."""
        return type(self)(self.text, self.spans[indices])


def outline_masks(outlines: Sequence[Any], height: int, width: int) -> Tensor:
    """Fill outlines as COCO does.

    Args:
        outlines: Polygons or run lengths, see :class:`Outlines`.
        height: H, of the image.
        width: W, of the image.

    Returns:
        ``(N, H, W)`` bool.

    Raises:
        ModuleNotFoundError: If faster-coco-eval is not installed.
    """
    require_coco()
    from faster_coco_eval.core import mask as coco  # slow to import, and in an extra

    found = torch.zeros(len(outlines), height, width, dtype=torch.bool)
    for outline, out in zip(outlines, found, strict=True):
        packed = outline
        if isinstance(outline, list):
            packed = coco.merge(coco.frPyObjects(outline, height, width))
        elif isinstance(outline["counts"], list):
            packed = coco.frPyObjects(outline, height, width)
        out.copy_(torch.from_numpy(np.asarray(coco.decode(packed))))
    return found


def pack_masks(masks: Tensor) -> list[dict[str, Any]]:
    """Pack ``(N, H, W)`` bool to run lengths, plain data for JSON."""
    require_coco()
    from faster_coco_eval.core import mask as coco

    if not len(masks):
        return []
    pixels = np.asfortranarray(masks.cpu().permute(1, 2, 0).numpy(), dtype=np.uint8)
    return [
        {"size": [int(n) for n in one["size"]], "counts": _text(one["counts"])}
        for one in coco.encode(pixels)
    ]


def _text(counts: str | bytes) -> str:
    return counts.decode() if isinstance(counts, bytes) else counts
