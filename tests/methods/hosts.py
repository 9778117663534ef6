"""Hosts of semi-supervised learning on a small network, and steps of their training."""

import torch
from torch import nn

from semaug import ISDALoss
from semaug.features import with_features
from semaug.losses import SemanticConsistency
from semaug.methods import VAT, Batch, FixMatch, MeanTeacher, PiModel, Samples, TemporalEnsembling

# 3 classes, 5 features, images of 3 x 6 x 6 pixels; 6 labeled and 8 of 20 unlabeled ones a step.

NUM_UNLABELED = 20
OWN = {TemporalEnsembling: {"num_images": NUM_UNLABELED, "num_classes": 3}}
VIEWS = {PiModel: 2, MeanTeacher: 2, FixMatch: 2, TemporalEnsembling: 1, VAT: 1}
HOSTS = tuple(VIEWS)


def make_network(*, drop_rate=0.0, norm=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4) if norm else nn.Identity(),
        nn.Tanh(),
        nn.Dropout(drop_rate),
        nn.Flatten(),
        nn.Linear(64, 5),
        nn.Tanh(),
        nn.Linear(5, 3),
    )


def make_host(kind, *, isda=False, eta1=None, strength=0.5, drop_rate=0.0, norm=True, **options):
    """Return a host; ``eta1`` is the weight of semantic consistency, None is none."""
    network, loss = make_network(drop_rate=drop_rate, norm=norm), nn.CrossEntropyLoss()
    if isda:
        network = with_features(network, example_images=torch.zeros(2, 3, 6, 6))
        loss = ISDALoss(3, 5, strength=strength, ramp_steps=10)
    if eta1 is not None:
        options["unlabeled_loss"] = SemanticConsistency(eta1=eta1).build(loss)
    return kind(network, loss, **{**OWN.get(kind, {}), **options})


def make_batch(kind, step=0, dtype=torch.float32):
    """Return the batch of a step: views that are near each other, of images at random places."""
    generator = torch.Generator().manual_seed(step)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    labels = torch.randint(3, (6,), generator=generator)
    images = normal(6, 3, 6, 6) + labels.view(-1, 1, 1, 1)
    positions = torch.randperm(NUM_UNLABELED, generator=generator)[:8]
    views = normal(8, 3, 6, 6) + 0.1 * normal(VIEWS[kind], 8, 3, 6, 6)
    unlabeled = views if VIEWS[kind] > 1 else views[0]
    labeled = Samples(images, labels, positions=torch.arange(6))
    streams = {"labeled": labeled, "unlabeled": Samples(unlabeled, positions=positions)}
    return Batch(streams, step)


def train(host, steps, *, first=0, lr=0.1, dtype=torch.float32):
    """Train so many steps, and return the states of the host after each."""
    optimizer = torch.optim.SGD(host.parameters(), lr=lr)
    host.train()
    states = []
    for step in range(first, first + steps):
        batch = make_batch(type(host), step, dtype)
        output = host.loss(batch)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        host.after_step(batch, output)
        states.append(
            {
                name: value.clone()
                for name, value in host.state_dict().items()
                if isinstance(value, torch.Tensor)
            }
        )
    return states
