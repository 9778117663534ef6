"""Tests of every kind of covariance, and of the options, against statistics by loops."""

import copy
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import semaug.covariance.rows
from semaug import ClassCovariance
from tests.covariance.setups import BY_EPOCHS, KINDS, SETUPS
from tests.references.covariance import covariances_by_loops
from tests.references.isda import quadratic_form_by_loops


@pytest.fixture(params=SETUPS)
def options(request):
    return SETUPS[request.param]


@pytest.fixture(params=SETUPS | BY_EPOCHS)
def any_options(request):
    return (SETUPS | BY_EPOCHS)[request.param]


def make(options, num_classes=3):
    return ClassCovariance(num_classes, 4, **options).double()


def batches_of(normal, sizes, num_classes=3):
    total = sum(sizes)
    labels = torch.arange(total) * 7 % num_classes % 11
    return list(zip((normal(total, 4) + 2).split(sizes), labels.split(sizes), strict=True))


def joined(batches):
    return [tuple(torch.cat(parts) for parts in zip(*batches, strict=True))]


def updated(estimator, batches):
    for features, labels in batches:
        estimator.update(features, labels)
    return estimator


def assert_holds(estimator, batches, **tolerance):
    options = {"memory": estimator.memory, "shrinkage": estimator.shrinkage}
    count, mean, covariance = covariances_by_loops(
        batches, estimator.num_classes, estimator.kind, **options
    )
    assert torch.equal(estimator.count, count)
    assert_close(estimator.mean, mean, **tolerance)
    assert_close(estimator.dense().detach(), covariance, **tolerance)


def assert_same_state(left, right, **tolerance):
    """States may differ in rounding; a basis also by a rotation, unless there is no tolerance."""
    states = []
    for estimator in (left, right):
        state = dict(estimator.state_dict())
        if tolerance.get("rtol") != 0:
            bases = [name for name in state if name.endswith("basis")]
            state |= {name: state[name].mT @ state[name] for name in bases}
        states.append(state)
    assert_close(*states, **tolerance)


# Updates.


@pytest.mark.parametrize("num_classes", [3, 40])
@pytest.mark.parametrize("sizes", [[30], [10, 10, 10], [1] * 12, [29, 0, 1]])
def test_updates_give_what_all_samples_at_once_give(
    normal, options, num_classes, sizes, either_path
):
    batches = batches_of(normal, sizes, num_classes)
    assert_holds(updated(make(options, num_classes), batches), batches)


