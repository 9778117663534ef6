"""Tests of semaug.engine.trained."""

import json
import multiprocessing
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.methods import Supervised
from semaug.recipe.overrides import override, split_overrides
from semaug.recipe.plain import recipe_to_plain_data
from semaug.recipes import find_recipe
from semaug.runs.checkpoint import load_checkpoint, save_checkpoint
from semaug.runs.run import Run
from tests.tiny import train_quietly

ON_CPU = TrainOptions(device="cpu")


@pytest.mark.parametrize(
    "changes",
    [
        ["digits_resnet8_isda"],
        ["digits_resnet8", "ema_decay=0.9", "precision=bf16"],
        ["digits_resnet8_isda", "precision=64", "ema_decay=0.5", "hold_out=60"],
        ["digits_resnet8", "whitening=true", "channels_last=false", "evaluation_batch_size=7"],
        ["digits_resnet8_isda", "method=ait", "ai_layer=feature_map"],
        ["digits_resnet8_isda", "method=multi_ait", "peers=resnet20_cifar", "ema_decay=0.5"],
    ],
    ids=" ".join,
)
def test_the_test_error_is_that_of_the_last_epoch(train_tiny, changes):
    run = train_tiny(*changes)
    trained = load_trained(run.folder, ON_CPU)
    assert recipe_to_plain_data(trained.recipe) == run.summary()["recipe"]
    assert (trained.label, trained.run.seed) == (run.label, run.seed)
    assert not trained.method.training
    tested = run.summary()["results"]
    assert trained.test() == {
        predictor: {name: values["last"] for name, values in metrics.items()}
        for predictor, metrics in tested.items()
    }
    images = trained.prepare(trained.data.test.images)
    (whole,) = [torch.cat([batch.images for batch in trained.streams.test_batches()])]
    assert torch.equal(images, whole)


def test_averaged_weights_are_not_the_last_ones(train_tiny):
    run = train_tiny("digits_resnet8", "ema_decay=0.9")
    state = load_checkpoint(run.checkpoint)
    weight = load_trained(run.folder, ON_CPU).method.network.state_dict()["conv1.weight"]
    assert torch.equal(weight, state["objects"]["average"]["averaged.0.conv1.weight"])
    assert not torch.equal(weight, state["objects"]["method"]["network.conv1.weight"])


@pytest.mark.parametrize(
    "changes",
    [
        ["digits_resnet8"],
        ["digits_resnet8_isda"],
        ["digits_resnet8", "method=ait", "ai_layer=features"],
    ],
    ids=" ".join,
)
def test_features_make_the_logits(train_tiny, changes):
    trained = load_trained(train_tiny(*changes).folder, ON_CPU)
    images = trained.prepare(trained.data.test.images)
    logits, features = trained.predict_with_features(images)
    assert torch.equal(logits, trained.predict(images))
    classifier = next(m for m in reversed([*trained.method.modules()]) if isinstance(m, nn.Linear))
    torch.testing.assert_close(logits, classifier(features))
    assert not logits.requires_grad
    assert not features.requires_grad


@pytest.mark.parametrize(
    "changes",
    [
        ["digits_resnet8", "method=dml", "peers=resnet8_cifar"],
        # Losses in feature space wrap the networks.
        ["digits_resnet8_isda", "method=multi_ait", "peers=resnet20_cifar,resnet8_cifar"],
    ],
    ids=" ".join,
)
def test_each_of_several_networks_answers(train_tiny, changes):
    trained = load_trained(train_tiny(*changes, "epochs=1").folder, ON_CPU)
    images = trained.prepare(trained.data.test.images[:20])
    each = trained.method.predict_each(images)
    assert list(each) == list(trained.predictors)
    assert len(each) == trained.recipe.method.num_networks
    for own, (name, wanted) in zip(trained.method.network, each.items(), strict=True):
        logits, features = trained.predict_with_features(images, name)
        assert torch.equal(logits, wanted)
        assert torch.equal(trained.predict(images, name), wanted)
        classifier = next(m for m in reversed([*own.modules()]) if isinstance(m, nn.Linear))
        torch.testing.assert_close(logits, classifier(features))
    assert torch.equal(trained.predict(images), each[""])
    assert not torch.equal(each[""], each["network 2"])


def test_test_pixels_are_what_prepare_takes(train_tiny):
    trained = load_trained(train_tiny("digits_resnet8", "epochs=1").folder, ON_CPU)
    test = trained.data.test
    batches = list(trained.test_pixels())
    assert torch.equal(torch.cat([batch.pixels for batch in batches]), test.images)
    places = torch.tensor([7, 2, 30])
    (some,) = trained.test_pixels(places)
    assert torch.equal(some.pixels, test.images[places])
    assert torch.equal(some.labels, test.labels[places])


@pytest.fixture
def photographs(tmp_path):
    """Return a folder of images of several sizes, four of two classes in train/ and in val/."""
    numbers = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "photographs" / part / name).mkdir(parents=True)
            for place in range(4):
                pixels = numbers.integers(256, size=(18 + 2 * place, 24, 3), dtype=np.uint8)
                path = tmp_path / "photographs" / part / name / f"{place}.png"
                Image.fromarray(pixels).save(path)
    return tmp_path / "photographs"


