"""AIT in a plain loop: two views of each image, alone or with ISDA."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import semaug
from semaug.augmentation import Translate


def main(epochs: int, loss: str) -> None:
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels).float().view(-1, 1, 8, 8) / 16, torch.tensor(digits)
    loader = DataLoader(TensorDataset(images[:1000], labels[:1000]), batch_size=50, shuffle=True)
    steps = epochs * len(loader)

    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    shift, generator = Translate(pixels=1), torch.Generator().manual_seed(0)
    classification = nn.CrossEntropyLoss()
    if loss == "ait_isda":  # semaug: 10 classes, and the 64 features that the last layer receives
        classification = semaug.ISDALoss(10, 64, strength=0.5, ramp_steps=steps)
    criterion = semaug.AugmentationInvariantLoss(weight=1.0, classification=classification)
    net = semaug.with_features(model) if criterion.needs_features else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=steps)

    for _ in range(epochs):
        for batch_images, batch_labels in loader:
            twice = batch_images.repeat(2, 1, 1, 1)  # semaug: both views in one forward
            views = shift(twice, shift.draw(len(twice), generator))
            if criterion.needs_features:
                logits, features = (output.unflatten(0, (2, -1)) for output in net(views))
                value = criterion(logits, batch_labels, features, net.weight)
            else:
                value = criterion(net(views).unflatten(0, (2, -1)), batch_labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()

    model.eval()
    with torch.no_grad():
        wrong = model(images[1000:]).argmax(1) != labels[1000:]
    print(f"test error {100 * wrong.float().mean():.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--loss", choices=["ait", "ait_isda"], default="ait")
    main(**vars(parser.parse_args()))
