"""Tests of semaug.engine.trained."""

import json
import multiprocessing
import shutil
from copy import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.methods import Supervised
from semaug.recipe.plain import recipe_to_plain_data
from semaug.runs.checkpoint import load_checkpoint, save_checkpoint
from semaug.runs.read import value_of
from tests.engine import toys
from tests.engine.same import assert_same
from tests.tiny import tiny_run, train_quietly

CPU = TrainOptions(device="cpu", workers=0)


def last(run, predictor="", metric=None):
    return value_of(run.summary(), predictor, metric, "last")


@pytest.fixture(scope="module")
def of_isda(tmp_path_factory):
    """Return a finished run with ISDA, and its networks; nothing may change them."""
    run = tiny_run(tmp_path_factory.mktemp("isda"), "digits_resnet8_isda")
    train_quietly(run)
    return run, load_trained(run.folder, CPU)


@pytest.mark.parametrize(
    "changes",
    [
        ["digits_resnet8_isda"],
        ["digits_resnet8", "ema_decay=0.9", "precision=bf16"],
        ["digits_resnet8_isda", "precision=64", "ema_decay=0.5", "hold_out=60"],
        ["digits_resnet8", "whitening=true", "channels_last=false", "evaluation_batch_size=7"],
        ["digits_resnet8_isda", "method=ait", "ai_layer=feature_map"],
        ["digits_resnet8_isda", "method=multi_ait", "peers=resnet20_cifar", "ema_decay=0.5"],
        ["digits_resnet8", "epochs=none", "steps=7", "evaluate_every_steps=3", "optimizer=lion"],
    ],
    ids=" ".join,
)
def test_what_is_tested_is_what_the_last_epoch_tested(train_tiny, changes):
    run = train_tiny(*changes)
    trained = load_trained(run.folder, CPU)
    assert recipe_to_plain_data(trained.recipe) == run.summary()["recipe"]
    assert (trained.label, trained.run.seed, trained.folder) == (run.label, run.seed, run.folder)
    assert not trained.method.training
    assert not any(parameter.requires_grad for parameter in trained.method.parameters())
    results = trained.test()
    for predictor, metrics in run.summary()["results"].items():
        assert results.pop(predictor) == {name: last(run, predictor, name) for name in metrics}
    assert results == {}
    images = trained.prepare(trained.data.test.images)
    whole = torch.cat([samples.images for samples in trained.streams.test_batches()])
    assert torch.equal(images, whole)
    pixels = (trained.data.test.images[:9] / 255).requires_grad_()
    followed = trained.predict_with_gradients(pixels)
    if trained.recipe.precision != "bf16":
        plain = trained.predict_with_features(images[:9])
        torch.testing.assert_close(followed, plain, rtol=1e-4, atol=1e-4)
    (gradient,) = torch.autograd.grad(followed[1][0].sum(), pixels)
    assert gradient[0].any()
    assert not gradient[1:].any()


def test_averaged_weights_are_not_the_last_ones(train_tiny):
    run = train_tiny("digits_resnet8", "ema_decay=0.9")
    state = load_checkpoint(run.checkpoint)["objects"]
    weight = load_trained(run.folder, CPU).method.network.state_dict()["conv1.weight"]
    assert torch.equal(weight, state["average"]["averaged.0.conv1.weight"])
    assert not torch.equal(weight, state["method"]["network.conv1.weight"])


@pytest.mark.parametrize(
    "changes",
    [["digits_resnet8"], ["digits_resnet8", "method=ait", "ai_layer=features"], None],
    ids=["baseline", "ait", "isda"],
)
def test_features_make_the_logits(train_tiny, of_isda, changes):
    trained = of_isda[1]
    if changes is not None:
        trained = load_trained(train_tiny(*changes, "epochs=1").folder, CPU)
    images = trained.prepare(trained.data.test.images)
    logits, features = trained.predict_with_features(images)
    assert torch.equal(logits, trained.logits(images))
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
    trained = load_trained(train_tiny(*changes, "epochs=1").folder, CPU)
    images = trained.prepare(trained.data.test.images[:20])
    each = trained.method.predict_each(images)
    assert each.keys() == trained.predictors.keys()
    assert len(each) == trained.recipe.method.num_networks
    for own, (name, wanted) in zip(trained.method.network, each.items(), strict=True):
        logits, features = trained.predict_with_features(images, name)
        assert torch.equal(logits, wanted)
        assert torch.equal(trained.logits(images, name), wanted)
        classifier = next(m for m in reversed([*own.modules()]) if isinstance(m, nn.Linear))
        torch.testing.assert_close(logits, classifier(features))
    assert torch.equal(trained.logits(images), each[""])
    assert not torch.equal(each[""], each["network 2"])


