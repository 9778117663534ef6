"""A model on a GPU, whose criterion was made on the CPU."""

import pytest
import torch

from semaug.features import attach
from semaug.losses import ISDALoss
from tests.features.networks import NUM_CLASSES, NUM_FEATURES, small_batch, small_network

IMAGES, LABELS = small_batch()


def test_the_loss_follows_the_classifier(monkeypatch):
    model = small_network()
    criterion = attach(model, ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=0.5))
    criterion.isda.to("meta")  # stands in for another device
    moves = []
    monkeypatch.setattr(criterion.isda, "to", moves.append)
    with pytest.raises((RuntimeError, ValueError)):
        criterion(model(IMAGES), LABELS)
    assert moves == [torch.device("cpu")]


def test_a_model_without_memory_leaves_the_loss_where_it_is():
    criterion = attach(
        small_network().to("meta"), ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=0.5)
    )
    assert criterion.isda.estimator.count.device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("attach_first", [True, False])
def test_a_loop_on_a_gpu_needs_no_move_of_the_criterion(attach_first):
    model = small_network()
    isda = ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=0.5)
    criterion = attach(model, isda) if attach_first else None
    model.cuda()
    criterion = criterion or attach(model, isda)
    criterion(model(IMAGES.cuda()), LABELS.cuda()).backward()
    assert isda.estimator.count.is_cuda
