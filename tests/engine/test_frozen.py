"""Tests of semaug.engine.frozen: runs that train on the features of a frozen backbone."""

import io
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import timm
import torch
from rich.console import Console
from torch import nn

from semaug import with_features
from semaug.covariance import ClassCovariance
from semaug.engine import frozen
from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.options import TrainOptions
from semaug.engine.session import Session
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.recipe.overrides import split_overrides
from semaug.recipe.plain import recipe_from_plain_data, recipe_to_plain_data
from tests.engine.same import assert_same_runs
from tests.tiny import rows_of, tiny_recipe, tiny_run, train_quietly

FROZEN = {"network": "resnet8_cifar", "freeze": "backbone", "passes": "2", "epochs": "2"}


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(77)
    network = timm.create_model("resnet8_cifar", num_classes=10)
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


def frozen_run(weights, root, *changes, name="digits_resnet8_isda", seed=0):
    own = FROZEN | {"network.weights": str(weights)} | split_overrides(changes)
    return tiny_run(root, name, *(f"{key}={value}" for key, value in own.items()), seed=seed)


def kept(root):
    """Return the files of features by the folder of their part."""
    files = (root / "features").rglob("*.features.npy")
    return sorted((path.parent.parent.name, path.parent.name, path.name) for path in files)


def test_the_whole_network_is_tested_on_images_as_on_features(weights, tmp_path):
    run = frozen_run(weights, tmp_path, "ema_decay=0.9")
    train_quietly(run)
    trained = load_trained(run.folder, TrainOptions(device="cpu"))
    assert trained.test()[""]["error"] == rows_of(run)[-1]["test_error"]
    assert [part for _, part, _ in kept(tmp_path)] == ["pass1", "pass2", "test"]


def test_later_runs_find_the_features_of_their_images(weights, tmp_path):
    train_quietly(frozen_run(weights, tmp_path))
    before = kept(tmp_path)
    train_quietly(frozen_run(weights, tmp_path, "lr=0.01", seed=1))
    train_quietly(frozen_run(weights, tmp_path, name="digits_resnet8"))
    assert kept(tmp_path) == before
    more = frozen_run(weights, tmp_path, "train_per_class=12", "passes=3", seed=2)
    train_quietly(more)
    added = {*kept(tmp_path)} - {*before}
    assert sorted(part for _, part, _ in added) == ["pass1", "pass2", "pass3"]
    train_quietly(frozen_run(weights, tmp_path, "padding=0", seed=3))  # other augmentation
    assert len({key for key, *_ in kept(tmp_path)}) == 2
    torch.manual_seed(78)
    torch.save(timm.create_model("resnet8_cifar", num_classes=10).state_dict(), weights)
    train_quietly(frozen_run(weights, tmp_path / "other"))
    assert kept(tmp_path / "other")[0][0] not in {key for key, *_ in kept(tmp_path)}


def test_statistics_are_those_of_all_passes(weights, tmp_path):
    run = frozen_run(weights, tmp_path, "padding=0", "flip=false")  # so that passes are equal
    train_quietly(run)
    trained = load_trained(run.folder, TrainOptions(device="cpu"))
    data, estimator = trained.data, trained.method.criterion.estimator
    assert torch.equal(estimator.count, 2 * data.train.labels.bincount())
    network = timm.create_model("resnet8_cifar", num_classes=10)
    network.load_state_dict(torch.load(weights))
    with torch.no_grad():
        features = with_features(network.eval())(trained.prepare(data.train.images))[1].double()
    for label in (0, 7):
        own = features[data.train.labels == label]
        close = partial(torch.testing.assert_close, rtol=1e-3, atol=1e-5)
        close(estimator.mean[label].double(), own.mean(0))
        close(estimator.dense()[label].double(), torch.cov(own.T, correction=0))


def test_all_processes_count_as_many_batches(monkeypatch):
    monkeypatch.setattr(frozen, "_AT_ONCE", 10)
    images, labels = torch.zeros(21, 2, 1, 3), torch.zeros(21, dtype=torch.int64)
    sizes = []
    for rank in range(2):
        estimator, own = ClassCovariance(1, 2), []
        monkeypatch.setattr(estimator, "update", lambda some, of, own=own: own.append(len(of)))
        start = SimpleNamespace(processes=SimpleNamespace(rank=rank, size=2))
        frozen._fix_covariances(nn.ModuleList([estimator]), images, labels, start)
        sizes.append(own)
    assert [sum(pair) for pair in zip(*sizes, strict=True)] == 3 * [10] + 3 * [10] + 3 * [1]


