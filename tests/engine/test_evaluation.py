"""Tests of semaug.engine.evaluation."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from semaug.engine.evaluation import SlidingWindow, Whole
from semaug.errors import UserError
from semaug.methods import Method
from semaug.registry import Sizes, evaluations

SIZES = Sizes(num_classes=4)


@pytest.fixture
def images(generator):
    return torch.randn(2, 3, 20, 13, generator=generator)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def dense():
    """Return a network of pixels, whose outputs are half as large, and one of the full size."""
    torch.manual_seed(0)
    half = nn.Conv2d(3, 4, 3, stride=2, padding=1).requires_grad_(False)
    full = nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False)
    return lambda images: {"": half(images), "teacher": full(images)}


@pytest.fixture
def classify():
    """Return a network that sees where pixels are."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, (1, 4)), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(), nn.Linear(24, 4)
    )
    network.requires_grad_(False)
    return lambda images: {"": network(images)}


def resize(images, height, width):
    return F.interpolate(images, (height, width), mode="bilinear", align_corners=False)


def evaluate(spec, predict, images, size=None):
    return spec.build(SIZES)(predict, images, size)


def test_outputs_of_one_pass_are_untouched(images, classify):
    outputs = classify(images)
    found = evaluate(Whole(), lambda _: outputs, images)
    assert found[""] is outputs[""]
    assert evaluate(Whole(), lambda _: {"": images}, images, (20, 13))[""] is images


def test_outputs_of_pixels_get_the_size_of_the_truth(images, dense):
    found = evaluate(Whole(), dense, images, (40, 21))
    expected = dense(images)
    assert list(found) == ["", "teacher"]
    for name, outputs in found.items():
        assert_close(outputs, resize(expected[name], 40, 21), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("flip", "scales"), [(True, (1.0,)), (False, (0.5, 1.0)), (True, (0.5, 1.0, 1.6))]
)
def test_probabilities_of_images_are_averaged(images, classify, flip, scales):
    probabilities = []
    for scale in scales:
        seen = resize(images, round(20 * scale), round(13 * scale))
        for one in (seen, seen.flip(3))[: 1 + flip]:
            probabilities.append(classify(one)[""].softmax(1))
    found = evaluate(Whole(mirror=flip, scales=scales), classify, images)[""]
    assert_close(found.exp(), sum(probabilities) / len(probabilities))
    assert_close(found.softmax(1), found.exp())


def test_one_pass_at_another_scale_is_a_single_pass(images, classify):
    found = evaluate(Whole(scales=(2.0,)), classify, images)[""]
    assert_close(found, classify(resize(images, 40, 26))[""], rtol=0, atol=0)


@pytest.mark.parametrize("flip", [True, False])
def test_probabilities_of_pixels_are_averaged_at_the_size_of_the_truth(images, dense, flip):
    scales = (0.5, 1.5)
    found = evaluate(Whole(mirror=flip, scales=scales), dense, images, (20, 13))
    for name in ("", "teacher"):
        total, count = torch.zeros(2, 4, 20, 13), 0
        for scale in scales:
            seen = resize(images, round(20 * scale), round(13 * scale))
            total += resize(dense(seen)[name], 20, 13).softmax(1)
            count += 1
            if flip:
                total += resize(dense(seen.flip(3))[name].flip(3), 20, 13).softmax(1)
                count += 1
        assert_close(found[name].exp(), total / count)


def test_mirrored_outputs_are_mirrored_back(images):
    """A network that looks at one pixel only does not care about the side."""

    def predict(images):
        return {"": images}

    found = evaluate(Whole(mirror=True), predict, images, (20, 13))[""]
    assert_close(found, images.log_softmax(1))


def slide_by_loops(predict, images, window, stride):
    """Average, pixel by pixel, the outputs of all windows that show it.

    Windows of float64 are as exact a reference as any.
    """
    height, width = images.shape[2:]
    tall, wide = max(height, window), max(width, window)
    padded = torch.zeros(*images.shape[:2], tall, wide)
    padded[:, :, :height, :width] = images
    tops, lefts = [], []
    for starts, length in ((tops, tall), (lefts, wide)):
        start = 0
        while start + window < length:
            starts.append(start)
            start += stride
        starts.append(length - window)
    seen = [[[] for _ in range(width)] for _ in range(height)]
    for top in tops:
        for left in lefts:
            outputs = predict(padded[:, :, top : top + window, left : left + window])
            outputs = resize(outputs, window, window)
            for y in range(top, min(top + window, height)):
                for x in range(left, min(left + window, width)):
                    seen[y][x].append(outputs[:, :, y - top, x - left])
    rows = [torch.stack([torch.stack(x).mean(0) for x in row], dim=2) for row in seen]
    return torch.stack(rows, dim=2)


