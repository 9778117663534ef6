"""Tests of semaug.augmentation.mix."""

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch.testing import assert_close
from torchvision.transforms import v2

from semaug.augmentation import Mix, cutmix, mixup

NUM_CLASSES = 7


@pytest.fixture
def batch(generator):
    """32 float64 images of 9 x 13 pixels, soft targets, lam and places."""

    def uniform(*shape):
        return torch.rand(*shape, dtype=torch.float64, generator=generator)

    return uniform(32, 3, 9, 13), uniform(32, NUM_CLASSES), uniform(32), uniform(32, 2)


def box_of_torchvision(lam, place, monkeypatch):
    """Return what torchvision's CutMix decides if these are its random numbers."""
    transform = v2.CutMix(num_classes=NUM_CLASSES)
    middles = iter([int(place[1] * 13), int(place[0] * 9)])  # it draws the column first
    monkeypatch.setattr(transform, "_dist", type("", (), {"sample": lambda self, shape: lam})())
    monkeypatch.setattr(torch, "randint", lambda high, size: torch.tensor([next(middles)]))
    params = transform.make_params([torch.zeros(1, 3, 9, 13)])
    monkeypatch.undo()
    return transform, params


def test_mixup_equals_torchvision_for_each_lam(batch):
    images, targets, lam, _ = batch
    mixed, mixed_targets = mixup(images, targets, lam)
    for n, x in enumerate(lam.tolist()):
        params = {"lam": x, "labels": targets, "batch_size": 32}
        assert_close(mixed[n], v2.MixUp(num_classes=NUM_CLASSES).transform(images, params)[n])
        assert_close(mixed_targets[n], x * targets[n] + (1 - x) * targets[n - 1])


def test_cutmix_equals_torchvision_for_each_box(batch, monkeypatch):
    images, targets, lam, places = batch
    mixed, mixed_targets = cutmix(images, targets, lam, places)
    for n in range(32):
        transform, params = box_of_torchvision(lam[n], places[n], monkeypatch)
        params |= {"labels": targets, "batch_size": 32}
        assert_close(mixed[n], transform.transform(images, params)[n], rtol=0, atol=0)
        share = params["lam_adjusted"]
        assert_close(mixed_targets[n], share * targets[n] + (1 - share) * targets[n - 1])


