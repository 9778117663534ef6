"""Mean teacher with ISDA in a plain loop, on a loader of labeled images and one of all images."""

import argparse
import copy
from itertools import chain, repeat

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import semaug
from semaug.augmentation import Translate


def main(epochs: int) -> None:
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels).float().view(-1, 1, 8, 8) / 16, torch.tensor(digits)
    labeled = DataLoader(TensorDataset(images[:100], labels[:100]), batch_size=25, shuffle=True)
    unlabeled = DataLoader(TensorDataset(images[:1000]), batch_size=25, shuffle=True)
    shift, generator = Translate(pixels=1), torch.Generator().manual_seed(0)
    steps = epochs * len(unlabeled)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(288, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    teacher = copy.deepcopy(model).requires_grad_(False)
    net = semaug.with_features(model)  # semaug: returns the 64 features of the last layer too
    isda = semaug.ISDALoss(10, 64, strength=0.5, ramp_steps=steps)
    unlabeled_isda = semaug.SemanticConsistencyLoss(isda.estimator, strength=0.5, ramp_steps=steps)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    known_images, all_images = (chain.from_iterable(repeat(x)) for x in (labeled, unlabeled))
    for step in range(steps):
        (known, wanted), (others,) = next(known_images), next(all_images)
        views = torch.cat([known, others, others])
        known, student, other = shift(views, shift.draw(len(views), generator)).split(25)
        logits, features = net(torch.cat([known, student]))  # one pass for both
        value = isda(logits[:25], wanted, features[:25], net.weight)  # semaug: Eq. (7)
        value = value + unlabeled_isda(logits[25:], net.weight)  # semaug: Proposition 2, Eq. (15)
        agreement = F.mse_loss(logits[25:].softmax(1), teacher(other).softmax(1))
        value = value + 10 * min(1.0, 4 * step / steps) * agreement
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        kept = min(0.99, 1 - 1 / (step + 2))
        torch._foreach_lerp_([*teacher.parameters()], [*model.parameters()], 1 - kept)

    wrong = teacher.eval()(images[1000:]).argmax(1) != labels[1000:]
    print(f"test error {100 * wrong.float().mean():.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    main(**vars(parser.parse_args()))
