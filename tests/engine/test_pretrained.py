"""Tests of semaug.engine.pretrained: runs that begin with pretrained weights."""

import io
import json
from copy import deepcopy
from dataclasses import dataclass, replace

import pytest
import timm
import torch
from huggingface_hub import constants
from rich.console import Console

import semaug
from semaug.data import RandomResizedCrop, ResizeCenterCrop
from semaug.engine.device import settle
from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.options import TrainOptions
from semaug.engine.pretrained import load_pretrained
from semaug.engine.session import Session
from semaug.engine.streams import Streams
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.export import load_backbone
from semaug.networks.of_timm import TimmNetwork
from semaug.recipe.quick import make_quick
from semaug.registry import Sizes, networks
from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.run import Run
from tests.engine.same import assert_same_runs
from tests.tiny import rows_of, tiny_recipe, tiny_run, train_quietly


@pytest.fixture
def weights(tmp_path):
    """Return a file of weights of a network of 5 classes, none of which a seed would draw."""
    torch.manual_seed(77)
    network = timm.create_model("resnet8_cifar", num_classes=5)
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    return path


@dataclass(frozen=True, kw_only=True)
class Own:
    """A network from outside."""

    weights: str | None = None


def run_from(weights, root, *changes, **options):
    rates = [] if any(one.startswith("lr=") for one in changes) else ["lr=1e-30"]
    changes = (f"network.weights={weights}", "epochs=1", *rates, *changes)
    return tiny_run(root, "digits_resnet8_isda", *changes, **options)


def first_convolution(run):
    return load_checkpoint(run.checkpoint)["objects"]["method"]["network.model.conv1.weight"]


def printed(run, **options):
    console = Console(file=io.StringIO(), width=500)
    train_quietly(run, console=console, **options)
    return console.file.getvalue()


def test_a_run_begins_with_the_weights_and_says_and_records_so(weights, tmp_path):
    run = run_from(weights, tmp_path)
    line, *_ = printed(run).splitlines()
    assert line.startswith(f"network: weights of {weights}, layout timm or torchvision after")
    assert "0 unused, 2 missing; classifier left at its initial weights: pretrained on 5" in line
    theirs = torch.load(weights)["state_dict"]["module.conv1.weight"]
    assert torch.equal(first_convolution(run), theirs)  # such a learning rate leaves them
    record = json.loads((run.folder / "pretrained.json").read_text())["network"]
    assert record["file"] == str(weights)
    assert len(record["sha256"]) == 64
    assert record["missing"] == ["fc.weight", "fc.bias"]
    assert json.loads((run.folder / "recipe.json").read_text())["recipe"]["network"]["weights"]


def test_the_classifier_begins_as_without_the_weights(weights, tmp_path):
    def state_of(run):
        train_quietly(run)
        return load_checkpoint(run.checkpoint)["objects"]["method"]["network.model.fc.weight"]

    plain = tiny_run(tmp_path, "digits_resnet8_isda", "epochs=1", "lr=1e-30")
    assert torch.equal(state_of(run_from(weights, tmp_path / "other")), state_of(plain))


def test_resumed_and_evaluated_runs_need_no_file(weights, tmp_path, monkeypatch):
    whole = run_from(weights, tmp_path / "whole", "lr=0.1")
    train_quietly(whole)
    stopped = run_from(weights, tmp_path / "stopped", "lr=0.1")
    pause = Session.pause

    def pause_and_stop(self):
        pause(self)
        if self.total_step == 2:
            raise self._stop()

    monkeypatch.setattr(Session, "pause", pause_and_stop)
    with pytest.raises(InterruptedRunError):
        train_quietly(stopped)
    monkeypatch.setattr(Session, "pause", pause)
    weights.unlink()
    assert "weights of" not in printed(stopped, resume=True)
    assert_same_runs(whole, stopped)
    assert (stopped.folder / "pretrained.json").exists()
    trained = load_trained(stopped.folder, TrainOptions(device="cpu"))
    assert trained.test()[""]["error"] == rows_of(stopped)[-1]["test_error"]


