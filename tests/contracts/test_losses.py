"""What any loss that a recipe can name keeps: in half precision, compiled, resumed, on ranks."""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.testing import assert_close

from semaug.losses import takes_features, takes_positions
from semaug.registry import Sizes, losses
from tests.processes import run_together

# N samples, C=5 classes, A=8 features.

SIZES = Sizes(num_classes=5, num_features=8, num_steps=4, num_images=100)
NEEDED = {"isda": {"strength": 0.5}, "explicit": {"strength": 0.5, "num_samples": 2}}
MORE = {
    "center by paper": ("center", {"update": "paper", "center_strength": 0.5}),
    "learned isda": ("isda", {"strength": 0.5, "covariance": "learned"}),
    "truncated lq": ("lq", {"truncation": 0.3}),
    "disturbed often": ("disturb_label", {"rate": 0.5, "include_true": False}),
    "large margin at once": ("large_margin", {"anneal_percent": 1.0}),
}
CASES = {name: (name, NEEDED.get(name, {})) for name in losses.names()} | MORE
DRAWS_FROM_TORCH = {"explicit"}  # so that its draws follow the order of the batch


def spec_of(case):
    name, options = CASES[case]
    return losses.make(name, **options)


def make(case, seed=0):
    torch.manual_seed(seed)
    return spec_of(case).build(SIZES)


def batch_of(step, size=12):
    """Features, labels and positions of a step; each class has its features around a mean."""
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(5, (size,), generator=generator)
    noise = torch.randn(size, 8, generator=generator)
    return F.one_hot(labels, 8) + noise, labels, torch.randperm(100, generator=generator)[:size]


def call(loss, head, features, labels, positions=None):
    told = {"positions": positions} if takes_positions(loss) else {}
    rest = (features, head.weight) if takes_features(loss) else ()
    return loss(head(features), labels, *rest, **told)


def parts(case, seed=0):
    """A loss, a classifier, and an optimizer of both."""
    loss = make(case, seed)
    torch.manual_seed(1)
    head = nn.Linear(8, 5, bias=False)
    own = loss.parameter_groups() if hasattr(loss, "parameter_groups") else []
    rest = {id(p) for group in own for p in group["params"]}
    others = [p for p in [*head.parameters(), *loss.parameters()] if id(p) not in rest]
    return loss, head, torch.optim.SGD([{"params": others}, *own], lr=0.1, momentum=0.9)


def train(loss, head, optimizer, steps):
    values = []
    for step in steps:
        torch.manual_seed(step)
        optimizer.zero_grad()
        value = call(loss, head, *batch_of(step))
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


def state_of(*objects):
    return copy.deepcopy([x.state_dict() for x in objects])


