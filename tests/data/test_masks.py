"""Tests of photographs with masks in files: pairs, classes, decoding, views, check."""

import numpy as np
import pytest
import torch
from PIL import Image

from semaug.augmentation import RandomScaleCrop
from semaug.augmentation.scale_crop import CropView
from semaug.data import FilePaths, FileSet, Loader, MaskFiles, load_data
from semaug.data.check import check
from semaug.data.decode import decode_mask
from semaug.data.masks import Masks
from semaug.data.views import RandomResizedCrop, SeveralViews, Whole
from semaug.errors import UserError
from tests.data.image_files import write_folders
from tests.data.mask_files import write_masks, write_pair

TABLE = MaskFiles.of(FilePaths.of("", []), (0, 1)).table


@pytest.fixture
def root(tmp_path):
    write_masks(tmp_path, {"train": [(6, 9), (8, 5), (7, 7)], "val": [(5, 8)]})
    return tmp_path


def save(path, numbers, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(numbers)).save(path)
    return path


def test_pairs_are_found_in_the_order_of_names(root):
    data = load_data("masks", root)
    assert data.has_masks
    assert data.classes == ("dark", "light")
    assert [path.name for path in data.train.paths] == ["0.png", "1.png", "2.png"]
    assert [path.parent.name for path in data.train.masks.paths] == ["masks"] * 3
    assert (len(data.test), data.ids, data.colors) == (1, (0, 1), None)
    assert data.train.labels.shape == (3, 0, 0)


def test_folders_of_photographs_may_hold_the_parts(tmp_path):
    for part, count in (("train", 2), ("test", 1)):
        for k in range(count):
            names = tmp_path / "photos" / part / f"{k}.jpg", tmp_path / "labels" / part / f"{k}.png"
            write_pair(*names, 6, 8, seed=k)
    data = Masks(images="photos", masks="labels").load(tmp_path)
    assert (len(data.train), len(data.test)) == (2, 1)
    assert data.classes == ("0", "1")
    assert data.notes == ("classes are numbers in the training masks; classes.txt may name them",)


def test_without_parts_all_images_are_for_training(root):
    data = load_data("masks", root / "train")
    assert (len(data.train), len(data.test)) == (3, 0)


def test_one_of_two_parts_to_test_on_is_chosen(root):
    write_pair(root / "test" / "images" / "a.png", root / "test" / "masks" / "a.png", 4, 4)
    with pytest.raises(ValueError, match=r"one part to test on .* choose with data\.test=val or"):
        load_data("masks", root)
    assert [x.name for x in Masks(test="test").load(root).test.paths] == ["a.png"]
    with pytest.raises(ValueError, match="got 'nowhere' of 'val', 'test'"):
        Masks(test="nowhere").load(root)


def test_numbers_of_files_become_classes_in_their_order(tmp_path):
    for k, numbers in enumerate(([[3, 0], [255, 255]], [[7, 3], [3, 3]])):
        save(tmp_path / "images" / f"{k}.png", np.zeros((2, 2, 3), np.uint8))
        save(tmp_path / "masks" / f"{k}.png", np.array(numbers, np.uint8))
    data = load_data("masks", tmp_path)
    assert (data.classes, data.ids) == (("0", "3", "7"), (0, 3, 7))
    batches = Loader(data.train, batch_size=2).epoch(torch.arange(2))
    assert next(batches).labels.tolist() == [[[1, 0], [255, 255]], [[2, 1], [1, 1]]]
    chosen = Masks(ids=(7, 3, 0)).load(tmp_path).train
    assert next(Loader(chosen, batch_size=2).epoch(torch.tensor([1]))).labels[0, 0, 0] == 0


def test_white_may_be_a_class(tmp_path):
    save(tmp_path / "images" / "a.png", np.zeros((1, 2, 3), np.uint8))
    save(tmp_path / "masks" / "a.png", np.array([[0, 255]], np.uint8))
    with pytest.raises(
        ValueError, match=r"got '0' and 0; 255 in a mask is no class, unless .*255$"
    ):
        load_data("masks", tmp_path)
    data = Masks(ids=(0, 255)).load(tmp_path)
    assert next(Loader(data.train, batch_size=1).epoch(torch.arange(1))).labels.tolist() == [
        [[0, 1]]
    ]