def test_another_file_at_the_same_place_is_an_error(weights, tmp_path):
    run = run_from(weights, tmp_path)
    train_quietly(run)
    train_quietly(run, resume=True)
    torch.save(timm.create_model("resnet8_cifar", num_classes=5).state_dict(), weights)
    message = r"began network with another .*weights.pth: sha256 \w{64} there and \w{64} now"
    with pytest.raises(UserError, match=message):
        train_quietly(run, resume=True)
    (run.folder / "pretrained.json").write_text('{"network": 3}')
    with pytest.raises(UserError, match=r"pretrained.json: expected a record of weights; restore"):
        train_quietly(run, resume=True)


def test_weights_that_do_not_fit_are_found_before_anything_is_written(weights, tmp_path):
    run = tiny_run(tmp_path / "runs", "digits_resnet8", f"network.weights={tmp_path / 'nowhere'}")
    with pytest.raises(UserError, match=r"network=resnet8_cifar: .*nowhere: expected a file"):
        train_quietly(run)
    assert not run.folder.exists()
    run = tiny_run(
        tmp_path, "digits_resnet8", "network=resnet20_cifar", f"network.weights={weights}"
    )
    with pytest.raises(UserError, match=r"network=resnet20_cifar: load_backbone: .*: expected"):
        train_quietly(run)


def test_each_network_of_a_method_has_its_weights(weights, tmp_path):
    recipe = tiny_recipe("digits_resnet8", "method=dml", "peers=resnet8_cifar", "epochs=1")
    method, peer = recipe.method, networks.make("resnet8_cifar", weights=str(weights))
    for network, peers, names in (
        (peer, method.peers, ["network"]),
        (recipe.network, (peer,), ["network 2"]),
        (peer, (peer,), ["network", "network 2"]),
    ):
        changed = replace(recipe, network=network, method=replace(method, peers=peers))
        run = Run("a", changed, root=tmp_path / "-".join(names))
        train_quietly(run)
        assert list(json.loads((run.folder / "pretrained.json").read_text())) == names


def test_a_network_from_outside_may_have_the_option(weights):
    network = timm.create_model("resnet8_cifar", num_classes=5)
    digits = tiny_recipe("digits_resnet8").data.load(None, None)
    report = load_pretrained(network, Own(weights=str(weights)), Sizes(num_classes=5), digits)
    assert report.head == "loaded"
    assert load_pretrained(network, Own(), Sizes(num_classes=5), digits) is None


