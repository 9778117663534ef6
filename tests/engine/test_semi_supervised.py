"""Runs of semi-supervised learning: what they read, and what they are equal to."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch

from semaug.data.digits import Digits
from semaug.engine.check import check_run
from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.files import read_json
from semaug.runs.read import value_of
from tests.engine import toys
from tests.engine.ranks import HOSTS
from tests.engine.same import assert_same, without_times
from tests.tiny import rows_of, train_quietly

LABELED = ["labeled_per_class=3", "batch_size=16", "unlabeled_batch_size=40", "epochs=2"]
ISDA = ["loss=isda", "strength=0.5", "unlabeled_loss=semantic_consistency"]

every_host = pytest.mark.parametrize("host", HOSTS)


@dataclass(frozen=True, kw_only=True)
class OtherLabels:
    """Digits, a tenth of them labeled, whose unlabeled part has true labels or garbage."""

    garbage: bool

    def load(self, root, workers):
        data = Digits().load(Path(root), workers)
        unlabeled = data.train.subset(torch.arange(100, 220))
        if self.garbage:
            labels = torch.randint(10, (120,), generator=torch.Generator().manual_seed(0))
            unlabeled = unlabeled.with_labels(labels)
        return replace(data, train=data.train.subset(torch.arange(100)), unlabeled=unlabeled)


@pytest.fixture
def train_host(make_run):
    """Return a function that trains a tiny run of a host on a network without batch norm."""

    def train(host, *changes, root="runs", **specs):
        given = {change.partition("=")[0]: change for change in (*LABELED, *changes)}
        run = make_run("digits_resnet8", f"method={host}", *given.values(), root=root)
        specs = {"network": toys.Plain(drop_rate=0.3), **specs}
        run = replace(run, recipe=replace(run.recipe, **specs))
        train_quietly(run)
        return run

    return train


def method_of(run):
    return load_checkpoint(run.checkpoint)["objects"]["method"]


@every_host
def test_labels_of_unlabeled_images_are_not_read(train_host, host):
    """Only the training error of these images would know them."""
    true, garbage = (
        train_host(
            host,
            *ISDA,
            "labeled_per_class=none",
            "train_per_class=none",
            data=OtherLabels(garbage=value),
            root=str(value),
        )
        for value in (False, True)
    )
    assert_same(method_of(true), method_of(garbage))
    labels = [OtherLabels(garbage=value).load("", 0).unlabeled.labels for value in (False, True)]
    assert (labels[0] != labels[1]).sum() > 90


@every_host
def test_without_weight_the_unlabeled_loss_is_not_there(train_host, host):
    plain = train_host(host, root="plain")
    other = train_host(host, "unlabeled_loss=semantic_consistency", "eta1=0", root="other")
    assert_same(method_of(plain), method_of(other))
    rows, expected = ([without_times(row) for row in rows_of(run)] for run in (other, plain))
    assert rows == expected


@every_host
def test_terms_and_what_is_known_of_unlabeled_images_are_written_down(train_host, host):
    run = train_host(host, *ISDA)
    for row in rows_of(run):
        terms = [row[name] for name in row if name.startswith("train_loss_")]
        assert row["train_loss"] == pytest.approx(sum(terms), rel=1e-4)
        assert len(terms) == 3
        assert row["train_loss_unlabeled"] > 0 or host == "fixmatch"  # of sure labels
        assert 0.1 <= row["train_confidence"] <= 1
        assert 0 <= row["train_entropy"] <= 2.31
        assert row["unlabeled_penalty"] >= 0
        assert 0 <= row["train_error_unlabeled"] <= 100
    assert [row["step"] for row in rows_of(run)] == [3, 6]  # of 100 unlabeled images
    images = read_json(run.folder / "images.json", "")
    assert (images["train_images"], images["unlabeled_images"]) == (30, 100)
    tested = load_trained(run.folder).test()
    assert tested[""]["error"] == value_of(run.summary(), "", None, "last")


def test_a_teacher_is_the_main_network(train_host):
    run = train_host("mean_teacher", "teacher_decay=0.9")
    rows = rows_of(run)[-1]
    summary = run.summary()
    assert rows["test_error"] == value_of(summary, "", None, "last")
    assert rows["test_error_student"] == value_of(summary, "student", None, "last")
    assert (summary["images_seen"], summary["forward_passes"]) == (2 * (100 + 48), 2 * (200 + 48))


def test_a_part_of_the_labeled_images_is_held_out_of_both_streams(train_host):
    run = train_host("vat", "hold_out=10", "hold_out_labeled=true", "test_images=none")
    images = read_json(run.folder / "images.json", "")
    assert (images["train_images"], images["unlabeled_images"]) == (20, 90)
    assert (images["held_out_images"], images["test_on"]) == (10, "hold_out")


@every_host
def test_bf16_keeps_weights_and_memories_in_float32(train_host, host):
    state = method_of(train_host(host, *ISDA, "precision=bf16", network="resnet8_cifar"))
    dtypes = {value.dtype for value in state.values() if isinstance(value, torch.Tensor)}
    assert dtypes == {torch.float32, torch.int64}


def test_semantic_consistency_needs_covariances(train_host):
    with pytest.raises(
        UserError, match="recipe: unlabeled_loss=semantic_consistency expects a los"
    ):
        train_host("vat", "unlabeled_loss=semantic_consistency")


@pytest.mark.full
@every_host
def test_a_host_that_is_killed_goes_on(make_run, host):
    run = make_run("digits_resnet8_isda", f"method={host}", *LABELED, *ISDA[2:])
    check_run(run, TrainOptions(device="cpu", threads=1))


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch hides it where a graph breaks
@every_host
def test_compiled_training_is_training(train_host, host, monkeypatch):
    """With as many graphs as there are sizes of batches, and not one for each step."""
    changes = [*ISDA, "epochs=3", "host_weight=1"]
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain = toys.Plain()
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    runs = [
        train_host(host, *changes, *more, root=str(len(more)), network=plain)
        for more in ([], ["compile=true"])
    ]
    for row, other in zip(*map(rows_of, runs), strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] < 12
    torch.compiler.reset()
