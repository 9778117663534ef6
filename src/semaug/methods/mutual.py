"""Several networks that train side by side and learn from each other's predictions.

On one view of each image that is deep mutual learning (DML), with a view for each network
multi-AIT.

Source: Zhang et al., *Deep Mutual Learning*, CVPR 2018, https://arxiv.org/abs/1706.00384;
Chen et al., *Augmentation Invariant Training*, ICCV Workshops 2019, section 3.2.2.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from semaug.errors import UserError, check_option
from semaug.features import WithFeatures, with_features
from semaug.losses import MutualLoss, mutual_loss
from semaug.methods.ait import check_view_augments, views_of
from semaug.methods.batch import Batch, StepOutput, Stream, Term
from semaug.methods.method import Method, diagnose, groups_of
from semaug.registry import choice, methods, networks

__all__ = ["DML", "MultiAIT", "Mutual"]

# K networks, N images, C classes, A features.


class Mutual(Method):
    """Networks that learn to predict alike.

    One optimizer for all of them takes the same step as one for each, for the loss is one sum.

    Args:
        networks: Two or more, of any kinds, each mapping ``(N, 3, H, W)`` to logits ``(N, C)``.
        loss: With a classification loss for each network inside, or one for all.
        example_images: ``(N, 3, H, W)``; see :class:`Supervised`.
        peer_weight_decay: Weight decay of each network after the first; none is the optimizer's.

    Raises:
        ValueError: If there are fewer than two networks, or the loss needs features and a
            classifier cannot be found.

    >>> networks = [nn.Sequential(nn.Flatten(), nn.Linear(12, 2)) for _ in range(2)]
    >>> method = Mutual(networks, MutualLoss(weight=1.0))
    >>> images, labels = torch.zeros(5, 3, 2, 2), torch.zeros(5, dtype=torch.int64)
    >>> method.loss(Batch.of(images, labels)).outputs.shape  # one view: DML
    torch.Size([5, 2])
    >>> method.loss(Batch.of(images.expand(2, -1, -1, -1, -1), labels)).outputs.shape  # multi-AIT
    torch.Size([5, 2])
    """

    network: nn.ModuleList

    def __init__(
        self,
        networks: Iterable[nn.Module],
        loss: MutualLoss,
        example_images: Tensor | None = None,
        peer_weight_decay: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.peer_weight_decay = tuple(peer_weight_decay)
        self.criterion = loss
        self.needs_features = loss.needs_features
        self.network = nn.ModuleList(
            with_features(network, example_images=example_images)
            if self.needs_features and not isinstance(network, WithFeatures)
            else network
            for network in networks
        )
        if len(self.network) < 2:
            raise ValueError(f"Mutual: expected two `networks` or more, got {len(self.network)}")

    def loss(self, batch: Batch) -> StepOutput:
        """Compute the sum of the losses of all networks, in training mode with all side effects.

        Args:
            batch: Images ``(N, 3, H, W)`` for all networks, or a view for each,
                ``(K, N, 3, H, W)``.

        Raises:
            ValueError: If there is another number of views.
        """
        samples = batch.labeled
        logits, arguments = self._forward(samples.images)
        told = {"positions": samples.positions}
        value = self.criterion(logits, samples.wanted, **arguments, **told)
        return StepOutput({"loss": Term(value)}, logits[0])

    def predictors(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return all networks; those after the first by their number."""
        names = ["", *(f"network {k + 1}" for k in range(1, len(self.network)))]
        return {
            name: partial(self._predict, network)
            for name, network in zip(names, self.network, strict=True)
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return one group, or where peers have weight decays of their own, one a network."""
        if not self.peer_weight_decay:
            return super().parameter_groups()
        decays: list[dict[str, float]] = [
            {},
            *({"weight_decay": decay} for decay in self.peer_weight_decay),
        ]
        return [
            {"params": list(network.parameters()), **own}
            for network, own in zip(self.network, decays, strict=True)
        ] + groups_of(self.criterion)

    def _predict(self, network: nn.Module, images: Tensor) -> Tensor:
        output = network(images)
        logits: Tensor = output[0] if self.needs_features else output
        return logits

    @torch.no_grad()
    def diagnostics(self, sample: Callable[[], Batch]) -> dict[str, Tensor]:
        """Return how much the networks differ on a few images, and what ISDA does in each.

        Args:
            sample: Makes a batch of a few training images that are not mixed.
        """
        samples = sample().labeled
        logits, arguments = self._forward(samples.images)
        found = {"mutual": mutual_loss(logits)}
        for k, loss in enumerate(self.criterion.classification):
            own = diagnose(loss, partial(_part, k, logits, samples.wanted, arguments))
            found |= own if k == 0 else {f"{name}_{k + 1}": value for name, value in own.items()}
        return found

    def _forward(self, images: Tensor) -> tuple[Tensor, dict[str, list[Tensor]]]:
        """Return the logits ``(K, N, C)``, and what else the loss is called with."""
        networks = self.network
        if images.ndim == 5 and len(images) != len(networks):
            raise ValueError(
                f"Mutual: expected a view for each of {len(networks)} networks, got {len(images)}"
            )
        views = images if images.ndim == 5 else [images] * len(networks)
        outputs = [network(view) for network, view in zip(networks, views, strict=True)]
        if not self.needs_features:
            return torch.stack(outputs), {}
        logits, features = zip(*outputs, strict=True)
        weights = [network.weight for network in networks]
        return torch.stack(logits), {"features": list(features), "weight": weights}


def _part(
    k: int, logits: Tensor, labels: Tensor, arguments: dict[str, list[Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    return logits[k], labels, arguments["weight"][k]


@dataclass(frozen=True, kw_only=True)
class _Together:
    """Networks that train side by side.

    Args:
        peers: Networks that train beside the first.
        peer_weight_decay: Weight decay of each peer; none is that of the optimizer.
        ai_weight: Weight of the divergence between predictions, lambda in the paper.
        ai_target_gradient: Whether the gradient flows through both sides of a divergence, as the
            formula says, or not through the target.

    Raises:
        UserError: If peers are missing, or a number is out of range.
    """

    peers: tuple[Any, ...] = choice(networks)
    peer_weight_decay: tuple[float, ...] = ()
    ai_weight: float
    ai_target_gradient: bool

    def __post_init__(self) -> None:
        if not self.peers:
            raise UserError(
                "recipe: expected `peers`, the networks that train beside the first, such as "
                "peers=resnet32_cifar, got none"
            )
        check_option("ai_weight", self.ai_weight, 0 <= self.ai_weight < float("inf"), ">= 0")
        decays = self.peer_weight_decay
        inside = all(0 <= decay < float("inf") for decay in decays)
        check_option("peer_weight_decay", decays, inside, ">= 0")
        if decays and len(decays) != len(self.peers):
            raise UserError(
                f"recipe: expected `peer_weight_decay` for each of {len(self.peers)} peers, "
                f"got {len(decays)}"
            )

    @property
    def num_networks(self) -> int:
        """How many networks see each image."""
        return 1 + len(self.peers)

    def build(self, builder: Any) -> Mutual:
        """Build all networks, each with a loss of its own."""
        pairs = [builder.with_loss(), *(builder.with_loss(peer, "peers") for peer in self.peers)]
        networks, losses = zip(*pairs, strict=True)
        loss = MutualLoss(
            weight=self.ai_weight,
            target_gradient=self.ai_target_gradient,
            classification=losses,
        )
        return Mutual(networks, loss, peer_weight_decay=self.peer_weight_decay)


@methods.register("dml")
@dataclass(frozen=True, kw_only=True)
class DML(_Together):
    """Deep mutual learning: several networks see one view and learn from each other."""

    ai_weight: float = 1.0
    ai_target_gradient: bool = False


@methods.register("multi_ait")
@dataclass(frozen=True, kw_only=True)
class MultiAIT(_Together):
    """AIT between several networks, each with a view of its own.

    Args:
        view_augments: What each view has of the augmentation, as in ``ait``.
    """

    ai_weight: float = 3.0  # section 4.3.3
    ai_target_gradient: bool = True
    view_augments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_view_augments(self.view_augments, self.num_networks)

    def streams(self, recipe: Any) -> dict[str, Stream]:
        """Return the labeled images, a view for each network."""
        views = views_of(recipe, self.view_augments, self.num_networks)
        return {"labeled": Stream(views=views)}
