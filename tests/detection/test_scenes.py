"""Tests of images with objects: COCO's JSON, YOLO's text files, CamVid's masks, and their check."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from semaug.data import load_data
from semaug.data.check import check
from semaug.detection.coco import COCO, COCOJson
from semaug.detection.coco_file import read_coco
from semaug.detection.outlines import outline_masks, pack_masks
from semaug.registry import data_sets
from tests.detection.scene_files import annotation, write_image, write_json

SIZES = [(40, 60), (50, 40), (33, 64), (20, 90)]
RUNS = {"size": [50, 40], "counts": [0, 500, 1500]}  # the first ten columns of 50 rows
OBJECTS = [
    annotation(10, 3, (5, 6, 20, 10)),
    annotation(11, 7, (0, 0, 10, 50), iscrowd=1, area=500, segmentation=RUNS),
    annotation(10, 7, (30.5, 2, 25, 30), area=300, segmentation=[]),
    annotation(11, 7, (20, 10, 15, 15)),
    annotation(11, 3, (20, 10, 0, 15)),
    annotation(10, 3, (50, 10, 20, 8)),
    annotation(13, 3, (1, 1, 9, 9)),
]


@pytest.fixture
def root(tmp_path):
    for part in ("train", "val"):
        images = tmp_path / "images" / part
        write_json(tmp_path / "annotations" / f"{part}.json", SIZES, OBJECTS, images=images)
    return tmp_path


def test_objects_of_coco_are_read_in_pixels(root):
    data = COCOJson().load(root)
    assert data.classes == ("cat", "dog")  # in the order of their numbers
    assert (len(data.train), data.num_classes, data.has_masks) == (4, 2, True)
    assert data.train.image_ids == [10, 11, 12, 13]
    image, target = data.train.read(0)
    assert (image.dtype, image.shape) == (torch.uint8, (3, 40, 60))
    wanted = [[5, 6, 25, 16], [30.5, 2, 55.5, 32], [50, 10, 70, 18]]
    assert_close(target.boxes, torch.tensor(wanted))
    assert target.labels.tolist() == [0, 1, 0]
    assert target.masks is None
    _, empty = data.train.read(2, with_masks=True)
    assert (empty.boxes.shape, empty.labels.shape) == ((0, 4), (0,))
    assert empty.masks.shape == (0, 33, 64)


def test_masks_are_filled_and_crowds_stay_apart(root):
    scenes = COCOJson().load(root).train
    _, target = scenes.read(1, with_masks=True)
    assert target.crowds.tolist() == [[0, 0, 10, 50]]
    assert target.masks.shape == (2, 50, 40)
    assert target.masks.sum((1, 2)).tolist() == [225, 0]
    assert target.masks[0, 10:25, 20:35].all()
    filled = outline_masks([RUNS, scenes.read(0, with_masks=True)[1] and scenes.outline(1)], 50, 40)
    assert filled[0, :, :10].all()
    assert filled[0].sum() == 500
    assert (outline_masks(pack_masks(filled), 50, 40) == filled).all()


def test_training_leaves_out_what_teaches_nothing(root):
    scenes = COCOJson().load(root).train
    trained = scenes.for_training()
    assert trained.image_ids == [10, 11]
    assert trained.notes == (
        "not trained on: 1 image without a box, 1 image with a side below 32 pixels, 1 object "
        "without area, below a pixel or outside of its image",
    )
    _, first = trained.read(0, with_masks=True)
    assert first.boxes[2].tolist() == [50, 10, 60, 18]  # cut off at the image
    assert len(first.masks) == 3
    _, second = trained.read(1, with_masks=True)
    assert (second.labels.tolist(), len(second.crowds), len(second.masks)) == ([1], 1, 1)
    assert (len(scenes), scenes.boxes.shape, scenes.subset(torch.tensor([2])).boxes.shape) == (
        4,
        (7, 4),
        (0, 4),
    )


def test_evaluation_keeps_the_numbers_of_the_file(root):
    truth = COCOJson().load(root).test.annotations
    assert [one["id"] for one in truth["categories"]] == [0, 1]
    assert [one["id"] for one in truth["annotations"]] == list(range(1, 8))
    wanted = {(x["image_id"], *x["bbox"], x["area"], x["iscrowd"]) for x in OBJECTS}
    found = {(x["image_id"], *x["bbox"], x["area"], x["iscrowd"]) for x in truth["annotations"]}
    assert found == wanted
    assert [one["height"] for one in truth["images"]] == [40, 50, 33, 20]


def write(tmp_path, objects, sizes=((40, 60),), **options):
    write_json(tmp_path / "a.json", sizes, objects, images=tmp_path, **options)
    return tmp_path / "a.json", tmp_path


def test_corners_in_place_of_sizes_are_named(tmp_path):
    corners = [annotation(10, 3, (30, 20, 50, 38)), annotation(10, 7, (5, 5, 20, 30))]
    with pytest.raises(ValueError, match=r"got what looks like corners .*: 1 of 2 leave"):
        read_coco(*write(tmp_path, corners))
    one_leaves = [annotation(10, 3, (30, 20, 20, 25)), annotation(10, 7, (5, 5, 20, 30))]
    assert len(read_coco(*write(tmp_path, one_leaves)).boxes) == 2


def test_every_wrong_number_is_named(tmp_path):
    wrong = [annotation(99, 3, (1, 1, 5, 5)), annotation(10, 8, (1, 1, 5, 5))]
    with pytest.raises(ValueError, match="got 99, which no image has, of 1 object") as error:
        read_coco(*write(tmp_path, wrong))
    assert "got 8, which no category has, of 1 object" in str(error.value).splitlines()[1]
    with pytest.raises(ValueError, match="expected different `id` of categories, got several 3"):
        read_coco(*write(tmp_path, [], categories=[{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON, got"),
        ("[]", "expected a list of `images`, got none"),
        ('{"images": [{"id": 1}]}', "id, file_name, height, width of each of 1 images, got 1"),
        (
            '{"images": [], "annotations": [{"image_id": 1, "category_id": 2, "bbox": [1, NaN]}],'
            ' "categories": []}',
            r"expected four numbers as bbox, got \[1, nan\]",
        ),
    ],
)
def test_what_is_no_annotation_is_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_coco(tmp_path / "a.json", tmp_path)


def test_missing_files_are_named(root):
    with pytest.raises(FileNotFoundError, match=r"expected a file of annotations .*none\.json"):
        COCOJson(train="none.json").load(root)
    with pytest.raises(FileNotFoundError, match=r"expected a file of annotations .*none\.json"):
        COCOJson(train="annotations/val.json", test="none.json").load(root)
    with pytest.raises(FileNotFoundError, match=r"name it with data\.train=FILE"):
        COCOJson().check_there(root / "images")
    with pytest.raises(FileNotFoundError, match="train2017, val2017, annotations/instances_"):
        COCO().check_there(root)
    (root / "images" / "train" / "11.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"4 images .* got no file for '?11\.png"):
        COCOJson().load(root)


def test_parts_have_equal_classes_and_tests_may_be_missing(root):
    others = [{"id": 3, "name": "cat"}, {"id": 7, "name": "cow"}]
    write_json(root / "other.json", SIZES, OBJECTS, categories=others)
    with pytest.raises(ValueError, match=r"equal classes, .* got others: .*dog.*cow"):
        COCOJson(test="other.json", test_folder="images/val").load(root)
    (root / "annotations" / "val.json").unlink()
    assert len(COCOJson().load(root).test) == 0


def test_coco_is_found_in_its_folder(tmp_path):
    for part in ("train2017", "val2017"):
        path = tmp_path / "coco" / "annotations" / f"instances_{part}.json"
        write_json(path, SIZES[:1], OBJECTS[:1], images=tmp_path / "coco" / part)
    COCO().check_there(tmp_path)
    data = COCO().load(tmp_path)
    assert (len(data.train), len(data.test), data.name) == (1, 1, "coco")


def test_an_image_of_another_size_is_refused(root):
    write_image(root / "images" / "train" / "10.png", 60, 40)
    scenes = COCOJson().load(root).train
    with pytest.raises(ValueError, match=r"expected 40 x 60 pixels .*, got 60 x 40; its EXIF"):
        scenes.read(0)


def test_boxes_alone_teach_no_masks(tmp_path):
    data = read_coco(*write(tmp_path, [annotation(10, 3, (1, 1, 5, 5), segmentation=None)]))
    assert data.outlines is None
    with pytest.raises(ValueError, match=r"expected outlines of objects .*, got boxes alone"):
        data.read(0, with_masks=True)


def write_yolo(root, lines, names="cat\ndog\n", file="classes.txt"):
    for part in ("train", "val"):
        write_image(root / "images" / part / "a.png", 40, 60)
        write_image(root / "images" / part / "b.png", 50, 40)
        (root / "labels" / part).mkdir(parents=True, exist_ok=True)
        (root / "labels" / part / "a.txt").write_text(lines)
    (root / file).write_text(names)


def test_shares_of_yolo_become_pixels(tmp_path):
    write_yolo(tmp_path, "1 0.5 0.5 0.2 0.1\n\n0 0 0 0.5 0 0.5 0.5 0 0.5\n")
    data = data_sets.make("yolo").load(tmp_path)
    assert (data.classes, len(data.train), len(data.test)) == (("cat", "dog"), 2, 2)
    _, target = data.train.read(0, with_masks=True)
    assert_close(target.boxes, torch.tensor([[24.0, 18, 36, 22], [0, 0, 30, 20]]))
    assert target.labels.tolist() == [1, 0]
    assert target.masks.sum((1, 2)).tolist() == [48, 600]
    assert data.train.areas.tolist() == pytest.approx([48, 600])
    assert data.train.notes == ("1 of 2 images without a text file, taken for empty",)


@pytest.mark.parametrize(
    "names",
    [
        "path: .\nnames: ['cat', dog]\nnc: 2\n",
        'nc: 2\nnames:\n  0: "cat"\n  1: dog  # good\nval: images/val\n',
        "names:\n- cat\n- dog\n",
        "names: {0: cat, 1: dog}\n",
    ],
)
def test_names_are_read_from_yaml(tmp_path, names):
    write_yolo(tmp_path, "0 0.5 0.5 0.2 0.1\n", names, "data.yaml")
    assert data_sets.make("yolo").load(tmp_path).classes == ("cat", "dog")


def test_every_line_that_is_no_box_is_named(tmp_path):
    lines = ["2 0.5 0.5 0.1 0.1", "0 12 8 5 5", "0 0.5 0.5 0.5", "0 0.1 x 0.1 0.1"]
    write_yolo(tmp_path, "\n".join(lines))
    with pytest.raises(ValueError, match="line 1: expected a class from 0 to 1, got 2") as error:
        data_sets.make("yolo").load(tmp_path)
    found = str(error.value).splitlines()
    assert "line 2: expected shares" in found[1]
    assert "divide pixels by the size of the image, 60 x 40" in found[1]
    assert "line 3: expected four shares behind the class" in found[2]
    assert "line 4: expected numbers" in found[3]


def test_folders_of_yolo_are_looked_for(tmp_path):
    yolo = data_sets.make("yolo")
    with pytest.raises(FileNotFoundError, match="expected folders images/ and labels/"):
        yolo.load(tmp_path)
    write_yolo(tmp_path, "0 0.5 0.5 0.2 0.1\n", file="names.txt")
    with pytest.raises(FileNotFoundError, match=r"expected classes\.txt .*, got neither"):
        yolo.load(tmp_path)
    (tmp_path / "data.yaml").write_text("names: {0: cat, 2: dog}\n")
    with pytest.raises(ValueError, match=r"the numbers 0, 1, 2 .*, got \[0, 2\]"):
        yolo.load(tmp_path)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(FileNotFoundError, match="expected a part 'dev'"):
        data_sets.make("yolo", test="dev").load(tmp_path)
    (tmp_path / "labels" / "train" / "c.txt").write_text("")
    with pytest.raises(ValueError, match=r"an image in .* for each text file, got none for .*c"):
        yolo.load(tmp_path)


def test_connected_parts_of_masks_are_objects(tmp_path):
    mask = np.full((36, 48), 3, np.uint8)
    mask[2:12, 3:9] = mask[11:14, 8:20] = 8  # two rectangles of cars that touch
    mask[20:28, 30:40] = 9
    mask[30, 40] = 8  # smaller than 64 pixels of 360 rows
    mask[30:32, 5:9] = 0  # sky
    for part in ("train", "test"):
        write_image(tmp_path / "CamVid" / part / "0001TP_1.png", 36, 48)
        (tmp_path / "CamVid" / f"{part}annot").mkdir()
        Image.fromarray(mask).save(tmp_path / "CamVid" / f"{part}annot" / "0001TP_1.png")
    mask[30, 40] = 3
    source = data_sets.make("camvid_instances")
    data = source.load(tmp_path)
    assert data.classes == ("Car", "Pedestrian", "SignSymbol", "Bicyclist")
    _, target = data.train.read(0, with_masks=True)
    boxes, labels = target.boxes.tolist(), target.labels.tolist()
    assert boxes[0] == [3, 2, 20, 14]
    assert (boxes[-1], labels[-1]) == ([30, 20, 40, 28], 1)
    assert (target.masks[0] == torch.from_numpy(mask == 8)).all()
    half = data_sets.make("camvid_instances", height=18).load(tmp_path).train
    image, target = half.read(0, with_masks=True)
    assert (image.shape, target.masks.shape[1:]) == ((3, 18, 24), (18, 24))
    assert [15, 10, 20, 14] in target.boxes.tolist()
    assert data.notes[0] == "1 of 367 official frames of train"


def test_objects_are_no_labels(root):
    with pytest.raises(ValueError, match="with labels or masks, got 'coco_json' with a SceneData"):
        load_data("coco_json", root)


def test_check_counts_objects_and_names_problems(root):
    report = check("coco_json", root)
    assert not report.problems
    part = report.parts["train"]
    assert (part.num_images, part.smallest_class, part.largest_class) == (4, 3, 4)
    assert part.height == (20, 50)
    assert "objects of train: cat 4, dog 3, crowds 1" in report.notes
    assert report.notes[-1].startswith("not trained on: 1 image without a box")
    write_image(root / "images" / "val" / "10.png", 30, 60)
    (root / "images" / "val" / "12.png").write_bytes(b"no image")
    messages = [one.message for one in check("coco_json", root).problems]
    assert "expected 40 x 60 pixels as annotated, got 30 x 60" in messages[1]
    assert "12.png" in messages[0]
    assert len(messages) == 2
    document = json.loads((root / "annotations" / "val.json").read_text())
    document["annotations"][0] |= {"image_id": 5, "category_id": 6}
    (root / "annotations" / "val.json").write_text(json.dumps(document))
    assert len(check("coco_json", root).problems) == 2
