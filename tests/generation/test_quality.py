"""Tests of semaug.generation.quality, against closed forms and loops."""

import pytest
import torch

from semaug.generation.quality import (
    class_consistency,
    frechet_distance,
    kernel_distance,
    nearest_neighbours,
    precision_and_recall,
    small_pixels,
)


def test_frechet_distance_of_one_feature_is_that_of_normal_distributions(normal):
    made, real = normal(50, 1), 3 * normal(40, 1) + 2
    expected = (made.mean() - real.mean()) ** 2 + (made.std() - real.std()) ** 2
    assert frechet_distance(made, real) == pytest.approx(float(expected))


def test_frechet_distance_knows_covariances_that_commute(normal):
    made = normal(30, 4)
    values, vectors = torch.linalg.eigh(torch.cov(made.mT))
    scale = torch.tensor([2.0, 0.5, 1.0, 3.0]).double()
    real = (made - made.mean(0)) @ vectors * scale @ vectors.mT + made.mean(0) + 1
    expected = 4 + (values * (scale - 1) ** 2).sum()  # roots are values and values * scale^2
    assert frechet_distance(made, real) == pytest.approx(float(expected))
    assert frechet_distance(made, made) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_takes_fewer_images_than_features(normal):
    made = normal(3, 10)
    assert frechet_distance(made, made + 2) == pytest.approx(40)


def test_kernel_distance_is_the_mean_over_pairs(normal):
    made, real = normal(5, 3), normal(4, 3) + 1

    def kernel(x, y):
        return (float(x @ y) / 3 + 1) ** 3

    def mean(one, other, same):
        pairs = [
            kernel(x, y)
            for i, x in enumerate(one)
            for j, y in enumerate(other)
            if not (same and i == j)
        ]
        return sum(pairs) / len(pairs)

    expected = mean(made, made, True) + mean(real, real, True) - 2 * mean(made, real, False)
    assert kernel_distance(made, real) == pytest.approx(expected)


def test_kernel_distance_has_no_bias(normal):
    distances = torch.tensor([kernel_distance(*normal(2, 20, 3)) for _ in range(200)])
    assert distances.mean().abs() < 3 * distances.std() / 200**0.5
    assert distances.min() < 0


def test_precision_and_recall_count_features_in_balls():
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    made = torch.tensor([[0.5], [2.5], [30.0], [31.0]])
    # Radii of real, to the nearest other: 1, 1, 1, 8; of made: 2, 2, 1, 1.
    assert precision_and_recall(made, real, k=1) == (0.5, 0.75)
    assert precision_and_recall(real, real, k=3) == (1.0, 1.0)


def test_neighbours_are_the_nearest(normal):
    queries, references = normal(4, 3), normal(9, 3)
    distances = torch.tensor([[float((q - r).norm()) for r in references] for q in queries])
    expected = distances.double().sort(dim=1)
    found = nearest_neighbours(queries, references, k=2)
    assert torch.equal(found.places, expected.indices[:, :2])
    torch.testing.assert_close(found.distances, expected.values[:, :2], atol=1e-6, rtol=0)
    pixels = torch.randint(256, (6, 12), dtype=torch.uint8)
    assert nearest_neighbours(pixels, pixels, k=1).distances.abs().max() == 0


def test_small_pixels_are_means():
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    found = small_pixels(images)
    assert found.shape == (2, 192)
    assert found[1, 64 + 9] == pytest.approx(images[1, 1, 4:8, 4:8].double().mean() / 255)
    assert torch.equal(
        small_pixels(images[:, :, :8, :8]), images[:, :, :8, :8].double().flatten(1) / 255
    )


def test_class_consistency_is_the_share_of_right_classes():
    assert class_consistency(torch.eye(3)[[0, 1, 1, 2]], torch.tensor([0, 1, 2, 2])) == 0.75


def test_what_does_not_fit_is_named(normal):
    with pytest.raises(ValueError, match="expected at least 2 images of each set, got 1 and 5"):
        frechet_distance(normal(1, 3), normal(5, 3))
    with pytest.raises(ValueError, match="`real` of shape"):
        kernel_distance(normal(5, 3), normal(5, 4))
    with pytest.raises(ValueError, match="expected at least 4 images of each set, got 5 and 3"):
        precision_and_recall(normal(5, 3), normal(3, 3))
    with pytest.raises(ValueError, match="expected at least 5 references, got 4"):
        nearest_neighbours(normal(2, 3), normal(4, 3))
    with pytest.raises(TypeError, match="`k`"):
        nearest_neighbours(normal(2, 3), normal(4, 3), k=1.5)