@pytest.mark.parametrize("case", CASES)
def test_a_loss_that_was_saved_and_loaded_goes_on_bit_for_bit(case):
    whole = parts(case)
    values = train(*whole, range(6))
    first = parts(case)
    assert train(*first, range(3)) == values[:3]
    saved, again = state_of(*first), parts(case, seed=7)
    for x, state in zip(again, saved, strict=True):
        x.load_state_dict(state)
    assert train(*again, range(3, 6)) == values[3:]
    assert_close(state_of(*again), state_of(*whole), rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_half_precision_changes_inputs_and_nothing_else(case):
    loss, head, _ = parts(case)
    train(loss, head, torch.optim.SGD(head.parameters(), lr=0.1), range(2))
    other = copy.deepcopy(loss)
    features, labels, positions = batch_of(2)
    with torch.no_grad():
        head.weight.copy_(head.weight.bfloat16())
        features = features.bfloat16()
        logits = F.linear(features, head.weight.bfloat16())
    told = {"positions": positions} if takes_positions(loss) else {}
    rest = (features, head.weight) if takes_features(loss) else ()
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(logits, labels, *rest, **told)
    assert value.dtype == torch.float32
    torch.manual_seed(0)
    rest = (features.float(), head.weight) if rest else ()
    assert_close(value, other(logits.float(), labels, *rest, **told), rtol=1e-4, atol=1e-5)
    assert_close(loss.state_dict(), other.state_dict(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_evaluation_changes_nothing(case):
    loss, head, optimizer = parts(case)
    train(loss, head, optimizer, range(2))
    before = state_of(loss)
    loss.eval()
    torch.manual_seed(0)
    first = call(loss, head, *batch_of(3))
    torch.manual_seed(0)
    assert torch.equal(call(loss, head, *batch_of(3)), first)
    assert_close(state_of(loss), before, rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_samples_to_ignore_count_nowhere(case):
    """Behind the others, so that draws in the order of the batch are the same."""
    loss, head, optimizer = parts(case)
    train(loss, head, optimizer, range(2))
    other = copy.deepcopy(loss)
    features, labels, positions = batch_of(3)
    kept = features[:8], labels[:8], positions[:8]
    if case in DRAWS_FROM_TORCH:
        loss.num_samples = other.num_samples = 1
    torch.manual_seed(0)
    expected = call(loss, head, *kept)
    torch.manual_seed(0)
    assert_close(
        call(other, head, features, labels.where(torch.arange(12) < 8, -100), positions), expected
    )


@pytest.mark.parametrize("case", CASES)
def test_soft_targets_are_taken_or_refused_with_a_word(case):
    loss, head, _ = parts(case)
    features, labels, positions = batch_of(0)
    targets = F.one_hot(labels, 5) * 0.7 + F.one_hot(labels.flip(0), 5) * 0.3
    if getattr(spec_of(case), "soft_targets", True):
        value = call(loss, head, features, targets, positions)
        assert value.ndim == 0
        assert value.isfinite()
    else:
        with pytest.raises(
            ValueError, match=r"expected `labels` of shape \(N=12,\), got \(12, 5\)"
        ):
            call(loss, head, features, targets, positions)


COMPILED_ELSEWHERE = {"isda", "explicit", "learned isda"}  # in tests/losses/test_compiled.py
COMPILED = [
    pytest.param(
        case,
        marks=[pytest.mark.full]
        * (case in ("disturbed often", "large margin at once", "focal", "lq", "center")),
    )
    for case in CASES
    if case not in COMPILED_ELSEWHERE
]


@pytest.mark.parametrize("case", COMPILED)
def test_compiles_to_one_graph_that_serves_every_step(case):
    torch._dynamo.reset()
    loss, head, _ = parts(case)
    other, other_head = copy.deepcopy((loss, head))
    rest = takes_features(loss), takes_positions(loss)  # looked up once, as methods do

    def step(loss, head, features, labels, positions):
        told = {"positions": positions} if rest[1] else {}
        return loss(head(features), labels, *((features, head.weight) if rest[0] else ()), **told)

    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(
        lambda *batch: step(loss, head, *batch), backend=counter, fullgraph=True
    )
    for number in range(3):
        batch = batch_of(number)
        actual, expected = compiled(*batch), step(other, other_head, *batch)
        assert_close(actual, expected, rtol=1e-5, atol=1e-6)
        leaves, others = (
            [h.weight, *x.parameters()] for h, x in ((head, loss), (other_head, other))
        )
        assert_close(
            *map(torch.autograd.grad, (actual, expected), (leaves, others)), rtol=1e-4, atol=1e-6
        )
    assert counter.frame_count == 1
    assert_close(loss.state_dict(), other.state_dict(), rtol=1e-5, atol=1e-6)


# Ranks.


def shared_steps(rank, num_ranks):
    """Take two steps with each loss, on the part of each batch that this rank has."""
    found = {}
    for case in CASES:
        if case in DRAWS_FROM_TORCH:
            continue
        loss, head, optimizer = parts(case)
        values = []
        for step in range(2):
            batch = batch_of(step)
            cut = slice(0, 5) if rank == 0 else slice(5, 12)
            own = batch if num_ranks == 1 else [x[cut] for x in batch]
            share = len(own[1]) / 12
            optimizer.zero_grad()
            value = call(loss, head, *own) * share
            (value * num_ranks).backward()
            total = value.detach()
            if num_ranks > 1:
                for tensor in (head.weight.grad, total):
                    dist.all_reduce(tensor)
                head.weight.grad /= num_ranks
            optimizer.step()
            values.append(total)
        found[case] = [torch.stack(values), head.weight.detach(), loss.state_dict()]
    return found


def on_a_rank(rank, num_ranks, store, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=num_ranks)
    torch.save(shared_steps(rank, num_ranks), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_are_one(tmp_path):
    run_together(on_a_rank, 2, str(tmp_path / "store"), str(tmp_path))
    expected = shared_steps(0, 1)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found.keys() == expected.keys()
        assert len(found) > 8
        for case in expected:
            assert_close(
                found[case], expected[case], rtol=1e-4, atol=1e-5, msg=lambda m, c=case: f"{c}: {m}"
            )
