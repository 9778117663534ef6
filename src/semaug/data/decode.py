"""Files of images become pixels.

The reference is ``PIL.ImageOps.exif_transpose(PIL.Image.open(path)).convert("RGB")``: a photograph
is turned upright where its camera noted how it was held (EXIF), as programs show it. JPEG and WebP
torchvision decodes faster, to equal pixels, and all the rest (PNG, BMP, TIFF, PPM, the first frame
of an animation, whatever torchvision refuses) is left to Pillow. So is everything once torchvision
has no decoder any more, as it has announced in version 0.29. Grey, CMYK and palette images become
RGB and transparency is dropped. There is one exception to the reference: of grey images with more
than 8 bits (PNG, TIFF, PGM, JPEG 2000) the upper 8 bits are kept, as Pillow itself does in color,
where it would cut off at 255. Numbers of no agreed scale are refused: floating-point, signed and
32-bit ones, and 12 bits stored in 16. So are formats for which Pillow calls other programs.
"""

import io
import os
import stat
import struct
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from semaug.data.errors import WHAT_TO_DO
from semaug.data.formats import known_formats
from semaug.data.image_set import MaskFiles
from semaug.data.tar_members import TarMember

try:
    from torchvision.io import decode_image
except ImportError:
    decode_image = None


_SIXTEEN_BITS = {"I;16": ("JPEG2000", "PNG", "TIFF"), "I;16B": ("TIFF",), "I": ("PNG", "PPM")}
_MOST_NUMBERS = 5  # that are named
_HEADERS = 1 << 18  # bytes of a file that its metadata begins in
_EXIF_OR_XMP = 8 | 4  # flags of an extended WebP
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of a TIFF


