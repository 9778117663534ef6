"""Tests of semaug.data.order."""

import torch

from semaug.data import epoch_order


def test_an_epoch_visits_every_image_once():
    order = epoch_order(100, torch.Generator().manual_seed(0))
    assert order.tolist() != list(range(100))
    assert sorted(order.tolist()) == list(range(100))
