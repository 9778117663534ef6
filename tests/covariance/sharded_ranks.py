"""Sharded covariances on several ranks; run by test_sharded in fresh processes."""

import torch
import torch.distributed as dist

import semaug.covariance.rows
from semaug import (
    ClassCovariance,
    ISDALoss,
    isda_loss,
    multi_label_isda_loss,
    semantic_consistency_loss,
)
from semaug.losses import consistency

NUM_FEATURES, NUM_SAMPLES, NUM_STEPS = 4, 24, 3
OPTIONS = {"shrinkage": 3.0}
SUM = {"strength": 0.7, "reduction": "sum"}
CLASSES = (2, 5, 40)  # fewer than ranks, fewer than samples, more than samples


def estimator(num_classes, sharded=False):
    return ClassCovariance(num_classes, NUM_FEATURES, sharded=sharded, **OPTIONS).double()


def problem(num_classes):
    """Return weight, features of each step, and labels of each step; some are ignored."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(num_classes, NUM_FEATURES, generator=generator, dtype=torch.float64)
    shape = (NUM_STEPS, NUM_SAMPLES, NUM_FEATURES)
    features = torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(num_classes, (NUM_STEPS, NUM_SAMPLES), generator=generator)
    labels[1, ::5] = -100
    return weight, features, labels


def steps(isda, weight, features, labels, share):
    """Return loss and gradient of the weight of each step on a share of its samples."""
    results = []
    for x, y in zip(features, labels, strict=True):
        own = weight.clone().requires_grad_()
        loss = isda(x[share] @ own.T, y[share], x[share], own)
        loss.backward()
        results.append((loss.detach(), own.grad))
    return results


def other_losses(covariance, weight, features, labels, share):
    """Return losses and gradients of other targets; the first rank has no positive label."""
    targets = torch.zeros(len(labels), len(weight), dtype=torch.float64)
    targets[12:, 1] = targets[15:, 0] = 1
    soft = (features @ weight.T).softmax(1)
    results = []
    for loss in (
        lambda z, w: multi_label_isda_loss(z, targets[share], w, covariance, **SUM),
        lambda z, w: isda_loss(z, soft[share], w, covariance, **SUM),
        lambda z, w: semantic_consistency_loss(z, w, covariance, **SUM),
    ):
        own = weight.clone().requires_grad_()
        value = loss(features[share] @ own.T, own)
        value.backward()
        results.append((value.detach(), own.grad))
    return results


def run_rank(rank, world_size, static, folder):
    """Train on this rank's share, and save what it has seen and holds."""
    semaug.covariance.rows.ALWAYS_STATIC = static
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size
    )
    consistency.PART_ELEMENTS = 400  # so that reference classes go in parts
    saved = {}
    for num_classes in CLASSES:
        shards = estimator(num_classes, sharded=True)
        isda = ISDALoss(
            num_classes, NUM_FEATURES, strength=0.7, covariance=shards, reduction="sum"
        ).double()
        weight, features, labels = problem(num_classes)
        share = slice(rank * NUM_SAMPLES // world_size, (rank + 1) * NUM_SAMPLES // world_size)
        results = steps(isda, weight, features, labels, share)
        losses = other_losses(shards, weight, features[0], labels[0], share)
        learned = ClassCovariance(num_classes, NUM_FEATURES, "learned").double()
        learned_losses = other_losses(learned, weight, features[0], labels[0], share)
        state = dict(shards.state_dict())
        again = estimator(num_classes, sharded=True)
        again.load_state_dict(state)
        assert torch.equal(again.covariance, shards.covariance)
        saved[num_classes] = {
            "results": results,
            "others": losses,
            "learned": learned_losses,
            "factor": learned.factor.grad,
            "state": state,
            "rows": len(shards.covariance),
            "gram": shards.gram(weight),
            "dense": shards.dense(),
        }
    torch.save(saved, f"{folder}/rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