# What odd EXIF makes Pillow raise; then nobody knows how the camera was held.
_MALFORMED = (
    ArithmeticError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


class _ScaleError(ValueError):
    """The numbers of a picture have no agreed scale; the message says what mends it."""


def decode_file(path: str | os.PathLike[str]) -> Tensor:
    """Read an image.

    Args:
        path: Of a file in any of :func:`known_formats`; its content decides, not its name. A
            :class:`~semaug.data.tar_members.TarMember` is read where it lies.

    Returns:
        ``(3, H, W)`` uint8, red, green and blue, upright. In memory the channels lie together.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is empty, truncated, damaged or no image, or its numbers have no agreed
            scale; the message names it.
    """
    return _decode(read_file(path), os.fspath(path))


def read_file(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a file whole, or a member of a tar file; uint8.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a folder or pipe, or a tar file has changed.
    """
    if isinstance(path, TarMember):
        return path.read()
    if not stat.S_ISREG(Path(path).stat().st_mode):  # a pipe would be waited for
        raise ValueError(f"cannot read {os.fspath(path)!r}: a folder or pipe, no file")
    return np.fromfile(path, dtype=np.uint8)


def decode_mask(
    path: str | os.PathLike[str],
    table: Tensor,
    colors: Mapping[tuple[int, int, int], int] | None = None,
) -> Tensor:
    """Read the classes of the pixels of an image.

    A pixel is a number: of a grey image, of the palette of a picture that has one, or of three
    equal colors. What a camera notes in EXIF is not looked for: tools that draw masks do not write
    it.

    Args:
        path: Of a file without loss, such as a PNG.
        table: As of :class:`semaug.data.MaskFiles`.
        colors: Likewise.

    Returns:
        ``(H, W)`` uint8, 255 for no class.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged, its format changes numbers, or a number or a color is unknown;
            the message names it.
    """
    numbers, name = read_numbers(path), os.fspath(path)
    if numbers.ndim == 2:
        found = np.append(table.numpy(), -1)[np.clip(numbers.astype(np.int64), -1, len(table))]
        if (is_unknown := found < 0).any():
            unknown = np.unique(numbers[is_unknown]).tolist()
            raise ValueError(
                f"mask {name!r}: expected numbers of classes, and 255 for none, got "
                f"{_list_first(unknown)}"
            )
        return torch.from_numpy(found.astype(np.uint8))
    codes = numbers.astype(np.int64) @ (1 << 16, 1 << 8, 1)  # (H, W)
    present, places = np.unique(codes, return_inverse=True)
    own = [(code >> 16, code >> 8 & 255, code & 255) for code in present.tolist()]
    if colors is None:
        raise ValueError(
            f"mask {name!r}: expected one number of a class for each pixel, got {len(own):,} "
            f"colors, such as {own[-1]}; say in classes.txt which they are, in lines NAME RED "
            "GREEN BLUE"
        )
    if unknown_colors := [color for color in own if color not in colors]:
        raise ValueError(
            f"mask {name!r}: expected colors of classes, got {_list_first(unknown_colors)}"
        )
    classes = np.array([colors[color] for color in own], np.uint8)
    return torch.from_numpy(classes[places.reshape(codes.shape)])


def read_numbers(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the numbers ``(H, W)`` of a mask, or its colors ``(H, W, 3)``, whatever they mean.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged, or its format changes numbers.
    """
    name, content = os.fspath(path), Path(path).read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=known_formats()) as image:
            kind, numbers = image.format, np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = f"mask {name!r} ({len(content):,} bytes)"
        raise ValueError(f"cannot read {reason}{WHAT_TO_DO}") from error
    if kind in ("JPEG", "MPO") or numbers.dtype.kind == "f":
        raise ValueError(
            f"mask {name!r}: expected whole numbers, as in a PNG, got "
            + ("floating-point ones" if numbers.dtype.kind == "f" else "a JPEG, which changes them")
        )
    if numbers.ndim == 3 and (numbers.shape[2] < 3 or (numbers[..., :3] == numbers[..., :1]).all()):
        numbers = numbers[..., 0]
    return numbers if numbers.ndim == 2 else numbers[..., :3]


def decode_pair(
    image: str | os.PathLike[str], masks: MaskFiles, position: int
) -> tuple[Tensor, Tensor]:
    """Read an image and its mask, see :func:`decode_file` and :func:`decode_mask`.

    Raises:
        OSError: If a file cannot be read.
        ValueError: As they do, and if the sizes differ.
    """
    path = masks.paths[position]
    pixels, classes = decode_file(image), decode_mask(path, masks.table, masks.colors)
    if pixels.shape[1:] != classes.shape:
        (height, width), (rows, columns) = pixels.shape[1:], classes.shape
        turned = "; its EXIF turns the photograph, so turn the mask too"
        raise ValueError(
            f"mask {os.fspath(path)!r}: expected {height} x {width} pixels as "
            f"{os.fspath(image)!r}, got {rows} x {columns}"
            + turned
            * ((height, width) == (columns, rows))
        )
    return pixels, classes


def _list_first(values: Sequence[Any]) -> str:
    more = f" and {len(values) - _MOST_NUMBERS} more" if len(values) > _MOST_NUMBERS else ""
    return ", ".join(map(str, values[:_MOST_NUMBERS])) + more


def _decode(content: np.ndarray, name: str) -> Tensor:
    image = (
        _decode_by_torchvision(content) if decode_image and _suits_torchvision(content) else None
    )
    try:
        return _decode_by_pillow(content) if image is None else image
    # What Pillow and its plugins raise for damaged files.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        unknown = isinstance(error, Image.UnidentifiedImageError)  # its own message is no help
        reason = "no image of a known format" if unknown else str(error).partition("\n")[0]
        remedy = "" if isinstance(error, _ScaleError) else WHAT_TO_DO
        raise ValueError(
            f"cannot read {name!r} ({len(content):,} bytes): {reason}{remedy}"
        ) from error


def _suits_torchvision(content: np.ndarray) -> bool:
    """Tell JPEG and WebP by their first bytes.

    Not PNG: of a damaged one, torchvision 0.29 does not raise, but dies with the whole process. Not
    images with XMP, which may say or hide how the camera was held, nor WebP with EXIF: torchvision
    passes over both.
    """
    begin = content[:_HEADERS].tobytes()
    if begin.startswith(b"\xff\xd8\xff"):
        return b"http://ns.adobe.com/xap/" not in begin
    has_metadata = begin[12:16] == b"VP8X" and len(begin) > 20 and begin[20] & _EXIF_OR_XMP
    return (begin[:4], begin[8:12]) == (b"RIFF", b"WEBP") and not has_metadata


def _decode_by_torchvision(content: np.ndarray) -> Tensor | None:
    """Return None for an animation, and for what is damaged or odd."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            image: Tensor = decode_image(
                torch.from_numpy(content), mode="RGB", apply_exif_orientation=True
            )
        except RuntimeError:
            return None
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1) if image.ndim == 3 else None


def _decode_by_pillow(content: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd but harmless metadata
        with Image.open(io.BytesIO(content.tobytes()), formats=known_formats()) as image:
            tags, is_deep = getattr(image, "tag_v2", {}), ";16" in repr(image.tile)
            turn_upright(image)
            if image.mode[0] in "FI" or 2 in tags.get(_SAMPLE_FORMAT, ()):
                return _take_upper_bits(image, tags).expand(3, -1, -1).contiguous()
            pixels = np.array(image.convert("RGB"))  # (H, W, 3)
            if is_deep:  # in color, of which Pillow has kept the upper bits
                _check_bits(pixels, image.mode)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def turn_upright(image: Image.Image) -> None:
    """Turn an image of Pillow as its EXIF says.

    Raises:
        OSError: If it cannot be read. Damaged EXIF is no reason.
    """
    image.load()
    with suppress(*_MALFORMED):
        ImageOps.exif_transpose(image, in_place=True)


def _check_bits(upper: np.ndarray, mode: str) -> None:
    """Refuse upper 8 of 16 bits that look like 12 bits; what is black at any scale is not.

    Raises:
        _ScaleError: If no level of 16 bits was above 4,095.
    """
    if 0 < upper.max() < 16:
        raise _ScaleError(
            f"mode {mode} of 16 bits with no level above 4,095, nearly black, as 12 bits stored in "
            "16 are; convert it to 8 bits"
        )


def _take_upper_bits(image: Image.Image, tags: Mapping[int, Any]) -> Tensor:
    """Return the upper 8 bits ``(H, W)`` of unsigned grey levels.

    Raises:
        _ScaleError: If they have no agreed scale.
    """
    signed = 2 in tags.get(_SAMPLE_FORMAT, ())
    if signed or image.format not in _SIXTEEN_BITS.get(image.mode, ()):
        what = "signed numbers" if signed else "numbers"
        raise _ScaleError(
            f"mode {image.mode} of {image.format}, {what} of no agreed scale; convert it to 8 bits"
        )
    levels, bits = np.array(image), tags.get(_BITS, (16,))[0]
    shifted = (levels >> (bits - 8)).astype(np.uint8)
    if bits == 16:
        _check_bits(shifted, image.mode)
    upper = torch.from_numpy(shifted)
    return 255 - upper if tags.get(_PHOTOMETRIC) == 0 else upper  # 0 is white
