"""A timm model with timm's Mixup: the criterion takes the mixed targets as they are."""

import argparse

import timm
import torch
from sklearn.datasets import load_digits
from timm.data import Mixup
from timm.utils import random_seed
from torch.utils.data import DataLoader, TensorDataset

import semaug


def main(epochs: int) -> None:
    random_seed(0)  # numpy as well, for Mixup
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels).float().view(-1, 1, 8, 8) / 16, torch.tensor(digits)
    images = torch.nn.functional.interpolate(images, scale_factor=2)
    loader = DataLoader(TensorDataset(images[:1000], labels[:1000]), batch_size=50, shuffle=True)
    steps = epochs * len(loader)

    model = timm.create_model("test_resnet", in_chans=1, num_classes=10)
    mixup = Mixup(mixup_alpha=0.2, label_smoothing=0.0, num_classes=10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)

    # semaug: in the statistics, a mixed image counts for its most probable class; the loss smooths
    # labels, or Mixup does, which is the same
    isda = semaug.ISDALoss(
        10, model.num_features, strength=0.5, ramp_steps=steps, label_smoothing=0.1
    )
    criterion = semaug.attach(model, isda)  # was timm.loss.SoftTargetCrossEntropy()

    model.train()
    for _ in range(epochs):
        for batch_images, batch_labels in loader:
            mixed_images, targets = mixup(batch_images, batch_labels)
            loss = criterion(model(mixed_images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    model.eval()
    with torch.no_grad():
        wrong = model(images[1000:]).argmax(1) != labels[1000:]
    print(f"test error {100 * wrong.float().mean():.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    main(**vars(parser.parse_args()))
