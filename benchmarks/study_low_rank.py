"""Accuracy of low-rank covariances on the features of a trained network.

    semaug train cifar100_resnet32_isda network=resnet18 epochs=20 --data-root data
    python benchmarks/study_low_rank.py RUN --data-root data

Streams the features of all training images in batches through exact and low-rank statistics.
Reported, as means over classes: the share of the variance that the kept directions hold,
the largest share that any r directions could hold (eigenvalues of the exact matrices),
and the error of Q with the trained classifier, relative in the Frobenius norm and for
the worst single element; the diagonal kind stands beside them.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from measure import parse, record
from semaug import ClassCovariance, with_features
from semaug.data import epoch_order
from semaug.engine.options import TrainOptions
from semaug.engine.seeding import make_generator
from semaug.engine.trained import Trained, load_trained
from semaug.features import WithFeatures

RANKS = (8, 16, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of one seed, with checkpoint.pt")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parse(parser, seconds=0.0)
    trained = load_trained(
        arguments.run, TrainOptions(data_root=arguments.data_root, device=arguments.device)
    )
    features, labels = all_features(trained), trained.data.train.labels
    rows = study(features, labels, classifier_weight(trained), arguments.batch_size)
    show(rows, tuple(features.shape))
    about = {"run": trained.label, "features": list(features.shape), "runs": 1}
    print(f"added to {record('study_low_rank', arguments.device, [{**about, 'rows': rows}])}")


def all_features(trained: Trained) -> Tensor:
    """``(N, A)`` of the training images without augmentation; they lie in memory."""
    pixels = track(trained.data.train.images.split(500), "features")
    features = [trained.predict_with_features(trained.prepare(piece))[1] for piece in pixels]
    return torch.cat(features).float()


def classifier_weight(trained: Trained) -> Tensor:
    """``(C, A)``."""
    network = trained.method.network
    if not isinstance(network, WithFeatures):
        network = with_features(network, example_images=trained.streams.example_images())
    return network.weight.float()


@torch.no_grad()
def study(
    features: Tensor, labels: Tensor, weight: Tensor, batch_size: int
) -> list[dict[str, Any]]:
    """One row for each rank, and one for the diagonal kind."""
    num_classes, num_features = weight.shape
    exact = ClassCovariance(num_classes, num_features).to(features.device)
    exact.update(features, labels)
    eigenvalues = torch.linalg.eigvalsh(exact.covariance.double()).flip(1)
    true = exact.quadratic_form(weight)
    estimators: dict[int | None, ClassCovariance] = {
        rank: ClassCovariance(num_classes, num_features, "low_rank", rank=rank)
        for rank in RANKS
        if rank <= num_features
    }
    estimators[None] = ClassCovariance(num_classes, num_features, "diagonal")
    order = epoch_order(len(labels), make_generator(0, "order", 0)).to(features.device)
    for chosen in track(order.split(batch_size), "batches"):
        for estimator in estimators.values():
            estimator.to(features.device).update(features[chosen], labels[chosen])
    rows = []
    others = ~torch.eye(num_classes, dtype=torch.bool, device=weight.device)
    for rank, estimator in estimators.items():
        q = estimator.quadratic_form(weight)
        best = 0.0 if rank is None else eigenvalues[:, :rank].sum(1) / eigenvalues.sum(1)
        rows.append(
            {
                "kind": estimator.kind,
                "rank": rank,
                "captured": 0.0 if rank is None else estimator.captured().mean().item(),
                "best": 0.0 if rank is None else best.mean().item(),
                "q_error": ((q - true).norm() / true.norm()).item(),
                "worst_element": ((q - true)[others] / true[others]).abs().max().item(),
                "mean_element": ((q - true)[others] / true[others]).abs().mean().item(),
            }
        )
    return rows


def show(rows: list[dict[str, Any]], shape: tuple[int, ...]) -> None:
    table = Table(title=f"low rank against exact covariances, {shape[0]} x {shape[1]} features")
    for column in (
        "rank", "variance kept", "at best", "error of Q", "mean element", "worst element",
    ):  # fmt: skip
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        shares = ("captured", "best", "q_error", "mean_element", "worst_element")
        cells = [f"{100 * row[name]:.1f} %" for name in shares]
        table.add_row("diagonal" if row["rank"] is None else str(row["rank"]), *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
