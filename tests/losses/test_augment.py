"""Tests of semaug.losses.augment."""

import pytest
import torch
from torch.testing import assert_close

from semaug import ClassCovariance, augment_logits
from tests.references.isda import quadratic_form_by_loops

# N=6, C=4, A=3.

LABELS = torch.tensor([0, 1, 2, 3, 3, 1])


def by_loops(logits, labels, weight, covariance, strength, shift=None, ignore_index=-100):
    """``z_j + (w_j - w_y)^T m + strength / 2 Q[y, j]``."""
    q = quadratic_form_by_loops(weight, covariance)
    rows = []
    for n, y in enumerate(labels.tolist()):
        row = logits[n]
        if y != ignore_index:
            row = row + strength[n] / 2 * q[y]
            if shift is not None:
                row = row + torch.stack([(w - weight[y]) @ shift[n] for w in weight])
        rows.append(row)
    return torch.stack(rows)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("strengths", ["one", "a tensor", "one for each sample"])
@pytest.mark.parametrize("ignore_index", [-100, 3])
def test_matches_the_equation(
    normal, estimator, shifted, strengths, ignore_index, either_path, gradients
):
    logits, weight = normal(6, 4).requires_grad_(), normal(4, 3).requires_grad_()
    shift = normal(6, 3).requires_grad_()
    each = torch.linspace(0, 2, 6, dtype=torch.float64).requires_grad_()
    one = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    strength = {"one": 0.8, "a tensor": one, "one for each sample": each}[strengths]
    leaves = logits, weight, shift, each, one, *estimator.parameters()
    actual = augment_logits(
        logits, LABELS, weight, estimator, strength=strength,
        mean_shift=shift if shifted else None, ignore_index=ignore_index,
    )  # fmt: skip
    strength = each if strength is each else [strength] * 6
    covariance, shift = estimator.dense(), shift if shifted else None
    expected = by_loops(logits, LABELS, weight, covariance, strength, shift, ignore_index)
    assert_close(actual, expected)
    assert_close(gradients(actual, *leaves), gradients(expected, *leaves))
    own = LABELS.unsqueeze(1)
    assert_close(actual.gather(1, own), logits.gather(1, own), rtol=0, atol=0)


@pytest.mark.parametrize("strengths", ["one", "one for each image"])
def test_pixels_are_samples(normal, estimator, strengths, either_path):
    logits, weight = normal(2, 4, 2, 3), normal(4, 3)
    labels = torch.arange(12).view(2, 2, 3) * 7 % 4
    each = torch.tensor([0.3, 2.0], dtype=torch.float64)
    strength = 0.8 if strengths == "one" else each
    actual = augment_logits(logits, labels, weight, estimator, strength=strength)
    flat = logits.movedim(1, 3).flatten(0, 2)
    strength = [0.8] * 12 if strengths == "one" else each.repeat_interleave(6)
    expected = by_loops(flat, labels.flatten(), weight, estimator.dense(), strength)
    assert_close(actual.movedim(1, 3).flatten(0, 2), expected)


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (2, 3), (1, 2), (64, 33)])
def test_labels_are_taken_at_the_nearest_pixel(normal, size):
    logits, weight, covariance = normal(2, 4, 2, 3), normal(4, 3), normal(4, 3).square()
    labels = torch.arange(2 * size[0] * size[1]).view(2, *size) * 7 % 4
    nearest = torch.nn.functional.interpolate(labels.unsqueeze(1).double(), (2, 3)).squeeze(1)
    actual, expected = (
        augment_logits(logits, y, weight, covariance, strength=0.5)
        for y in (labels, nearest.long())
    )
    assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("sizes", [(0, 4, 3), (1, 1, 1), (3, 1, 2), (2, 5, 1)])
def test_small_sizes(normal, sizes, either_path):
    num_samples, num_classes, num_features = sizes
    logits, weight = normal(num_samples, num_classes), normal(num_classes, num_features)
    covariance, shift = normal(num_classes, num_features) ** 2, normal(num_samples, num_features)
    labels = torch.arange(num_samples) % num_classes
    actual = augment_logits(logits, labels, weight, covariance, strength=0.5, mean_shift=shift)
    assert actual.shape == logits.shape
    if num_samples > 0:
        expected = by_loops(logits, labels, weight, covariance, [0.5] * num_samples, shift)
        assert_close(actual, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_no_more_than_the_inputs_do(normal, estimator, dtype):
    logits, weight, shift = (normal(*s).to(dtype) for s in ((6, 4), (4, 3), (6, 3)))
    with torch.autocast("cpu", dtype):
        actual = augment_logits(
            logits, LABELS, weight, estimator.float(), strength=0.5, mean_shift=shift
        )
    assert actual.dtype == torch.float32
    dense, exact = estimator.dense().double(), [x.double() for x in (logits, weight, shift)]
    expected = by_loops(exact[0], LABELS, exact[1], dense, [0.5] * 6, exact[2])
    assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)


def test_wrong_arguments_are_named(normal):
    def call(**options):
        options = {
            "logits": normal(6, 4),
            "labels": LABELS,
            "weight": normal(4, 3),
            "covariance": normal(4, 3).square(),
            "strength": 0.5,
            **options,
        }
        return augment_logits(**options)

    name = "augment_logits: expected "
    dense = {"logits": normal(2, 4, 2, 3), "labels": LABELS.view(1, 2, 3).repeat(2, 1, 1)}
    for error, message, options in [
        (ValueError, r"`labels` of shape \(N=6,\), got \(5,\)", {"labels": LABELS[:5]}),
        (ValueError, r"`labels` of shape \(N=2, H, W\)", {**dense, "labels": LABELS}),
        (TypeError, "`labels` of dtype torch.int64", {"labels": LABELS.double()}),
        (TypeError, "`labels` to be a tensor, got list", {"labels": LABELS.tolist()}),
        (ValueError, r"`covariance` of shape \(C=4, A=3\)", {"covariance": normal(6, 3)}),
        (ValueError, r"`covariance` of shape \(C=4, A=2\)", {"weight": normal(4, 2)}),
        (TypeError, "`covariance` to be a tensor, got str", {"covariance": "full"}),
        (ValueError, r"`weight` of shape \(C=4, A=2\) of", {"covariance": ClassCovariance(4, 2)}),
        (TypeError, "`covariance` of a floating", {"covariance": torch.ones(4, 3).long()}),
        (
            ValueError,
            "`covariance` on the device of `weight`",
            {"covariance": ClassCovariance(4, 3).to("meta")},
        ),
        (ValueError, "finite `strength` >= 0, got inf", {"strength": float("inf")}),
        (TypeError, "`strength` to be a number, got '1'", {"strength": "1"}),
        (ValueError, r"`strength` of shape \(6,\), got \(4,\)", {"strength": torch.ones(4)}),
        (ValueError, r"`mean_shift` of shape \(N=6, A=3\)", {"mean_shift": normal(6, 2)}),
        (ValueError, r"`logits` of shape \(N, C\)", {**dense, "mean_shift": normal(6, 3)}),
        (TypeError, "`mean_shift` of a floating", {"mean_shift": torch.ones(6, 3).long()}),
        (TypeError, "`mean_shift` to be a tensor", {"mean_shift": 0.0}),
        (ValueError, "`mean_shift` on the device", {"mean_shift": normal(6, 3).to("meta")}),
    ]:
        with pytest.raises(error, match=name + ".*" + message):
            call(**options)
