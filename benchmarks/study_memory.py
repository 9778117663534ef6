"""Inflation of the covariances by old features of a changing network.

    python benchmarks/study_memory.py --data-root data
    python benchmarks/study_memory.py cifar10_5k_resnet20_isda precision=bf16 --data-root data

The second command takes half an hour on one core of a busy AMD EPYC.

Trains a recipe with ISDA as the papers do. Statistics with other memories get the same features
without changing the training. After an epoch, each is compared with the covariances of one
augmented pass of the current network, in training mode. The trace is the total variance of a
class; Q is the quadratic form that the loss uses.
"""

import argparse
import copy
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from measure import parse, record
from semaug import ClassCovariance
from semaug.data.registry import data_root as find_root
from semaug.engine.build import Builder
from semaug.engine.device import choose_device, settle
from semaug.engine.optimizers import parameter_groups
from semaug.engine.seeding import derive_seed
from semaug.engine.streams import Streams
from semaug.methods import Supervised
from semaug.recipe.overrides import override, split_overrides
from semaug.recipe.plain import recipe_to_plain_data
from semaug.recipes import find_recipe

MEMORIES: dict[str, Any] = {"all": None, "0.999": 0.999, "0.99": 0.99, "epoch": "epoch"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", nargs="?", default="cifar10_5k_resnet20_isda")
    parser.add_argument("changes", nargs="*", metavar="FIELD=VALUE")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--every", type=int, default=10, help="epochs between two looks")
    arguments = parse(parser, seconds=0.0)
    device = choose_device(arguments.device)
    recipe = override(find_recipe(arguments.recipe), split_overrides(arguments.changes))
    recipe = settle(recipe, device)
    rows = study(recipe, arguments.data_root, device, arguments.every)
    show(rows)
    about = {"recipe": recipe_to_plain_data(recipe), "runs": 1}
    print(f"added to {record('study_memory', arguments.device, [{**about, 'rows': rows}])}")


def study(recipe: Any, data_root: Path | None, device: torch.device, every: int) -> list[dict]:
    """Train, and return one row for each look and memory."""
    data, _ = recipe.subset.select(recipe.data.load(find_root(data_root), None))
    streams = Streams(recipe, data.to(device))
    steps = streams.plan.steps_per_epoch
    method: Any = Builder(recipe, data, streams.plan, streams.example_images(), 0).method()
    method.to(device).to(memory_format=streams.layout)
    estimator = method.criterion.estimator
    sizes = (estimator.num_classes, estimator.num_features, estimator.kind)
    watchers = {
        name: ClassCovariance(*sizes, memory=memory).to(device) for name, memory in MEMORIES.items()
    }
    optimizer = recipe.optimizer.build(parameter_groups(recipe.optimizer, method))
    rate_at = recipe.schedule.build(streams.plan)
    learning_rate = partial(rate_at, recipe.optimizer.lr)
    torch.manual_seed(derive_seed(0, "training"))
    bf16 = torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16")

    rows, start = [], time.monotonic()
    for epoch in track(range(recipe.epochs), "epochs"):
        method.train()
        for watcher in watchers.values():
            watcher.start_epoch()
        for step, (batch, _) in enumerate(streams.train_batches(0, epoch)):
            samples = batch.labeled
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(epoch * steps + step)
            optimizer.zero_grad()
            with bf16:
                logits, features = method.network(samples.images)
                loss = method.criterion(logits, samples.labels, features, method.network.weight)
            loss.backward()
            optimizer.step()
            for watcher in watchers.values():
                watcher.update(features, samples.labels)
        if (epoch + 1) % every == 0 or epoch + 1 in (1, recipe.epochs):
            truth = ClassCovariance(*sizes).to(device)
            present = copy.deepcopy(method).train()  # its running statistics are thrown away
            with torch.no_grad(), bf16:
                for batch, _ in streams.train_batches(0, recipe.epochs + epoch):
                    samples = batch.labeled
                    truth.update(present.network(samples.images)[1], samples.labels)
            for name, watcher in watchers.items():
                rows.append(
                    {
                        "epoch": epoch + 1,
                        "lr": learning_rate((epoch + 1) * steps - 1),
                        "memory": name,
                        **compare(watcher, truth, method),
                        "seconds": round(time.monotonic() - start, 1),
                    }
                )
    return rows


@torch.no_grad()
def compare(watcher: ClassCovariance, truth: ClassCovariance, method: Supervised) -> dict:
    """Ratios to the truth: of traces, mean over classes; of elements of Q, and their error."""
    weight = method.network.weight.float()
    seen, true = watcher.quadratic_form(weight), truth.quadratic_form(weight)
    others = ~torch.eye(len(weight), dtype=torch.bool, device=weight.device)
    ratios = (seen[others] / true[others]).double()
    return {
        "trace": (trace(watcher) / trace(truth)).mean().item(),
        "q": ratios.median().item(),
        "q_error": ((seen - true).norm() / true.norm()).item(),
    }


def trace(estimator: ClassCovariance) -> Tensor:
    covariance = estimator.covariance
    return (
        covariance.diagonal(dim1=-2, dim2=-1).sum(-1) if covariance.ndim == 3 else covariance.sum(1)
    )


def show(rows: list[dict]) -> None:
    table = Table(title="statistics over the truth of the moment: trace, Q (median); error of Q")
    for column in ("epoch", "lr", *MEMORIES):
        table.add_column(column, justify="right", no_wrap=True)
    for epoch in sorted({row["epoch"] for row in rows}):
        own = {row["memory"]: row for row in rows if row["epoch"] == epoch}
        cells = [
            f"{own[name]['trace']:.2f}x {own[name]['q']:.2f}x {100 * own[name]['q_error']:.0f} %"
            for name in MEMORIES
        ]
        table.add_row(str(epoch), f"{own['all']['lr']:.3g}", *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
