"""Hugging Face Trainer: the loss goes in as ``compute_loss_func``, its state by a callback."""

import argparse

import torch
from sklearn.datasets import load_digits
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments
from transformers.trainer_callback import TrainerCallback

import semaug


class KeepLoss(TrainerCallback):  # semaug: the Trainer's checkpoints hold the state of the loss
    file = "{0.output_dir}/checkpoint-{1.global_step}/criterion.pt"

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            torch.save(self.criterion.state_dict(), self.file.format(args, state))

    def on_train_begin(self, args, state, control, **kwargs):
        if state.global_step > 0:  # resumed
            self.criterion.load_state_dict(torch.load(self.file.format(args, state), "cpu"))


def main(epochs: int, resume: bool) -> None:
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels).float().view(-1, 1, 8, 8) / 16, torch.tensor(digits)
    images = torch.nn.functional.interpolate(images, scale_factor=4)
    samples = [{"pixel_values": images[n], "labels": labels[n]} for n in range(len(labels))]
    shape = {"num_channels": 1, "embedding_size": 32, "hidden_sizes": [32, 64], "depths": [1, 1]}
    model = ResNetForImageClassification(ResNetConfig(**shape, layer_type="basic", num_labels=10))
    # semaug: "sum", because the Trainer asks for a mean over all images of an optimizer step
    isda = semaug.ISDALoss(10, 64, strength=0.5, ramp_steps=epochs * 1000 // 25, reduction="sum")
    keep = KeepLoss()
    keep.criterion = semaug.attach(model, isda, example_images=images[:2])

    def compute_loss(outputs, labels, num_items_in_batch):
        if not model.training:  # semaug: plain, because the loss of training grows with the ramp
            return torch.nn.functional.cross_entropy(outputs.logits, labels)
        return keep.criterion(outputs.logits, labels) / num_items_in_batch

    a_step = {"per_device_train_batch_size": 25, "gradient_accumulation_steps": 2}
    often = {"num_train_epochs": epochs, "save_strategy": "epoch", "eval_strategy": "epoch"}
    others = {"learning_rate": 5e-3, "report_to": "none"}
    arguments = TrainingArguments("runs/hugging_face", **a_step, **often, **others)
    data = {"train_dataset": samples[:1000], "eval_dataset": samples[1000:]}
    trainer = Trainer(model, arguments, **data, compute_loss_func=compute_loss, callbacks=[keep])
    trainer.train(resume_from_checkpoint=resume)
    made = trainer.predict(samples[1000:])
    print(f"test error {100 * (made.predictions.argmax(1) != made.label_ids).mean():.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--resume", action="store_true", help="from the latest checkpoint")
    main(**vars(parser.parse_args()))