def test_test_pixels_are_what_prepare_takes(of_isda):
    trained = of_isda[1]
    test = trained.data.test
    batches = list(trained.test_pixels())
    assert torch.equal(torch.cat([batch.pixels for batch in batches]), test.images)
    places = torch.tensor([7, 2, 30])
    (some,) = trained.test_pixels(places)
    assert torch.equal(some.pixels, test.images[places])
    assert torch.equal(some.labels, test.labels[places])


def test_any_images_are_seen_as_those_of_the_test(of_isda):
    trained = of_isda[1]
    train, places = trained.data.train, torch.arange(99, 0, -1)
    seen = [*trained.pixels(train, places)]
    assert torch.equal(torch.cat([batch.pixels for batch in seen]), train.images[places])
    assert len(seen[0].labels) == trained.batch_size or len(seen) == 1


def test_networks_come_back_as_they_were_after_each_kept_epoch(make_run):
    """As the loss saw them, whatever is averaged, with the statistics and the strength of then."""
    changes = ["epochs=4", "ema_decay=0.5"]
    whole = make_run("digits_resnet8_isda", *changes)
    train_quietly(whole, keep_checkpoints=2)
    assert whole.kept_epochs == [2, 4]
    trained = load_trained(whole.folder, CPU)
    last = load_checkpoint(whole.checkpoint)["objects"]
    for epoch in (None, 4):
        assert_same(trained.after_epoch(epoch).method.state_dict(), last["method"])
    half = trained.after_epoch(2)
    assert_same(
        half.method.state_dict(), load_checkpoint(whole.kept_checkpoint(2))["objects"]["method"]
    )
    assert half.method.criterion.current_strength() == 0.25
    assert not torch.equal(half.method.network.weight, trained.method.network.weight)
    with pytest.raises(UserError, match=r"epoch00003\.pt: expected the weights of the run, got no"):
        trained.after_epoch(3)
    shutil.copy(whole.kept_checkpoint(4), whole.kept_checkpoint(3))
    with pytest.raises(
        UserError, match="expected the weights after epoch 3, got those after epoch 4"
    ):
        trained.after_epoch(3)


def test_images_in_files_are_tested_as_in_training(make_run, photographs):
    root = photographs(train=4, test=4)
    changes = ["network=resnet8_cifar", "image_size=16", "epochs=1", "train_per_class=none"]
    changes += ["test_images=none", "batch_size=4", "evaluation_batch_size=3"]
    run = make_run("folder_resnet18", *changes)
    train_quietly(run, data_root=root, workers=0)
    sums = json.loads((run.folder / "images.json").read_text())["sha256"]
    for workers in (0, 1):
        trained = load_trained(run.folder, replace(CPU, data_root=root, workers=workers))
        assert trained.sums == sums
        assert trained.test()[""]["error"] == last(run)
        pixels = [batch.pixels for batch in trained.test_pixels()]
        assert [part.shape for part in pixels] == [(3, 3, 16, 16)] * 2 + [(2, 3, 16, 16)]
        prepared = torch.cat([trained.prepare(part) for part in pixels])
        with trained.streams:
            wanted = torch.cat([samples.images for samples in trained.streams.test_batches()])
        assert torch.equal(prepared, wanted)
        assert not multiprocessing.active_children()  # nothing is left waiting

    places = torch.tensor([6, 1])
    (some,) = trained.pixels(trained.data.test.subset(places))
    assert torch.equal(some.pixels, torch.cat(pixels)[places])
    assert some.labels.tolist() == [1, 0]

    (root / "val" / "dog" / "2.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cannot read '.*2\.png'"):
        list(trained.test_pixels())
    # The folder may hold other images now.
    (root / "val" / "dog" / "2.png").unlink()
    trained = load_trained(run.folder, replace(CPU, data_root=root))
    with pytest.raises(UserError, match="the run saw other images than data=folder has now"):
        trained.test()


