"""Ranks with unequal numbers of batches under torch's Join; run in fresh processes."""

import warnings

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.join import Join
from torch.nn.parallel import DistributedDataParallel

from semaug import ClassCovariance, ISDALoss, with_features


def train(net, isda, num_batches):
    """Return how often each class was seen."""
    for _ in range(num_batches):
        logits, features = net(torch.randn(4, 3, 2, 2))
        isda(logits, torch.tensor([0, 1, 2, 0]), features, net.module.weight).backward()
    return isda.estimator.count.tolist()


def run_rank(rank, world_size, folder):
    """Train with Join in each of its forms, and without, where every warning is an error."""
    warnings.simplefilter("error")
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size
    )
    torch.manual_seed(0)
    net = with_features(nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Linear(8, 3)))
    net = DistributedDataParallel(net)
    results = {"even": train(net, ISDALoss(3, 8, strength=0.5), 2)}
    for early in (False, True):
        try:
            with Join([net], throw_on_early_termination=early):
                train(net, ISDALoss(3, 8, strength=0.5), 3 + 2 * rank)
        except RuntimeError as error:
            results[early] = str(error)
    isda = ISDALoss(3, 8, strength=0.5)
    train(net, isda, 1)
    try:
        with Join([net]):
            train(net, isda, 3 + 2 * rank)
    except RuntimeError as error:
        results["later"] = str(error)
    with Join([net], enable=False):
        results["disabled"] = train(net, ISDALoss(3, 8, strength=0.5), 1)
    dense = ClassCovariance(3, 8)
    dense.update(torch.randn(1, 8, 2, 2), torch.ones(1, 2, 2, dtype=torch.int64))
    results["dense"] = dense.count.tolist()
    torch.save(results, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
