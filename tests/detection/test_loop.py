"""Tests of semaug.detection.loop, and of the recipe and the run of a detector."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch.testing import assert_close

from semaug import load as semaug_load
from semaug.data.workers import Reader
from semaug.detection import loop
from semaug.detection.backbone import backbone_of
from semaug.detection.images import Batches, SceneFiles, load_scenes
from semaug.detection.outlines import outline_masks
from semaug.detection.recipe import measures_of
from semaug.engine import check
from semaug.engine.check import check_run
from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from semaug.export.backbone import HEADS_LEFT
from semaug.published import find_published
from semaug.published.places import cells_of, entry_of
from semaug.recipe.plain import recipe_from_plain_data, recipe_to_plain_data
from semaug.recipes import find_recipe, make_run
from semaug.report import collect, render
from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.finished import load_finished_run, load_state
from tests.detection.signs import CLASSES, SIZES, Signs, recipe_of
from tests.tiny import rows_of, train_quietly


def describe(root, recipe=None, quick=False):
    return make_run(recipe or recipe_of(), {}, 0, quick, Path(root) / "runs", name="signs")


def options(root):
    return TrainOptions(device="cpu", threads=1, workers=0, data_root=Path(root))


def train(folder, recipe=None, *, root, workers=0):
    run = describe(folder, recipe)
    train_quietly(run, data_root=Path(root), threads=1, workers=workers)
    return run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("signs")


@pytest.fixture(scope="module")
def finished(root):
    return train(root, root=root)


def test_a_run_has_rows_and_a_summary(finished):
    summary = finished.summary()
    assert summary["metric"] == {"name": "AP", "unit": "%", "better": "higher", "report": "last"}
    known = ("AP", "AP50", "AP75", "AP_small")  # no rectangle is larger
    assert [*summary["results"][""]] == [*known, *(f"mask_{name}" for name in known)]
    assert summary["by_class"].keys() == set(CLASSES)
    rows = rows_of(finished)
    assert [row["step"] for row in rows] == [4, 8]  # three high images and three others in pairs
    losses = {"rpn_objectness", "rpn_box", "class", "box", "mask"}
    assert {f"train_loss_{name}" for name in losses} <= rows[0].keys()
    total = sum(rows[1][f"train_loss_{name}"] for name in losses)
    assert rows[1]["train_loss"] == pytest.approx(total, rel=1e-5)
    assert rows[1]["lr"] == pytest.approx(0.02 * 2 / 4 * 0.1)
    assert 0 <= rows[1]["test_AP"] == summary["results"][""]["AP"]["last"] <= 100
    assert load_checkpoint(finished.checkpoint)["objects"].keys() == {"detector", "optimizer"}


def test_images_are_recorded(finished):
    record = json.loads((finished.folder / "images.json").read_text())
    assert (record["data"], record["train_images"], record["test_images"]) == ("signs", 6, 7)
    assert record["images_per_class"] == {"red": 6, "green": 7}  # a crowd among them
    assert record["input"]["classes"] == [*CLASSES]


def test_it_is_tested_again_with_the_same_result(finished, root):
    from semaug.cli.evaluate import _test

    run, summary = load_finished_run(finished.folder)
    found = _test(run, {}, summary, options(root), Console(quiet=True))
    recorded = summary["results"][""]
    assert found == {"": {name: values["last"] for name, values in recorded.items()}}


def test_it_is_not_tested_on_other_images(semaug, finished, root, monkeypatch):
    load = Signs.load

    def moved(self, root, workers=None):
        data = load(self, root, workers)
        return replace(data, test=replace(data.test, boxes=data.test.boxes + 1))

    monkeypatch.setattr(Signs, "load", moved)
    places = ["--device", "cpu", "--data-root", str(root), "--workers", "0"]
    status, _, error = semaug("evaluate", str(finished.folder), *places)
    assert status == 2
    told = " ".join(error.split())
    assert "the run saw other images than data=signs has now: images have other labels" in told


def test_processes_that_read_change_nothing(root):
    data = Signs().load(root)
    files = SceneFiles(data.train, (64, 48), data.mean, data.std, masks=True)
    requests = [[(0, True), (2, False)], [(6, True)]]
    answers = []
    for workers in (0, 1):
        with closing(Reader(files, workers=workers, pin_memory=False)) as reader:
            answers.append([*reader.read(requests)])
    for (images, sizes, targets), (others, *same) in zip(*answers, strict=True):
        assert torch.equal(images, others)
        assert sizes == same[0]
        for own, other in zip(targets, same[1], strict=True):
            assert all(torch.equal(vars(own)[name], vars(other)[name]) for name in vars(own))
    images, sizes, (first, _) = answers[0][0]
    assert (images.shape, sizes) == ((2, 3, 64, 64), [(46, 64), (48, 64)])
    assert len(first.crowds) == 1
    assert first.masks.shape == (2, 46, 64)
    assert len(answers[0][1][2][0].boxes) == 0


def test_a_piece_of_a_batch_is_padded_to_the_size_of_all_of_it(root):
    data = Signs().load(root)
    request = [(4, True), (0, False)]  # of 63 x 100 and of 71 x 100 pixels
    whole, own = (
        SceneFiles(data.train, (100, 75), data.mean, data.std, own=own).read(request)
        for own in (None, (0,))
    )
    assert whole[0].shape == (2, 3, 96, 128)
    assert torch.equal(own[0], whole[0][:1])
    assert own[1] == whole[1][:1] == [(63, 100)]
    assert torch.equal(own[2][0].boxes, whole[2][0].boxes)


def test_the_detector_of_a_run_is_loaded(finished, root):
    trained = semaug_load(finished, device="cpu")
    assert trained.classes == CLASSES
    state = load_state(finished.checkpoint, finished.summary()["epochs"])["detector"]
    assert torch.equal(
        trained.detector.rpn.head.cls_logits.weight, state["rpn.head.cls_logits.weight"]
    )
    image, _ = Signs().load(root).test.read(1)
    (found,) = trained.detect([image])
    assert 0 < len(found.boxes) <= 10
    assert found.masks.shape[1:] == image.shape[1:] == (56, 40)
    assert found.boxes[:, 2].max() <= 40


def test_objects_are_drawn_on_photographs_and_damaged_ones_are_named(
    semaug, finished, root, tmp_path
):
    photos = root / "test"
    (tmp_path / "damaged.png").write_bytes(b"no photograph")
    given = [str(photos / "0.png"), str(tmp_path / "damaged.png"), str(photos / "1.png")]
    status, output, error = semaug(
        *("predict", str(finished.folder), *given, "-o", str(tmp_path / "found"), "--json"),
        *("--threshold", "0", "--top", "3", "--device", "cpu"),
    )
    assert status == 2
    assert "damaged.png" in error
    assert "could not read 1 of 3" in error
    lines = [json.loads(line) for line in output.splitlines()]
    assert [one["file"] for one in lines] == given[::2]
    trained = semaug_load(finished, device="cpu")
    for line, place, size in zip(lines, (0, 1), ((40, 56), (56, 40)), strict=True):
        (found,) = trained.detect([Signs().load(root).test.read(place)[0]])
        told = line["objects"]
        assert len(told) == 3
        assert [one["class"] for one in told] == [CLASSES[k] for k in found.labels[:3]]
        assert_close(torch.tensor([one["score"] for one in told]), found.scores[:3])
        assert_close(torch.tensor([one["box"] for one in told]), found.boxes[:3])
        masks = outline_masks([one["mask"] for one in told], *size)
        assert torch.equal(masks, found.masks[:3])
        with Image.open(tmp_path / "found" / f"{place}.png") as picture:
            assert (picture.size, picture.mode) == (size[::-1], "RGB")
    status, output, _ = semaug("predict", str(finished.folder), given[0])
    assert (status, output) == (0, f"{given[0]}: nothing\n")  # with a score of 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ids", "-o", "one.png"], "expected no --ids, for the run does not label pixels"),
        (["-o", "one.jpg"], "expected --output of a PNG, such as found.png"),
        (["--predictor", "teacher"], "expected no `predictor` of a detector, got 'teacher'"),
    ],
)
def test_what_a_detector_does_not_answer_is_refused(semaug, finished, root, arguments, message):
    photo = str(root / "test" / "0.png")
    status, _, error = semaug("predict", str(finished.folder), photo, *arguments)
    assert status == 2
    assert message in " ".join(error.split())


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("mask_rcnn", "cascade_rcnn")]


@pytest.mark.parametrize("name", ["faster_rcnn", *SLOW])
def test_a_run_that_is_killed_goes_on_bit_for_bit(name, root, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "_processes", check.multiprocessing.get_context("fork"))
    recipe = recipe_of(name)
    recipe = replace(recipe, subset=replace(recipe.subset, test_images=2))
    state = check_run(describe(tmp_path, recipe), options(root))
    assert (state["epoch"], state["step"]) == (2, 0)


def test_a_batch_is_of_high_images_or_of_others_and_full():
    batches = Batches(SIZES, 2, 0.5, seed=0)
    assert (batches.steps, batches.num_images) == (4, 8)
    steps = batches.of_pass(0)
    assert steps == batches.of_pass(0) != batches.of_pass(1)
    for step in steps:
        assert len(step) == 2
        assert len({SIZES[place][0] > SIZES[place][1] for place, _ in step}) == 1
    assert {place for step in steps for place, _ in step} == set(range(7))
    mirrored = [own for number in range(50) for step in batches.of_pass(number) for _, own in step]
    assert 0.4 < sum(mirrored) / len(mirrored) < 0.6
    never = Batches(SIZES, 2, 0.0, seed=0)
    assert not any(own for step in never.of_pass(0) for _, own in step)
    assert Batches(SIZES, 2, 0.5, seed=1).of_pass(0) != steps


def test_passes_follow_each_other_wherever_a_run_goes_on():
    batches = Batches(SIZES, 2, 0.5, seed=0)
    whole = [step for number in range(3) for step in batches.of_pass(number)]
    for first, last in ((0, 12), (0, 4), (3, 4), (3, 9), (4, 8), (5, 5), (7, 12)):
        assert [*batches.between(first, last)] == whole[first:last]


def test_what_is_trained_on_is_chosen(root):
    run = describe(root)
    assert [len(part) for part in _parts(run, root)] == [6, 7]
    subset = replace(run.recipe.subset, test_images=3, train_percent=50.0)
    chosen = replace(run, recipe=replace(run.recipe, subset=subset))
    train, test = _parts(chosen, root)
    assert (len(train), test.image_ids) == (len(train), [10, 12, 14])
    assert 2 <= len(train) <= 4
    run = describe(root, quick=True)
    assert len(_parts(run, root)[1]) == 4
    assert (run.recipe.size, run.recipe.steps, run.recipe.batch_size) == ((64, 48), 4, 2)


def _parts(run, root):
    data = load_scenes(run, options(root))
    return data.train, data.test


def test_an_untested_run_has_no_results(root, tmp_path):
    recipe = recipe_of("faster_rcnn", epochs=1, precision="64")
    recipe = replace(recipe, subset=replace(recipe.subset, test_images=0))
    run = train(tmp_path, recipe, root=root)
    assert run.summary()["results"] == {}
    state = load_checkpoint(run.checkpoint)["objects"]["detector"]
    assert state["fpn.inner_blocks.0.0.weight"].dtype == torch.float64


def test_backbones_begin_with_the_weights_of_a_file_or_a_recipe(finished, root, tmp_path):
    import timm

    torch.manual_seed(3)
    body = timm.create_model("test_resnet", num_classes=5)
    torch.save(body.state_dict(), tmp_path / "own.pt")
    recipe = recipe_of("faster_rcnn", weights=str(tmp_path / "own.pt"), epochs=1)
    frozen = replace(recipe, detector=replace(recipe.detector, frozen_stages=4, norm_eval=True))
    run = train(tmp_path, frozen, root=root)
    state = load_checkpoint(run.checkpoint)["objects"]["detector"]
    assert torch.equal(state["backbone.body.conv1.0.weight"], body.conv1[0].weight)
    record = json.loads((run.folder / "pretrained.json").read_text())
    assert record["backbone"]["file"].endswith("own.pt")
    again = recipe_of(weights="signs")
    assert again.find_weights(finished.root) == finished.folder
    with pytest.raises(
        FileNotFoundError, match=r"or a recipe that was trained, got sings: neither"
    ):
        recipe_of(weights="sings").find_weights(finished.root)


def test_missing_weights_are_said_before_images_are_read(semaug, root, tmp_path, monkeypatch):
    monkeypatch.setattr(Signs, "load", lambda *_: pytest.fail("images are read"))
    with pytest.raises(FileNotFoundError, match="got nowhere: neither nowhere nor"):
        train(tmp_path, recipe_of(weights="nowhere"), root=root)
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())
    recipe = "camvid_instances_faster_rcnn_lite0,weights=nowhere"
    status, _, error = semaug("train", recipe, "--data-root", "none")
    assert status == 2
    assert "recipe: weights: expected a file, the folder of a run" in " ".join(error.split())
    recipe_of(weights="other").check_there(tmp_path, {"other"})


def test_weights_of_timm_are_recorded_or_missed(root, tmp_path, monkeypatch):
    recipe = recipe_of("faster_rcnn", backbone="resnet10t", pretrained=True, size=(32, 32))
    recipe = replace(recipe.lasting(steps=1), subset=replace(recipe.subset, test_images=0))

    def offline(name, weights=None, *, pretrained):
        assert (name, weights, pretrained) == ("resnet10t", None, True)
        raise OSError("no network")

    monkeypatch.setattr(loop, "backbone_of", offline)
    with pytest.raises(UserError, match=r"backbone=resnet10t: timm has no weights here; .*no net"):
        train(tmp_path, recipe, root=root)
    monkeypatch.setattr(loop, "backbone_of", lambda name, *_, **__: backbone_of(name))
    run = train(tmp_path, recipe, root=root)
    record = json.loads((run.folder / "pretrained.json").read_text())["backbone"]
    assert (record["file"], record["head"]) == ("timm: resnet10t", HEADS_LEFT)


def test_the_report_shows_a_detector(finished):
    report = collect([finished.folder])
    assert report.notes == ()
    page = render(report)
    assert "mask_AP" in page
    assert "test AP by class" in page
    for column in ("truth", "prediction, scores from 0.5"):
        assert page.count(f'alt="{column}"') == len(SIZES)
    found = report.groups[0].recipes[0].runs[0].tested
    assert (found.title, list(found.legends[0])) == ("Objects", [*CLASSES])
    first = found.images[0]
    assert first.name == "0.png"
    image, truth, _ = first.pictures.values()
    assert image.shape == truth.shape == (*SIZES[0], 3)
    red = found.legends[0]["red"]
    assert truth[6, 4].tolist() == [*red] != image[6, 4].tolist()
    assert torch.equal(image[30:], truth[30:]) is False
    assert torch.equal(image[37:], truth[37:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": Signs(masks=False)}, "masks for detector=mask_rcnn, which data=signs does not"),
        ({"data": Signs(objects=False)}, "expected images with boxes in data=signs, got none"),
        ({"data": "digits"}, "images with boxes for a detector, which data=digits does not"),
    ],
)
def test_what_cannot_be_trained_is_said(changes, message, root):
    with pytest.raises(UserError, match=message):
        load_scenes(describe(root, recipe_of(**changes)), options(root))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (48, 64)}, "`size` the longer side, then the shorter"),
        ({"size": (64,)}, "`size` the longer side, then the shorter"),
        ({"flip": 1.5}, "`flip` from 0 to 1"),
        ({"clip_norm": 0.0}, "`clip_norm` > 0 or none"),
        ({"base_batch_size": 0}, "`base_batch_size` >= 1 or none"),
        ({"precision": "fp16"}, "`precision` 32, bf16 or 64 for a detector, got fp16"),
    ],
)
def test_a_recipe_is_checked(changes, message):
    with pytest.raises(UserError, match=message):
        recipe_of(**changes)


def test_random_weights_are_not_kept_and_other_subsets_are_refused():
    recipe = recipe_of()
    with pytest.raises(UserError, match="got 1 and true"):
        replace(recipe, detector=replace(recipe.detector, frozen_stages=1, norm_eval=True))
    with pytest.raises(UserError, match="no `subset` but train_percent and test_images"):
        replace(recipe, subset=replace(recipe.subset, hold_out=5))


def test_cells_of_tables_11_and_12_differ_in_their_backbone():
    cells = [*find_published("isda", 11), *find_published("isda", 12)]
    assert len(cells) == 72
    for number in cells:
        entry = entry_of(number)
        recipe = find_recipe(entry.recipe)
        assert entry.recipe.startswith(f"coco_{number.network.removesuffix('_fpn')}")
        start = "mask_" * (number.table == "12")
        assert entry.metric.lower() == number.metric.replace("box_", "").replace("mask_", start)
        assert entry.measure.better == "higher"
        assert (entry.metric in measures_of(recipe.detector), number in cells_of(entry.recipe)) == (
            True,
            True,
        )
        weights = {"cross_entropy": "imagenet_resnet50", "isda": "imagenet_resnet50_isda"}
        assert recipe.weights == weights.get(number.method)
        own = f"{entry.recipe.partition(',')[0]},weights=imagenet_resnet50"
        assert entry.baseline == (own if number.method == "isda" else None)


def test_recipes_of_coco_are_those_of_mmdetection():
    for name in ("faster_rcnn", "mask_rcnn", "cascade_rcnn"):
        recipe = find_recipe(f"coco_{name}_resnet50")
        assert (recipe.epochs, recipe.batch_size, recipe.size) == (12, 16, (1333, 800))
        assert (recipe.lr, recipe.optimizer.momentum, recipe.optimizer.nesterov) == (
            0.02,
            0.9,
            False,
        )
        assert recipe_from_plain_data(recipe_to_plain_data(recipe)) == recipe
        assert recipe.preprocessing.mean == (0.485, 0.456, 0.406)
    assert find_recipe("coco_faster_rcnn_resnet50,batch_size=2").lr == pytest.approx(0.0025)
    assert find_recipe("coco_faster_rcnn_resnet50,base_batch_size=none,batch_size=2").lr == 0.02


def test_the_learning_rate_is_that_of_mmdetection():
    from semaug.recipe.plan import Plan

    schedule = find_recipe("coco_faster_rcnn_resnet50").schedule
    rate = schedule.build(Plan(12, 7330, 12 * 7330, {}))
    found = [rate(0.02, step) for step in (0, 250, 499, 500, 8 * 7330 - 1, 8 * 7330, 11 * 7330)]
    wanted = [2e-5, 0.02 * (0.001 + 0.999 * 250 / 499), 0.02, 0.02, 0.02, 0.002, 0.0002]
    assert_close(found, wanted, rtol=1e-9, atol=0)


def test_small_recipes_take_their_frames_and_step_costs_are_known():
    recipe = find_recipe("camvid_instances_mask_rcnn_lite0")
    assert (recipe.size, recipe.data.height, recipe.detector.width) == ((240, 180), 180, 64)
    assert 1e9 < recipe.step_cost() < 1e10
    assert recipe_of(backbone="nothing_that_timm_knows").step_cost() == 0
