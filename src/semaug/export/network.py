"""The plain network behind what a run predicts with: without wrappers, hooks and losses."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from semaug.errors import UserError

TOLERANCE = 1e-4  # of logits, relative to the largest or to 1


class PlainNetwork(NamedTuple):
    """A network as ``timm.create_model`` makes it, with the weights of a run."""

    network: nn.Module  # on the CPU, in evaluation mode, in the precision of the run
    spec: Any  # of the network
    part: nn.Module  # of the method, which has the same weights
    images: Tensor  # (2, C, H, W), noise of the size that it takes
    logits: Tensor  # of the images, from the run


@torch.no_grad()
def plain_network(trained: Any, predictor: str = "") -> PlainNetwork:
    """Build the network of a predictor anew, and give it its weights.

    Whatever method and loss have wrapped around it: it is found as the part of the method that has
    the parameters of a network that the recipe names, and makes the logits of the predictor.

    Args:
        trained: The networks of a run, a :class:`semaug.engine.trained.Trained`.
        predictor: Name of the predictor.

    Raises:
        UserError: If there is no such predictor, or no one network makes its logits.
    """
    trained.check_predictor(predictor)
    dtype = next(trained.method.parameters()).dtype
    images = trained.builder.example_images.to(dtype)
    trained.method.cpu()  # a GPU rounds too coarsely to compare with
    try:
        logits = trained.predictors[predictor](images)
    finally:
        trained.method.to(trained.device)
    for spec in [*trained.builder.specs]:
        network = build(spec, trained).to(dtype).eval().requires_grad_(False)
        initial = network.state_dict()
        for part in trained.method.modules():
            state = part.state_dict()
            if _shapes(state) == _shapes(initial):
                network.load_state_dict(initial | state)
                if difference(network(images), logits) <= TOLERANCE:
                    return PlainNetwork(network, spec, part, images, logits)
    raise UserError(
        f"export: {trained.folder}: expected a network of the recipe that makes the predictions of "
        f"predictor {predictor!r} alone, found none"
    )


def build(spec: Any, trained: Any) -> nn.Module:
    """Build a network of a run with random weights, without drawing from torch's generator."""
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = spec.build(trained.builder.sizes)
    return network


def difference(logits: Tensor, wanted: Tensor) -> float:
    """Return the largest difference of logits, relative to the largest of them or to 1."""
    if logits.shape != wanted.shape:
        return float("inf")
    return float((logits - wanted).abs().max() / wanted.abs().max().clamp(min=1))


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    # Frozen batch norms of timm count no batches.
    return {k: v.shape for k, v in state.items() if not k.endswith("num_batches_tracked")}