def test_cutmix_weighs_targets_by_the_pixels_kept(batch):
    images, _, lam, places = batch
    images = torch.arange(32.0).view(32, 1, 1, 1).expand(-1, 3, 9, 13)
    mixed, share = cutmix(images, torch.eye(32), lam, places)
    own = torch.arange(32).view(32, 1, 1, 1)
    assert_close(share.diag(), (mixed == own).float().mean((1, 2, 3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_both_keep_dtype_and_memory_format(batch, dtype, memory_format):
    images, *rest = (x.to(dtype) for x in batch)
    given = images.to(memory_format=memory_format)
    for actual, expected in (
        (mixup(given, *rest[:2]), mixup(images, *rest[:2])),
        (cutmix(given, *rest), cutmix(images, *rest)),
    ):
        assert actual[0].is_contiguous(memory_format=memory_format)
        assert actual[0].dtype == actual[1].dtype == dtype
        assert_close(actual, expected, rtol=0, atol=0)


def test_lam_of_one_and_of_zero_are_own_image_and_partner(batch):
    images, targets, _, _ = batch
    one, zero, middle = torch.ones(32), torch.zeros(32), torch.full((32, 2), 0.5)
    partners = images.roll(1, 0), targets.roll(1, 0)
    assert_close(mixup(images, targets, one), (images, targets), rtol=0, atol=0)
    assert_close(mixup(images, targets, zero), partners, rtol=0, atol=0)
    assert_close(cutmix(images, targets, one, middle), (images, targets), rtol=0, atol=0)
    # Half of 8 pixels is whole, so that the box is the image; half of 9 is rounded down.
    even = images[:, :, :8, :12]
    boxed = cutmix(even, targets, zero, middle)
    assert_close(boxed, (even.roll(1, 0), partners[1]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("mix", "probability"), [(Mix(0.4, 0.0), 0), (Mix(0.0, 1.0), 1), (Mix(0.4, 1.0), 0.5)]
)
def test_mix_is_one_of_the_two_for_each_image(batch, generator, mix, probability):
    images = batch[0]
    labels = torch.randint(0, NUM_CLASSES, (32,), generator=generator)
    targets = F.one_hot(labels, NUM_CLASSES).double()
    draws = mix.draw(32, generator)
    before = images.clone()
    actual = mix(images, labels, draws, NUM_CLASSES)
    laid_over = mixup(images, targets, draws[:, 0])
    boxed = cutmix(images, targets, draws[:, 0], draws[:, 1:3])
    takes_box = draws[:, 3] < probability
    for n in range(32):
        expected = boxed if takes_box[n] else laid_over
        assert_close(actual[0][n], expected[0][n], rtol=0, atol=0)
        assert_close(actual[1][n], expected[1][n])
    assert_close(images, before, rtol=0, atol=0)


def test_targets_sum_to_one_and_are_float32_for_half_precision(batch, generator):
    labels = torch.randint(0, NUM_CLASSES, (32,), generator=generator)
    mix = Mix(0.4, 1.0)
    images, targets = mix(batch[0].half(), labels, mix.draw(32, generator), NUM_CLASSES)
    assert images.dtype == torch.float16
    assert targets.dtype == torch.float32
    assert_close(targets.sum(dim=1), torch.ones(32))


def test_an_image_alone_stays_as_it_is(batch, generator):
    for mix in (Mix(0.4), Mix(0.0, 1.0)):
        draws = mix.draw(1, generator)
        images, targets = mix(batch[0][:1], torch.tensor([3]), draws, NUM_CLASSES)
        assert_close(images, batch[0][:1], rtol=0, atol=0)
        assert_close(targets, F.one_hot(torch.tensor([3]), NUM_CLASSES).double(), rtol=0, atol=0)


def test_an_empty_batch_stays_empty(batch):
    mix = Mix(0.4, 1.0)
    images, targets = mix(batch[0][:0], torch.zeros(0).long(), torch.zeros(0, 4), NUM_CLASSES)
    assert images.shape == (0, 3, 9, 13)
    assert targets.shape == (0, NUM_CLASSES)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 3.0])
def test_lam_follows_the_beta_distribution(generator, alpha):
    draws = Mix(alpha, 0.0).draw(20_000, generator)
    assert draws.dtype == torch.float32
    distance = stats.kstest(draws[:, 0].numpy(), stats.beta(alpha, alpha).cdf).statistic
    assert distance < 1.95 / 20_000**0.5  # exceeded with probability 0.001


def test_each_of_the_two_has_its_own_distribution(generator):
    draws = Mix(0.2, 5.0, switch_probability=0.25).draw(40_000, generator)
    boxed = draws[:, 3] < 0.25
    assert abs(boxed.double().mean() - 0.25) < 5 * (0.25 * 0.75 / 40_000) ** 0.5
    for alpha, rows in ((0.2, ~boxed), (5.0, boxed)):
        lam = draws[rows, 0].double()
        variance = 1 / (4 * (2 * alpha + 1))
        assert abs(lam.mean() - 0.5) < 5 * (variance / len(lam)) ** 0.5
        assert_close(lam.var(), torch.tensor(variance).double(), rtol=0.05, atol=0)


def test_draws_are_reproducible():
    draws = [Mix(0.4, 1.0).draw(9, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert draws[0].shape == (9, 4)
    assert_close(draws[0], draws[1], rtol=0, atol=0)


def test_compiles_without_a_graph_break(batch, generator):
    mix = Mix(0.4, 1.0)
    labels, draws = torch.arange(32) % NUM_CLASSES, mix.draw(32, generator)
    torch.compiler.reset()
    compiled = torch.compile(mix, fullgraph=True, backend="aot_eager")
    arguments = batch[0].float(), labels, draws, NUM_CLASSES
    assert_close(compiled(*arguments), mix(*arguments))


def test_wrong_arguments_are_named(batch):
    images, targets, lam, places = batch
    with pytest.raises(ValueError, match=r"mixup: expected `lam` of shape \(N=32,\), got \(31,\)"):
        mixup(images, targets, lam[:31])
    with pytest.raises(TypeError, match=r"mixup: .* floating-point dtype, got torch\.uint8"):
        mixup(images.byte(), targets, lam)
    with pytest.raises(TypeError, match=r"cutmix: .*`targets` .* got torch\.int64"):
        cutmix(images, targets.long(), lam, places)
    with pytest.raises(ValueError, match=r"cutmix: expected `places` of shape \(N=32, 2\)"):
        cutmix(images, targets, lam, places[:, :1])
    with pytest.raises(TypeError, match=r"cutmix: expected `places` of a floating-point dtype"):
        cutmix(images, targets, lam, places.long())
    mix, labels, draws = Mix(0.4), torch.arange(32), torch.rand(32, 4)
    with pytest.raises(ValueError, match=r"Mix: expected `draws` of shape \(N=32, 4\)"):
        mix(images, labels, draws[:, :3], 32)
    with pytest.raises(TypeError, match="Mix: expected `images` of a floating-point dtype"):
        mix(images.byte(), labels, draws, 32)
    with pytest.raises(TypeError, match=r"Mix: expected `labels` of dtype torch\.int64"):
        mix(images, labels.int(), draws, 32)
    with pytest.raises(ValueError, match="Mix: expected `num_classes` >= 1, got 0"):
        mix(images, labels, draws, 0)
    with pytest.raises(TypeError, match=r"Mix: expected `num_classes` to be an int, got 32\.0"):
        mix(images, labels, draws, 32.0)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="Mix: expected `mixup_alpha` >= 0, got -1"):
        Mix(-1)
    for name in ("mixup_alpha", "cutmix_alpha", "switch_probability"):
        for value in ("a", True, None, torch.tensor(0.5)):
            with pytest.raises(TypeError, match=f"Mix: expected `{name}` to be a number, got"):
                Mix(**{"mixup_alpha": 0.1, name: value})
    with pytest.raises(ValueError, match="`mixup_alpha` or `cutmix_alpha` > 0, got 0 for both"):
        Mix()
    with pytest.raises(ValueError, match="`switch_probability` between 0 and 1, got 2"):
        Mix(0.1, 1.0, 2)