def test_colors_become_classes(tmp_path):
    colors = [[(9, 0, 0), (0, 9, 0)], [(0, 0, 0), (0, 9, 0)]]
    save(tmp_path / "images" / "a.png", np.zeros((2, 2, 3), np.uint8))
    save(tmp_path / "masks" / "a.png", np.array(colors, np.uint8))
    with pytest.raises(
        ValueError, match=r"a.png': expected one number .* got 3 colors, such as \(9"
    ):
        load_data("masks", tmp_path)
    (tmp_path / "classes.txt").write_text("red brick 9 0 0\nignored 0,0,0\ngrass 0 9 0\n")
    data = load_data("masks", tmp_path)
    assert (data.classes, data.colors) == (("red brick", "grass"), ((9, 0, 0), (0, 9, 0)))
    masks = next(Loader(data.train, batch_size=1).epoch(torch.arange(1))).labels
    assert masks.tolist() == [[[0, 1], [255, 1]]]
    (tmp_path / "classes.txt").write_text("red 9 0 0\ngrass 0 9 0\n")
    with pytest.raises(ValueError, match=r"expected colors of classes, got \(0, 0, 0\)$"):
        next(Loader(load_data("masks", tmp_path).train, batch_size=1).epoch(torch.arange(1)))


@pytest.mark.parametrize(
    "text", ["a\na\n", "a 1 2 3\nb\n", "a 1 2 3\nb 1 2 3\n", "a 1 2 300\nb 0 0 0"]
)
def test_classes_have_lines_of_their_own(root, text):
    (root / "classes.txt").write_text(text)
    with pytest.raises(ValueError, match=r"a line of its own for each class in .*classes.txt'"):
        load_data("masks", root)


def test_names_and_numbers_are_as_many(root):
    with pytest.raises(ValueError, match=r"got 'dark', 'light' and 0, 1, 2; 255"):
        Masks(ids=(0, 1, 2)).load(root)
    with pytest.raises(UserError, match="`ids` of different numbers from 0 to 255"):
        Masks(ids=(1, 1))


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (
            {"images": ["a.jpg", "b.jpg"], "masks": ["a.png"]},
            r"mask in '.*masks' .* for 'b.jpg'; n",
        ),
        ({"images": ["a.jpg"], "masks": ["a.png", "c.png"]}, "photograph in .* none for 'c.png'"),
        (
            {"images": ["a.jpg", "a.png"], "masks": ["a.png"]},
            "expected files of .* several 'a.jpg'",
        ),
        ({"images": [], "masks": []}, "expected photographs in"),
        ({"photos": []}, "expected folders images/ and masks/ in"),
    ],
)
def test_what_has_no_partner_is_named(tmp_path, layout, message):
    write_folders(tmp_path, layout)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        load_data("masks", tmp_path)


@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16", "RGB", "LA"])
def test_a_pixel_is_a_number_in_all_modes(tmp_path, mode):
    numbers = torch.tensor([[0, 1], [1, 0]])
    image = Image.fromarray(numbers.numpy().astype(np.uint8))
    if mode == "P":
        image.putpalette([7, 8, 9, 200, 0, 0])
    elif mode == "1":
        image = Image.fromarray(numbers.numpy().astype(bool))
    elif mode == "I;16":
        image = Image.fromarray(numbers.numpy().astype(np.uint16))
    else:
        image = image.convert(mode)
    image.save(tmp_path / "mask.png")
    assert torch.equal(decode_mask(tmp_path / "mask.png", TABLE).long(), numbers)


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        (
            "a.png",
            np.array([[0, 7, 9]], np.uint8),
            "numbers of classes, and 255 for none, got 7, 9$",
        ),
        ("a.png", np.array([[0, 700]], np.uint16), "255 for none, got 700$"),
        ("a.png", np.arange(9, dtype=np.uint8)[None], "got 2, 3, 4, 5, 6 and 2 more$"),
        (
            "a.jpg",
            np.zeros((8, 8), np.uint8),
            "expected whole numbers, .* got a JPEG, which changes",
        ),
        ("a.tif", np.zeros((2, 2), np.float32), "got floating-point ones"),
    ],
)
def test_other_numbers_are_named(tmp_path, name, numbers, message):
    with pytest.raises(ValueError, match=message):
        decode_mask(save(tmp_path / name, numbers), TABLE)


def test_damaged_masks_are_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no mask")
    with pytest.raises(ValueError, match=r"cannot read mask '.*a.png' \(7 bytes\)"):
        decode_mask(tmp_path / "a.png", TABLE)


