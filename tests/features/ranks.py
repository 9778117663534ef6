"""One training step on each of several ranks; run by test_distributed in fresh processes."""

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from semaug.features import attach, with_features
from semaug.losses import ISDALoss
from tests.features.networks import NUM_CLASSES, NUM_FEATURES, small_batch, small_network

NUM_IMAGES = 12


def attach_plain(model, isda):
    criterion = attach(model, isda)
    return lambda images, labels: criterion(model(images), labels)


def attach_before_ddp(model, isda):
    criterion = attach(model, isda)
    wrapped = DistributedDataParallel(model)
    return lambda images, labels: criterion(wrapped(images), labels)


def attach_after_ddp(model, isda):
    wrapped = DistributedDataParallel(model)
    criterion = attach(wrapped, isda, example_images=small_batch()[0])
    return lambda images, labels: criterion(wrapped(images), labels)


def features_before_ddp(model, isda):
    net = with_features(model)
    wrapped = DistributedDataParallel(net)
    return lambda images, labels: use_features(wrapped(images), labels, net, isda)


def features_after_ddp(model, isda):
    net = with_features(DistributedDataParallel(model))
    return lambda images, labels: use_features(net(images), labels, net, isda)


def features_compiled_in_ddp(model, isda):
    net = with_features(model)
    compiled = torch.compile(DistributedDataParallel(net), backend="eager")
    return lambda images, labels: use_features(compiled(images), labels, net, isda)


def attach_before_fsdp(model, isda):
    criterion = attach(model, isda)
    fully_shard(model)
    return lambda images, labels: criterion(model(images), labels)


def attach_after_fsdp_of_the_head(model, isda):
    fully_shard(model[5])
    fully_shard(model)
    criterion = attach(model, isda, example_images=small_batch()[0])
    return lambda images, labels: criterion(model(images), labels)


def features_before_fsdp_of_the_head(model, isda):
    net = with_features(model)
    fully_shard(net.classifier)
    fully_shard(net)
    return lambda images, labels: use_features(net(images), labels, net, isda)


SETUPS = [
    attach_before_ddp,
    attach_after_ddp,
    features_before_ddp,
    features_after_ddp,
    features_compiled_in_ddp,
    attach_before_fsdp,
    attach_after_fsdp_of_the_head,
    features_before_fsdp_of_the_head,
]


def use_features(outputs, labels, net, isda):
    logits, features = outputs
    return isda(logits, labels, features, net.weight)


def two_steps(setup, images, labels):
    """Gradients and statistics after two steps, the second with moved weights."""
    model, isda = small_network(), ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=5.0)
    loss_of = setup(model, isda)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(images, labels).backward()
        optimizer.step()
    grads = [parameter.grad for parameter in model.parameters()]
    grads = [grad.full_tensor() if isinstance(grad, DTensor) else grad for grad in grads]
    return {"grads": grads, "covariance": isda.estimator.covariance, "count": isda.estimator.count}


def run_rank(rank, world_size, folder):
    """Run every setup on this rank's share of the batch and save what rank 0 got."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size
    )
    images, labels = small_batch(NUM_IMAGES)
    share = slice(rank, None, world_size)
    results = {s.__name__: two_steps(s, images[share], labels[share]) for s in SETUPS}
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.barrier()
    dist.destroy_process_group()
