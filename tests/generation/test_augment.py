"""Tests of semaug.generation.augment: images of a generator to learn from."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug import ISDALoss
from semaug.augmentation import Augment
from semaug.data import load_data, select
from semaug.engine.data import load_data as load_images
from semaug.engine.options import TrainOptions
from semaug.engine.streams import Streams
from semaug.errors import UserError
from semaug.generation.augment import GeneratedMethod, WithGenerated, make_pool
from semaug.generation.generator import Generator, load_run
from semaug.methods import Batch, Samples
from semaug.recipe.plan import make_plan, stream_plan, streams_of
from semaug.recipes import find_recipe, make_run
from semaug.runs.run import Run
from tests.engine.toys import PlainNet
from tests.tiny import rows_of, train_quietly

CPU = TrainOptions(device="cpu", threads=1)
TINY = {"width": "6", "critic_width": "4", "z_size": "5"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of runs with that of a generator, trained on the images of a tiny run."""
    root = tmp_path_factory.mktemp("runs")
    recipe = make_run("digits_cgan", TINY, 0, True, root).recipe
    train_quietly(Run("digits_cgan", recipe, root=root))
    return root


def classifier(runs, *changes, **options):
    text = ",".join(["digits_resnet8", "method=generated", "generator=digits_cgan", *changes])
    small = {"epochs": "2", "batch_size": "24", "train_per_class": "10", "test_images": "30"}
    return make_run(text, {**small, "pool_size": "50", **options}, 0, False, runs)


def test_an_epoch_is_as_long_as_without_made_images():
    """The numbers of the paper's setting: 391 steps, of 107 real and 21 generated images."""
    recipe = find_recipe("cifar10_resnet110,method=generated,generator=cifar10_wgan")
    sizes = {"labeled": 50_000, "generated": 50_000}
    plan = make_plan(
        recipe,
        {name: stream_plan(recipe, one, sizes[name]) for name, one in streams_of(recipe).items()},
    )
    assert plan.steps_per_epoch == 391
    assert plan.total_steps == 391 * 160
    assert [plan.joint_size(name, 390) for name in sizes] == [107, 21]
    assert plan.images_seen(391) == 41_837


def test_batches_have_real_images_in_turn_and_the_same_augmentation(runs):
    run = classifier(runs)
    data, _ = load_images(run, CPU, torch.device("cpu"))
    pool = data.others["generated"]
    assert torch.bincount(pool.labels).tolist() == [5] * 10
    plain = replace(run.recipe, augment=Augment(padding=0, flip=False))
    shown = {"labeled": [], "generated": []}
    with Streams(plain, data) as streams:
        assert streams.plan.steps_per_epoch == 5  # of 100 images, 24 in a batch
        for epoch in range(2):
            for batch, truths in streams.train_batches(0, epoch):
                for name, samples in batch.streams.items():
                    assert len(samples.images) == {"labeled": 20, "generated": 4}[name]
                    part = data.part({"labeled": "train"}.get(name, name))
                    expected = streams.prepare(part.images[samples.positions])
                    assert torch.equal(samples.images, expected)
                    assert torch.equal(truths[name], part.labels[samples.positions])
                    shown[name] += samples.positions.tolist()
    assert sorted(shown["labeled"]) == sorted([*range(100)] * 2)  # each as often as others
    assert len(set(shown["generated"])) == 40


