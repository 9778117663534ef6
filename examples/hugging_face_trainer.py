"""Hugging Face Trainer: the loss goes in as ``compute_loss_func``, its state into the model."""

import argparse

import torch
from sklearn.datasets import load_digits
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

import semaug


def main(epochs: int, resume: bool) -> None:
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels).float().view(-1, 1, 8, 8) / 16, torch.tensor(digits)
    images = torch.nn.functional.interpolate(images, scale_factor=4)
    samples = [{"pixel_values": images[n], "labels": labels[n]} for n in range(len(labels))]

    shape = {"num_channels": 1, "embedding_size": 32, "hidden_sizes": [32, 64], "depths": [1, 1]}
    model = ResNetForImageClassification(ResNetConfig(**shape, layer_type="basic", num_labels=10))
    arguments = TrainingArguments(
        "runs/hugging_face",
        num_train_epochs=epochs,
        per_device_train_batch_size=25,
        gradient_accumulation_steps=2,
        learning_rate=5e-3,
        save_strategy="epoch",
        report_to="none",
    )

    # semaug: "sum", because the Trainer asks for a mean over all images of an optimizer step
    calls = epochs * 1000 // 25
    isda = semaug.ISDALoss(10, 64, strength=0.5, ramp_steps=calls, reduction="sum")
    criterion = semaug.attach(model, isda, example_images=images[:2])
    model.isda = isda  # semaug: saved, resumed and moved with the model; delete it to publish

    def compute_loss(outputs, labels, num_items_in_batch):
        return criterion(outputs.logits, labels) / num_items_in_batch

    def compute_metrics(made):
        return {"error": 100 * (made.predictions.argmax(1) != made.label_ids).mean()}

    data = {"train_dataset": samples[:1000], "eval_dataset": samples[1000:]}
    trainer = Trainer(
        model, arguments, **data, compute_loss_func=compute_loss, compute_metrics=compute_metrics
    )
    trainer.train(resume_from_checkpoint=resume)
    print(f"test error {trainer.evaluate()['eval_error']:.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--resume", action="store_true", help="from the latest checkpoint")
    main(**vars(parser.parse_args()))
