"""Tests of semaug.engine.measure."""

import pytest
import torch
import torch.nn.functional as F

from semaug.engine.evaluation import Whole
from semaug.engine.measure import measure
from semaug.keepers import ClassificationKeeper
from semaug.methods import Samples
from semaug.metrics import Error, MeanIoU, TopKError
from semaug.registry import Sizes

CLASSES = ("a", "b", "c", "d")


@pytest.fixture
def images():
    """Ten images whose first pixel is their class, but for three, and their labels."""
    labels = torch.arange(10) % 4
    pixels = labels.clone()
    pixels[[2, 5, 9]] = (labels[[2, 5, 9]] + 1) % 4
    return pixels.view(10, 1, 1, 1).repeat(1, 3, 2, 2).float(), labels


def batches(images, size):
    return map(Samples, *(tensor.split(size) for tensor in images))


def predict(pixels):
    return {"": F.one_hot(pixels[:, 0, 0, 0].long(), 4).float()}


def predict_twice(pixels):
    """Return the right class, and another one."""
    right = predict(pixels)[""]
    return {"": right, "network 2": right.roll(1, dims=-1)}


def errors():
    return [Error(num_classes=4)]


def count(predict, batches, make_metrics=errors, predictors=("",), **options):
    evaluator = Whole().build(Sizes(num_classes=4))
    return measure(predict, evaluator, batches, make_metrics, predictors, **options)


def merged(tested, size=1):
    return tested.merged(lambda counts: counts * size, CLASSES)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 100])
def test_counts_do_not_depend_on_the_batch(images, batch_size):
    tested = count(predict, batches(images, batch_size))
    (error,) = tested.metrics[""]
    assert error.chosen.tolist() == [0, 2, 1, 0]
    assert merged(tested) == (
        {"": {"error": 30.0}},
        {"a": 0.0, "b": pytest.approx(100 * 2 / 3), "c": 50.0, "d": 0.0},
    )


def test_without_images_nothing_is_known():
    results, by_class = merged(count(predict, []))
    assert results[""]["error"] != results[""]["error"]  # NaN
    assert by_class == {}


def test_counts_of_several_processes_add_up(images):
    tested = count(predict, batches(images, 5))
    assert merged(tested, size=2)[0] == {"": {"error": 30.0}}
    assert tested.metrics[""][0].count.sum() == 20


def test_predictors_are_counted_each_by_itself(images):
    results, by_class = merged(
        count(predict_twice, batches(images, 4), predictors=["", "network 2"])
    )
    assert results[""]["error"] == 30.0
    assert results["network 2"]["error"] >= 70.0
    assert by_class["b"] > 0  # of the main one
    assert by_class["a"] == 0


def test_five_guesses_count_where_there_are_many_classes():
    labels = torch.arange(100)
    logits = -(torch.arange(100) - labels.unsqueeze(1)).abs().float()  # the class, then neighbors
    shifted = {"": logits, "near": logits.roll(2, dims=1), "far": logits.roll(50, dims=1)}
    tested = count(
        lambda images: shifted,
        [Samples(torch.zeros(100, 3, 1, 1), labels)],
        lambda: [Error(100), TopKError(100)],
        list(shifted),
    )
    results, _ = tested.merged(lambda counts: counts, [str(k) for k in range(100)])
    assert [results[name]["error"] for name in shifted] == [0, 100, 100]
    literal = [
        sum(label not in row.argsort(descending=True)[:5] for label, row in enumerate(one))
        for one in shifted.values()
    ]
    assert [results[name]["top5_error"] for name in shifted] == literal
    assert literal[0] == 0 < literal[1] < literal[2]


def test_masks_are_measured_at_their_own_size():
    masks = torch.tensor([[[0, 1, -100], [2, 3, 3], [0, 0, 1]]])
    outputs = F.one_hot(masks.clamp(min=0), 4).movedim(3, 1).float()
    outputs[:, :, 0, 0] = outputs[:, :, 0, 0].roll(1, dims=1)  # a pixel of class 0 becomes 1
    metrics = [MeanIoU(4), Error(4)]
    samples = [Samples(torch.zeros(1, 3, 6, 6), masks)]
    results, by_class = merged(count(lambda images: {"": outputs}, samples, lambda: metrics))
    assert by_class == {
        "a": pytest.approx(200 / 3),
        "b": pytest.approx(200 / 3),
        "c": 100,
        "d": 100,
    }
    assert results[""] == {"miou": pytest.approx(1000 / 12), "error": 12.5}
    small = outputs[:, :, :2, :2]
    resized = F.interpolate(small, (3, 3), mode="bilinear").argmax(1)
    (error,) = count(lambda images: {"": small}, samples).metrics[""]
    assert error.chosen.sum() == ((resized != masks) & (masks >= 0)).sum()


def test_a_metric_that_is_not_known_by_class_has_none(images):
    class Plain(Error):
        def by_class(self):
            return None

    assert merged(count(predict, batches(images, 5), lambda: [Plain(4)]))[1] is None


def test_stops_when_asked(images):
    seen = []

    def predict_and_note(pixels):
        seen.append(len(pixels))
        return predict(pixels)

    tested = count(predict_and_note, batches(images, 2), stop=lambda: len(seen) == 2)
    assert seen == [2, 2]
    assert tested.metrics[""][0].chosen.tolist() == [0, 0, 1, 0]


def test_a_keeper_sees_the_main_predictor_alone(images):
    keeper = ClassificationKeeper(images[1])
    positions = torch.arange(10).split(4)
    samples = [
        one._replace(positions=own) for one, own in zip(batches(images, 4), positions, strict=True)
    ]
    count(predict_twice, samples, predictors=["", "network 2"], keeper=keeper)
    kept = keeper.arrays(lambda places: None)
    assert torch.equal(kept["predictions"], images[0][:, 0, 0, 0].long())
    assert torch.equal(kept["labels"], images[1])


def test_keeps_no_gradients(images):
    def predict_with_gradient(pixels):
        assert not torch.is_grad_enabled()
        return predict(pixels)

    count(predict_with_gradient, batches(images, 10))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_not_waited_for(images):
    cuda = tuple(tensor.cuda() for tensor in images)
    metrics = [Error(num_classes=3).cuda()]
    torch.cuda.set_sync_debug_mode("error")
    try:
        count(lambda pixels: {"": pixels[:, :, 0, 0]}, batches(cuda, 3), lambda: metrics)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert metrics[0].compute() == 62.5  # equal logits: the first class is meant; one is unknown
