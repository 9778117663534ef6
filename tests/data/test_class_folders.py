"""Tests of semaug.data.class_folders, against torchvision."""

import os
import socket
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from PIL import features
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from semaug.data.class_folders import (
    Part,
    add_plugins,
    find_classes,
    find_images,
    image_extensions,
    printable,
)
from tests.data.image_files import write_folders

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs links, pipes and sockets")


@pytest.fixture
def part(tmp_path):
    write_folders(
        tmp_path / "part",
        {
            "dog": ["1.jpg", "10.jpg", "2.JPEG", "b.png", "B.png"],
            "cat": ["7.webp", "a.txt", "notes"],
        },
    )
    return tmp_path / "part"


def names_of(files):
    return [path.name for path in files.paths]


def test_files_labels_and_order_are_those_of_torchvision(part):
    write_folders(
        part,
        {"dog/more": ["c.jpg", "a.jpg"], "dog/More/x": ["d.jpg"], "Emu": ["1.pgm"]},
    )
    found = find_images(part)
    expected = ImageFolder(part)
    assert list(found.classes) == expected.classes
    assert [str(path) for path in found.paths] == [path for path, _ in expected.samples]
    assert found.labels.tolist() == expected.targets
    assert found.labels.dtype == torch.int64


def test_extensions_are_what_pillow_decodes_by_itself():
    found = image_extensions()
    assert set(IMG_EXTENSIONS) <= found
    assert {".jfif", ".jpe", ".gif", ".mpo", ".jp2", ".tga"} <= found
    assert (".avif" in found) == features.check("avif")
    assert not {".eps", ".wmf", ".h5", ".mpg", ".pdf", ".heic", ".txt"} & found


def test_heic_is_decoded_where_its_plugin_is_installed(monkeypatch):
    called = []
    plugin = SimpleNamespace(register_heif_opener=lambda: called.append("HEIC"))
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    add_plugins()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    add_plugins()
    assert called == ["HEIC"]


def test_what_is_passed_over_is_counted_by_its_kind(part):
    write_folders(
        part,
        {
            ".": ["stray.jpg", "list.csv"],
            "cat": ["x.HEIC", "y.heic", ".thumb.jpg", "z.h\udce9"],
            "cat/.cache": ["1.jpg"],
            "dog/@eaDir": ["1.jpg"],
            "__MACOSX/cat": ["._7.jpg"],
            ".git": [],
        },
    )
    found = Part.of(part)
    assert list(found.classes) == ["cat", "dog"]
    assert len(found.files()) == 6
    kinds = {".heic": 2, ".txt": 1, ".csv": 1, ".h\\xe9": 1, "without ending": 1, "hidden files": 1}
    folders = {".cache/": 1, "@eaDir/": 1, "__MACOSX/": 1, ".git/": 1}
    assert found.others == Counter(kinds | folders | {"images in no class": 1})
    assert f"passed over in {str(part)!r}: .heic (2), " in found.note()
    assert ".git/" in found.note()
    assert found.note().endswith("; Pillow decodes HEIC after: pip install pillow-heif")


def test_of_many_kinds_ten_are_named(part):
    write_folders(part, {"cat": [f"1.{letter}" for letter in "abcdefghijk"]})
    note = Part.of(part).note()
    assert ".a (1)" in note
    assert note.endswith(
        "and 3 other kinds; Pillow decodes no such files, so convert photographs among them"
    )


def test_nothing_is_said_where_nothing_is_passed_over(part):
    for name in ("a.txt", "notes"):
        (part / "cat" / name).unlink()
    assert Part.of(part).note() == ""


@needs_posix
def test_links_to_other_places_are_followed(part, tmp_path):
    write_folders(tmp_path / "elsewhere", {"emu": ["1.jpg"], "dogs": ["9.jpg"]})
    (part / "emu").symlink_to(tmp_path / "elsewhere/emu")
    (part / "dog/more").symlink_to("../../elsewhere/dogs")
    (part / "cat/8.jpg").symlink_to("../dog/1.jpg")
    found = find_images(part)
    assert found.classes == ("cat", "dog", "emu")
    assert names_of(found) == ["7.webp", "8.jpg", *names_of(find_images(part))[2:]]
    assert found.labels.tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 2]


