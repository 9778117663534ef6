"""Tests of semaug.methods.semi_supervised: what all hosts share."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from semaug.errors import UserError
from semaug.losses import SemanticConsistency, isda_loss, semantic_consistency_loss
from semaug.losses.consistency import NoUnlabeledLoss
from semaug.methods import VAT, Batch, FixMatch, MeanTeacher, PiModel, Stream, View
from semaug.methods.mean_teacher import MeanTeacherMethod
from semaug.methods.pi_model import PiModelMethod
from semaug.methods.semi_supervised import sigmoid_ramp
from semaug.methods.temporal_ensembling import TemporalEnsemblingMethod
from semaug.methods.vat import VATMethod
from semaug.recipe.overrides import override
from semaug.recipe.plan import passes_per_image, streams_of
from semaug.recipes import find_recipe
from tests.methods.hosts import HOSTS, make_batch, make_host, train
from tests.references.losses import noisy_logits

every_host = pytest.mark.parametrize("kind", HOSTS, ids=lambda kind: kind.__name__)


def assert_equal_states(first, second):
    common = first.keys() & second.keys()
    assert any("weight" in name for name in common)
    for name in common:
        assert torch.equal(first[name], second[name]), name


@every_host
def test_the_loss_is_the_sum_of_equation_19(kind):
    """With features of images that pass together, and statistics of labeled ones alone."""
    options = {"host_weight": 3.0, "ramp_steps": 10, "eta2": 0.5}
    host = make_host(kind, isda=True, eta1=2.0, **options).double()
    batch = make_batch(kind, 4, torch.float64)
    output = host.loss(batch)
    network, isda = make_host(kind, isda=True).double().network, host.criterion
    images, views = batch.labeled.images, batch.unlabeled.images
    views = views if views.ndim == 5 else views.unsqueeze(0)
    logits, features = network(torch.cat([images, *views[: kind.joint_views]]))
    labels = batch.labeled.labels
    expected = isda_loss(logits[:6], labels, network.weight, isda.estimator, strength=0.05)
    assert_close(output.terms["labeled"].value, expected)
    assert isda.estimator.count.tolist() == labels.bincount(minlength=3).tolist()
    (present,) = (isda.estimator.count > 0).nonzero(as_tuple=True)
    for label in present:
        own = features[:6][labels == label]
        assert_close(isda.estimator.mean[label], own.mean(dim=0))

    unlabeled = logits[-8:]
    probs = unlabeled.softmax(1) * (kind is not FixMatch)  # none of whose labels is sure yet
    expected = semantic_consistency_loss(
        unlabeled, network.weight, isda.estimator, strength=0.05, probs=probs
    )
    assert_close(output.terms["unlabeled"].value, 2 * expected)
    assert {term.stream for name, term in output.terms.items() if name != "labeled"} == {
        "unlabeled"
    }
    twice = make_host(kind, **{**options, "eta2": 1.0, "host_weight": 6.0}).double()
    terms = twice.loss(batch).terms
    (own,) = terms.keys() - {"labeled"}
    assert_close(terms[own].value, 4 * output.terms[own].value)
    assert_close(output.outputs["unlabeled"], logits[6:14])


@every_host
def test_without_weight_semantic_consistency_is_not_there(kind):
    """Bit for bit the plain host, dropout included."""
    plain = train(make_host(kind, drop_rate=0.5), 5)[-1]
    torch.manual_seed(1)
    other = train(make_host(kind, drop_rate=0.5, eta1=0), 5)[-1]
    assert_equal_states(plain, other)
    isda = train(make_host(kind, isda=True, eta1=1.0), 5)[-1]
    renamed = {name.replace("network.model.", "network."): value for name, value in isda.items()}
    assert not torch.equal(renamed["network.0.weight"], plain["network.0.weight"])


@every_host
def test_without_strength_isda_leaves_a_host_as_it_is(kind):
    plain = make_host(kind).double()
    isda = make_host(kind, isda=True, eta1=1.0, strength=0.0).double()
    state = train(isda, 20, dtype=torch.float64)[-1]
    for name, value in train(plain, 20, dtype=torch.float64)[-1].items():
        own = name.replace("network.", "network.model.").replace("teacher.", "teacher.model.")
        assert_close(state[own], value, rtol=0, atol=1e-6)


@every_host
def test_the_order_of_a_batch_changes_nothing(kind):
    batch = make_batch(kind, 3, torch.float64)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    unlabeled = batch.unlabeled
    images = unlabeled.images[..., order, :, :, :]
    permuted = unlabeled._replace(images=images, positions=unlabeled.positions[order])
    host = make_host(kind, isda=True, eta1=1.0, input_noise=0.1, host_weight=2.0).double()
    other = make_host(kind, isda=True, eta1=1.0, input_noise=0.1, host_weight=2.0).double()
    output = host.loss(batch)
    expected = other.loss(Batch({**batch.streams, "unlabeled": permuted}, batch.step))
    for name, term in output.terms.items():
        assert_close(term.value, expected.terms[name].value)


@every_host
def test_one_pass_counts_in_the_running_statistics(kind):
    host = make_host(kind)
    host.loss(make_batch(kind))
    assert host.network[1].num_batches_tracked == 1
    assert host.network[1].momentum == 0.1


@every_host
def test_a_host_tells_how_sure_it_is(kind):
    host = make_host(kind)
    output = host.loss(make_batch(kind))
    probs = output.outputs["unlabeled"].softmax(1)
    logs = output.logs
    assert_close(logs["confidence"].value, probs.amax(1).mean())
    assert_close(logs["entropy"].value, -(probs * probs.log()).sum(1).mean())
    assert {term.stream for term in logs.values()} == {"unlabeled"}
    assert ("utilization" in logs) == (kind is FixMatch)
    assert host.eval().diagnostics(lambda: make_batch(kind)) == {}
    host = make_host(kind, isda=True)
    batch = make_batch(kind)
    host.loss(batch)
    told = host.eval().diagnostics(lambda: batch)
    assert told["unlabeled_penalty"] > 0
    assert told["mean_penalty"] > 0


def test_noise_is_of_each_view_and_follows_the_image():
    shown = []
    host = make_host(PiModel, input_noise=0.5)
    host.network.register_forward_pre_hook(lambda module, images: shown.append(images[0]))
    batch = make_batch(PiModel)
    still = batch.unlabeled._replace(images=torch.zeros_like(batch.unlabeled.images))
    for step in (0, 1):
        host.loss(Batch({**batch.streams, "unlabeled": still}, step))
    labeled, first, second = shown[0].split([6, 8, 8])
    assert 0.4 < (labeled - batch.labeled.images).std() < 0.6
    assert 0.4 < first.std() < 0.6
    assert not torch.equal(first, second)
    assert not torch.equal(first, shown[1][6:14])


def test_a_loop_without_positions_is_fine():
    for kind in (VAT, PiModel):
        batch = make_batch(kind)
        streams = {n: s._replace(positions=None) for n, s in batch.streams.items()}
        output = make_host(kind, input_noise=0.1).loss(Batch(streams))
        assert output.loss.isfinite()


def test_the_ramp_is_a_bell_and_may_be_a_tensor():
    assert sigmoid_ramp(0, 10) == pytest.approx(math.exp(-5))
    assert sigmoid_ramp(torch.tensor(5), 10) == pytest.approx(math.exp(-5 / 4))
    assert sigmoid_ramp(3, 0) == sigmoid_ramp(torch.tensor(10), 10) == sigmoid_ramp(99, 10) == 1


# Semantic consistency beside the labeled loss.


def test_it_shares_statistics_and_strength_and_saves_nothing_twice():
    host = make_host(PiModel, isda=True, eta1=1.0)
    assert not [name for name in host.state_dict() if name.startswith("unlabeled_loss")]
    train(host, 3)
    assert host.criterion.step == 3
    logits, weight = torch.randn(4, 3), host.network.weight.detach()
    expected = semantic_consistency_loss(logits, weight, host.criterion.estimator, strength=0.15)
    assert_close(host.unlabeled_loss(logits, None, weight, None, None), expected)


def test_its_target_may_be_that_of_the_host():
    loss = make_host(PiModel, isda=True).criterion
    loss(torch.randn(9, 3), torch.arange(9) % 3, torch.randn(9, 5), torch.randn(3, 5))
    logits, weight, target = torch.randn(4, 3), torch.randn(3, 5), torch.randn(4, 3).softmax(1)
    mask = torch.tensor([1.0, 0.0, 1.0, 1.0])
    built = SemanticConsistency(eta1=0.5, target="host", reference="pseudo_label").build(loss)
    expected = semantic_consistency_loss(
        logits,
        weight,
        loss.estimator,
        strength=loss.current_strength(),
        probs=target * mask.unsqueeze(1),
        reference="pseudo_label",
    )
    assert_close(built(logits, None, weight, target, mask), 0.5 * expected)


def test_it_needs_covariances_of_labeled_images():
    with pytest.raises(ValueError, match=r"expects a loss .* such as loss=isda, got one without"):
        SemanticConsistency().build(nn.CrossEntropyLoss())
    assert SemanticConsistency(eta1=0).build(nn.CrossEntropyLoss()) is None
    assert NoUnlabeledLoss().build(nn.CrossEntropyLoss()) is None
    with pytest.raises(UserError, match="expected `eta1` >= 0, got -1"):
        SemanticConsistency(eta1=-1.0)


# Specs.


def test_hosts_state_what_the_papers_choose():
    pi, ensemble, teacher, vat = (
        kind() for kind in (PiModelMethod, TemporalEnsemblingMethod, MeanTeacherMethod, VATMethod)
    )
    weights = [one.host_weight for one in (pi, ensemble, teacher, vat)]
    assert weights == [100, 30, 100, 1]
    assert [one.ramp_percent for one in (pi, ensemble, teacher, vat)] == [25, 25, 25, 0]
    assert (ensemble.ensemble_momentum, teacher.teacher_decay) == (0.6, 0.999)
    assert (vat.epsilon, vat.xi, vat.power_iterations, vat.entropy_weight) == (8.0, 0.01, 1, 0)
    assert not pi.one_sided
    assert all(one.eta2 == 1 for one in (pi, ensemble, teacher, vat))


@pytest.fixture
def recipe():
    changes = {"labeled_per_class": "2", "augment.flip": "true"}
    return override(find_recipe("digits_resnet8"), changes)


@pytest.mark.parametrize(
    ("method", "views", "passes"),
    [
        (PiModelMethod(), (View(), View(shares=("flip",))), 2),
        (TemporalEnsemblingMethod(), (View(),), 1),
        (MeanTeacherMethod(unlabeled_batch_size=9), (View(), View()), 2),
        (VATMethod(power_iterations=2), (View(),), 5),
    ],
)
def test_epochs_count_unlabeled_images(recipe, method, views, passes):
    streams = streams_of(replace(recipe, method=method))
    assert [*streams] == ["unlabeled", "labeled"]
    assert streams["labeled"] == Stream()
    unlabeled = streams["unlabeled"]
    assert (unlabeled.part, unlabeled.views) == ("unlabeled", views)
    assert unlabeled.batch_size == method.unlabeled_batch_size
    assert passes_per_image(recipe, unlabeled) == passes


def test_without_a_flip_there_is_none_to_share(recipe):
    recipe = override(recipe, {"method": "pi_model", "augment.flip": "false"})
    assert streams_of(recipe)["unlabeled"].views == (View(), View())


def test_options_of_the_unlabeled_loss_have_short_names(recipe):
    changes = {"method": "vat", "unlabeled_loss": "semantic_consistency", "eta1": "2"}
    changed = override(recipe, {**changes, "eta2": "0.5"})
    assert changed.method.unlabeled_loss == SemanticConsistency(eta1=2.0)
    assert changed.method.eta2 == 0.5
    assert override(changed, {"unlabeled_loss": "none"}).method.unlabeled_loss == NoUnlabeledLoss()
    with pytest.raises(
        UserError, match="unknown loss of unlabeled images 'semantic'; choose from no"
    ):
        override(recipe, {"method": "vat", "unlabeled_loss": "semantic"})


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (PiModelMethod, {"host_weight": -1.0}, "expected `host_weight` >= 0, got -1"),
        (PiModelMethod, {"eta2": -1.0}, "expected `eta2` >= 0"),
        (PiModelMethod, {"input_noise": -1.0}, "expected `input_noise` >= 0"),
        (PiModelMethod, {"ramp_percent": 101.0}, "expected `ramp_percent` from 0 to 100, got 101"),
        (PiModelMethod, {"unlabeled_batch_size": 0}, "expected `unlabeled_batch_size` >= 1 or no"),
        (TemporalEnsemblingMethod, {"ensemble_momentum": 1.0}, "`ensemble_momentum` from 0 to be"),
        (MeanTeacherMethod, {"teacher_decay": 1.0}, "expected `teacher_decay` from 0 to below 1"),
        (MeanTeacherMethod, {"decay_in_ramp": -0.1}, "expected `decay_in_ramp` from 0 to below 1"),
        (VATMethod, {"epsilon": 0.0}, "expected `epsilon` > 0, got 0"),
        (VATMethod, {"xi": 0.0}, "expected `xi` > 0, got 0"),
        (VATMethod, {"power_iterations": 0}, "expected `power_iterations` >= 1, got 0"),
        (VATMethod, {"entropy_weight": -1.0}, "expected `entropy_weight` >= 0, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(kind, options, message):
    with pytest.raises(UserError, match=message):
        kind(**options)


def test_a_target_may_have_rows_that_are_not_known():
    """As in the first epoch of temporal ensembling."""
    isda = make_host(MeanTeacher, isda=True).criterion
    isda(torch.randn(9, 3), torch.arange(9) % 3, torch.randn(9, 5), torch.randn(3, 5))
    built = SemanticConsistency(target="host").build(isda)
    logits = torch.randn(4, 3, requires_grad=True)
    assert built(logits, None, torch.randn(3, 5), torch.zeros(4, 3), None) == 0
    assert F.mse_loss(logits, logits) == 0


def test_proposition_2_is_a_bound_at_features_of_a_trained_network():
    """Expected cross-entropy of augmented predictions, of 20,000 draws."""
    host = make_host(MeanTeacher, isda=True, eta1=1.0).double()
    train(host, 40, dtype=torch.float64)
    network, estimator = host.network, host.criterion.estimator
    with torch.no_grad():
        logits, _ = network(make_batch(MeanTeacher, 99, torch.float64).unlabeled.images[0])
    weight, probs = network.weight.detach(), logits.softmax(1)
    covariance = estimator.covariance[probs.argmax(1)]
    generator = torch.Generator().manual_seed(0)
    bounds = []
    for strength in (0.01, 0.5, 2.0):
        draws = noisy_logits(logits, weight, covariance, strength, 20_000, generator)
        losses = -(probs * draws.log_softmax(2)).sum(2).mean(1)  # (M,)
        error = losses.std() / len(losses) ** 0.5
        bound = semantic_consistency_loss(logits, weight, estimator, strength=strength)
        assert bound > losses.mean() - 4 * error
        bounds.append(bound - losses.mean())
    assert 0 < bounds[1] < bounds[2]
    assert abs(bounds[0]) < 0.01