@pytest.mark.parametrize(
    ("window", "percent"), [(8, 50), (8, 66.7), (7, 100), (16, 25), (21, 66.7), (5, 1)]
)
def test_windows_are_averaged_where_they_overlap(images, dense, window, percent):
    spec = SlidingWindow(window=window, stride_percent=percent, average="logits")
    found = evaluate(spec, dense, images, (20, 13))
    probabilities = evaluate(replace(spec, average="probabilities"), dense, images, (20, 13))
    stride = math.ceil(window * percent / 100)
    for name in ("", "teacher"):
        expected = slide_by_loops(lambda x, name=name: dense(x)[name], images, window, stride)
        assert_close(found[name], expected)
        if window < 20:  # else one window shows all, as it is
            own = slide_by_loops(
                lambda x, name=name: resize(dense(x)[name], window, window).softmax(1),
                *(images, window, stride),
            )
            assert_close(probabilities[name].exp(), own)


@pytest.mark.parametrize(("window", "stride"), [(769, 513), (713, 476), (9, 6), (97, 65), (1, 1)])
def test_windows_are_two_thirds_apart_as_published(window, stride):
    starts = SlidingWindow(window=window)._window_starts(2 * window + 1)
    assert starts[:2] == [0, stride]
    assert starts[-1] == window + 1


def test_windows_of_cityscapes_lie_as_published():
    starts = SlidingWindow(window=769)._window_starts
    assert (starts(1024), starts(2048)) == ([0, 255], [0, 513, 1026, 1279])


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_a_network_of_tiles_sees_no_difference_between_windows_and_the_whole(images, average):
    """Windows and their distance are whole tiles, so that each tile is always seen alike."""
    torch.manual_seed(0)
    tiles = nn.Conv2d(3, 4, 4, stride=4).requires_grad_(False).double()
    square = images[:, :, :20, :12].double()
    up = nn.Upsample(scale_factor=4)
    predict = lambda seen: {"": up(tiles(seen))}  # noqa: E731
    window = SlidingWindow(window=8, stride_percent=50, average=average)
    found = evaluate(window, predict, square, (20, 12))[""]
    assert_close(found.softmax(1), predict(square)[""].softmax(1))


@pytest.mark.parametrize("spec", [Whole, partial(SlidingWindow, window=8, stride_percent=50)])
@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_mirror_images_change_nothing_for_networks_that_follow_them(images, average, spec):
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False).double()
    network.weight.copy_((network.weight + network.weight.flip(3)) / 2)
    square = images[:, :, :, :12].double()
    predict = lambda seen: {"": network(seen)}  # noqa: E731
    found = [
        evaluate(spec(mirror=mirror, average=average), predict, square, (20, 12))[""].softmax(1)
        for mirror in (False, True)
    ]
    assert_close(*found)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_constant_outputs_stay_constant(images, average):
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0])
    predict = lambda seen: {"": logits.view(1, 4, 1, 1).expand(len(seen), -1, 3, 2)}  # noqa: E731
    spec = SlidingWindow(window=7, mirror=True, scales=(0.5, 1.0, 1.25), average=average)
    found = evaluate(spec, predict, images, (31, 17))[""]
    expected = logits.softmax(0).view(1, 4, 1, 1).expand(2, 4, 31, 17)
    assert_close(found.softmax(1), expected)
    if average == "logits":
        assert_close(found, logits.view(1, 4, 1, 1).expand_as(found))


def test_logits_are_averaged_at_the_size_of_the_truth(images, dense):
    spec = Whole(scales=(0.75, 1.25), mirror=True, average="logits")
    found = evaluate(spec, dense, images, (20, 13))[""]
    total = torch.zeros(2, 4, 20, 13, dtype=torch.float64)
    for scale in spec.scales:
        seen = resize(images, round(20 * scale), round(13 * scale))
        total += resize(dense(seen)[""], 20, 13)
        total += resize(dense(seen.flip(3))[""].flip(3), 20, 13)
    assert_close(found, (total / 4).float())


def test_results_are_those_of_one_image_at_a_time(images, dense):
    spec = SlidingWindow(window=9, mirror=True, scales=(0.75, 1.0))
    together = evaluate(spec, dense, images, (40, 26))
    for place in range(2):
        alone = evaluate(spec, dense, images[place : place + 1], (40, 26))
        assert_close(alone[""][0], together[""][place])


