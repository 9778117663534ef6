"""timm's training task: its state holds the criterion, so that timm's checkpoints resume it."""

import argparse
from pathlib import Path

import timm
import torch
from sklearn.datasets import load_digits
from timm.task import ClassificationTask, resume_task_checkpoint
from timm.utils import CheckpointSaver
from torch.utils.data import DataLoader, TensorDataset

import semaug


class Task(ClassificationTask):  # semaug: the same class serves timm's train.py
    def get_task_state(self, module=None, ema=False):
        return {} if ema else {"criterion": self.criterion.state_dict()}

    def load_task_state(self, state, strict=True, module=None, ema=False):
        if not ema:
            self.criterion.load_state_dict(state["criterion"], strict=strict)


def main(epochs: int, resume: str | None) -> None:
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels).float().view(-1, 1, 8, 8) / 16, torch.tensor(digits)
    images = torch.nn.functional.interpolate(images, scale_factor=2)
    loader = DataLoader(TensorDataset(images[:1000], labels[:1000]), batch_size=50, shuffle=True)

    model = timm.create_model("test_resnet", in_chans=1, num_classes=10)
    isda = semaug.ISDALoss(10, model.num_features, strength=0.5, ramp_steps=epochs * len(loader))
    task = Task(model, semaug.attach(model, isda))  # semaug: was timm's own cross-entropy
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    Path("runs/timm").mkdir(parents=True, exist_ok=True)
    saver = CheckpointSaver(model, optimizer, task=task, checkpoint_dir="runs/timm")

    first = resume_task_checkpoint(task, resume, optimizer) if resume else 0
    for epoch in range(first, epochs):
        torch.manual_seed(epoch)  # the order of images depends on the epoch alone
        model.train()
        for batch_images, batch_labels in loader:
            optimizer.zero_grad()
            task(batch_images, batch_labels)["loss"].backward()
            optimizer.step()
        saver.save_checkpoint(epoch)

    evaluator = task.create_evaluator()  # its loss is plain cross-entropy
    with torch.no_grad():
        evaluator.update(task.get_eval_model().eval()(images[1000:]), labels[1000:])
    print(f"test error {100 - evaluator.summary()['top1']:.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--resume", metavar="CHECKPOINT")
    main(**vars(parser.parse_args()))
