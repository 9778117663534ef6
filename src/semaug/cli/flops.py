"""``semaug flops``: what a network costs, and what ISDA adds to it."""

from typing import Annotated, Any

import timm
import torch
import typer
from rich.console import Console
from rich.table import Table

from semaug._torch.names import unknown_name
from semaug.analysis import isda_multiply_adds, multiply_adds, paper_flops, paper_isda_cost
from semaug.cli.printing import make_table
from semaug.errors import UserError, as_user_error
from semaug.features.probe import GUESSED_SIZE, PROBE_ERRORS, declared_size
from semaug.networks import NETWORKS

_COVARIANCES = ("full", "diagonal")  # those that the papers count


def flops_command(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="Name of a network of the papers (see: semaug list networks) or of timm",
            show_default=False,
        ),
    ],
    num_classes: Annotated[int, typer.Option(min=2, help="Number of classes")] = 10,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Height and width; default: those of the network", show_default=False
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Number of images in a training step")
    ] = 128,
    covariance: Annotated[
        str,
        typer.Option(help="Covariances of ISDA: full, or diagonal as in the papers for ImageNet"),
    ] = "full",
) -> None:
    """Count what one image costs in a network, and what ISDA adds.

    The command only counts: it trains nothing and draws no weights.

    [bold]Examples[/bold]

    semaug flops wide_resnet28_10_cifar --num-classes 100

    semaug flops resnet50 --num-classes 1000 --batch-size 256 --covariance diagonal
    """
    if covariance not in _COVARIANCES:
        raise UserError(unknown_name("flops", "covariance", covariance, _COVARIANCES))
    model = _create(network, num_classes)
    channels, height, _ = declared_size(model) or GUESSED_SIZE
    size = image_size or height
    shape = f"{channels} x {size} x {size}"
    with as_user_error(f"flops: cannot count {network} for images of {shape}: ", *PROBE_ERRORS):
        ours = multiply_adds(model, size, num_channels=channels)
        papers = paper_flops(model, size, num_channels=channels)
    num_features = model.head_hidden_size

    title = f"{network}, {num_classes} classes, images of {shape}"
    table = make_table(title, [""], "", lines=False)
    table.add_row("parameters", f"{sum(p.numel() for p in model.parameters()):,}")
    table.add_row("features before the classifier", f"{num_features:,}")
    table.add_row("multiply-adds of one image, forward", f"{ours:,}")
    table.add_row("the same with ReLUs and poolings, as the papers count", f"{papers:,}")
    console = Console()
    console.print(table)
    console.print()
    console.print(
        _cost_of_isda(num_classes, num_features, batch_size, covariance, papers=papers, ours=ours)
    )


def _create(name: str, num_classes: int) -> Any:
    """Make a network without weights."""
    if not timm.is_model(name):
        raise UserError(
            unknown_name(
                "flops",
                "network",
                name,
                timm.list_models(),
                NETWORKS,
                "semaug list networks",
            )
        )
    with torch.device("meta"):
        return timm.create_model(name, num_classes=num_classes)


def _cost_of_isda(
    num_classes: int, num_features: int, batch_size: int, covariance: str, *, papers: int, ours: int
) -> Table:
    """Show what ISDA adds to a network of these operations, by the papers' count and ours."""
    sizes = num_classes, num_features, batch_size, covariance
    title = f"ISDA adds to an image ({covariance} covariances, batches of {batch_size})"
    table = make_table(title, [""], "multiply-adds", "of the network,\nforward", lines=False)
    rows = [("as the papers count it, forward", paper_isda_cost(*sizes), papers)]
    cpu, accelerator = (isda_multiply_adds(*sizes, accelerator=where) for where in (False, True))
    if cpu == accelerator:
        rows.append(("semaug, forward", cpu.forward, ours))
    else:
        rows.append(("semaug, forward, on a CPU at most", cpu.forward, ours))
        rows.append(("semaug, forward, on a GPU", accelerator.forward, ours))
    rows.append(("semaug, backward", cpu.backward, ours))
    for label, cost, whole in rows:
        table.add_row(label, f"{cost:,.0f}", f"{100 * cost / whole:.2f} %")
    return table
