"""What a low rank keeps of the covariances of a trained network's features.

    semaug train cifar100_resnet32_isda network=resnet18 epochs=20 --data-root data
    python benchmarks/study_low_rank.py RUN --data-root data

Streams the features of all training images in batches through exact and low-rank statistics.
Reported, as means over classes: the share of the variance that the kept directions hold,
the largest share that any r directions could hold (eigenvalues of the exact matrices),
and the error of Q with the trained classifier, relative in the Frobenius norm and for
the worst single element, besides that of the diagonal kind.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from measure import parse, record
from semaug import ClassCovariance
from semaug.augmentation import normalize
from semaug.data import DataSet, epoch_order
from semaug.methods import Supervised
from semaug.training.build import build_data, build_method
from semaug.training.checkpoint import load_checkpoint
from semaug.training.device import choose_device
from semaug.training.recipe import Loss, Recipe
from semaug.training.seeding import make_generator

RANKS = (8, 16, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of one seed, with checkpoint.pt")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parse(parser, seconds=0.0)
    device = choose_device(arguments.device)
    data, method = trained(arguments.run, arguments.data_root, device)
    features = all_features(data, method)
    rows = study(features, data.train.labels, method.network.weight.float(), arguments.batch_size)
    show(rows, tuple(features.shape))
    about = {"run": arguments.run.parent.name, "features": list(features.shape), "runs": 1}
    print(f"added to {record('study_low_rank', arguments.device, [{**about, 'rows': rows}])}")


def trained(folder: Path, root: Path | None, device: torch.device) -> tuple[DataSet, Supervised]:
    """Return the data of a run and its network as the run left it."""
    written = json.loads((folder / "recipe.json").read_text())["recipe"]
    plain = {**written, "milestones_percent": tuple(written["milestones_percent"])}
    recipe = Recipe(**{**plain, "loss": Loss(**written["loss"])})
    data = build_data(recipe, root, device)
    method = build_method(recipe, data, seed=0, num_steps=1).to(device)
    state = load_checkpoint(folder / "checkpoint.pt")["method"]
    network = {k.removeprefix("network."): v for k, v in state.items() if "network." in k}
    method.network.load_state_dict(network)
    return data, method.eval()


@torch.no_grad()
def all_features(data: DataSet, method: Supervised) -> Tensor:
    """``(N, A)`` of the training images without augmentation."""
    pixels = track(data.train.images.split(500), "features")
    return torch.cat([method.network(normalize(p, data.mean, data.std))[1] for p in pixels])


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
