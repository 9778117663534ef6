"""Tests of semaug.data.decode, against Pillow."""

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features
from torch.testing import assert_close

from semaug.data import decode
from semaug.data.decode import decode_file

PHOTO = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
).resize((61, 47), Image.Resampling.BICUBIC)
GREY = PHOTO.convert("L")
PALETTE = PHOTO.convert("P")

# Name: image, format, options.
FILES = {
    "jpeg": (PHOTO, "JPEG", {"quality": 90}),
    "jpeg, colors at full size": (PHOTO, "JPEG", {"subsampling": 0}),
    "jpeg, progressive": (PHOTO, "JPEG", {"progressive": True}),
    "jpeg, grey": (GREY, "JPEG", {}),
    "jpeg, CMYK": (PHOTO.convert("CMYK"), "JPEG", {}),
    "png": (PHOTO, "PNG", {}),
    "png, grey": (GREY, "PNG", {}),
    "png, grey and alpha": (PHOTO.convert("LA"), "PNG", {}),
    "png, alpha": (Image.merge("RGBA", (*PHOTO.split(), GREY)), "PNG", {}),
    "png, palette": (PALETTE, "PNG", {}),
    "png, transparent palette": (PALETTE, "PNG", {"transparency": bytes(range(256))}),
    "png, one bit": (PHOTO.convert("1"), "PNG", {}),
    "bmp": (PHOTO, "BMP", {}),
    "tiff": (PHOTO, "TIFF", {}),
    "ppm": (PHOTO, "PPM", {}),
    "pgm": (GREY, "PPM", {}),
    "webp": (PHOTO, "WEBP", {}),
    "gif": (PALETTE, "GIF", {}),
    "jpeg 2000": (PHOTO, "JPEG2000", {}),
    "tga": (PHOTO, "TGA", {}),
    "tiff, CMYK": (PHOTO.convert("CMYK"), "TIFF", {}),
    "tiff, YCbCr": (PHOTO.convert("YCbCr"), "TIFF", {"compression": "jpeg"}),
    "tiff, Lab": (PHOTO.convert("LAB"), "TIFF", {}),
    "tiff, grey and alpha": (PHOTO.convert("LA"), "TIFF", {}),
    "animation": (PHOTO, "GIF", {"save_all": True, "append_images": [PHOTO.rotate(90)]}),
}


if features.check("avif"):
    FILES["avif"] = (PHOTO, "AVIF", {})


def write(image, kind, options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decode_bytes(content, name):
    return decode._decode(np.frombuffer(bytearray(content), dtype=np.uint8), name)


def as_pillow(content):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content)) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


@pytest.fixture(params=["torchvision", "Pillow alone"])
def either_decoder(request, monkeypatch):
    if request.param == "Pillow alone":
        monkeypatch.setattr(decode, "decode_image", None)
    elif decode.decode_image is None:
        pytest.skip("this torchvision has no decoder")


@pytest.mark.usefixtures("either_decoder")
@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_pillow(name):
    content = write(*FILES[name])
    actual = decode_bytes(content, name)
    assert actual.dtype == torch.uint8
    assert_close(actual, as_pillow(content), atol=0, rtol=0)


@pytest.mark.usefixtures("either_decoder")
def test_a_file_reads_like_its_bytes(tmp_path):
    path = tmp_path / "wrong name.png"  # ImageNet has a PNG that is called JPEG
    path.write_bytes(write(*FILES["jpeg"]))
    expected = decode_bytes(path.read_bytes(), "bytes")
    assert_close(decode_file(path), expected, atol=0, rtol=0)
    assert_close(decode_file(str(path)), expected, atol=0, rtol=0)


@pytest.mark.usefixtures("either_decoder")
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "TIFF, highest byte first"])
def test_of_sixteen_bits_the_upper_eight_are_kept(kind):
    levels = np.array([[0, 255, 256, 4096, 65535]], dtype=np.uint16)
    deep = Image.fromarray(levels)
    if kind.endswith("first"):
        deep = Image.frombytes("I;16B", (5, 1), levels.astype(">u2").tobytes())
    image = decode_bytes(write(deep, kind.partition(",")[0], {}), "deep")
    assert image.dtype == torch.uint8
    assert image.tolist() == [[[0, 0, 1, 16, 255]]] * 3


@pytest.mark.usefixtures("either_decoder")
def test_deep_photographs_are_equal_in_all_formats():
    levels = np.random.default_rng(1).integers(0, 2**16, (7, 9), dtype=np.uint16)
    png, tiff, pgm = (
        decode_bytes(write(Image.fromarray(levels), kind, {}), kind)
        for kind in ("PNG", "TIFF", "PPM")
    )
    assert_close(tiff, png, atol=0, rtol=0)
    assert_close(pgm, png, atol=0, rtol=0)