@needs_posix
def test_what_links_lead_to_is_seen_once(part, tmp_path):
    write_folders(tmp_path / "elsewhere", {"deep/deeper": ["9.jpg"]})
    before = find_images(part)
    places = {
        "cat/circle": part / "cat",
        "cat/up": part,
        "cat/higher": tmp_path,
        "cat/dogs": part / "dog",
        "cat/itself": part / "cat/itself",
    }
    for link, place in places.items():
        (part / link).symlink_to(place)
    assert names_of(find_images(part)) == names_of(before)
    others = Part.of(part).others
    assert others["links to folders that are seen anyway"] == 4
    assert others["links to nothing"] == 1

    for link in ("a", "b"):
        (part / "cat" / link).symlink_to(tmp_path / "elsewhere/deep")
    (tmp_path / "elsewhere/deep/round").symlink_to(tmp_path / "elsewhere")
    assert len(find_images(part)) == len(before) + 1


@needs_posix
def test_pipes_sockets_and_links_to_nothing_are_no_images(part, monkeypatch):
    os.mkfifo(part / "cat/pipe.jpg")
    monkeypatch.chdir(part)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("cat/socket.png")
        (part / "cat/gone.jpg").symlink_to("nowhere.jpg")
        found = Part.of(part)
    assert names_of(found.files())[0] == "7.webp"
    assert found.others["pipes or sockets"] == 2
    assert found.others["links to nothing"] == 1


@pytest.mark.parametrize(
    ("folder", "passed_over"),
    [("results", ["results/"]), (".", ["resnet,lr=1/", "compare/", "features/"])],
)
@pytest.mark.parametrize("file", ["recipe.json", "lock"])
def test_folders_of_runs_are_no_classes(part, folder, passed_over, file):
    runs = part / folder
    pictures = {"compare/a-vs-b/seeds0": ["curves.png"]}
    features = {"features/0123456789abcdef/test": ["1.features.npy", "1.digests.npy"]}
    write_folders(runs, {"resnet,lr=1/seed0": [file]} | pictures | features)
    found = Part.of(part)
    assert list(found.classes) == ["cat", "dog"]
    assert [found.others[kind] for kind in passed_over] == [1] * len(passed_over)


def test_without_runs_beside_it_any_name_is_a_class(part):
    write_folders(part, {"compare/1": ["1.jpg"], "search": ["1.jpg"]})
    assert find_images(part).classes == ("cat", "compare", "dog", "search")


def test_a_class_with_images_of_seeds_stays_one(part):
    write_folders(part, {"wheat/plot1/seed0": ["1.jpg"]})
    assert find_images(part).classes == ("cat", "dog", "wheat")


def test_folders_that_are_no_classes_are_passed_over(part):
    write_folders(part, {"spare": []})
    assert find_images(part, passed_over=("spare",)).classes == ("cat", "dog")
    assert find_classes(part, ("spare", "cat")) == ["dog"]


def test_empty_classes_are_named_with_what_they_hold(part):
    write_folders(part, {"emu": ["readme.txt", "1.heic", "2.heic"], "fox": []})
    with pytest.raises(
        ValueError,
        match=r"got none of 'emu', 'fox', but \.heic \(2\), \.txt \(1\); add some, or remove",
    ):
        find_images(part)


def test_classes_that_differ_are_named(part):
    with pytest.raises(ValueError, match=r"2 classes .*part', got no 'cats' and also 'cat'"):
        find_images(part, ("cats", "dog"))


def test_many_differing_classes_are_counted(part):
    write_folders(part, {f"extra {i}": ["1.jpg"] for i in range(7)})
    with pytest.raises(ValueError, match=r"got also 'extra 0', .*'extra 4' and 2 more"):
        find_images(part, ("cat", "dog"))


def test_a_folder_without_classes_is_reported(part):
    with pytest.raises(
        FileNotFoundError, match=r"one folder for each class .* got 5 images directly in it"
    ):
        find_images(part / "dog")
    (part / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"one folder for each class .*, got none$"):
        find_classes(part / "empty")
    write_folders(part, {"empty/x/seed0": ["lock"]})
    with pytest.raises(FileNotFoundError, match=r"one folder for each class .*, got none$"):
        find_images(part / "empty")


@pytest.mark.parametrize("name", ["nowhere", "cat/a.txt"])
def test_a_missing_folder_is_reported(part, name):
    with pytest.raises(FileNotFoundError, match=r"images in .*', got no such folder"):
        find_images(part / name)


def test_names_that_are_utf_8_stay_as_they_are():
    assert printable("Käse 猫\n") == "Käse 猫\n"
