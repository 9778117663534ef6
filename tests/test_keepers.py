"""Tests of semaug.keepers."""

import pytest
import torch
from torch.testing import assert_close

from semaug.keepers import Answers, ClassificationKeeper, MaskKeeper, PictureKeeper, thumbnails
from semaug.metrics import CalibrationError, Error, MeanIoU, Metric, NegativeLogLikelihood

NAMES = "labels", "predictions", "label_log_probs", "prediction_log_probs"


@pytest.fixture
def batch():
    """Outputs of 200 images of five classes that are right more often than not, and labels."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(5, (200,), generator=rng)
    outputs = 2 * torch.randn(200, 5, generator=rng) + 2 * torch.nn.functional.one_hot(labels, 5)
    return outputs, labels


def no_pictures(places):
    return None


def kept(outputs, labels, orders, pictures=no_pictures):
    """Return what is kept of images that come in several batches."""
    keeper = ClassificationKeeper(labels)
    for order in orders:
        keeper.update(outputs[order], labels[order], order)
    return keeper.arrays(pictures)


def test_answers_are_those_of_the_outputs_in_any_batches(batch):
    outputs, labels = batch
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    found = kept(outputs, labels, order.split(60))
    log_probs = outputs.double().log_softmax(1)
    assert list(found) == list(NAMES)
    assert torch.equal(found["labels"], labels)
    assert torch.equal(found["predictions"], outputs.argmax(1))
    for name, ids in (("label", labels), ("prediction", outputs.argmax(1))):
        expected = log_probs.gather(1, ids.unsqueeze(1)).squeeze(1).float()
        assert_close(found[f"{name}_log_probs"], expected)


def test_processes_add_up(batch):
    outputs, labels = batch
    halves = [ClassificationKeeper(labels) for _ in range(2)]
    for keeper, order in zip(halves, torch.arange(200).split(120), strict=True):
        keeper.update(outputs[order], labels[order], order)
    others = dict(zip(map(id, halves[0].buffers()), halves[1].buffers(), strict=True))
    halves[0].merge(lambda buffer: buffer + others[id(buffer)])
    expected = kept(outputs, labels, [torch.arange(200)])
    for name, value in halves[0].arrays(no_pictures).items():
        assert torch.equal(value, expected[name])


def doubts_by_loops(outputs, labels):
    """Northcutt et al., Eq. (2) and the margin of section 3.2, for the predicted class alone."""
    probs, doubts = outputs.softmax(1).tolist(), []
    ids = labels.tolist()
    for own, label in zip(probs, ids, strict=True):
        guess = own.index(max(own))
        same = [other[guess] for other, wanted in zip(probs, ids, strict=True) if wanted == guess]
        is_doubted = guess != label and same and own[guess] >= sum(same) / len(same)
        doubts.append(own[guess] - own[label] if is_doubted else 0.0)
    return doubts


@pytest.mark.parametrize("missing", [None, 2])
def test_doubts_are_those_of_the_equation(batch, missing):
    outputs, labels = batch
    if missing is not None:  # a class that is predicted and has no images
        labels = labels.where(labels != missing, 0)
    found = kept(outputs, labels, [torch.arange(200)])
    doubts = Answers(*(found[name] for name in NAMES)).doubts()
    expected = doubts_by_loops(outputs, labels)
    assert doubts.tolist() == pytest.approx(expected, abs=1e-6)
    assert 0 < sum(doubt > 0 for doubt in expected) < (outputs.argmax(1) != labels).sum()


def test_the_worst_images_are_shown_and_no_more_than_a_few_dozen(batch):
    outputs, labels = (own.repeat(*[5] + [1] * (own.ndim - 1)) for own in batch)
    asked = []

    def pictures(places):
        asked.append(places)
        return places.view(-1, 1, 1, 1).expand(-1, 1, 4, 6).remainder(256).byte()

    found = kept(outputs, labels, [torch.arange(1000)], pictures)
    (shown,) = asked
    assert torch.equal(found["shown"], shown)
    assert 48 <= len(shown) <= 96
    assert found["pictures"].shape == (len(shown), 4, 6, 3)
    assert torch.equal(found["pictures"][:, 0, 0, 0], shown.remainder(256).byte())
    losses = -found["label_log_probs"]
    assert set(losses.topk(40).indices.tolist()) <= set(shown.tolist())
    margins = found["prediction_log_probs"].exp() - found["label_log_probs"].exp()
    assert margins[shown].sort(descending=True).values[:40].tolist() == pytest.approx(
        margins.topk(40).values.tolist()
    )


def test_all_of_few_images_are_shown(batch):
    outputs, labels = (own[:3] for own in batch)
    found = kept(outputs, labels, [torch.arange(3)], lambda places: torch.zeros(3, 3, 2, 2).byte())
    assert found["shown"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("size", "expected"), [((8, 8), (8, 8)), ((128, 64), (64, 32)), ((3, 500), (1, 64))]
)
def test_pictures_are_made_small_and_never_large(size, expected):
    images = torch.full((2, 1, *size), 200, dtype=torch.uint8)
    small = thumbnails(images)
    assert small.shape == (2, *expected, 3)
    assert (small == 200).all()


def test_metrics_of_classes_bring_a_keeper_for_images_and_none_for_masks():
    labels = torch.zeros(4, dtype=torch.int64)
    for metric in (Error(2), NegativeLogLikelihood(2), CalibrationError(2)):
        assert isinstance(metric.keeper(labels), ClassificationKeeper)
        assert metric.keeper(labels.view(1, 2, 2)) is None
    assert Error(2).keeper(labels[:0]) is None
    assert MeanIoU(2).keeper(labels) is None
    assert isinstance(MeanIoU(2).keeper(labels.view(1, 2, 2)), MaskKeeper)
    assert Metric.keeper(Error(2), labels) is None


def test_truth_and_prediction_of_a_few_masks_are_kept():
    """Of 30 images of two sizes, in any order and over two processes."""
    keepers = [MaskKeeper(torch.zeros(30, 0, 0)) for _ in range(2)]
    shown = keepers[0].shown.tolist()
    assert (len(shown), shown[:3]) == (12, [0, 2, 5])
    for position in torch.randperm(30).tolist():
        height, width = (400, 200) if position % 2 else (6, 9)
        labels = torch.full((1, height, width), position % 3)
        labels[0, 0, 0] = -100
        outputs = torch.zeros(1, 3, height, width)
        outputs[:, 1] = 1
        keepers[position % 2].update(outputs, labels, torch.tensor([position]))
    others = iter([*keepers[1].buffers()])
    keepers[0].merge(lambda counts: counts + next(others))
    kept = keepers[0].arrays(lambda places: None)
    assert kept["shown"].tolist() == shown
    for place, position in enumerate(shown):
        height, width = kept["sizes"][place].tolist()
        assert (height, width) == ((192, 96) if position % 2 else (6, 9))
        truth, prediction = (kept[name][place, :height, :width] for name in ("truth", "prediction"))
        assert truth[-1, -1] == position % 3 + 1
        assert (prediction == 2).all()
        assert position % 2 or truth[0, 0] == 0
    pictures = [torch.full((3, 12, 18), 7, dtype=torch.uint8)] * 12
    found = keepers[0].arrays(lambda places: pictures)["pictures"]
    assert found.shape == (12, 192, 96, 3)
    assert (found[0, :6, :9] == 7).all()
    assert (found[0, 6:] == 0).all()


def test_pictures_of_a_few_images_are_kept():
    """Of 30 images over two processes."""
    keepers = [PictureKeeper(30, ["image", "truth"]) for _ in range(2)]
    for position in range(30):
        keeper = keepers[position % 2]
        if keeper.wants(position):
            small = keeper.small(torch.full((3, 768, 300 + position), position, dtype=torch.uint8))
            pair = torch.stack([small, small + 1]).movedim(1, -1)
            keeper.update(pair[None], torch.zeros(0), torch.tensor([position]))
    others = iter([*keepers[1].buffers()])
    keepers[0].merge(lambda counts: counts + next(others))
    kept = keepers[0].arrays(lambda places: None)
    assert kept.keys() == {"shown", "sizes", "image", "truth"}
    assert kept["shown"].tolist()[:3] == [0, 2, 5]
    assert kept["sizes"][2].tolist() == [384, 152]  # half of 305, to even
    assert kept["image"].shape == (12, 384, 164, 3)
    for place, position in enumerate(kept["shown"].tolist()):
        width = int(kept["sizes"][place, 1])
        assert (kept["image"][place, :, :width] == position).all()
        assert (kept["truth"][place, :, :width] == position + 1).all()
    nothing = PictureKeeper(0, ["image"]).arrays(lambda places: None)
    assert nothing["image"].shape == (0, 0, 0, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_not_waited_for(batch):
    outputs, labels = (own.cuda() for own in batch)
    keeper, order = ClassificationKeeper(labels), torch.arange(200).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        keeper.update(outputs, labels, order)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = kept(*batch, [torch.arange(200)])
    for name, value in keeper.arrays(no_pictures).items():
        assert_close(value, expected[name])