def tiff(pixels, sample_format, photometric=1):
    """Write a grey TIFF by hand: Pillow writes none with signs, with 12 bits or with 0 as white."""
    packed = pixels.dtype == "V3"  # two levels of 12 bits
    height, width = pixels.shape[0], pixels.shape[1] * (2 if packed else 1)
    tags = {
        256: width, 257: height, 258: 12 if packed else 8 * pixels.itemsize, 259: 1,
        262: photometric, 273: 8, 277: 1, 278: height, 279: pixels.nbytes, 339: sample_format,
    }  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack("<2sHI", b"II", 42, 8 + pixels.nbytes) + pixels.tobytes()
    return head + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)


RAMP = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("float32", write(Image.fromarray(RAMP), "TIFF", {}), "mode F of TIFF, numbers"),
        ("float32 map", write(Image.fromarray(RAMP), "PPM", {}), "mode F of PPM, numbers"),
        ("int8", tiff((RAMP * 200 - 100).astype("i1"), 2), "mode L of TIFF, signed numbers"),
        ("int16", tiff((RAMP * 2000 - 999).astype("<i2"), 2), "mode I of TIFF, signed numbers"),
        ("int32", tiff((RAMP * 65535).astype("<i4"), 2), "mode I of TIFF, signed numbers"),
        ("uint32", tiff((RAMP * 4e9).astype("<u4"), 1), "mode I of TIFF, numbers"),
    ],
)
def test_numbers_of_no_agreed_scale_are_refused(tmp_path, name, content, reason):
    path = tmp_path / f"{name}.tif"
    path.write_bytes(content)
    with pytest.raises(
        ValueError,
        match=rf"'.*{name}\.tif' \(.*\): {reason} of no agreed scale; convert it to 8 bits$",
    ):
        decode_file(path)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_twelve_bits_stored_in_sixteen_are_refused(kind):
    content = write(Image.fromarray((RAMP * 4095).astype(np.uint16)), kind, {})
    with pytest.raises(
        ValueError, match=r"mode I.* of 16 bits with no level above 4,095, nearly b"
    ):
        decode_bytes(content, "12 in 16")
    black = write(Image.fromarray(np.zeros((2, 2), np.uint16)), kind, {})
    assert decode_bytes(black, "black").max() == 0


