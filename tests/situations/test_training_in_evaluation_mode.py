"""Fine-tuning under ``model.eval()``, the usual way to freeze batch norm."""

import warnings

import pytest
import torch
from torch import nn

from semaug.features import attach
from semaug.losses import ISDALoss

IMAGES, LABELS = torch.randn(6, 3, 2, 2), torch.tensor([0, 1, 0, 1, 0, 1])


def frozen_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)).eval()


def attached(**options):
    model = frozen_model()
    return model, attach(model, ISDALoss(2, 5, strength=0.5, ramp_steps=10), **options)


def test_the_first_differentiated_loss_warns_and_the_others_do_not():
    model, criterion = attached()
    with pytest.warns(
        UserWarning, match="attach: the classifier was in evaluation mode .* count_in_eval"
    ):
        criterion(model(IMAGES), LABELS).backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        criterion(model(IMAGES), LABELS).backward()
    assert criterion.isda.step == 0


def test_an_evaluated_loss_does_not_warn():
    model, criterion = attached()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        criterion(model(IMAGES), LABELS)
        criterion.eval()
        criterion(model(IMAGES), LABELS).backward()


def test_forwards_count_if_the_user_says_so():
    model, criterion = attached(count_in_eval=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        criterion(model(IMAGES), LABELS).backward()
    with torch.no_grad():
        criterion(model(IMAGES), LABELS)
    assert criterion.isda.step == 1
    assert criterion.isda.estimator.count.tolist() == [3, 3]


def test_frozen_norms_alone_leave_the_statistics_running():
    model, criterion = attached()
    model.train()
    model[2].eval()
    criterion(model(IMAGES), LABELS).backward()
    assert criterion.isda.step == 1
