"""Tests of semaug.data.near_duplicates."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from semaug.data import near_duplicates
from semaug.data.folder import load_folder
from semaug.data.near_duplicates import find_near_duplicates
from tests.data.image_files import write_image


def picture(seed, height=120, width=160):
    """Draw something with few and large parts, as photographs have."""
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    ).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Write twenty photographs of two classes, and forget what was found in other tests."""
    monkeypatch.setattr(near_duplicates, "_known", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for seed in range(20):
        path = tmp_path / "photos" / ("cat", "dog")[seed % 2] / f"{seed:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path, quality=95)
    return tmp_path / "photos"


def names_of_pairs(root):
    files = load_folder(root).train
    found = find_near_duplicates([files], threads=1)
    return [tuple(files.paths[k].name for k in pair) for pair in found.pairs.tolist()]


def test_other_photographs_are_no_duplicates(photos):
    assert names_of_pairs(photos) == []
    assert find_near_duplicates([load_folder(photos).train]).describe() == []


def turned(image):
    exif = Image.Exif()
    exif[0x0112] = 6
    return image.rotate(90, expand=True), {"exif": exif}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("small.jpg", lambda image: (image.resize((60, 45)), {"quality": 60})),
        ("poor.jpg", lambda image: (image, {"quality": 40})),
        ("lossless.png", lambda image: (image, {})),
        ("shifted.jpg", lambda image: (image.crop((2, 0, 160, 118)), {})),
        ("held_otherwise.jpg", turned),
        ("grey.png", lambda image: (image.convert("L"), {})),
    ],
)
def test_copies_in_other_forms_are_found(photos, name, change):
    image, options = change(picture(4))
    image.save(photos / "dog" / name, **options)
    assert names_of_pairs(photos) == [("04.jpg", name)]


def test_what_shows_nothing_or_cannot_be_read_is_like_nothing(photos):
    for k, color in enumerate(("white", "red", "white")):
        Image.new("RGB", (90, 90), color).save(photos / "cat" / f"flat{k}.png")
    for k in range(2):
        picture(30, 8, 8).save(photos / "dog" / f"tiny{k}.png")
        (photos / "cat" / f"damaged{k}.jpg").write_bytes(b"no image")
    assert names_of_pairs(photos) == []


def test_pairs_of_two_classes_or_two_parts_come_first(tmp_path, photos):
    for part in ("train", "val"):
        for kind in ("cat", "dog"):
            (tmp_path / "set" / part / kind).mkdir(parents=True)
    for seed, places in enumerate(
        [("train/cat/a", "train/cat/b"), ("train/cat/c", "val/cat/c"), ("train/dog/d", "val/cat/d")]
    ):
        for place in places:
            picture(seed).save(tmp_path / "set" / f"{place}.png")
    write_image(tmp_path / "set/val/dog/x.png", 40, 40)
    data = load_folder(tmp_path / "set")
    found = find_near_duplicates([data.train, data.test])
    root = tmp_path / "set"
    assert found.describe(most=2) == [
        "near duplicates: 3 pairs of 6 images, copies or shots in a row; of 1 the classes differ, "
        "so a label is probably wrong; 2 of training and test images, which make the error too low",
        f"  {root}/train/dog/d.png and {root}/val/cat/d.png, classes differ",
        f"  {root}/train/cat/c.png and {root}/val/cat/c.png",
        "  and 1 more",
    ]


def test_near_duplicates_of_near_duplicates_are_one_group(photos):
    for k in range(3):
        picture(4).resize((160 - 20 * k, 120 - 15 * k)).save(photos / "cat" / f"again{k}.png")
    files = load_folder(photos).train
    groups = find_near_duplicates([files]).groups
    sizes = torch.bincount(groups)
    assert sorted(sizes.tolist()) == [1] * 19 + [4]
    (largest,) = (sizes == 4).nonzero().squeeze(1).tolist()
    names = {files.paths[k].name for k in (groups == largest).nonzero().squeeze(1).tolist()}
    assert names == {"04.jpg", "again0.png", "again1.png", "again2.png"}


def test_images_that_are_all_alike_are_no_duplicates(photos, monkeypatch):
    picture(4).save(photos / "cat" / "again.png")
    monkeypatch.setattr(near_duplicates, "_MOST_PER_IMAGE", 0)
    found = find_near_duplicates([load_folder(photos).train])
    assert len(found.pairs) == 0
    (line,) = found.describe()
    assert (
        line == "near duplicates: more than 0 for each image; they are too alike to tell by a hash"
    )
    monkeypatch.setattr(near_duplicates, "_MOST_IMAGES", 20)
    (line,) = find_near_duplicates([load_folder(photos).train]).describe()
    assert line == "near duplicates: not looked for among more than 20 images"


def test_pairs_do_not_depend_on_how_many_are_compared_at_once(photos, monkeypatch):
    bits = torch.randint(
        2, (40, 256), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    bits[31], bits[39], bits[8] = bits[3], bits[8], bits[8]
    bits[31, :48] ^= 1
    bits[20] = bits[5]
    bits[20, :49] ^= 1
    expected = [[3, 31], [8, 39]]
    for at_once in (1, 7, 100):
        monkeypatch.setattr(near_duplicates, "_AT_ONCE", at_once)
        found = near_duplicates._find_close_pairs(bits)
        assert sorted(found.tolist()) == expected


def test_hashes_are_kept_until_a_file_changes(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(near_duplicates, "_WORTH_KEEPING", 0.0)
    hashed = []
    monkeypatch.setattr(
        near_duplicates,
        "_hash_file",
        lambda path, hash=near_duplicates._hash_file: hashed.append(path) or hash(path),
    )
    told = []
    files = load_folder(photos).train
    find_near_duplicates([files], progress=lambda done, total: told.append((done, total)))
    assert (len(hashed), told) == (20, [(20, 20)])
    hashed.clear()
    find_near_duplicates([files])
    assert hashed == []
    picture(5).save(photos / "cat" / "00.jpg")
    assert names_of_pairs(photos) == [("00.jpg", "05.jpg")]
    assert hashed == [photos / "cat" / "00.jpg"]
    (kept,) = (tmp_path / "cache" / "semaug").iterdir()
    for content in ("", "[]", json.dumps({"version": 1, "images": {"cat/00.jpg": ["", "zz"]}})):
        kept.write_text(content)
        hashed.clear()
        assert names_of_pairs(photos) == [("00.jpg", "05.jpg")]
        assert len(hashed) == 20


def test_a_cache_that_cannot_be_written_stops_nothing(photos, monkeypatch):
    monkeypatch.setattr(near_duplicates, "_WORTH_KEEPING", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert names_of_pairs(photos) == []


def test_the_orientation_of_the_hash_is_that_of_decoding(photos):
    image, options = turned(picture(7))
    path = Path(photos, "dog", "phone.jpg")
    image.save(path, **options)
    small = near_duplicates._read_small(path)
    assert small.size == ImageOps.exif_transpose(Image.open(path)).size == (160, 120)
