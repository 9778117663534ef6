"""Statistics on several ranks; run by test_covariance_on_ranks in fresh processes."""

import torch
import torch.distributed as dist

from semaug import ClassCovariance

KINDS = ("full", "diagonal")

# How many samples each of two ranks has in each step.
SHARES = ((6, 6), (7, 2), (0, 5), (4, 0), (0, 0), (1, 3))


def samples():
    """Return float64 features and labels of all steps and ranks, in rank order."""
    generator = torch.Generator().manual_seed(0)
    num_samples = sum(map(sum, SHARES))
    features = torch.randn(num_samples, 4, generator=generator, dtype=torch.float64)
    return features, torch.randint(3, (num_samples,), generator=generator)


def run_rank(rank, world_size, folder):
    """Update with this rank's share at every step, and save what it has in the end."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size
    )
    features, labels = samples()
    estimators = {kind: ClassCovariance(5, 4, kind).double() for kind in KINDS}
    parts = [n for share in SHARES for n in share]
    steps = list(zip(features.split(parts), labels.split(parts), strict=True))
    for own_features, own_labels in steps[rank::world_size]:
        for estimator in estimators.values():
            estimator.update(own_features, own_labels)
    states = {kind: dict(estimator.state_dict()) for kind, estimator in estimators.items()}
    torch.save(states, f"{folder}/rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
