"""Tests of semaug.data.views, against torchvision."""

import pickle

import pytest
import torch
from scipy import stats
from torch.testing import assert_close
from torchvision.transforms import RandomResizedCrop as TorchvisionCrop
from torchvision.transforms.v2 import CenterCrop, Compose, Resize
from torchvision.transforms.v2.functional import resized_crop

from semaug.data import views
from semaug.data.views import Exactly, RandomResizedCrop, ResizeCenterCrop, SeveralViews

SIZES = [(375, 500), (500, 333), (64, 64), (40, 300), (300, 40), (1, 1), (1, 9), (7, 1)]


def random_image(height, width, channels=3):
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(256, (channels, height, width), generator=generator, dtype=torch.uint8)


def draws_of(view, num_images, seed=0):
    return view.draw(num_images, torch.Generator().manual_seed(seed))


@pytest.fixture
def torchvision_box(monkeypatch):
    """Torchvision's choice of a box, its random numbers taken from ours, in double precision."""
    uniform = []

    def uniform_(tensor, low, high):
        return tensor.fill_(low + (high - low) * uniform.pop(0))

    def randint(low, high, size):
        return torch.tensor([int(uniform.pop(0) * high)])

    monkeypatch.setattr(torch.Tensor, "uniform_", uniform_)
    monkeypatch.setattr(torch, "randint", randint)

    def box(view, height, width, draws):
        upper, lower = (int(draw * 2**24) for draw in draws.tolist())
        numbers = views._uniform_numbers((upper << 24) + lower)
        uniform[:] = [next(numbers) for _ in range(22)]
        return TorchvisionCrop.get_params(torch.empty(3, height, width), view.scale, view.ratio)

    torch.set_default_dtype(torch.float64)
    yield box
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "view",
    [
        RandomResizedCrop(),
        RandomResizedCrop(scale=(0.6, 1.0), ratio=(0.5, 3.0)),
        RandomResizedCrop(scale=(1.0, 1.0), ratio=(1.2, 1.3)),
    ],
    ids=["usual", "large", "hardly any fits"],
)
def test_boxes_are_those_of_torchvision(view, torchvision_box):
    for height, width in SIZES:
        for draws in draws_of(view, 100):
            expected = torchvision_box(view, height, width, draws)
            assert view.box(height, width, draws) == tuple(expected)


@pytest.mark.parametrize("size", SIZES)
def test_pixels_of_a_box_are_those_of_torchvision(size):
    view = RandomResizedCrop(32)
    image = random_image(*size)
    for draws in draws_of(view, 10):
        top, left, height, width = view.box(*size, draws)
        expected = resized_crop(image, top, left, height, width, [32, 32], antialias=True)
        assert_close(view(image, draws), expected, atol=0, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_the_middle_is_that_of_torchvision(size):
    view = ResizeCenterCrop(40, 33)
    expected = Compose([Resize(40, antialias=True), CenterCrop(33)])(random_image(*size))
    actual = view(random_image(*size), torch.empty(0))
    assert actual.shape == (3, 33, 33)
    assert_close(actual, expected, atol=0, rtol=0)


@pytest.mark.parametrize("size", [(1, 100), (301, 3), (2, 199), (2, 201)])
def test_the_middle_of_long_images_is_that_of_torchvision(size):
    view = ResizeCenterCrop(10, 7)
    expected = Compose([Resize(10, antialias=True), CenterCrop(7)])(random_image(*size))
    assert_close(view(random_image(*size), torch.empty(0)), expected, atol=0, rtol=0)


@pytest.mark.parametrize("size", [(1, 3000), (3001, 1), (3, 2000), (1999, 4)])
def test_the_middle_of_absurdly_long_images_is_nearly_that_of_torchvision(size):
    image = torch.linspace(0, 255, max(size)).byte()
    image = (image if size[1] > size[0] else image.unsqueeze(1)).expand(3, *size)
    view = ResizeCenterCrop(20, 15)
    expected = Compose([Resize(20, antialias=True), CenterCrop(15)])(image)
    assert_close(view(image, torch.empty(0)), expected, atol=1, rtol=0)


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (2, 100_001)])
def test_absurdly_long_images_are_not_resized_whole(size, monkeypatch):
    sizes = []

    def resize(image, height, width):
        sizes.append(height * width)
        return torch.zeros(3, height, width, dtype=torch.uint8)

    monkeypatch.setattr(views, "resize", resize)
    assert ResizeCenterCrop(20, 15)(random_image(*size), torch.empty(0)).shape == (3, 15, 15)
    assert sizes[0] <= 101 * 20**2


def test_an_image_of_the_right_size_stays_as_it_is():
    image = random_image(24, 24)
    assert_close(ResizeCenterCrop(24, 24)(image, torch.empty(0)), image)


@pytest.mark.parametrize("view", [RandomResizedCrop(16), ResizeCenterCrop(20, 16)])
def test_layout_and_number_of_channels_change_nothing(view):
    image = random_image(50, 37)
    draws = draws_of(view, 1)[0]
    expected = view(image, draws)
    interleaved = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # as decoders deliver it
    assert_close(view(interleaved, draws), expected, atol=0, rtol=0)
    assert_close(view(image[:1], draws), expected[:1], atol=1, rtol=0)