def test_a_mask_of_another_size_is_named(root):
    save(root / "train" / "masks" / "0.png", np.zeros((9, 6), np.uint8))
    save(root / "train" / "masks" / "1.png", np.zeros((4, 5), np.uint8))
    epoch = Loader(load_data("masks", root).train, batch_size=1).epoch
    with pytest.raises(ValueError, match=r"0.png': expected 6 x 9 .* got 9 x 6; its EXIF turns"):
        next(epoch(torch.tensor([0])))
    with pytest.raises(ValueError, match=r"got 4 x 5$"):
        next(epoch(torch.tensor([1])))


@pytest.mark.parametrize("workers", [0, 1])
def test_photographs_of_all_sizes_are_shown_whole_one_by_one(root, workers):
    data = load_data("masks", root)
    with Loader(data.train, batch_size=1, view=Whole(), workers=workers) as loader:
        for place, batch in enumerate(loader.epoch(torch.arange(3))):
            assert (
                batch.pixels.shape[2:] == batch.labels.shape[1:] == [(6, 9), (8, 5), (7, 7)][place]
            )
            assert batch.labels.dtype == torch.int64
            dark = batch.pixels[0].float().mean(0) < 100
            known = batch.labels[0] < 255
            assert torch.equal(dark[known], (batch.labels[0] == 0)[known])


def test_a_shorter_side_resizes_the_image_and_not_the_truth(root):
    view, image = Whole(3), torch.zeros(3, 6, 9, dtype=torch.uint8)
    mask = torch.zeros(6, 9, dtype=torch.uint8)
    assert view(image, torch.empty(0)).shape == (3, 3, 4)
    assert view.move(mask, torch.empty(0)) is mask
    assert not Whole.one_size


def test_views_that_cannot_move_masks_say_so(root):
    data = load_data("masks", root)
    view = SeveralViews(RandomResizedCrop(4), 1)
    loader = Loader(data.train, batch_size=1, view=view)
    with pytest.raises(ValueError, match="RandomResizedCrop: expected images with one label each"):
        next(loader.epoch(torch.arange(1), view_draws=torch.rand(1, 2)))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_crop_of_a_photograph_is_chosen_by_its_mask(tmp_path, workers):
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 1
    for name in "abcdefgh":
        save(tmp_path / "images" / f"{name}.png", np.stack([200 * mask] * 3, 2))
        save(tmp_path / "masks" / f"{name}.png", mask)
    data = load_data("masks", tmp_path)
    view = CropView(RandomScaleCrop(4, (1.0, 1.0), max_class_share=0.9))
    draws = view.draw(8, torch.Generator().manual_seed(0))
    with Loader(data.train, batch_size=8, view=view, workers=workers) as loader:
        (batch,) = loader.epoch(torch.arange(8), view_draws=draws)
    assert torch.equal(batch.pixels[:, 0] > 100, batch.labels == 1)
    share = batch.labels.float().mean((1, 2))
    assert (abs(share - 0.5) < 0.4).all()  # without a limit two of five places have one class


def test_a_part_of_the_files_has_their_masks(root):
    part = load_data("masks", root).train.subset(torch.tensor([2, 0])).to("cpu")
    assert [path.name for path in part.masks.paths] == ["2.png", "0.png"]
    assert part.labels.shape == (2, 0, 0)


def test_each_image_has_a_mask():
    masks = MaskFiles.of(FilePaths.of("", ["a.png"]), (0, 1))
    with pytest.raises(ValueError, match="one label for each of 2 `paths`, got 1"):
        FileSet.with_masks(FilePaths.of("", ["a.jpg", "b.jpg"]), masks, ("x", "y"))


def test_a_check_tells_classes_and_names_all_problems(root):
    report = check("masks", root)
    assert not report.problems
    assert report.parts["train"].num_images == 3
    assert report.parts["train"].height == (6, 8)
    assert (report.parts["train"].smallest_class, report.parts["train"].largest_class) == (3, 3)
    assert any(note.startswith("masks of train: dark ") for note in report.notes)
    save(root / "train" / "masks" / "0.png", np.full((6, 9), 9, np.uint8))
    save(root / "train" / "masks" / "1.png", np.zeros((3, 3), np.uint8))
    save(root / "val" / "masks" / "0.png", np.zeros((5, 8), np.uint8))
    messages = [problem.message for problem in check("masks", root).problems]
    assert len(messages) == 3
    assert "expected numbers of classes" in messages[0]
    assert "expected 8 x 5 pixels" in messages[1]
    assert (
        "expected masks of two classes or more in test; masks of test: dark 100.0 %" in messages[2]
    )
    assert "in no mask: light" in messages[2]