@given(
    sizes=st.tuples(*[st.integers(1, 6)] * 3),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
    spread=st.sampled_from([0.0, 1.0]),
    static=st.booleans(),
    options=st.sampled_from(list(SETUPS.values())),
)
@settings(max_examples=200, deadline=None)
def test_any_sizes_and_magnitudes(sizes, seed, scale, spread, static, options):
    num_samples, num_classes, num_features = sizes
    options = options | ({"rank": num_features} if "rank" in options else {})
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    features = (normal(num_features) + spread * normal(2 * num_samples, num_features)) * scale
    labels = torch.randint(num_classes, (2 * num_samples,), generator=generator)
    batches = list(zip(features.split(num_samples), labels.split(num_samples), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semaug.covariance.rows, "ALWAYS_STATIC", static)
        estimator = updated(ClassCovariance(num_classes, num_features, **options).double(), batches)
    assert_holds(estimator, batches, rtol=1e-9, atol=1e-12 * scale**2)

    covariance, weight = estimator.dense().detach(), normal(num_classes, num_features)
    assert_close(covariance, covariance.mT)
    largest = covariance.abs().amax()
    assert (torch.linalg.eigvalsh(covariance) >= -1e-12 * largest).all()
    q = estimator.quadratic_form(weight).detach()
    assert_close(q, quadratic_form_by_loops(weight, covariance), rtol=1e-9, atol=1e-12 * largest)
    assert (q >= 0).all()
    assert torch.equal(q.diagonal(), torch.zeros_like(q.diagonal()))
    expected = weight @ covariance @ weight.T
    assert_close(estimator.gram(weight).detach(), expected, rtol=1e-9, atol=1e-12 * largest)


def test_constant_features_have_no_variance(options, either_path):
    estimator = ClassCovariance(2, 4, **options)
    for _ in range(4):
        estimator.update(torch.full((4, 4), 7.0), torch.tensor([0, 0, 1, 0]))
    assert_close(estimator.mean, torch.full_like(estimator.mean, 7))
    if estimator.kind not in ("identity", "learned"):
        assert_close(estimator.dense(), torch.zeros(2, 4, 4))


def test_bad_rows_are_left_out_and_counted(normal, any_options, either_path):
    features, labels = normal(8, 4).float(), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    spoiled = features.clone()
    spoiled[1, 2], spoiled[2, 0], spoiled[5, 0], spoiled[6] = torch.nan, torch.inf, 3e38, -1e20
    estimator, expected = (ClassCovariance(12, 4, **any_options) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.update(spoiled, labels)
    kept = [0, 3, 4, 7]
    expected.update(features[kept], labels[kept])
    assert estimator.num_skipped == 4
    estimator.num_skipped.zero_()
    assert_same_state(estimator, expected)


@pytest.mark.parametrize("num_features", [4, 100])
def test_large_features_stay_finite(options, num_features, either_path):
    estimator = ClassCovariance(2, num_features, **options)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        features = 4e9 * (torch.rand(20, num_features, generator=generator) - 0.5).sign()
        estimator.update(features, torch.arange(20) % 2)
    assert estimator.num_skipped == 0
    for name, value in estimator.state_dict().items():
        assert value.isfinite().all(), name
    assert (estimator.captured() <= 1).all()


# What losses ask for.


def test_quadratic_form_and_gram_are_those_of_the_matrices(normal, options, either_path):
    estimator = updated(make(options, 5), batches_of(normal, [6, 7], 4))
    weight, covariance = normal(5, 4), estimator.dense().detach()
    q = estimator.quadratic_form(weight).detach()
    assert_close(q, quadratic_form_by_loops(weight, covariance))
    classes = torch.tensor([4, 0, 4])
    for chosen in (None, classes):
        own = covariance if chosen is None else covariance[chosen]
        assert_close(estimator.gram(weight, chosen).detach(), weight @ own @ weight.T)


def test_sampled_noise_has_the_covariances(normal, options, either_path):
    # Classes of many samples, of two (a singular matrix), of one and of none.
    estimator = make(options, 4)
    estimator.update(normal(13, 4), torch.tensor([0] * 10 + [1] * 2 + [2]))
    if estimator.kind == "learned":
        estimator.factor.data.copy_(normal(4, 4, 4))
    labels = torch.tensor([1, 0, 3, 0, 2])
    noise = estimator.sample(labels, 20000, generator=torch.Generator().manual_seed(0)).detach()
    covariance = estimator.dense().detach()[labels]
    actual = torch.einsum("mna,mnb->nab", noise, noise) / len(noise)
    variance = covariance.diagonal(0, 1, 2)
    deviation = ((variance.unsqueeze(1) * variance.unsqueeze(2) + covariance**2) / 20000).sqrt()
    assert ((actual - covariance).abs() <= 5 * deviation + 1e-5 * variance.amax()).all()
    assert (noise.mean(dim=0).abs() <= 5 * (variance / 20000).sqrt() + 1e-5).all()


def test_sampling_is_reproducible_and_may_be_empty(normal, options, either_path):
    estimator = updated(make(options), batches_of(normal, [9]))
    first, second = (
        estimator.sample(torch.tensor([2, 0]), 3, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert first.shape == (3, 2, 4)
    assert torch.equal(first, second)
    assert estimator.sample(torch.tensor([], dtype=torch.int64)).shape == (1, 0, 4)


def test_only_low_rank_cuts_something_off(normal, options):
    captured = updated(make(options), batches_of(normal, [9])).captured()
    assert_close(captured, torch.ones_like(captured))


# State.


@pytest.mark.parametrize("setup", [name for name in SETUPS if "fading" not in name])
def test_merge_equals_having_seen_both(normal, setup):
    options = SETUPS[setup]
    batches = batches_of(normal, [6, 7, 8], 4)
    left, right = (updated(make(options, 5), part) for part in (batches[:1], batches[1:]))
    before = copy.deepcopy(right)
    left.merge(right)
    assert_same_state(right, before, rtol=0, atol=0)
    assert_holds(left, batches)


@pytest.mark.parametrize("setup", [name for name in SETUPS if "fading" in name])
def test_merging_what_fades_adds_the_weights(normal, setup):
    options = dict(SETUPS[setup])
    shrinkage = options.pop("shrinkage", None)
    batches = batches_of(normal, [6, 7, 8], 4)
    parts = batches[:1], batches[1:]
    left, right = (updated(make(options, 5), part) for part in parts)
    total = left.sample_weight + right.sample_weight
    share = (right.sample_weight / total.clamp(min=1)).view(-1, 1, 1)
    shift = right.mean - left.mean
    between = share * (1 - share) * shift.unsqueeze(2) * shift.unsqueeze(1)
    if left.kind == "diagonal":
        between = torch.diag_embed(between.diagonal(0, 1, 2))
    expected = torch.lerp(left.dense(), right.dense(), share) + between
    if shrinkage is not None:
        first, second = (updated(make(SETUPS[setup], 5), part) for part in parts)
        pooled = [x.pooled.diag() if x.kind == "diagonal" else x.pooled for x in (first, second)]
        pooled = torch.lerp(*pooled, right.sample_weight.sum() / total.sum())
        pooled = pooled + (total.view(-1, 1, 1) * between).sum(dim=0) / total.sum()
        amount = shrinkage / (total + shrinkage)
        expected = torch.lerp(expected, pooled.expand(5, 4, 4), amount.view(-1, 1, 1))
        left, right = first, second
    left.merge(right)
    assert_close(left.sample_weight, total)
    assert_close(left.dense(), expected)


def test_merging_an_empty_one_or_into_an_empty_one_changes_nothing(normal, any_options):
    estimator = updated(make(any_options), batches_of(normal, [9, 5]))
    estimator.start_epoch()
    updated(estimator, batches_of(normal, [4]))
    before, empty = copy.deepcopy(estimator), make(any_options)
    empty.merge(estimator)
    estimator.merge(make(any_options))
    for merged in (estimator, empty):
        assert_close(merged.dense(), before.dense())
        for left, right in ((merged, before), (merged.fresh, before.fresh)):
            if left is not None:
                assert_close(left.dense(), right.dense())
                assert torch.equal(left.count, right.count)
    following = batches_of(normal, [6])
    for merged in (estimator, empty):
        assert_close(
            updated(merged, following).dense(), updated(copy.deepcopy(before), following).dense()
        )


def test_reset_forgets_everything(normal, any_options):
    estimator = updated(make(any_options), batches_of(normal, [9, 5]))
    estimator.start_epoch()
    if estimator.kind == "learned":
        estimator.factor.data.mul_(2)
    estimator.reset()
    assert_same_state(estimator, make(any_options), rtol=0, atol=0)
    batches = batches_of(normal, [8])
    assert_same_state(updated(estimator, batches), updated(make(any_options), batches))


def reloaded(estimator, options):
    other = ClassCovariance(3, 4, **options)
    other.load_state_dict(estimator.state_dict())
    return other


@pytest.mark.parametrize(
    "carried",
    [
        reloaded,
        lambda estimator, options: copy.deepcopy(estimator),
        lambda estimator, options: pickle.loads(pickle.dumps(estimator)),
    ],
    ids=["state_dict", "deepcopy", "pickle"],
)
@pytest.mark.parametrize("stop", range(6))
def test_stopped_and_resumed_goes_on_bit_for_bit(normal, any_options, carried, stop):
    events = [(x.float(), y) for x, y in batches_of(normal, [6, 5, 4, 6])]
    events = [events[0], "epoch", events[1], "epoch", events[2], events[3]]
    estimator, straight = (ClassCovariance(3, 4, **any_options) for _ in range(2))
    for number, event in enumerate(events):
        if number == stop:
            estimator = carried(estimator, any_options)
        for each in (estimator, straight):
            each.start_epoch() if event == "epoch" else each.update(*event)
    assert_same_state(estimator, straight, rtol=0, atol=0)


def test_casts_keep_float32_or_better(normal, any_options):
    estimator = ClassCovariance(3, 4, **any_options)
    updated(estimator, batches_of(normal, [9]))
    before = copy.deepcopy(estimator)
    torch.nn.Sequential(estimator).half().to(torch.bfloat16)
    assert_same_state(estimator, before, rtol=0, atol=0)
    assert estimator.double().dense().dtype == torch.float64
    assert estimator.half().dense().dtype == torch.float64
    weight = normal(3, 4).float()
    assert estimator.quadratic_form(weight).dtype == torch.float64
    assert before.quadratic_form(weight.half()).dtype == torch.float32
    assert {value.device.type for value in estimator.to("meta").state_dict().values()} == {"meta"}


def test_a_state_of_half_precision_does_not_lower_it(normal, any_options):
    estimator = updated(ClassCovariance(3, 4, **any_options), batches_of(normal, [9]))
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in estimator.state_dict().items()
    }
    copied, assigned = (ClassCovariance(3, 4, **any_options) for _ in range(2))
    copied.load_state_dict(state)
    assigned.load_state_dict(state, assign=True)
    assert_same_state(assigned, copied, rtol=0, atol=0)
    assert len(list(assigned.parameters())) == len(list(copied.parameters()))


def test_a_default_of_half_precision_does_not_lower_it(any_options):
    torch.set_default_dtype(torch.bfloat16)
    try:
        estimator = ClassCovariance(3, 4, **any_options)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same_state(estimator, ClassCovariance(3, 4, **any_options), rtol=0, atol=0)


def test_autocast_does_not_touch_anything(normal, any_options):
    plain, under = (ClassCovariance(3, 4, **any_options) for _ in range(2))
    (batch,) = batches_of(normal, [20])
    weight = normal(3, 4).float()
    for dtype in (torch.bfloat16, torch.float16):
        plain.update(*batch)
        with torch.autocast("cpu", dtype=dtype):
            under.update(*batch)
            q, gram, dense = under.quadratic_form(weight), under.gram(weight), under.dense()
            noise = under.sample(batch[1], generator=torch.Generator().manual_seed(0))
        assert_same_state(under, plain, rtol=0, atol=0)
        assert_close(q, plain.quadratic_form(weight), rtol=0, atol=0)
        assert_close(gram, plain.gram(weight), rtol=0, atol=0)
        assert_close(dense, plain.dense(), rtol=0, atol=0)
        expected = plain.sample(batch[1], generator=torch.Generator().manual_seed(0))
        assert_close(noise, expected, rtol=0, atol=0)


def test_runs_with_deterministic_algorithms(normal, any_options, either_path):
    batches = batches_of(normal, [9, 5], 4)
    expected = updated(make(any_options, 5), batches)
    weight = normal(5, 4).requires_grad_()
    torch.use_deterministic_algorithms(True)
    try:
        estimator = updated(make(any_options, 5), batches)
        (estimator.quadratic_form(weight).sum() + estimator.gram(weight).sum()).backward()
        estimator.sample(torch.tensor([1, 1, 0]))
    finally:
        torch.use_deterministic_algorithms(False)
    assert_same_state(estimator, expected, rtol=0, atol=0)


# Samples that do not count, and pixels.


@pytest.mark.parametrize("ignore_index", [0, 255, -100])
@pytest.mark.parametrize("num_classes", [3, 40])
def test_ignored_samples_do_not_count(normal, options, ignore_index, num_classes, either_path):
    estimator, expected = make(options, num_classes), make(options, num_classes)
    for features, labels in batches_of(normal, [12, 9], num_classes):
        labels = labels.clone()
        labels[[0, 3, 4, 8]] = ignore_index
        kept = labels != ignore_index
        features[4] = torch.nan  # nor is it looked at
        estimator.update(features, labels, ignore_index=ignore_index)
        expected.update(features[kept], labels[kept])
    assert_same_state(estimator, expected)


@pytest.mark.parametrize("ignore_index", [0, -100])
@pytest.mark.parametrize("num_samples", [0, 2, 5])
def test_a_batch_where_nothing_counts_changes_nothing(
    normal, any_options, ignore_index, num_samples, either_path
):
    estimator = updated(make(any_options), batches_of(normal, [9]))
    before = copy.deepcopy(estimator)
    labels = torch.full((num_samples,), ignore_index)
    estimator.update(normal(num_samples, 4), labels, ignore_index=ignore_index)
    assert_same_state(estimator, before, rtol=0, atol=0)


def test_labels_that_are_not_ignored_must_be_in_range(normal):
    estimator = make(KINDS["full"])
    with pytest.raises(ValueError, match="between 0 and 2, got -100 to 1"):
        estimator.update(normal(2, 4), torch.tensor([1, -100]), ignore_index=None)
    with pytest.raises(ValueError, match="between 0 and 2, got 1 to 3"):
        estimator.update(normal(3, 4), torch.tensor([1, 255, 3]), ignore_index=255)
    assert estimator.count.sum() == 0


@pytest.mark.parametrize(("height", "width"), [(3, 5), (6, 10), (7, 4), (1, 1)])
def test_dense_features_are_samples_with_the_nearest_labels(
    normal, options, height, width, either_path
):
    features = normal(2, 4, 3, 5)
    labels = torch.arange(2 * height * width).view(2, height, width) * 5 % 3
    labels[0, 0] = 255
    estimator, expected = make(options, 3), make(options, 3)
    estimator.update(features, labels, ignore_index=255)
    nearest = torch.nn.functional.interpolate(labels[:, None].double(), (3, 5), mode="nearest")
    flat = features.permute(0, 2, 3, 1).reshape(-1, 4)
    expected.update(flat, nearest.long().flatten(), ignore_index=255)
    assert_same_state(estimator, expected)
