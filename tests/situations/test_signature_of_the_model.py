"""Trainers read the arguments of ``forward`` to decide which columns a model takes."""

import copy
import inspect
import io
import pickle

import torch
from torch import nn

from semaug.features import with_features
from tests.features.networks import Hidden


class Named(Hidden):
    def forward(self, pixel_values, scale: float = 1.0):
        return super().forward(pixel_values * scale)


def test_the_wrapper_shows_the_arguments_of_its_model():
    net = with_features(Named(), "head")
    saved = io.BytesIO()
    torch.save(net, saved)
    saved.seek(0)
    copies = (
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        torch.load(saved, weights_only=False),
    )
    for wrapper in (net, *copies):
        arguments = inspect.signature(wrapper.forward)
        assert str(arguments) == "(pixel_values, scale: float = 1.0)"
        assert wrapper(torch.ones(2, 3, 2, 2), scale=2.0)[1].shape == (2, 8)
    assert all(wrapper.forward.__self__ is wrapper for wrapper in (net, *copies))


def test_a_copy_calls_itself():
    net = with_features(Named(), "head").eval()
    twin = copy.deepcopy(net)
    nn.init.zeros_(twin.model.head.weight)
    images = torch.ones(2, 3, 2, 2)
    assert not torch.equal(net(images)[0], twin(images)[0])
