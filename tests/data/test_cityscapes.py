"""Tests of semaug.data.cityscapes and semaug.data.camvid."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from semaug.data import Loader, load_data
from semaug.data.camvid import CamVid
from semaug.data.cityscapes import CLASSES
from semaug.data.colors import class_colors, colored, png_of_classes, png_of_ids
from semaug.errors import UserError
from semaug.metrics import MeanIoU

PHOTO = np.zeros((40, 60, 3), np.uint8)
NAME = "aachen_000000_000019"
# Id of each train id, as the published table lists them.
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_cityscapes(root):
    for part in ("train", "val"):
        image = root / "leftImg8bit" / part / "aachen" / f"{NAME}_leftImg8bit.png"
        write(image, np.zeros((5, 7, 3), np.uint8))
        folder = root / "gtFine" / part / "aachen"
        write(folder / f"{NAME}_gtFine_labelIds.png", np.arange(35, dtype=np.uint8).reshape(5, 7))
        write(folder / f"{NAME}_gtFine_color.png", np.zeros((5, 7, 3), np.uint8))
        write(folder / f"{NAME}_gtFine_instanceIds.png", np.zeros((5, 7), np.uint8))


@pytest.mark.parametrize("inside", [".", "cityscapes"])
def test_ids_become_the_classes_of_the_table(tmp_path, inside):
    write_cityscapes(tmp_path / inside)
    data = load_data("cityscapes", tmp_path)
    assert (data.num_classes, data.classes[0], data.classes[-1]) == (19, "road", "bicycle")
    assert data.ids == IDS == tuple(number for number, _ in CLASSES.values())
    mask = next(Loader(data.test, batch_size=1).epoch(torch.arange(1))).labels.flatten()
    expected = [IDS.index(number) if number in IDS else 255 for number in range(35)]
    assert mask.tolist() == expected
    assert data.notes == (
        "1 of 2,975 official images of train",
        "1 of 500 official images of val",
    )


def test_pairs_of_cityscapes_are_whole(tmp_path):
    write_cityscapes(tmp_path)
    (tmp_path / "gtFine" / "val" / "aachen" / f"{NAME}_gtFine_labelIds.png").unlink()
    with pytest.raises(ValueError, match=r"expected a mask in .* got none for 'aachen/aachen_"):
        load_data("cityscapes", tmp_path)


def test_official_ids_and_colors_come_back(tmp_path):
    mask = torch.arange(19).view(1, 19)
    colors = class_colors(19, [color for _, color in CLASSES.values()])
    (tmp_path / "ids.png").write_bytes(png_of_ids(mask, IDS))
    (tmp_path / "colors.png").write_bytes(png_of_classes(mask, colors))
    with Image.open(tmp_path / "ids.png") as image:
        assert image.mode == "L"
        assert np.array(image).tolist() == [list(IDS)]
    with Image.open(tmp_path / "colors.png") as image:
        assert np.array(image).tolist() == mask.tolist()
        assert torch.equal(torch.from_numpy(np.array(image.convert("RGB"))), colored(mask, colors))


def test_scores_are_those_of_the_official_script(tmp_path):
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

    draw, confusion = np.random.default_rng(0), official.generateMatrix(official.args)
    for part in ("train", "val"):
        write(tmp_path / "leftImg8bit" / part / "aachen" / f"{NAME}_leftImg8bit.png", PHOTO)
    truth = tmp_path / "gtFine" / "val" / "aachen" / f"{NAME}_gtFine_labelIds.png"
    # Ids that are no class, a class that nobody predicts (26), and one that is nowhere (33).
    ids = draw.choice([0, 3, 7, 8, 11, 24, 26], size=(40, 60)).astype(np.uint8)
    for path in (truth, tmp_path / "gtFine" / "train" / "aachen" / truth.name):
        write(path, ids)
    predicted = torch.from_numpy(draw.integers(0, 12, (40, 60)))
    (tmp_path / "predicted.png").write_bytes(png_of_ids(predicted, IDS))

    official.args.evalInstLevelScore = official.args.evalPixelAccuracy = False
    official.evaluatePair(
        str(tmp_path / "predicted.png"), str(truth), confusion, {}, {}, official.args
    )
    scores = {label: official.getIouScoreForLabel(label, confusion, official.args) for label in IDS}

    metric = MeanIoU(19)
    mask = load_data("cityscapes", tmp_path).test
    labels = next(Loader(mask, batch_size=1).epoch(torch.arange(1))).labels
    metric.update(F.one_hot(predicted, 19).movedim(2, 0).unsqueeze(0).float(), labels)
    expected = 100 * official.getScoreAverage(scores, official.args)
    assert 0 < metric.compute() == pytest.approx(expected, rel=1e-12)
    by_class = [math.nan if value is None else value for value in metric.by_class()]
    assert by_class == pytest.approx([100 * x for x in scores.values()], rel=1e-12, nan_ok=True)
    assert sum(map(math.isnan, by_class)) == 6


def test_many_classes_have_colors_and_ids_too(tmp_path):
    mask, colors = torch.arange(300).view(15, 20), class_colors(300)
    (tmp_path / "a.png").write_bytes(png_of_classes(mask, colors))
    (tmp_path / "b.png").write_bytes(png_of_ids(mask, range(300)))
    with Image.open(tmp_path / "a.png") as image:
        assert torch.equal(torch.from_numpy(np.array(image)), colored(mask, colors))
    with Image.open(tmp_path / "b.png") as image:
        assert np.array(image).tolist() == mask.tolist()


def test_what_is_no_class_is_black():
    assert colored(torch.tensor([0, 255, -100]), [(1, 2, 3)]).tolist() == [
        [1, 2, 3],
        [0] * 3,
        [0] * 3,
    ]
    assert len(set(class_colors(255))) == 255
    assert (0, 0, 0) not in class_colors(255)


@pytest.fixture
def camvid(tmp_path):
    frames = {
        "train": ["0001TP_1", "0006R0_1", "0006R0_2"],
        "val": ["0016E5_1"],
        "test": ["Seq05VD_1"],
    }
    for part, names in frames.items():
        for k, name in enumerate(names):
            write(tmp_path / "CamVid" / part / f"{name}.png", np.full((4, 6, 3), k, np.uint8))
            mask = np.arange(24, dtype=np.uint8).reshape(4, 6) % 12
            write(tmp_path / "CamVid" / f"{part}annot" / f"{name}.png", mask)
    return tmp_path


def test_the_twelfth_number_of_camvid_is_no_class(camvid):
    data = load_data("camvid", camvid)
    assert (len(data.train), len(data.test), data.num_classes) == (3, 1, 11)
    assert data.train.labels[0].flatten().tolist() == [*range(11), 255] * 2
    assert data.notes[0] == "3 of 367 official frames of train"
    assert data.classes[:3] == ("Sky", "Building", "Pole")


def test_a_drive_of_camvid_is_held_out(camvid):
    assert len(CamVid(drive="0006R0", test="0006R0").load(camvid).test) == 2
    with pytest.raises(UserError, match=r"one of those of test=val \(.*\), got '0006R0'"):
        CamVid(test="val", drive="0006R0").load(camvid)
    data = CamVid(test="0006R0").load(camvid)
    assert (len(data.train), len(data.test)) == (1, 2)
    assert data.test.images[:, 0, 0, 0].tolist() == [1, 2]
    assert len(CamVid(test="val").load(camvid).test) == 1


def test_camvid_may_be_read_smaller(camvid):
    data = CamVid(height=2).load(camvid)
    assert (data.train.images.shape, data.train.labels.shape) == ((3, 3, 2, 3), (3, 2, 3))
    assert set(data.train.labels.unique().tolist()) <= {*range(11), 255}
    with pytest.raises(UserError, match="expected `height` >= 1 or none"):
        CamVid(height=0)


def test_frames_of_camvid_have_one_size(camvid):
    for folder, shape in (("train", (3, 6, 3)), ("trainannot", (3, 6))):
        write(camvid / "CamVid" / folder / "0006R0_2.png", np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"expected images of 4 x 6 pixels, got 3 x 6 for .*R0_2"):
        load_data("camvid", camvid)
