"""Tests of semaug.engine.evaluate."""

import pytest
import torch

from semaug.engine.evaluate import Wrong, count_wrong
from semaug.methods import Batch


@pytest.fixture
def images():
    """Ten images whose first pixel is their class, but for three, and their labels."""
    labels = torch.arange(10) % 4
    pixels = labels.clone()
    pixels[[2, 5, 9]] = (labels[[2, 5, 9]] + 1) % 4
    return pixels.view(10, 1, 1, 1).repeat(1, 3, 2, 2).float(), labels


def batches(images, size):
    return map(Batch, *(tensor.split(size) for tensor in images))


def predict(pixels):
    return torch.nn.functional.one_hot(pixels[:, 0, 0, 0].long(), 4).float().unsqueeze(0)


def nothing_yet(num_networks=1, num_classes=4, device="cpu"):
    return Wrong.none(num_networks, num_classes, torch.device(device))


@pytest.mark.parametrize("batch_size", [1, 3, 10, 100])
def test_counts_do_not_depend_on_the_batch(images, batch_size):
    wrong = count_wrong(predict, batches(images, batch_size), nothing_yet())
    assert wrong.by_class.tolist() == [[0, 2, 1, 0]]
    assert wrong.top5 is None


def test_without_images_nothing_is_wrong():
    assert count_wrong(predict, [], nothing_yet()).by_class.tolist() == [[0, 0, 0, 0]]


def test_counts_add_to_those_there_are(images):
    wrong = count_wrong(predict, batches(images, 5), nothing_yet())
    assert count_wrong(predict, batches(images, 5), wrong) is wrong
    assert wrong.by_class.tolist() == [[0, 4, 2, 0]]


def test_networks_are_counted_each_by_itself(images):
    def predict_twice(pixels):
        right = predict(pixels)
        return torch.cat([right, right.roll(1, dims=-1)])

    wrong = count_wrong(predict_twice, batches(images, 4), nothing_yet(2))
    assert wrong.by_class[0].tolist() == [0, 2, 1, 0]
    assert wrong.by_class[1].sum() >= 7


def test_five_guesses_count_where_there_are_many_classes():
    labels = torch.arange(100)
    logits = -(torch.arange(100) - labels.unsqueeze(1)).abs().float()  # the class, then neighbors
    shifted = torch.stack([logits, logits.roll(2, dims=1), logits.roll(50, dims=1)])
    batch = Batch(torch.zeros(100, 3, 1, 1), labels)
    wrong = count_wrong(lambda images: shifted, [batch], nothing_yet(3, 100))
    assert wrong.by_class.sum(dim=1).tolist() == [0, 100, 100]
    literal = [
        sum(label not in row.argsort(descending=True)[:5] for label, row in enumerate(one))
        for one in shifted
    ]
    assert wrong.top5.tolist() == literal
    assert literal[0] == 0 < literal[1] < literal[2]


def test_stops_when_asked(images):
    seen = []

    def predict_and_note(pixels):
        seen.append(len(pixels))
        return predict(pixels)

    wrong = count_wrong(
        predict_and_note, batches(images, 2), nothing_yet(), stop=lambda: len(seen) == 2
    )
    assert seen == [2, 2]
    assert wrong.by_class.tolist() == [[0, 0, 1, 0]]


def test_keeps_no_gradients(images):
    def predict_with_gradient(pixels):
        assert not torch.is_grad_enabled()
        return predict(pixels)

    count_wrong(predict_with_gradient, batches(images, 10), nothing_yet())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_not_waited_for(images):
    cuda = tuple(tensor.cuda() for tensor in images)
    wrong = nothing_yet(device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        count_wrong(lambda pixels: pixels[None, :, 0, 0, :], batches(cuda, 3), wrong)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert wrong.by_class.sum() == 7  # two equal logits: the first class is meant
