"""Files of images become pixels.

The reference is ``PIL.Image.open(path).convert("RGB")``. JPEG and WebP torchvision decodes faster,
to equal pixels, and all the rest (PNG, BMP, TIFF, PPM, the first frame of an animation, whatever
torchvision refuses) is left to Pillow. So is everything once torchvision has no decoder any more,
as it has announced in version 0.29. Grey, CMYK and palette images become RGB and transparency is
dropped; the turn that a camera notes in a photograph (EXIF) is not applied. There is one exception
to the reference: of grey images with 16 bits (PNG, TIFF, PGM) the upper byte is kept, as Pillow
itself does in color, where it would cut off at 255.
"""

import io
import os
import warnings

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semaug.data.errors import WHAT_TO_DO

try:
    from torchvision.io import decode_image
except ImportError:
    decode_image = None


def decode_file(path: str | os.PathLike[str]) -> Tensor:
    """Read an image.

    Args:
        path: Of a file in any format that Pillow knows; its content decides, not its name.

    Returns:
        ``(3, H, W)`` uint8, red, green and blue. In memory the channels lie together.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is empty, truncated, damaged or no image; the message names it.
    """
    return _decode(np.fromfile(path, dtype=np.uint8), os.fspath(path))


def _decode(content: np.ndarray, name: str) -> Tensor:
    image = _by_torchvision(content) if decode_image and _suits_torchvision(content) else None
    try:
        return _by_pillow(content) if image is None else image
    # What Pillow and its plugins raise for damaged files.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        unknown = isinstance(error, Image.UnidentifiedImageError)  # its own message is no help
        reason = "no image of a known format" if unknown else str(error).partition("\n")[0]
        raise ValueError(
            f"decode: cannot read {name!r} ({len(content):,} bytes): {reason}{WHAT_TO_DO}"
        ) from error


def _suits_torchvision(content: np.ndarray) -> bool:
    """Tell JPEG and WebP by their first bytes.

    Not PNG: of a damaged one, torchvision 0.29 does not raise, but dies with the whole process.
    """
    begin = content[:12].tobytes()
    return begin.startswith(b"\xff\xd8\xff") or (begin[:4], begin[8:]) == (b"RIFF", b"WEBP")


def _by_torchvision(content: np.ndarray) -> Tensor | None:
    """Return None for an animation, and for what is damaged or odd."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            image: Tensor = decode_image(torch.from_numpy(content), mode="RGB")
        except RuntimeError:
            return None
    return image if image.ndim == 3 else None


def _by_pillow(content: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd but harmless metadata
        with Image.open(io.BytesIO(content.tobytes())) as image:
            if _is_deep_grey(image):
                upper = torch.from_numpy((np.array(image) >> 8).astype(np.uint8))
                return upper.expand(3, -1, -1).contiguous()
            pixels = np.array(image.convert("RGB"))  # (H, W, 3)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _is_deep_grey(image: Image.Image) -> bool:
    """Tell whether the levels are 0 to 65535. Of PGM, Pillow makes 32 bits but scales to these."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
