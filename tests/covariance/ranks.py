"""Statistics on several ranks; run by test_on_ranks in fresh processes."""

import contextlib

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import semaug.covariance.rows
from semaug import ClassCovariance, ISDALoss
from tests.covariance.setups import BY_EPOCHS, KINDS, SETUPS

RUNS = {
    2: SETUPS | BY_EPOCHS,
    4: KINDS | BY_EPOCHS | {"full, fading, shrunk": SETUPS["full, fading, shrunk"]},
}
IGNORED = 255

# How many samples each of at most four ranks has in each step.
SHARES = ((6, 6, 3, 1), (7, 2, 0, 5), (0, 5, 0, 0), (4, 3, 1, 1), (0, 0, 0, 0), (1, 3, 2, 2))
CAPACITY = 7


def batches(world_size, *, dense=False, start=0):
    """Return for each step what each rank has: float64 features, some bad, and labels."""
    generator = torch.Generator().manual_seed(start)
    steps = []
    for number, sizes in enumerate(SHARES):
        parts = []
        for rank, size in enumerate(sizes[:world_size]):
            pixels, labeled = ((2, 3), (4, 6)) if dense else ((), ())
            features = torch.randn(size, 4, *pixels, generator=generator, dtype=torch.float64) + 1
            labels = torch.randint(3, (size, *labeled), generator=generator)
            labels[torch.rand(labels.shape, generator=generator) < 0.2] = IGNORED
            if number == rank:
                labels[:] = IGNORED
            if number == 5 and rank == 1:
                features[0] = torch.nan
            parts.append((features, labels))
        steps.append(parts)
    return steps


def follow(estimator, steps):
    """Update with one batch for each step, with epochs of three steps."""
    estimator._warned = True  # of what is left out
    for number, (features, labels) in enumerate(steps):
        if number % 3 == 0:
            estimator.start_epoch()
        estimator.update(features, labels, ignore_index=IGNORED)
    return estimator


def joint(steps):
    """Join what the ranks have."""
    return [tuple(torch.cat(parts) for parts in zip(*step, strict=True)) for step in steps]


def make(options, **more):
    """Create an estimator of five classes, two of them never seen."""
    return ClassCovariance(5, 4, **options, **more).double()


def learned_gradient(labels):
    """Gradient of learned factors for a loss that is a mean over samples."""
    generator = torch.Generator().manual_seed(3)
    estimator = make({"kind": "learned", "entropy_margin": 9.0})
    estimator.factor.data.copy_(torch.randn(5, 4, 4, generator=generator))
    weight = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    loss = estimator.quadratic_form(weight)[labels].square().mean(dim=1)
    (loss.sum() / max(len(labels), 1) + estimator.uncertainty(labels)).backward()
    return estimator.factor.grad


class Network(nn.Module):
    """A trunk that is computed again in the backward pass, and a classifier."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(6, 4), nn.Tanh())
        self.classifier = nn.Linear(4, 5)
        self.double()

    def forward(self, images):
        features = checkpoint(self.trunk, images, use_reentrant=False)
        return self.classifier(features), features


def trained(rank, world_size):
    """Gradients and statistics of two optimizer steps, each of two accumulated batches."""
    network, isda = Network(), ISDALoss(5, 4, strength=2.0).double()
    wrapped = DistributedDataParallel(network) if world_size > 1 else network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(1)
    for step in range(4):
        images = torch.randn(12, 6, generator=generator, dtype=torch.float64)
        labels = torch.randint(5, (12,), generator=generator)
        images, labels = images[rank::world_size], labels[rank::world_size]
        wait = step % 2 == 0 and world_size > 1
        with wrapped.no_sync() if wait else contextlib.nullcontext():
            logits, features = wrapped(images)
            isda(logits, labels, features, network.classifier.weight).backward()
        if step % 2 == 1:
            optimizer.step()
            gradients = [parameter.grad.clone() for parameter in network.parameters()]
            optimizer.zero_grad()
    return {"gradients": gradients, "state": dict(isda.state_dict())}


def compiled_and_not(rank):
    """Loss, gradient and covariance after three steps in one graph, and without a graph."""
    results = []
    for compiled in (True, False):
        generator = torch.Generator().manual_seed(rank)
        estimator = make({"kind": "full", "shrinkage": 3.0}, max_batch_size=CAPACITY)
        weight = torch.eye(5, 4, dtype=torch.float64, requires_grad=True)

        def step(features, labels, estimator=estimator, weight=weight):
            estimator.update(features, labels, ignore_index=IGNORED)
            return estimator.quadratic_form(weight).logsumexp(dim=1).sum()

        if compiled:
            step = torch.compile(step, backend="aot_eager", fullgraph=True)
        for _ in range(3):
            features = torch.randn(CAPACITY, 4, generator=generator, dtype=torch.float64)
            loss = step(features, torch.randint(3, (CAPACITY,), generator=generator))
        results.append((loss, *torch.autograd.grad(loss, weight), estimator.dense()))
    return results


def too_many():
    """Return the message for a batch that is larger than announced."""
    estimator = make({"kind": "full"}, max_batch_size=2)
    try:
        estimator.update(torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64))
    except ValueError as error:
        return str(error)


def run_rank(rank, world_size, folder):
    """Do everything with this rank's share, and save what it has in the end."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store{world_size}", rank=rank, world_size=world_size
    )
    torch.set_num_threads(1)
    flat = [step[rank] for step in batches(world_size)]
    dense = [step[rank] for step in batches(world_size, dense=True)]
    results = {"too many": too_many()}
    for static in (False, True):
        semaug.covariance.rows.ALWAYS_STATIC = static
        for name, options in RUNS[world_size].items():
            estimator = make(options, max_batch_size=CAPACITY if static else None)
            results[name, "flat", static] = follow(estimator, flat).state_dict()
            results[name, "dense", static] = follow(make(options), dense).state_dict()
    semaug.covariance.rows.ALWAYS_STATIC = False
    if world_size == 2:
        for name, options in RUNS[4].items():
            resumed = make(options)
            resumed.load_state_dict(torch.load(f"{folder}/4-0.pt")[name, "flat", False])
            more = [step[rank] for step in batches(2, start=1)]
            results[name, "resumed"] = follow(resumed, more).state_dict()
        results["trained"] = trained(rank, world_size)
        results["compiled"] = compiled_and_not(rank)
    labels = torch.arange(8) % 3
    results["learned"] = learned_gradient(labels[rank::world_size])
    results["learned by one"] = learned_gradient(labels if rank == 0 else labels[:0])
    torch.save(results, f"{folder}/{world_size}-{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
