"""A Lightning module: the loss is a submodule, so that checkpoints hold its state too."""

import argparse

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import semaug


class Digits(pl.LightningModule):
    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.model = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip
        isda = semaug.ISDALoss(10, 64, strength=0.5, ramp_steps=steps)
        self.criterion = semaug.attach(self.model, isda)  # semaug: was nn.CrossEntropyLoss()

    def training_step(self, batch, index):
        images, labels = batch
        return self.criterion(self.model(images), labels)

    def test_step(self, batch, index):
        logits, labels = self.model(batch[0]), batch[1]
        self.log("test_error", 100 * (logits.argmax(1) != labels).float().mean())
        self.log("test_loss", nn.functional.cross_entropy(logits, labels))  # semaug: plain

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=self.steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def main(epochs: int, resume: str | None) -> None:
    pl.seed_everything(0)
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels).float().view(-1, 1, 8, 8) / 16, torch.tensor(digits)
    loader = DataLoader(TensorDataset(images[:1000], labels[:1000]), batch_size=50, shuffle=True)
    test_loader = DataLoader(TensorDataset(images[1000:], labels[1000:]), batch_size=100)

    module = Digits(steps=epochs * len(loader))
    trainer = pl.Trainer(max_epochs=epochs, default_root_dir="runs/lightning", logger=False)
    trainer.fit(module, loader, ckpt_path=resume)  # semaug: restores covariances and ramp
    trainer.test(module, test_loader, verbose=False)
    print(f"test error {trainer.callback_metrics['test_error']:.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--resume", metavar="CHECKPOINT")
    main(**vars(parser.parse_args()))