def test_area_shape_and_place_are_uniform():
    view = RandomResizedCrop(8)
    side = 2000
    boxes = torch.tensor([view.box(side, side, draws) for draws in draws_of(view, 2000)]).double()
    top, left, height, width = boxes.unbind(1)
    small = height * width < 0.7 * side**2  # these fit whatever their shape
    height, width = height[small], width[small]
    area, shape = height * width / side**2, (width / height).log()
    bound = torch.tensor(4 / 3).log().item()
    assert stats.kstest(area, stats.uniform(0.08, 0.62).cdf).pvalue > 0.01
    assert stats.kstest(shape, stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.01
    for start, extent in ((top[small], height), (left[small], width)):
        assert stats.kstest(start / (side - extent), "uniform").pvalue > 0.01


def test_near_draws_decide_differently():
    view = RandomResizedCrop()
    step = 2.0**-24
    nearby = [torch.tensor(pair) for pair in ((0, 0), (0, step), (step, 0), (step, step))]
    assert len({view.box(500, 500, draws.float()) for draws in nearby}) == 4


def test_the_small_generator_is_splitmix64():
    numbers = views._uniform_numbers(0)
    known = (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)
    assert [next(numbers) for _ in known] == [(number >> 11) / 2**53 for number in known]


@pytest.mark.parametrize("view", [RandomResizedCrop(16), ResizeCenterCrop(20, 16)])
def test_draws_are_rows_that_a_seed_repeats(view):
    draws = draws_of(view, 7)
    assert draws.shape == (7, view.num_draws)
    assert draws.dtype == torch.float32
    assert_close(draws, draws_of(view, 7))


@pytest.mark.parametrize("view", [RandomResizedCrop(16), ResizeCenterCrop(20, 16)])
def test_views_can_be_sent_to_processes(view):
    assert pickle.loads(pickle.dumps(view)) == view


@pytest.mark.parametrize("view", [RandomResizedCrop(16), ResizeCenterCrop(20, 16)])
def test_wrong_images_are_refused(view):
    draws = draws_of(view, 1)[0]
    with pytest.raises(
        TypeError, match=r"expected `image` of dtype torch\.uint8, got torch\.float"
    ):
        view(torch.zeros(3, 9, 9), draws)
    with pytest.raises(ValueError, match=r"expected `image` of shape \(C, H, W\), got \(9, 9\)"):
        view(random_image(9, 9)[0], draws)
    with pytest.raises(ValueError, match=r"expected an image with pixels, got \(3, 0, 9\)"):
        view(random_image(9, 9)[:, :0], draws)
    with pytest.raises(ValueError, match=rf"`draws` of shape \({view.num_draws},\), got \(3,\)"):
        view(random_image(9, 9), torch.zeros(3))


def test_draws_that_are_whole_numbers_are_refused():
    with pytest.raises(TypeError, match="`draws` of a floating-point dtype"):
        RandomResizedCrop(8)(random_image(9, 9), torch.zeros(2, dtype=torch.int64))


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="RandomResizedCrop: expected `size` >= 1, got 0"):
        RandomResizedCrop(0)
    with pytest.raises(TypeError, match="`size` to be an int"):
        RandomResizedCrop(2.5)
    with pytest.raises(ValueError, match=r"expected `scale` .* got \(0, 1\)"):
        RandomResizedCrop(8, scale=(0, 1))
    with pytest.raises(ValueError, match=r"expected `ratio` .* got \(2, 1\)"):
        RandomResizedCrop(8, ratio=(2, 1))
    for scale in ((0.5,), (0.1, 0.2, 0.3), (0.5, float("inf")), (0.5, float("nan"))):
        with pytest.raises(ValueError, match="expected `scale` to be two finite numbers"):
            RandomResizedCrop(8, scale=scale)
    with pytest.raises(TypeError, match=r"expected `scale` to be two finite numbers, .* got 0\.5"):
        RandomResizedCrop(8, scale=0.5)
    with pytest.raises(TypeError, match="expected `ratio` to be a number, got 'a'"):
        RandomResizedCrop(8, ratio=("a", "b"))
    with pytest.raises(ValueError, match="ResizeCenterCrop: expected `size` <= `resize`, got 9"):
        ResizeCenterCrop(8, 9)
    with pytest.raises(ValueError, match="`resize` >= 1"):
        ResizeCenterCrop(0, 0)


def test_an_image_must_have_exactly_the_size():
    image = torch.arange(3 * 4 * 6).byte().view(3, 4, 6)
    assert Exactly(4, 6)(image, torch.empty(0)) is image
    with pytest.raises(ValueError, match="Exactly: expected an image of 6 x 4 pixels, got 4 x 6"):
        Exactly(6, 4)(image, torch.empty(0))


def test_several_views_are_those_of_each_part_of_the_draws():
    single = RandomResizedCrop(8)
    several = SeveralViews(single, 3)
    image = torch.arange(3 * 20 * 30).remainder(256).byte().view(3, 20, 30)
    draws = several.draw(4, torch.Generator().manual_seed(0))
    assert draws.shape == (4, 6)
    views = several(image, draws[1])
    assert views.shape == (3, 3, 8, 8)
    for view, own in zip(views, draws[1].view(3, 2), strict=True):
        assert torch.equal(view, single(image, own))


def test_several_views_check_their_number_and_draws():
    with pytest.raises(ValueError, match="SeveralViews: expected `num_views`"):
        SeveralViews(RandomResizedCrop(8), 0)
    with pytest.raises(ValueError, match="SeveralViews: expected `draws`"):
        SeveralViews(RandomResizedCrop(8), 2)(torch.zeros(3, 9, 9).byte(), torch.zeros(2))
