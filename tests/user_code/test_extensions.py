"""The files of the stranger compute what they say."""

from inspect import getmodule
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from semaug.data import IGNORED, DataSet
from semaug.errors import UserError
from semaug.methods import Batch, Samples
from semaug.recipe.overrides import override
from semaug.recipe.plan import Plan, StreamPlan
from semaug.registry import (
    Sizes,
    augmentations,
    data_sets,
    evaluations,
    kinds,
    losses,
    methods,
    metrics,
    networks,
    optimizers,
    recipes,
    schedules,
)

HERE = Path(__file__).parent


def from_file(registry, name, **options):
    """Build a spec that a file beside this one holds, by its name."""
    return registry.make(f"{HERE / name}", **options)


@pytest.fixture
def normal():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator)


# Center loss.


@pytest.fixture
def center_loss(normal):
    spec = from_file(losses, "center_loss.py:Center", strength=0.2, lr=0.5)
    loss = spec.build(Sizes(num_classes=3, num_features=4))
    loss.centers.data.copy_(normal(3, 4))
    return loss


def test_centers_move_as_in_equation_4_of_center_loss(center_loss, normal):
    labels, features, before = torch.tensor([0, 0, 2]), normal(3, 4), center_loss.centers.clone()
    (group,) = center_loss.parameter_groups()
    optimizer = torch.optim.SGD([group], lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(2):  # momentum would tell in the second step
        optimizer.zero_grad()
        center_loss(normal(3, 3), labels, features, None).backward()
        optimizer.step()
        for k in range(3):
            own = features[labels == k]
            before[k] = before[k] - 0.5 * (before[k] - own).sum(dim=0) / (1 + len(own))
        assert_close(center_loss.centers, before)


def test_center_loss_is_cross_entropy_and_a_pull(center_loss, normal):
    labels, features, logits = torch.tensor([0, 0, 2]), normal(3, 4).requires_grad_(), normal(3, 3)
    value = center_loss(logits, labels, features, None)
    apart = features - center_loss.centers[labels]
    expected = torch.nn.functional.cross_entropy(logits, labels) + 0.1 * apart.square().sum() / 3
    assert_close(value, expected)
    (gradient,) = torch.autograd.grad(value, features)
    assert_close(gradient, 0.2 * apart.detach() / 3)


# Short names, of all recipes.


@pytest.mark.parametrize("name", ["teacher", "segment", "stripes", "lion", "frozen"])
def test_lr_is_the_optimizers_where_no_other_group_has_one(name):
    recipe = recipes.get(f"{HERE / 'my_recipe.py'}:{name}")()
    assert override(recipe, {"lr": "0.7"}).optimizer.lr == 0.7


def test_lr_is_an_error_where_the_loss_has_one_too():
    recipe = recipes.get(f"{HERE / 'my_recipe.py'}:center")()
    with pytest.raises(UserError, match=r"loss\.lr.*optimizer\.lr|optimizer\.lr.*loss\.lr"):
        override(recipe, {"lr": "0.7"})
    changed = override(recipe, {"loss.lr": "0.7", "optimizer.lr": "0.2"})
    assert (changed.loss.lr, changed.optimizer.lr) == (0.7, 0.2)


def test_options_of_specs_inside_of_specs_are_typed_too():
    recipe = recipes.get(f"{HERE / 'my_recipe.py'}:frozen")()
    stripes = f"{HERE / 'stripes.py'}:Stripes"
    changed = override(recipe, {"data.images": stripes, "data.images.noise": "0.1"})
    assert changed.data.images == data_sets.make(stripes, noise=0.1)
    assert changed.data.backbone == recipe.data.backbone


# Data sets.


def load(name, root=Path(), **options):
    data = from_file(data_sets, name, **options).load(root, None)
    assert isinstance(data, DataSet)
    return data


@pytest.mark.parametrize("name", ["stripes.py:Stripes", "segmentation.py:Shapes"])
def test_drawn_data_is_the_same_each_time_and_differs_between_its_parts(name):
    first, second = load(name), load(name)
    assert torch.equal(first.train.images, second.train.images)
    assert torch.equal(first.train.labels, second.train.labels)
    assert not torch.equal(first.train.images[:8], first.test.images[:8])


def test_shapes_of_all_kinds_have_outlines_without_a_label():
    masks = load("segmentation.py:Shapes").train.labels
    assert masks.unique().tolist() == [0, 1, 2, 3, IGNORED]
    between = masks[:, :, :-1] != masks[:, :, 1:]
    unknown = (masks[:, :, :-1] == IGNORED) | (masks[:, :, 1:] == IGNORED)
    assert not (between & ~unknown).any()


def test_features_are_computed_once(tmp_path):
    first = load("frozen_features.py:FrozenFeatures", tmp_path)
    (path,) = tmp_path.rglob("*.pt")
    torch.save([part + 1 for part in torch.load(path, weights_only=True)], path)
    second = load("frozen_features.py:FrozenFeatures", tmp_path)
    assert torch.equal(second.train.images, first.train.images + 1)
    assert first.train.images.shape == (1000, 64, 1, 1)
    assert_close(first.train.images.mean(dim=0), torch.zeros(64, 1, 1))


# Augmentation.


def test_roll_is_that_of_torch(normal):
    augment = from_file(augmentations, "roll.py:Roll").build(load("stripes.py:Stripes"))
    images = normal(2, 3, 8, 16)
    rolled = augment(images, torch.tensor([[0.25, 0.5], [0.0, 0.75]]))
    assert torch.equal(rolled[0], images[0].roll((2, 8), dims=(1, 2)))
    assert torch.equal(rolled[1], images[1].roll((0, 12), dims=(1, 2)))


def test_masks_turn_with_their_images(normal):
    data = load("segmentation.py:Shapes")
    augment = from_file(augmentations, "segmentation.py:QuarterTurns").build(data)
    masks = data.train.labels[:64]
    draws = augment.draw(64, torch.Generator().manual_seed(0))
    turned = augment.move(masks, draws)
    assert torch.equal(augment(masks.unsqueeze(1), draws), turned.unsqueeze(1))
    symmetries = [
        torch.stack([m.rot90(k, dims=(-2, -1)) for m in (masks, masks.flip(-1))]) for k in range(4)
    ]
    equal = (torch.cat(symmetries) == turned).flatten(2).all(dim=2)  # (8, 64)
    assert equal.any(dim=0).all()
    assert equal.any(dim=1).all()  # each of the eight occurs


# Optimizer, schedule, evaluation.


def test_lion_is_that_of_the_paper(normal):
    weight = torch.nn.Parameter(normal(3, 2))
    spec = from_file(optimizers, "training.py:Lion", lr=0.1, betas=(0.5, 0.75), weight_decay=0.2)
    optimizer = spec.build([{"params": [weight]}])
    expected, average = weight.detach().clone(), torch.zeros(3, 2)
    for _ in range(3):
        gradient = normal(3, 2)
        weight.grad = gradient.clone()
        optimizer.step()
        step = (0.5 * average + 0.5 * gradient).sign() + 0.2 * expected
        expected = expected - 0.1 * step
        average = 0.75 * average + 0.25 * gradient
        assert_close(weight.detach(), expected)


def test_the_triangle_rises_and_falls():
    spec = from_file(schedules, "training.py:Triangle", peak_percent=40.0)
    plan = Plan(5, 2, 10, {"labeled": StreamPlan(2, 1)})
    rates = [spec.build(plan)(0.5, step) for step in range(10)]
    expected = [1 / 8, 2 / 8, 3 / 8, 1 / 2, 1 / 2, 5 / 12, 4 / 12, 3 / 12, 2 / 12, 1 / 12]
    assert rates == pytest.approx(expected)


def test_probabilities_of_shifted_images_are_averaged(normal):
    evaluate = from_file(evaluations, "training.py:Shifts", pixels=2).build(Sizes(num_classes=4))
    images, weight = normal(2, 3, 5, 6), normal(90, 4)
    found = evaluate(lambda shifted: {"": shifted.flatten(1) @ weight}, images, None)[""]
    views = [images, *(images.roll(by, dims=d) for by in (2, -2) for d in (2, 3))]
    expected = sum((view.flatten(1) @ weight).softmax(dim=1) for view in views) / 5
    assert_close(found.softmax(dim=1), expected)


# Metrics.


def test_calibration_error_of_a_known_case():
    metric = from_file(metrics, "calibration.py:Calibration", bins=10).build(Sizes(num_classes=2))
    logits = torch.tensor([0.8, 0.2]).log().expand(4, 2)
    metric.update(logits[:2], torch.tensor([0, 0]))
    metric.update(logits[2:], torch.tensor([0, 1]))
    assert metric.compute() == pytest.approx(5.0)  # 75 % right at a confidence of 80 %


def test_frechet_distance_of_known_cases(normal):
    adversarial = getmodule(kinds.get(f"{HERE / 'adversarial.py'}:GAN"))
    metric, images = adversarial.FrechetDistance(16), normal(300, 3, 4, 4)
    metric.update(images, images.flip(0))
    assert metric.compute() == pytest.approx(0, abs=1e-6)
    metric.reset()
    metric.update(images + 1, images)  # 16 pixels, each 1 apart
    assert metric.compute() == pytest.approx(16)
    metric.reset()
    metric.update(2 * images, images)  # twice the deviations: the trace of S, and the means
    mean, covariance = (
        images.mean(1).flatten(1).mean(0),
        images.mean(1).flatten(1).T.cov(correction=0),
    )
    expected = mean.square().sum() + covariance.trace()
    assert metric.compute() == pytest.approx(float(expected), rel=1e-4)


# Methods.


@pytest.fixture
def pair():
    """Return a method with a student and a teacher, and a batch."""
    mean_teacher = getmodule(methods.get(f"{HERE / 'mean_teacher.py'}:MeanTeacher"))
    spec = from_file(networks, "stripes.py:StripeNet", width=4)
    torch.manual_seed(0)
    network = spec.build(Sizes(num_classes=4))
    data = load("stripes.py:Stripes").train
    images = data.images[:24].float() / 255
    labeled = Samples(images[:8], labels=data.labels[:8])
    unlabeled = Samples(torch.stack([images[8:], images[8:].flip(-1)]))
    method = mean_teacher.StudentAndTeacher(
        network, torch.nn.CrossEntropyLoss(), strength=3.0, ramp_steps=10, decay=0.9
    )
    return method, {"labeled": labeled, "unlabeled": unlabeled}


def test_the_teacher_is_the_average_of_the_students_weights(pair):
    method, streams = pair
    optimizer = torch.optim.SGD(method.student.parameters(), lr=0.1)
    expected = {}
    for step in range(12):
        batch = Batch(streams, step=step)
        output = method.loss(batch)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        method.after_step(batch, output)
        kept = min(0.9, 1 - 1 / (step + 1))
        for name, weight in method.student.network.named_parameters():
            average = expected.get(name, 0)
            expected[name] = kept * average + (1 - kept) * weight.detach()
    for name, weight in method.teacher.named_parameters():
        assert_close(weight, expected[name])
        assert weight.grad is None


def test_the_teachers_batch_norm_has_statistics_of_its_own(pair):
    method, streams = pair
    method.loss(Batch(streams, step=0))
    _, second = streams["unlabeled"].images
    convolved = method.teacher[0](second)
    assert_close(method.teacher[1].running_mean, 0.1 * convolved.mean(dim=(0, 2, 3)))


def test_the_disagreement_ramps_up_as_a_sigmoid(pair):
    method, streams = pair
    method.eval()  # so that nothing changes between calls
    weights = {}
    for step in (0, 5, 10, 99):
        weights[step] = method.loss(Batch(streams, step=step)).terms["disagreement"].value
    for step, ramp in ((0, -5.0), (5, -1.25), (99, 0.0)):
        assert_close(weights[step], weights[10] * torch.tensor(ramp).exp())
