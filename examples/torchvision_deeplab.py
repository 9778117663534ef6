"""DeepLab-v3 of torchvision: each head has a criterion, and the network stays as it is."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3
from torchvision.models.segmentation.fcn import FCNHead

import semaug


class Backbone(nn.Module):
    """A small one, for digits; deeplabv3_resnet50(aux_loss=True) has the same heads."""

    def __init__(self) -> None:
        super().__init__()
        self.middle = nn.Sequential(nn.Conv2d(1, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"aux": (middle := self.middle(images)), "out": self.last(middle)}


def main(epochs: int) -> None:
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    images = interpolate(torch.tensor(pixels).float().view(-1, 1, 8, 8) / 16, scale_factor=2)
    masks = torch.where(images[:, 0] > 0.5, torch.tensor(digits).view(-1, 1, 1), 255)  # ink alone
    loader = DataLoader(TensorDataset(images[:1000], masks[:1000]), batch_size=25, shuffle=True)

    model = DeepLabV3(Backbone(), DeepLabHead(64, 10), FCNHead(32, 10))
    options = {"strength": 0.5, "ramp_steps": epochs * len(loader), "ignore_index": 255}
    # semaug: the last layer of each head, and the features that it receives
    criterion = semaug.attach(model, semaug.ISDALoss(10, 256, **options), "classifier.4")
    auxiliary = semaug.attach(model, semaug.ISDALoss(10, 8, **options), "aux_classifier.4")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    for _ in range(epochs):
        for batch_images, batch_masks in loader:
            found = model(batch_images)  # logits as large as images
            loss = criterion(found["out"], batch_masks) + 0.4 * auxiliary(found["aux"], batch_masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    with torch.no_grad():
        model.eval()
        wrong = (model(images[1000:])["out"].argmax(1) != masks[1000:])[masks[1000:] != 255]
    print(f"test error {100 * wrong.float().mean():.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    main(**vars(parser.parse_args()))