def test_a_run_of_ours_is_a_source_with_its_tested_average(tmp_path):
    run = tiny_run(tmp_path, "digits_resnet8_isda", "epochs=1", "ema_decay=0.9")
    train_quietly(run)
    network = timm.create_model("resnet8_cifar", num_classes=10)
    report = load_backbone(network, run.folder)
    trained = semaug.load(run, device="cpu")
    images = trained.prepare(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with torch.no_grad():
        assert torch.equal(network.eval()(images), trained.logits(images))
    assert report.prefix == "objects/average/averaged.0.model."
    assert report.head == "loaded"


def test_a_smoke_test_reads_no_weights_while_it_is_made_small():
    make_quick(tiny_recipe("digits_resnet8", "network.weights=nowhere.pth"))


def test_another_normalization_than_that_of_timm_is_said(tmp_path):
    network = timm.create_model("test_resnet", num_classes=3)
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    digits = tiny_recipe("digits_resnet8").data.load(None, None)
    report = load_pretrained(network, Own(weights=str(path)), Sizes(num_classes=3), digits)
    assert "with mean and std 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, this run with 0.3" in str(report)


# Weights that timm fetches.


def test_fetched_weights_take_the_place_of_random_ones(tmp_path, monkeypatch):
    torch.manual_seed(77)
    source = timm.create_model("resnet8_cifar", num_classes=10)
    source.pretrained_cfg = {"architecture": "resnet8", "tag": "a1", "num_classes": 1000}
    monkeypatch.setattr(TimmNetwork, "fetch", lambda spec, sizes: source)
    run = tiny_run(tmp_path, "digits_resnet8_isda", "epochs=1", "lr=1e-30", "pretrained=true")
    line, *_ = printed(run).splitlines()
    assert line.startswith("network: weights of timm: resnet8.a1, layout timm: ")
    assert "pretrained on 1000 classes, the network has 10" in line
    assert torch.equal(first_convolution(run), source.conv1.weight)
    monkeypatch.setattr(TimmNetwork, "fetch", lambda spec, sizes: pytest.fail("was fetched"))
    train_quietly(run, resume=True)


def test_weights_that_cannot_be_fetched_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for network, reason in (("resnet18", "locate the file"), ("resnet8_cifar", "No pretrained")):
        run = tiny_run(tmp_path, "digits_resnet8", f"network={network}", "pretrained=true")
        message = f"network={network} pretrained=true: timm has no weights here; give a .*{reason}"
        with pytest.raises(UserError, match=message):
            train_quietly(run)


def test_one_source_of_weights_is_enough():
    with pytest.raises(UserError, match="expected either `weights` or `pretrained`"):
        tiny_recipe("digits_resnet8", "network.weights=a.pth", "pretrained=true")


def streams_of(network, in_files, *changes):
    """Return the streams of a recipe with a network, on images in files or in memory."""
    changes = (f"network={network}", *changes)
    if in_files is None:
        recipe = settle(tiny_recipe("digits_resnet8", *changes), torch.device("cpu"))
        data, _ = recipe.subset.select(recipe.data.load(None, None))
    else:
        small = ("train_per_class=none", "test_images=none", *changes)
        recipe = settle(tiny_recipe("folder_resnet18", *small), torch.device("cpu"))
        data, _ = recipe.subset.select(recipe.data.load(in_files, None))
    return Streams(recipe, data)


def test_pretrained_networks_get_images_as_they_want_them(photographs):
    photos = photographs()
    wanted = "tf_efficientnet_lite3"
    with streams_of(wanted, photos, "pretrained=true", "image_size=none") as streams:
        batch = next(streams.test_batches()).images
        assert batch.shape[2:] == (300, 300)
        assert streams.test_loader._view == ResizeCenterCrop(round(300 / 0.904), 300)
        assert streams.first.view.view == RandomResizedCrop(300)
        pixels = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
        assert torch.equal(streams.prepare(pixels)[..., :1, :1].flatten(), torch.ones(3))
    with streams_of(wanted, photos, "image_size=none") as streams:  # random weights
        assert next(streams.test_batches()).images.shape[2:] == (224, 224)
    with streams_of(wanted, photos, "pretrained=true", "image_size=16") as streams:
        assert next(streams.test_batches()).images.shape[2:] == (16, 16)
    with streams_of("resnet18", None, "pretrained=true") as streams:
        assert next(streams.test_batches()).images.shape[2:] == (8, 8)
        assert streams.prepare(pixels).flatten()[0] == pytest.approx((1 - 0.485) / 0.229)


def test_networks_of_ours_want_the_images_of_the_data_set(weights):
    spec = networks.make("resnet8_cifar", weights=str(weights))
    assert spec.preprocessing is None


@pytest.mark.parametrize("passes", [0, 2])
def test_a_frozen_backbone_stays_as_it_is_and_the_classifier_learns(weights, tmp_path, passes):
    before = torch.load(weights)["state_dict"]
    run = run_from(weights, tmp_path, "freeze=backbone", "lr=0.1", f"passes={passes}")
    train_quietly(run)
    state = load_checkpoint(run.checkpoint)["objects"]["method"]
    names = {key.removeprefix("module.") for key in before} - {"fc.weight", "fc.bias"}
    for name in (name for name in names if not name.endswith("num_batches_tracked")):
        assert torch.equal(state[f"network.model.{name}"], before[f"module.{name}"]), name
    other = run_from(weights, tmp_path / "other", "freeze=backbone", "lr=0.2")
    train_quietly(other)
    heads = [
        load_checkpoint(one.checkpoint)["objects"]["method"]["network.model.fc.weight"]
        for one in (run, other)
    ]
    assert not torch.equal(*heads)
    assert load_trained(run.folder, TrainOptions(device="cpu")).predictors


def test_a_frozen_part_is_named_and_the_others_learn(weights, tmp_path):
    before = torch.load(weights)["state_dict"]
    run = run_from(weights, tmp_path, "freeze=conv1,bn1", "lr=0.1")
    train_quietly(run)
    state = load_checkpoint(run.checkpoint)["objects"]["method"]
    for name in ("conv1.weight", "bn1.weight", "bn1.running_mean"):
        assert torch.equal(state[f"network.model.{name}"], before[f"module.{name}"])
    assert not torch.equal(
        state["network.model.layer1.0.conv1.weight"], before["module.layer1.0.conv1.weight"]
    )
    with pytest.raises(
        UserError, match="network=resnet8_cifar: unknown part 'conv2'; did you mean"
    ):
        train_quietly(run_from(weights, tmp_path / "other", "freeze=conv2"))
    with pytest.raises(UserError, match="unknown part 'backbon'; did you mean 'backbone'"):
        train_quietly(run_from(weights, tmp_path / "other", "freeze=backbon"))


def test_constants_of_the_images_can_be_said_and_are_told(weights, tmp_path):
    constants = "mean=0.1,0.2,0.3", "std=0.4,0.5,0.6"
    run = run_from(weights, tmp_path, *constants)
    line, *_ = printed(run).splitlines()
    assert "images are normalized with mean 0.1, 0.2, 0.3 and std 0.4, 0.5, 0.6" in line
    trained = load_trained(run.folder, TrainOptions(device="cpu"))
    pixels = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    assert trained.prepare(pixels)[0, :, 0, 0].tolist() == pytest.approx([2.25, 1.6, 0.7 / 0.6])


@pytest.mark.parametrize(
    "options",
    [
        {"mean": (0.5,) * 3},
        {"mean": (0.5,), "std": (0.5,)},
        {"mean": (2.0,) * 3, "std": (0.5,) * 3},
    ],
)
def test_odd_constants_are_refused(options):
    with pytest.raises(UserError, match=r"recipe: expected `(mean|std)`"):
        networks.make("resnet8_cifar", weights="a.pth", **options)
    with pytest.raises(UserError, match=r"recipe: expected `mean` three numbers .* of pretrained"):
        networks.make("resnet8_cifar", mean=(0.5,) * 3, std=(0.5,) * 3)


def test_batch_norms_keep_the_statistics_of_the_weights_and_are_trained(weights, tmp_path):
    before = torch.load(weights)["state_dict"]
    run = run_from(weights, tmp_path, "norm_eval=true", "lr=0.1")
    train_quietly(run)
    state = load_checkpoint(run.checkpoint)["objects"]["method"]
    for kind, stays in (("running_mean", True), ("running_var", True), ("weight", False)):
        name = f"layer1.0.bn1.{kind}"
        assert torch.equal(state[f"network.model.{name}"], before[f"module.{name}"]) == stays


def test_batch_norms_of_a_copy_stay_in_evaluation_too():
    spec = networks.make("resnet8_cifar", weights="some.pth", norm_eval=True)
    network = spec.build(Sizes(num_classes=2))
    spec.freeze_parts(network)
    for one in (network, deepcopy(network)):
        one.train()
        norms = [m for m in one.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert norms
        assert not any(norm.training for norm in norms)
        assert one.training
        assert one.layer1.training
    with pytest.raises(UserError, match="expected `norm_eval` false without pretrained weights"):
        networks.make("resnet8_cifar", norm_eval=True)