def test_images_in_files_are_tested_as_in_training(tmp_path, photographs):
    changes = ["network=resnet8_cifar", "image_size=16", "epochs=1", "warmup_epochs=0"]
    changes += ["batch_size=4", "evaluation_batch_size=3"]
    recipe = override(find_recipe("folder_resnet18"), split_overrides(changes))
    run = Run("photographs", recipe, root=tmp_path / "runs")
    train_quietly(run, data_root=photographs, workers=0)

    def options(workers):
        return TrainOptions(data_root=photographs, device="cpu", workers=workers)

    sums = json.loads((run.folder / "images.json").read_text())["sha256"]
    for workers in (0, 1):
        trained = load_trained(run.folder, options(workers))
        assert trained.sums == sums
        last = run.summary()["results"][""]["error"]["last"]
        assert trained.test() == {"": {"error": last}}
        pixels = [batch.pixels for batch in trained.test_pixels()]
        assert [part.shape for part in pixels] == [(3, 3, 16, 16)] * 2 + [(2, 3, 16, 16)]
        prepared = torch.cat([trained.prepare(part) for part in pixels])
        with trained.streams:
            wanted = torch.cat([batch.images for batch in trained.streams.test_batches()])
        assert torch.equal(prepared, wanted)
        assert not multiprocessing.active_children()  # nothing is left waiting

    places = torch.tensor([6, 1])
    other = trained.with_test_images(trained.data.test.subset(places))
    (some,) = other.test_pixels()
    assert torch.equal(some.pixels, torch.cat(pixels)[places])
    assert some.labels.tolist() == [1, 0]
    logits = trained.predict(prepared[places])
    assert torch.equal(other.predict(other.prepare(some.pixels)), logits)
    assert len(trained.data.test) == 8

    (photographs / "val" / "dog" / "2.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cannot read '.*2\.png'"):
        list(trained.test_pixels())
    # The folder may hold other images now.
    (photographs / "val" / "dog" / "2.png").unlink()
    with pytest.raises(UserError, match="the run saw other images than data=folder has now"):
        load_trained(run.folder, options(0))


def test_several_networks_have_logits_and_no_features(train_tiny):
    class Mean(Supervised):
        def predict(self, images):
            return sum(network(images) for network in self.network) / len(self.network)

    first, second = (
        load_trained(train_tiny("digits_resnet8", seed=k).folder, ON_CPU) for k in (0, 1)
    )
    networks = nn.ModuleList([first.method.network, second.method.network])
    both = replace(first, method=Mean(networks, nn.MSELoss()))
    images = both.prepare(both.data.test.images[:8])
    logits, features = both.predict_with_features(images)
    torch.testing.assert_close(logits, (first.predict(images) + second.predict(images)) / 2)
    assert features is None
    assert 0 <= both.test()[""]["error"] <= 100


def test_loading_draws_nothing(train_tiny):
    run = train_tiny("digits_resnet8")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_trained(run.folder, ON_CPU)
    assert torch.equal(before, torch.get_rng_state())


@pytest.fixture
def finished(train_tiny):
    """Train a run of an epoch and return its folder."""
    return train_tiny("digits_resnet8", "epochs=1").folder


def test_a_run_that_is_not_finished_says_how_far_it_is(finished):
    (finished / "summary.json").unlink()
    with pytest.raises(UserError, match=r"seed0: expected a finished run, .* done 1 epochs; go on"):
        load_trained(finished)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match="expected the folder of a run, got one without summary"):
        load_trained(tmp_path)
    with pytest.raises(UserError, match="x: expected the folder of a run, got no such folder"):
        load_trained(tmp_path / "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON, got a damaged file"),
        ("{}", "expected a run folder of format 2"),
        ('{"format": 2}', "expected the summary of a run; restore"),
    ],
)
def test_a_damaged_summary_is_named(finished, content, message):
    (finished / "summary.json").write_text(content)
    with pytest.raises(UserError, match=f"summary.json: {message}"):
        load_trained(finished)


def test_missing_and_damaged_weights_are_named(finished):
    path = finished / "checkpoint.pt"
    state = load_checkpoint(path)
    save_checkpoint(path, state | {"epoch": 0})
    with pytest.raises(UserError, match="the weights after epoch 1, got those after epoch 0"):
        load_trained(finished)
    save_checkpoint(path, state | {"objects": {"method": {}}})
    with pytest.raises(UserError, match=r"checkpoint\.pt: holds the state of another version"):
        load_trained(finished)
    path.write_bytes(b"PK")
    with pytest.raises(UserError, match="expected a checkpoint, got a damaged file"):
        load_trained(finished)
    path.unlink()
    with pytest.raises(UserError, match="expected the weights of the run, got no such file"):
        load_trained(finished)


def test_other_images_are_refused(finished):
    path = finished / "images.json"
    description = json.loads(path.read_text())
    description["sha256"]["test_labels"] = "0" * 64
    path.write_text(json.dumps(description))
    with pytest.raises(UserError, match="the run saw other images than data=digits has now"):
        load_trained(finished)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"images\.json"):
        load_trained(finished)


def test_a_copied_folder_is_the_same_run(finished, tmp_path):
    moved = shutil.copytree(finished, tmp_path / "elsewhere")
    assert load_trained(moved, ON_CPU).label == load_trained(finished, ON_CPU).label