def test_a_method_may_ask_for_the_images(finished, of_isda):
    data = load_trained(finished, CPU).builder.data
    assert (data.num_classes, data.num_images, data.classes) == (10, 100, tuple("0123456789"))
    assert torch.equal(data.train.labels, of_isda[1].data.train.labels)  # which reads them
    with pytest.raises(AttributeError):
        copy(data)._no_such  # noqa: B018


def test_a_run_of_an_earlier_version_is_loaded_by_its_images(finished, of_isda):
    path, images = finished / "images.json", of_isda[1].prepare(of_isda[1].data.test.images)
    description = json.loads(path.read_text())
    assert description["input"]["image"] == [3, 8, 8]
    del description["input"]
    path.write_text(json.dumps(description))
    assert torch.equal(load_trained(finished, CPU).logits(images), of_isda[1].logits(images))


@pytest.mark.parametrize("content", [{}, {"sha256": {}, "data": "digits", "input": {"train": 3}}])
def test_a_damaged_description_of_images_is_named(finished, content):
    (finished / "images.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"images\.json: expected a description of .*; restore a"):
        load_trained(finished, CPU)


def test_several_networks_have_logits_and_no_features(train_tiny):
    class Mean(Supervised):
        def predict(self, images):
            return sum(network(images) for network in self.network) / len(self.network)

    first, second = (
        load_trained(train_tiny("digits_resnet8", "epochs=1", seed=k).folder, CPU) for k in (0, 1)
    )
    networks = nn.ModuleList([first.method.network, second.method.network])
    both = replace(first, method=Mean(networks, nn.MSELoss()))
    images = both.prepare(both.data.test.images[:8])
    logits, features = both.predict_with_features(images)
    torch.testing.assert_close(logits, (first.logits(images) + second.logits(images)) / 2)
    assert features is None
    assert 0 <= both.test()[""]["error"] <= 100


def test_loading_draws_nothing(of_isda):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_trained(of_isda[0].folder, CPU)
    assert torch.equal(before, torch.get_rng_state())


@pytest.fixture
def finished(of_isda, tmp_path):
    """Return the folder of a finished run that may be spoilt."""
    return shutil.copytree(of_isda[0].folder, tmp_path / "digits_resnet8_isda" / "seed0")


def test_weights_of_another_version_are_named(finished):
    path = finished / "checkpoint.pt"
    save_checkpoint(path, load_checkpoint(path) | {"objects": {"method": {}}})
    with pytest.raises(UserError, match=r"checkpoint\.pt: holds the state of another version"):
        load_trained(finished, CPU)


def test_other_images_are_refused(finished):
    path = finished / "images.json"
    description = json.loads(path.read_text())
    description["sha256"]["test_labels"] = "0" * 64
    path.write_text(json.dumps(description))
    trained = load_trained(finished, CPU)
    with pytest.raises(UserError, match="the run saw other images than data=digits has now"):
        trained.test()
    path.unlink()
    with pytest.raises(UserError, match=r"images\.json: expected a desc.*, got no such file; rest"):
        load_trained(finished, CPU)


def test_a_copied_folder_is_the_same_run(finished, of_isda):
    trained = of_isda[1]
    moved = load_trained(finished, CPU)
    assert (moved.label, moved.folder) == (trained.label, finished)
    assert moved.test() == trained.test()


def test_networks_and_methods_of_others_come_back(make_run):
    run = make_run("digits_resnet8", "labeled_per_class=4", "epochs=1")
    specs = {"method": toys.Consistent(), "network": toys.Plain(drop_rate=0.5)}
    train_quietly(replace(run, recipe=replace(run.recipe, **specs)))
    trained = load_trained(run.folder, CPU)
    assert trained.recipe.method == toys.Consistent()
    assert trained.predictors.keys() == {"", "teacher"}
    results = trained.test()
    assert results["teacher"]["error"] == last(run, "teacher")
    images = trained.prepare(trained.data.test.images)
    features = [trained.predict_with_features(images, name)[1] for name in ("", "teacher")]
    assert features[0].shape == features[1].shape == (60, 12)
    assert not torch.equal(*features)