@pytest.mark.parametrize("counts", [False, True])
def test_the_loss_is_the_mean_over_all_images(normal, counts):
    torch.manual_seed(0)
    network = PlainNet(3).double()
    method = WithGenerated(
        network, torch.nn.CrossEntropyLoss(), share=2 / 6, counts_generated=counts
    )
    images, labels = normal(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    streams = {"labeled": Samples(images[:4], labels[:4])}
    streams["generated"] = Samples(images[4:], labels[4:])
    output = method.loss(Batch(streams))
    assert_close(output.loss, F.cross_entropy(network(images), labels))
    outputs = output.outputs_of_streams()
    assert_close(torch.cat([outputs["labeled"], outputs["generated"]]), network(images))


@pytest.mark.parametrize(("counts", "seen"), [(False, [2, 1, 0]), (True, [2, 2, 1])])
def test_statistics_see_real_images_alone_unless_asked(normal, counts, seen):
    isda = ISDALoss(3, 12, strength=0.5, ramp_steps=10)
    method = WithGenerated(PlainNet(3), isda, share=0.4, counts_generated=counts)
    images = normal(5, 3, 8, 8).float()
    streams = {"labeled": Samples(images[:3], torch.tensor([0, 1, 0]))}
    streams["generated"] = Samples(images[3:], torch.tensor([2, 1]))
    method.loss(Batch(streams))
    assert isda.estimator.count.tolist() == seen
    assert isda.step == 1


@pytest.mark.parametrize(
    ("counts", "told"), [(False, [[7, 3], [-1, -6]]), (True, [[7, 3, -1, -6]])]
)
def test_losses_that_draw_know_real_images_from_made_ones(counts, told):
    class Draws(torch.nn.Module):
        def forward(self, logits, labels, positions):
            seen.append(positions.tolist())
            return F.cross_entropy(logits, labels)

    seen = []
    method = WithGenerated(PlainNet(3), Draws(), share=0.5, counts_generated=counts)
    labels = torch.tensor([0, 1])
    places = {"labeled": torch.tensor([7, 3]), "generated": torch.tensor([0, 5])}
    images = torch.zeros(2, 3, 8, 8)
    method.loss(Batch({name: Samples(images, labels, None, own) for name, own in places.items()}))
    assert seen == told


def test_a_run_learns_from_both_and_records_the_pool(runs):
    run = classifier(runs, "loss=isda", "strength=0.5")
    train_quietly(run)
    row = rows_of(run)[-1]
    assert {"train_error", "train_error_generated", "train_loss_real"} <= row.keys()
    assert run.summary()["images_seen"] == 10 * 24
    path = run.folder / "images.json"
    others = json.loads(path.read_text())["others"]
    assert others["generated"]["images"] == 50
    assert len(others["generated"]["pixels"]) == 64
    (pool,) = (runs / "generated").glob("*-50.npz")
    written = pool.stat().st_mtime_ns
    assert train_quietly(run, resume=True) == run.summary()
    load_images(run, CPU, torch.device("cpu"))
    assert pool.stat().st_mtime_ns == written  # made once

    # With another pool it does not go on.
    facts = json.loads(path.read_text())
    facts["others"]["generated"]["pixels"] = "0"
    path.write_text(json.dumps(facts))
    (run.folder / "summary.json").unlink()
    with pytest.raises(UserError, match="other images of a generator, or another number of them"):
        train_quietly(run, resume=True)


def test_a_generator_that_saw_held_out_images_is_refused(runs):
    with pytest.raises(UserError, match="expected a generator that has not seen the images held"):
        load_images(classifier(runs, hold_out="20", test_images="20"), CPU, torch.device("cpu"))
    told = []
    data, selection = select(load_data("digits"), hold_out=200)
    method = GeneratedMethod(generator="stripes.py:generator", pool_size=4)
    unknown = Generator(stripes, 4, 10, (3, 8, 8), name="stripes")

    run = classifier(runs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("semaug.generation.generator.load_generator", lambda *a, **o: unknown)
        found = method.other_images(run, data, selection, told.append)
    assert found["generated"].labels.tolist() == [0, 1, 2, 3]
    assert told == ["nobody knows whether stripes has seen images that are held out here"]


def stripes(z, labels):
    return torch.tanh(z[:, :3, None, None].expand(-1, -1, 8, 8))


def test_pools_are_those_that_are_wanted(runs):
    generator, digits = load_run(runs / "digits_cgan" / "seed0", CPU), load_data("digits").train
    with pytest.raises(
        UserError, match=r"of 2 classes and images of shape \(3, 8, 8\), got one of"
    ):
        make_pool(generator, 10, replace(digits.subset(digits.labels < 2), classes=("0", "1")))
    with pytest.raises(UserError, match=r"of the classes a, b, c, ..., got one of 0, 1, 2, ..."):
        make_pool(generator, 10, replace(digits, classes=tuple("abcdefghij")))
    pool = make_pool(generator, 30, digits)
    assert torch.equal(make_pool(generator, 30, digits).images, pool.images)
    (path,) = (runs / "generated").glob("*-30.npz")
    path.write_bytes(b"no")
    with pytest.raises(UserError, match=r"expected generated images, got a damaged file .* delete"):
        make_pool(generator, 30, digits)


def test_made_images_are_a_data_set_too(runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    folder = runs / "digits_cgan" / "seed0"
    text = f"digits_resnet8,data=generated,generator={folder},real=digits,pool_size=40"
    run = make_run(text, {"epochs": "1", "test_images": "30"}, 0, False, runs)
    data, _ = load_images(run, CPU, torch.device("cpu"))
    assert len(data.train) == 40
    digits = load_data("digits")
    assert set(map(bytes, data.test.images.flatten(1).numpy())) <= set(
        map(bytes, digits.test.images.flatten(1).numpy())
    )
    assert data.mean == digits.mean
    run.recipe.data.check_there(runs)
    assert (run.recipe.data.num_classes, run.recipe.data.side) == (10, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generated_percent": 100.0}, "`generated_percent` above 0 and below 100"),
        ({"pool_size": 0}, "`pool_size` >= 1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(UserError, match=message):
        GeneratedMethod(generator="a", **options)


def test_a_batch_has_room_for_real_images():
    with pytest.raises(UserError, match="`batch_size` with room for real images beside"):
        find_recipe("digits_resnet8,method=generated,generator=a,batch_size=1")
    with pytest.raises(UserError, match="`pool_size` >= 1"):
        find_recipe("digits_resnet8,data=generated,generator=a,real=digits,pool_size=0")
