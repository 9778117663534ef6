"""Tests of semaug.insight.decoder."""

from dataclasses import replace

import pytest
import torch

from semaug.insight import DecoderInverter, DecoderTraining, train_decoder
from semaug.insight.files import Kept

SHORT = DecoderTraining(steps=3, batch_size=8, width=4)


@pytest.fixture(scope="module")
def scene():
    """Return what sees 6 features in images of 5 x 7 pixels, images, and what it sees in these."""
    generator = torch.Generator().manual_seed(0)
    hidden, basis, weight = (
        torch.randn(*size, generator=generator) for size in ((40, 6), (6, 35), (35, 6))
    )
    images = torch.tanh(hidden @ basis / 2).view(40, 1, 5, 7)
    pixels = ((images + 1) * 127.5).byte()

    def see(images):
        return images.flatten(1) @ weight / 5

    return see, pixels, see(pixels / 127.5 - 1)


def error(scene, decoder):
    see, _, features = scene
    inverter, labels = DecoderInverter(decoder), torch.zeros(40, dtype=torch.int64)
    codes = inverter.reconstruct(None, features, labels)
    assert inverter.augment(None, codes, labels) is codes
    assert inverter.random(labels, None) is None
    made = inverter.make(codes, labels)
    assert made.shape == (40, 1, 5, 7)
    return float(((see(made) - features).norm(dim=1) / features.norm(dim=1)).mean())


LONGER = DecoderTraining(steps=40, batch_size=16, width=8, lr=1e-2, pixel_weight=1)


def test_the_network_sees_in_its_images_what_was_asked_for(scene):
    first, last = (
        error(scene, train_decoder(*scene, replace(LONGER, steps=steps))) for steps in (1, 40)
    )
    assert last < 0.5 < 0.8 < first


def test_pixels_count_by_their_weight(scene):
    errors = []
    for eta in (0.0, 100.0):
        decoder = train_decoder(*scene, replace(LONGER, pixel_weight=eta))
        made = decoder(scene[2])
        errors.append(float((made - (scene[1] / 127.5 - 1)).square().mean()))
    assert errors[1] < 0.7 * errors[0]


def test_the_seed_decides(scene):
    decoders = [train_decoder(*scene, SHORT, seed=seed) for seed in (0, 0, 1)]
    weights = [next(decoder.parameters()) for decoder in decoders]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not weights[0].requires_grad


class Stop(Exception):
    pass


def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(scene, tmp_path):
    see, path, made = scene[0], tmp_path / "decoder.pt", []

    def stopping(images):
        if len(made) == 3:  # before the first step, and after two
            raise Stop
        return see(images)

    kept = Kept(path, seconds=0)
    with pytest.raises(Stop):
        train_decoder(stopping, *scene[1:], SHORT, kept=kept, advance=made.append)
    made.clear()
    decoder = train_decoder(*scene, SHORT, kept=Kept(path), advance=made.append)
    assert made == [2, 1]
    whole = train_decoder(*scene, SHORT)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, decoder.state_dict()[name])
    made.clear()
    train_decoder(*scene, SHORT, kept=Kept(path), advance=made.append)
    assert made == [3]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="DecoderTraining: expected `steps` >= 1, got 0"):
        DecoderTraining(steps=0)
    with pytest.raises(TypeError, match="DecoderTraining: expected `width`"):
        DecoderTraining(width=1.5)
    with pytest.raises(ValueError, match="DecoderTraining: expected `lr` >= 0, got -1"):
        DecoderTraining(lr=-1)
