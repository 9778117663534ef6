"""Several networks that train side by side and learn from each other's predictions.

On one view of each image that is deep mutual learning (DML), with a view for each network
multi-AIT.

Source: Zhang et al., *Deep Mutual Learning*, CVPR 2018, https://arxiv.org/abs/1706.00384;
Chen et al., *Augmentation Invariant Training*, ICCV Workshops 2019, section 3.2.2.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from semaug.features import WithFeatures, with_features
from semaug.losses import MutualLoss, mutual_loss
from semaug.methods.batch import Batch, StepOutput
from semaug.methods.method import Method, diagnose

__all__ = ["Mutual"]

# K networks, N images, C classes, A features.


class Mutual(Method):
    """Networks that learn to predict alike.

    One optimizer for all of them takes the same step as one for each, for the loss is one sum.

    Args:
        networks: Two or more, of any kinds, each mapping ``(N, 3, H, W)`` to logits ``(N, C)``.
        loss: With a classification loss for each network inside, or one for all.
        example_images: ``(N, 3, H, W)``; see :class:`Supervised`.

    Raises:
        ValueError: If there are fewer than two networks, or the loss needs features and a
            classifier cannot be found.

    >>> networks = [nn.Sequential(nn.Flatten(), nn.Linear(12, 2)) for _ in range(2)]
    >>> method = Mutual(networks, MutualLoss(weight=1.0))
    >>> images, labels = torch.zeros(5, 3, 2, 2), torch.zeros(5, dtype=torch.int64)
    >>> method.loss(Batch(images, labels)).logits.shape  # one view: DML
    torch.Size([5, 2])
    >>> method.loss(Batch(images.expand(2, -1, -1, -1, -1), labels)).logits.shape  # multi-AIT
    torch.Size([5, 2])
    """

    def __init__(
        self,
        networks: Iterable[nn.Module],
        loss: MutualLoss,
        example_images: Tensor | None = None,
    ) -> None:
        super().__init__()
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

    @property
    def networks(self) -> Sequence[nn.Module]:
        """All of them."""
        return tuple(self.network.children())

    @property
    def classification_losses(self) -> Sequence[nn.Module]:
        """The loss of each network, or one for all."""
        return tuple(self.criterion.classification)

    def loss(self, batch: Batch) -> StepOutput:
        """Compute the sum of the losses of all networks, in training mode with all side effects.

        Args:
            batch: Images ``(N, 3, H, W)`` for all networks, or a view for each,
                ``(K, N, 3, H, W)``.

        Raises:
            ValueError: If there is another number of views.
        """
        wanted = batch.labels if batch.targets is None else batch.targets
        logits, arguments = self._see(batch.images)
        return StepOutput(self.criterion(logits, wanted, **arguments), logits[0])

    def predict(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to logits ``(N, C)`` of the first network."""
        output = self.networks[0](images)
        logits: Tensor = output[0] if self.needs_features else output
        return logits

    def predict_each(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to logits ``(K, N, C)`` of each network."""
        outputs = [network(images) for network in self.networks]
        return torch.stack([output[0] for output in outputs] if self.needs_features else outputs)

    @torch.no_grad()
    def diagnostics(self, sample: Callable[[], Batch]) -> dict[str, Tensor]:
        """Return how much the networks differ on a few images, and what ISDA does in each.

        Args:
            sample: Makes a batch of a few training images that are not mixed.
        """
        batch = sample()
        logits, arguments = self._see(batch.images)
        found = {"mutual": mutual_loss(logits)}
        for k, loss in enumerate(self.classification_losses):
            own = diagnose(loss, partial(_part, k, logits, batch.labels, arguments))
            found |= own if k == 0 else {f"{name}_{k + 1}": value for name, value in own.items()}
        return found

    def _see(self, images: Tensor) -> tuple[Tensor, dict[str, list[Tensor]]]:
        """Return the logits ``(K, N, C)``, and what else the loss is called with."""
        networks = self.networks
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
