"""Tests of semaug.methods.ait and semaug.methods.feature_map."""

import pytest
import timm
import torch
from torch import nn
from torch.testing import assert_close

from semaug import AugmentationInvariantLoss, ISDALoss
from semaug.losses import ExplicitAugmentationLoss, augmentation_invariant_loss
from semaug.methods import AIT, Batch
from semaug.methods.feature_map import WithFeatureMap

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


@pytest.fixture
def residual():
    torch.manual_seed(0)
    return timm.create_model("resnet8_cifar", num_classes=3)


def make_batch(num_views=2, size=2):
    torch.manual_seed(1)
    return Batch.of(torch.randn(num_views, 6, 3, size, size), LABELS)


@pytest.mark.parametrize("num_views", [2, 3])
def test_loss_is_cross_entropy_of_all_views_and_their_divergence(network, num_views):
    batch = make_batch(num_views)
    output = AIT(network, AugmentationInvariantLoss(weight=0.7)).loss(batch)
    logits = network(batch.labeled.images.flatten(0, 1)).unflatten(0, (num_views, 6))
    expected = sum(nn.CrossEntropyLoss()(view, batch.labeled.labels) for view in logits)
    expected = expected + 0.7 * augmentation_invariant_loss(logits)
    assert_close(output.loss, expected)
    assert_close(output.outputs, logits[0])


def test_batch_norm_sees_the_views_of_a_batch_together(network):
    batch = make_batch()
    AIT(network, AugmentationInvariantLoss()).loss(batch)
    hidden = network[1](batch.labeled.images.flatten(0, 1).flatten(1))
    assert_close(network[2].running_mean, 0.1 * hidden.mean(dim=0))
    assert network[2].num_batches_tracked == 1


def test_mixed_images_are_compared_and_classified_by_their_targets(network):
    batch = make_batch()
    targets = torch.rand(6, 3).softmax(dim=1)
    mixed = Batch.of(*batch.labeled[:2], targets)
    loss = AIT(network, AugmentationInvariantLoss(weight=0.0)).loss(mixed)
    logits = network(batch.labeled.images.flatten(0, 1))
    assert_close(loss.loss, 2 * nn.CrossEntropyLoss()(logits, targets.repeat(2, 1)))


def test_isda_sees_features_of_every_view(network):
    batch = make_batch()
    isda = ISDALoss(3, 5, strength=0.5)
    method = AIT(
        network, AugmentationInvariantLoss(weight=0.3, classification=isda), batch.labeled.images[0]
    )
    output = method.loss(batch)
    assert isda.estimator.count.tolist() == [4.0, 4.0, 4.0]
    features = network[:3](batch.labeled.images.flatten(0, 1))
    logits = network[3](features)
    alone = ISDALoss(3, 5, strength=0.5)(
        logits, batch.labeled.labels.repeat(2), features, network[3].weight
    )
    invariance = augmentation_invariant_loss(logits.unflatten(0, (2, 6)))
    assert_close(output.loss, 2 * alone + 0.3 * invariance)


@pytest.mark.parametrize("metric", ["kl", "euclidean", "both"])
def test_features_and_feature_maps_can_be_compared(residual, metric):
    batch = make_batch(size=8)
    images = batch.labeled.images.flatten(0, 1)
    feature_map = residual.forward_features(images)
    features = residual.forward_head(feature_map, pre_logits=True)
    classification = 2 * nn.CrossEntropyLoss()(
        residual.get_classifier()(features), batch.labeled.labels.repeat(2)
    )
    for layer, output in {"features": features, "feature_map": feature_map}.items():
        criterion = AugmentationInvariantLoss(layer=layer, metric=metric)
        method = AIT(residual, criterion, batch.labeled.images[0])
        expected = classification + augmentation_invariant_loss(
            output.unflatten(0, (2, 6)), metric=metric
        )
        assert_close(method.loss(batch).loss, expected)
        method.eval()
        assert_close(method.predict(images), residual(images))
        residual.train()


def test_feature_maps_and_isda_go_together(residual):
    batch = make_batch(size=8)
    isda = ISDALoss(3, 64, strength=0.5)
    criterion = AugmentationInvariantLoss(layer="feature_map", classification=isda)
    method = AIT(residual, criterion)
    method.loss(batch).loss.backward()
    assert isda.estimator.count.sum() == 12
    assert residual.get_classifier().weight.grad.abs().sum() > 0
    assert {"invariance", "strength", "bound_gap"} <= method.diagnostics(lambda: batch).keys()


def test_log_tells_the_invariance_of_a_few_images(network):
    batch = make_batch()
    method = AIT(network, AugmentationInvariantLoss()).eval()
    found = method.diagnostics(lambda: batch)
    logits = network(batch.labeled.images.flatten(0, 1)).unflatten(0, (2, 6))
    assert found.keys() == {"invariance"}
    assert_close(found["invariance"], augmentation_invariant_loss(logits))


def test_one_view_is_refused(network):
    with pytest.raises(
        ValueError, match=r"AIT: expected views \(V, N, 3, H, W\), got \(6, 3, 2, 2"
    ):
        AIT(network, AugmentationInvariantLoss()).loss(Batch.of(torch.zeros(6, 3, 2, 2), LABELS))


def test_log_draws_nothing(network):
    explicit = ExplicitAugmentationLoss(3, 5, strength=0.5, num_samples=2)
    batch = make_batch()
    criterion = AugmentationInvariantLoss(classification=explicit)
    method = AIT(network, criterion, batch.labeled.images[0]).eval()
    before = torch.get_rng_state()
    method.diagnostics(lambda: batch)
    assert torch.equal(torch.get_rng_state(), before)


def test_statistics_of_the_classification_loss_hear_of_epochs(network):
    isda = ISDALoss(3, 5, strength=0.5)
    called = []
    isda.estimator.start_epoch = lambda: called.append("epoch")
    isda.estimator.warn_of_skipped = lambda: called.append("skipped")
    method = AIT(
        network, AugmentationInvariantLoss(classification=isda), make_batch().labeled.images[0]
    )
    method.start_epoch(0)
    method.end_epoch()
    assert called == ["epoch", "skipped"]


def test_models_without_a_feature_map_are_named():
    with pytest.raises(ValueError, match=r"expected a model with forward_features\(\).*Sequential"):
        WithFeatureMap(nn.Sequential())
    last = timm.create_model("swin_tiny_patch4_window7_224", img_size=32, num_classes=3)
    with pytest.raises(ValueError, match=r"as many channels as features, got \(1, 1, 1, 768\) and"):
        WithFeatureMap(last)(torch.zeros(1, 3, 32, 32))
    tokens = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=3)
    with pytest.raises(ValueError, match=r"expected forward_features to return \(N, A, H, W\)"):
        WithFeatureMap(tokens)(torch.zeros(2, 3, 32, 32))