def deep_png(levels):
    """Write a PNG of 16 bits: ``(H, W, 3)`` in color, 2 or 4 with alpha; Pillow writes none."""
    height, width, channels = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def test_colors_of_sixteen_bits_are_treated_as_grey_levels_are():
    levels = np.arange(12).reshape(2, 2, 3) * 5000
    assert (
        decode_bytes(deep_png(levels), "deep").permute(1, 2, 0).tolist() == (levels >> 8).tolist()
    )
    with pytest.raises(ValueError, match=r"mode RGB of 16 bits with no level above 4,095, nearly"):
        decode_bytes(deep_png(levels // 14), "12 in 16")


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_what_is_black_at_any_scale_is_black(channels):
    black = np.zeros((2, 3, channels), np.uint16)
    black[..., 3:] = 65535  # opaque
    assert decode_bytes(deep_png(black), "black").tolist() == [[[0] * 3] * 2] * 3


def test_no_other_program_is_called_whatever_the_name(tmp_path):
    PHOTO.save(tmp_path / "a.eps")
    path = (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with Image.open(path) as image:
        assert image.format == "EPS"
    with pytest.raises(ValueError, match=r"'.*a\.jpg' \(.*\): no image of a known format"):
        decode_file(path)


def test_bits_that_a_file_tells_make_the_scale():
    levels = np.array([[0, 16, 2048, 4095]])
    packed = bytes.fromhex("000010800fff")
    twelve = np.frombuffer(packed, dtype="V3").reshape(1, 2)
    assert decode_bytes(tiff(twelve, 1), "12 bits").tolist() == [[[0, 1, 128, 255]]] * 3
    pgm = b"P5 4 1 4095\n" + levels.astype(">u2").tobytes()
    assert decode_bytes(pgm, "pgm").tolist() == [[[0, 1, 128, 255]]] * 3


def test_of_white_zero_the_other_end_is_black():
    levels = np.array([[0, 256, 65535]], dtype="<u2")
    assert decode_bytes(tiff(levels, 1, 0), "white is 0").tolist() == [[[255, 254, 0]]] * 3


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", tmp_path):
        with pytest.raises(ValueError, match=r"cannot read '.*': a folder or pipe, no file"):
            decode_file(path)


TURNED = ["JPEG", "MPO", "WEBP", "PNG", "TIFF", *["AVIF"] * features.check("avif")]


@pytest.mark.usefixtures("either_decoder")
@pytest.mark.parametrize("kind", TURNED)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_upright_however_the_camera_was_held(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True, "quality": 100} if kind == "WEBP" else {"quality": 100}
    content = write(PHOTO, kind, {"exif": exif, **lossless})
    with Image.open(io.BytesIO(content)) as image:
        expected = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    actual = decode_bytes(content, "turned")
    assert actual.shape[1:] == ((61, 47) if orientation > 4 else (47, 61))
    assert_close(actual.permute(1, 2, 0), torch.from_numpy(expected), atol=0, rtol=0)
    assert actual.permute(1, 2, 0).is_contiguous()


XMP = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/">%s</x:xmpmeta>'


@pytest.mark.usefixtures("either_decoder")
@pytest.mark.parametrize("tells", ["EXIF", "XMP"])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_photographs_with_xmp_are_upright(kind, tells):
    exif, said = Image.Exif(), b'<rdf:Description tiff:Orientation="6"/>'
    exif[0x0112] = 6  # by 90 degrees, clockwise
    if tells == "EXIF":
        said = b""
    xmp = XMP % said
    if kind == "WEBP":
        own = {"exif": exif} if tells == "EXIF" else {}
        content = write(PHOTO, kind, {"lossless": True, "xmp": xmp.partition(b"\0")[2], **own})
    else:
        plain = write(PHOTO, kind, {"exif": exif} if tells == "EXIF" else {})
        segment = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp  # before that of EXIF
        content = plain[:2] + segment + plain[2:]
    with Image.open(io.BytesIO(content)) as image:
        expected = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    actual = decode_bytes(content, "turned")
    assert actual.shape[1:] == (61, 47)
    assert_close(actual.permute(1, 2, 0), torch.from_numpy(expected), atol=0, rtol=0)


def test_grey_photographs_of_sixteen_bits_are_turned_too():
    levels = np.arange(6, dtype=np.uint16).reshape(2, 3) * 10_000
    exif = Image.Exif()
    exif[0x0112] = 6  # by 90 degrees, clockwise
    for kind in ("PNG", "TIFF"):
        content = write(Image.fromarray(levels), kind, {"exif": exif})
        expected = np.rot90(levels >> 8, -1).astype(np.uint8)
        assert decode_bytes(content, "turned")[0].tolist() == expected.tolist()


@pytest.mark.usefixtures("either_decoder")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0nothing of the kind", b"Exif\0\0II*\0\xff"]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_photographs_with_damaged_exif_stay_as_they_are(kind, exif):
    content = write(PHOTO, kind, {"exif": exif})
    assert_close(decode_bytes(content, "odd"), as_pillow(content), atol=0, rtol=0)


@pytest.mark.usefixtures("either_decoder")
@pytest.mark.parametrize("name", ["jpeg", "jpeg, progressive", "png", "bmp", "tiff", "webp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_named(tmp_path, name, share):
    content = write(*FILES[name])
    path = tmp_path / "cut.jpg"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cannot read '.*cut\.jpg' \([\d,]+ bytes\): ."):
        decode_file(path)


def flip_bits(content, count=12):
    """Yield copies, each with one other bit, in the middle half of the bytes."""
    for k in range(count):
        damaged = bytearray(content)
        damaged[len(content) // 4 + k * len(content) // (2 * count)] ^= 1 << k % 8
        yield bytes(damaged)


def test_damaged_files_end_no_process(tmp_path):
    """In a process of its own, for libraries that decode may take it with them."""
    for name, (image, kind, options) in FILES.items():
        for k, content in enumerate(flip_bits(write(image, kind, options))):
            (tmp_path / f"{name} {k}").write_bytes(content)
    code = """if True:
        import sys
        from pathlib import Path
        from semaug.data.decode import decode_file
        for path in sorted(Path(sys.argv[1]).iterdir()):
            print("decoding", path.name, flush=True)
            try:
                decode_file(path)
            except ValueError as error:
                assert str(error).startswith("cannot read"), error
                print("refused")
    """
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    printed = done.stdout.splitlines()
    assert done.returncode == 0, f"{done.returncode} while {printed[-1]}\n{done.stderr[-1000:]}"
    pngs = {line for line in printed if line.startswith("decoding png")}
    refused = {line for line, next_ in pairwise(printed) if next_ == "refused"}
    assert len(pngs) == 84
    assert pngs <= refused  # checksums find every flipped bit


@pytest.mark.usefixtures("either_decoder")
def test_what_is_no_image_is_named():
    for content in (b"", b"x", b"<html>not found</html>"):
        with pytest.raises(ValueError, match=r"'a\.jpg' \(\d+ bytes\): no image of a known format"):
            decode_bytes(content, "a.jpg")


def test_the_message_says_what_to_do():
    with pytest.raises(ValueError, match="copy or fetch the file again, or take it out"):
        decode_bytes(b"", "a.jpg")


def test_a_missing_file_is_reported_as_such(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.jpg"):
        decode_file(tmp_path / "nothing.jpg")


def test_an_image_of_absurd_size_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"cannot read 'bomb\.bmp' .* pixels"):
        decode_bytes(write(*FILES["bmp"]), "bomb.bmp")
