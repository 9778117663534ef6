"""Tests of semaug.methods.fixmatch."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch.testing import assert_close

from semaug.errors import UserError
from semaug.methods import FixMatch
from semaug.methods.fixmatch import FixMatchMethod
from semaug.recipe.plan import streams_of
from semaug.recipes import find_recipe
from tests.methods.hosts import make_batch, make_host


def test_sure_labels_of_weak_views_are_learned_from_strong_ones():
    host = make_host(FixMatch, threshold=0.4, host_weight=2.0).double()
    batch = make_batch(FixMatch, dtype=torch.float64)
    logits = []
    host.network.register_forward_hook(lambda module, images, output: logits.append(output))
    output = host.loss(batch)
    weak, strong = logits[0][6:].unflatten(0, (2, 8))
    losses = []
    for q, z in zip(weak.softmax(1), strong, strict=True):
        sure = q.max() >= 0.4
        losses.append(-z.log_softmax(0)[q.argmax()] if sure else torch.zeros_like(z[0]))
    count = sum(bool(loss) for loss in losses)
    assert 0 < count < 8
    term = output.terms["pseudo_label"].value
    assert_close(term, 2 * sum(losses) / 8)
    assert output.logs["utilization"].value == count / 8
    (gradient,) = torch.autograd.grad(term, logits[0])
    assert (gradient[:14] == 0).all()
    assert (gradient[14:] != 0).any(1).sum() == count


def test_isda_is_of_the_strong_views_of_sure_labels():
    host = make_host(FixMatch, isda=True, eta1=1.0, threshold=0.4)
    asked = []
    host.unlabeled_loss.register_forward_pre_hook(lambda module, given: asked.append(given))
    batch = make_batch(FixMatch)
    logits = []
    host.network.register_forward_hook(lambda module, images, output: logits.append(output))
    host.loss(batch)
    ((strong, features, _, target, mask),) = asked
    assert torch.equal(strong, logits[0][0][14:])
    assert torch.equal(features, logits[0][1][14:])
    assert_close(target, logits[0][0][6:14].softmax(1).detach())
    assert torch.equal(mask, (target.amax(1) >= 0.4).float())


def test_the_strong_view_is_the_weak_one_and_more():
    recipe = replace(find_recipe("digits_resnet8"), method=FixMatchMethod(strong_cutout=3))
    unlabeled = streams_of(recipe)["unlabeled"]
    weak, strong = unlabeled.views
    assert weak.augment is None
    assert (strong.augment.policy, strong.augment.randaugment_ops) == ("randaugment", 2)
    assert (strong.augment.randaugment_magnitude, strong.augment.cutout) == (10, 3)
    assert strong.augment.padding == recipe.augment.padding
    assert unlabeled.batch_size == 448


def test_an_augmentation_that_cannot_be_made_stronger_is_named():
    @dataclass(frozen=True)
    class Own:
        pass

    recipe = replace(find_recipe("digits_resnet8"), method=FixMatchMethod(), augment=Own())
    with pytest.raises(UserError, match="method=fixmatch expects augment=standard"):
        streams_of(recipe)
    with pytest.raises(UserError, match="expected `threshold` from 0 to 1, got 2"):
        FixMatchMethod(threshold=2.0)