def test_corners_are_aligned_where_the_network_says_so(images, dense):
    sizes = replace(SIZES, align_corners=True)
    corners = partial(F.interpolate, mode="bilinear", align_corners=True)
    found = Whole().build(sizes)(dense, images, (20, 13))[""]
    assert_close(found, corners(dense(images)[""], (20, 13)))
    # At another scale corners are those of the image as it was shown.
    found = Whole(scales=(2.0,)).build(sizes)(dense, images, (20, 13))[""]
    shown = dense(resize(images, 40, 26))[""]
    assert_close(found, resize(corners(shown, (40, 26)), 20, 13))
    window = SlidingWindow(window=9, stride_percent=100, average="logits")
    found = window.build(sizes)(dense, images[..., :9, :9], (9, 9))[""]
    assert_close(found, corners(dense(images[..., :9, :9])[""], (9, 9)))


def test_one_window_that_covers_the_image_is_the_whole(images, dense):
    square = resize(images, 14, 14)
    for size in ((14, 14), (30, 29)):
        whole = evaluate(Whole(), dense, square, size)
        window = evaluate(SlidingWindow(window=14), dense, square, size)
        for name, outputs in whole.items():
            assert_close(window[name], outputs, rtol=0, atol=0)


def test_a_larger_window_changes_nothing_for_a_network_of_single_pixels(images):
    def predict(images):
        return {"": 2 * images}

    found = evaluate(SlidingWindow(window=64), predict, images, (20, 13))[""]
    assert_close(found, 2 * images, rtol=0, atol=0)


def test_windows_scales_and_mirror_images_go_together(images, dense):
    spec = SlidingWindow(
        window=9, stride_percent=50, mirror=True, scales=(1.0, 1.5), average="logits"
    )
    found = evaluate(spec, dense, images, (20, 13))["teacher"]
    total = torch.zeros(2, 4, 20, 13)
    for scale in spec.scales:
        seen = resize(images, round(20 * scale), round(13 * scale))
        for mirrored in (False, True):
            one = seen.flip(3) if mirrored else seen
            outputs = slide_by_loops(lambda x: dense(x)["teacher"], one, 9, 5)
            outputs = outputs.flip(3) if mirrored else outputs
            total += resize(outputs, 20, 13)
    assert_close(found, total / 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_averages_are_float32_or_better(images, dtype):
    outputs = images.to(dtype)
    found = evaluate(Whole(mirror=True), lambda _: {"": outputs}, images, (20, 13))[""]
    wide = torch.promote_types(dtype, torch.float32)
    expected = (outputs.to(wide).softmax(1) + outputs.flip(3).to(wide).softmax(1)) / 2
    assert found.dtype == wide
    assert_close(found.exp(), expected)


def test_evaluations_have_names():
    assert {"whole", "sliding_window"} <= set(evaluations.names())
    assert evaluations.make("sliding_window", window=8) == SlidingWindow(window=8)


def test_images_with_one_label_need_no_window(images, classify):
    with pytest.raises(UserError, match="evaluation=sliding_window expects a label for each pixel"):
        evaluate(SlidingWindow(window=8), classify, images)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (Whole, {"scales": ()}, r"recipe: expected `scales` > 0, one or more, got \(\)"),
        (Whole, {"scales": (1.0, 0.0)}, "expected `scales` > 0, one or more, got"),
        (Whole, {"scales": (math.inf,)}, "expected `scales` > 0, one or more, got"),
        (SlidingWindow, {"window": 0}, "recipe: expected `window` >= 1, got 0"),
        (SlidingWindow, {"window": 8, "stride_percent": 0}, "`stride_percent` above 0 and <= 100"),
        (SlidingWindow, {"window": 8, "stride_percent": 101}, "<= 100, got 101"),
        (SlidingWindow, {"window": 8, "scales": (-1.0,)}, "expected `scales` > 0"),
    ],
)
def test_options_out_of_range_are_refused(spec, options, message):
    with pytest.raises(UserError, match=message):
        spec(**options)


class Dense(Method):
    """A method of one network."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def loss(self, batch):
        raise NotImplementedError

    def predictors(self):
        return {"": self.network}


def test_a_method_aligns_corners_where_its_network_does():
    network = nn.Conv2d(3, 4, 1)
    assert not Dense(network).align_corners
    network.align_corners = True
    assert Dense(network).align_corners
    wrapped = nn.Module()
    wrapped.model = network
    assert Dense(wrapped).align_corners
