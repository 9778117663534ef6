"""ISDA exactly as its formulas are written, as a contestant and a reference.

The shapes are those of the published code: every sample is compared with every class
in a tensor of N x C x A, every sample carries its own copy of its class's covariance.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["LiteralISDA"]

# N samples, C classes, A features.


class LiteralISDA:
    """Statistics and loss of Algorithm 1 with no thought for cost."""

    def __init__(self, num_classes: int, num_features: int, kind: str, device: str = "cpu") -> None:
        shape = (num_classes, num_features) + ((num_features,) if kind == "full" else ())
        self.count = torch.zeros(num_classes, device=device)
        self.mean = torch.zeros(num_classes, num_features, device=device)
        self.covariance = torch.zeros(shape, device=device)

    def __call__(
        self, logits: Tensor, labels: Tensor, features: Tensor, weight: Tensor, strength: float
    ) -> Tensor:
        """Update the statistics, then compute the loss."""
        update = self._update_full if self.covariance.ndim == 3 else self._update_diagonal
        update(features.detach(), labels)
        variance = self._variance_full if self.covariance.ndim == 3 else self._variance_diagonal
        return F.cross_entropy(logits + 0.5 * strength * variance(labels, weight), labels)

    def _sort(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features and deviations by class, (N, C, A), means and counts, (C, A)."""
        num_samples, num_features = features.shape
        num_classes = len(self.count)
        expanded = features.unsqueeze(1).expand(num_samples, num_classes, num_features)
        member = F.one_hot(labels, num_classes).to(features)
        member = member.unsqueeze(2).expand(num_samples, num_classes, num_features)
        by_class = expanded * member
        amount = member.sum(0)
        mean = by_class.sum(0) / amount.clamp(min=1)
        deviation = by_class - mean.expand(num_samples, num_classes, num_features) * member
        return member, deviation, mean, amount

    def _update_full(self, features: Tensor, labels: Tensor) -> None:
        member, deviation, mean, amount = self._sort(features, labels)
        num_classes, num_features = mean.shape
        deviation = deviation.permute(1, 2, 0)  # (C, A, N)
        covariance = torch.bmm(deviation, deviation.permute(0, 2, 1))
        shape = (num_classes, num_features, num_features)
        covariance = covariance.div(amount.clamp(min=1).unsqueeze(2).expand(shape))
        new = member.sum(0).unsqueeze(2).expand(shape)
        share = new / (new + self.count.view(-1, 1, 1).expand(shape))
        share[share != share] = 0
        drift = (self.mean - mean).unsqueeze(2)
        between = share * (1 - share) * torch.bmm(drift, drift.permute(0, 2, 1))
        self.covariance = self.covariance * (1 - share) + covariance * share + between
        self._update_mean(mean, member)

    def _update_diagonal(self, features: Tensor, labels: Tensor) -> None:
        member, deviation, mean, amount = self._sort(features, labels)
        variance = deviation.pow(2).sum(0) / amount.clamp(min=1)
        new = member.sum(0)
        share = new / (new + self.count.unsqueeze(1).expand_as(new))
        share[share != share] = 0
        between = share * (1 - share) * (self.mean - mean).pow(2)
        self.covariance = self.covariance * (1 - share) + variance * share + between
        self._update_mean(mean, member)

    def _update_mean(self, mean: Tensor, member: Tensor) -> None:
        new = member.sum(0)
        share = new / (new + self.count.unsqueeze(1).expand_as(new))
        share[share != share] = 0
        self.mean = self.mean * (1 - share) + mean * share
        self.count = self.count + new[:, 0]

    def _differences(self, labels: Tensor, weight: Tensor) -> Tensor:
        """w_j - w_{y_n}, (N, C, A)."""
        num_samples, (num_classes, num_features) = len(labels), weight.shape
        shape = (num_samples, num_classes, num_features)
        every = weight.unsqueeze(0).expand(shape)
        index = labels.view(-1, 1, 1).expand(shape)
        return every - every.gather(1, index)

    def _variance_full(self, labels: Tensor, weight: Tensor) -> Tensor:
        differences = self._differences(labels, weight)
        own = self.covariance[labels]  # (N, A, A)
        products = torch.bmm(torch.bmm(differences, own), differences.permute(0, 2, 1))
        eye = torch.eye(len(weight), device=weight.device).expand_as(
            products
        )  # only the diagonal is wanted
        return (products * eye).sum(2)

    def _variance_diagonal(self, labels: Tensor, weight: Tensor) -> Tensor:
        differences = self._differences(labels, weight)
        own = self.covariance[labels].unsqueeze(1).expand_as(differences)
        return (differences.pow(2) * own).sum(2)