@pytest.mark.parametrize("memory", [None, 0.9, "epoch"])
def test_statistics_forget_no_pass(monkeypatch, memory):
    monkeypatch.setattr(frozen, "_AT_ONCE", 10)
    torch.manual_seed(0)
    images, labels = torch.randn(40, 2, 1, 3) + torch.arange(3), torch.arange(40) // 20
    estimator = ClassCovariance(2, 2, memory=memory)
    start = SimpleNamespace(processes=SimpleNamespace(rank=0, size=1))
    frozen._fix_covariances(nn.ModuleList([estimator]), images, labels, start)
    estimator.start_epoch()
    for label in range(2):
        features = images[labels == label].movedim(1, -1).flatten(0, 2)
        torch.testing.assert_close(estimator.mean[label], features.mean(0))
        torch.testing.assert_close(estimator.dense()[label], torch.cov(features.T, correction=0))


def test_a_stopped_run_goes_on_bit_for_bit(weights, tmp_path, monkeypatch):
    whole, stopped = (frozen_run(weights, tmp_path / name) for name in ("whole", "stopped"))
    train_quietly(whole)
    pause = Session.pause

    def pause_and_stop(self):
        pause(self)
        if self.total_step == 5:
            raise self._stop()

    monkeypatch.setattr(Session, "pause", pause_and_stop)
    with pytest.raises(InterruptedRunError):
        train_quietly(stopped)
    monkeypatch.setattr(Session, "pause", pause)
    train_quietly(stopped, resume=True)
    assert_same_runs(whole, stopped)


def test_photographs_are_read_once(photographs, tmp_path):
    changes = ("train_per_class=none", "test_images=none", "image_size=16", "network=test_resnet")
    frozen = ("freeze=backbone", "passes=2", "epochs=1")
    photos, weights = photographs(), tmp_path / "resnet.pth"
    torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), weights)
    begin = f"network.weights={weights}"

    def go(seed):
        run = tiny_run(tmp_path, "folder_resnet18", *changes, *frozen, begin, seed=seed)
        train_quietly(run, data_root=photos, workers=0)
        return run

    run = go(0)
    before = kept(tmp_path)
    go(1)
    assert kept(tmp_path) == before
    trained = load_trained(run.folder, TrainOptions(device="cpu", data_root=photos))
    assert trained.test()[""]["error"] == pytest.approx(rows_of(run)[-1]["test_error"])


SEVERAL = [["mixup=0.5"], ["method=ait"], ["method=dml", "peers=resnet8_cifar"]]


@pytest.mark.parametrize("changes", SEVERAL, ids=lambda changes: changes[0])
def test_more_than_one_view_of_an_image_has_no_features_to_keep(weights, tmp_path, changes):
    run = frozen_run(weights, tmp_path, *changes, name="digits_resnet8")
    with pytest.raises(UserError, match="expected one network, one view and one label of each"):
        train_quietly(run)
    assert not run.folder.exists()


def test_passes_belong_to_a_frozen_backbone():
    for changes in (["passes=3"], ["freeze=conv1", "passes=3"]):
        with pytest.raises(UserError, match="expected `passes` with freeze=backbone only, got 3"):
            tiny_recipe("digits_resnet8", *changes)
    with pytest.raises(UserError, match="expected `passes` >= 0, or none, got -1"):
        tiny_recipe("digits_resnet8", "freeze=backbone", "passes=-1")


def test_runs_from_before_kept_no_features():
    recipe = tiny_recipe("digits_resnet8", "freeze=backbone")
    assert recipe.network.passes_kept == 10
    plain = recipe_to_plain_data(recipe)
    assert recipe_from_plain_data(plain) == recipe
    del plain["network"]["passes"]
    assert recipe_from_plain_data(plain).network.passes_kept == 0
    assert replace(recipe.network, freeze=()).passes_kept == 0


def test_it_does_not_matter_with_which_pass_a_run_begins(weights, tmp_path, monkeypatch):
    runs = []
    for first in (0, 1):
        monkeypatch.setattr(frozen.secrets, "randbelow", lambda count, first=first: first)
        runs.append(frozen_run(weights, tmp_path / str(first)))
        train_quietly(runs[-1])
    assert_same_runs(*runs)


def test_progress_of_each_pass_is_shown(weights, tmp_path):
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    train_quietly(frozen_run(weights, tmp_path), console=console)
    assert "features, pass 2 of 2" in console.file.getvalue()
