"""A loop with Accelerate: the criterion is not prepared but registered for checkpoints."""

import argparse

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import semaug


def main(epochs: int) -> None:
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
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=steps)

    accelerator = Accelerator()
    model, optimizer, loader, schedule = accelerator.prepare(model, optimizer, loader, schedule)
    isda = semaug.ISDALoss(10, 64, strength=0.5, ramp_steps=epochs * len(loader))
    criterion = semaug.attach(model, isda)  # semaug: not prepared; follows the model to its device
    accelerator.register_for_checkpointing(criterion)  # semaug

    for _ in range(epochs):
        for batch_images, batch_labels in loader:
            loss = criterion(model(batch_images), batch_labels)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            schedule.step()
        accelerator.save_state("runs/accelerate")  # semaug: load_state restores the criterion too

    model.eval()
    with torch.no_grad():
        wrong = model(images[1000:].to(accelerator.device)).argmax(1).cpu() != labels[1000:]
    accelerator.print(f"test error {100 * wrong.float().mean():.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    main(**vars(parser.parse_args()))
