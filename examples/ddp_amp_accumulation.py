"""DistributedDataParallel, bf16 autocast and gradient accumulation, in one process or many."""

import argparse
from contextlib import nullcontext

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import semaug


def main(epochs: int, accumulate: int = 2) -> None:
    alone = {"store": dist.HashStore(), "rank": 0, "world_size": 1}  # without torchrun
    dist.init_process_group("gloo", **{} if dist.is_torchelastic_launched() else alone)
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels).float().view(-1, 1, 8, 8) / 16, torch.tensor(digits)
    train = TensorDataset(images[:1000], labels[:1000])
    loader = DataLoader(train, batch_size=25, sampler=DistributedSampler(train))

    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    model = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    # semaug: stays outside of DDP and synchronizes itself; the ramp counts calls of the loss
    isda = semaug.ISDALoss(10, 64, strength=0.5, ramp_steps=epochs * len(loader))
    criterion = semaug.attach(model, isda)

    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        for call, (batch_images, batch_labels) in enumerate(loader, start=1):
            last = call % accumulate == 0 or call == len(loader)
            with nullcontext() if last else model.no_sync():
                with torch.autocast("cpu", torch.bfloat16):
                    loss = criterion(model(batch_images), batch_labels)
                (loss / accumulate).backward()
            if last:
                optimizer.step()
                optimizer.zero_grad()

    model.eval()
    with torch.no_grad():
        wrong = model(images[1000:]).argmax(1) != labels[1000:]
    if dist.get_rank() == 0:
        print(f"test error {100 * wrong.float().mean():.2f} %")
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    main(**vars(parser.parse_args()))
