"""Virtual adversarial training (VAT): predictions are to withstand the worst small perturbation.

    L_host = host_weight * mean over images of KL(p(x) || p(x + r))
             + entropy_weight * mean over images of H(p(x))
    r = epsilon g / |g|,   g = gradient of KL(p(x) || p(x + xi d)) by d,   |d| = 1

d is random at first; each power iteration replaces it by ``g / |g|``. p(x) and r are constants. All
passes of a step have the same dropout masks, and batch norm sees the same images in them, or the
divergence would be that of two masks and not of the perturbation. Running statistics and the
gradients of parameters stay as they are.

The search runs in float32 whatever autocast does, with xi = 0.01: the 1e-6 of the source's code is
below the spacing of float32 pixels, and half precision finds no direction below 1.

Source: Miyato et al., T-PAMI 2019, https://arxiv.org/abs/1704.03976
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug._torch.autocast import without_autocast
from semaug._torch.batch_norm import running_statistics_kept
from semaug._torch.draws import normal_draws
from semaug.errors import check_option
from semaug.losses._arguments import at_least_float32
from semaug.methods.semi_supervised import (
    Agreement,
    SemiSupervised,
    SemiSupervisedMethod,
    Unlabeled,
)
from semaug.registry import methods

__all__ = ["VAT", "VATMethod"]

# N images.


class VAT(SemiSupervised):
    """A network whose predictions withstand the worst small perturbation.

    Args:
        network: As of :class:`SemiSupervised`.
        loss: Likewise.
        epsilon: Norm of the perturbation of an image, as the network takes it.
        xi: Norm of the perturbations that the search looks at.
        power_iterations: Of the search.
        entropy_weight: Weight of the entropy of predictions, which is minimised; 0 is none.
        shared_dropout: Whether all passes of a step have the same dropout masks.
        **options: Of :class:`SemiSupervised`.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        epsilon: float = 8.0,
        xi: float = 0.01,
        power_iterations: int = 1,
        entropy_weight: float = 0.0,
        shared_dropout: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(network, loss, **options)
        self.epsilon, self.xi, self.power_iterations = epsilon, xi, power_iterations
        self.entropy_weight, self.shared_dropout = entropy_weight, shared_dropout

    def agree(self, seen: Unlabeled) -> Agreement:
        """Find the perturbation, and compare predictions with and without it."""
        (images,) = seen.views
        with running_statistics_kept(self.network), self._draws(images.device) as again:
            target, r = self._search(images, seen, again)
            again()
            divergence = _divergence(target, self.predict(images + r))
        terms = {"adversarial": self.host_weight * divergence}
        if self.entropy_weight:
            log_probs = F.log_softmax(seen.logits[0], dim=1)
            entropy = -(log_probs.exp() * log_probs).sum(dim=1).mean()
            terms["entropy"] = self.entropy_weight * entropy
        return Agreement(terms, target=target.exp())

    def perturbation(self, images: Tensor, positions: Tensor, step: int | Tensor = 0) -> Tensor:
        """Return the worst perturbation ``(N, 3, H, W)`` of norm ``epsilon`` for each image.

        Args:
            images: ``(N, 3, H, W)``.
            positions: ``(N,)``, which decide where the search begins, with the step and the seed.
            step: Of the run.
        """
        seen = Unlabeled(images.unsqueeze(0), images, positions, step)
        with running_statistics_kept(self.network), self._draws(images.device) as again:
            return self._search(images, seen, again)[1]

    @torch.compiler.disable  # compiled code cannot differentiate by an input on the way
    def _search(self, images: Tensor, seen: Unlabeled, again: Any) -> tuple[Tensor, Tensor]:
        """Return log-probabilities of the images and their perturbation, both constant."""
        with without_autocast(images.device):
            with torch.no_grad():
                again()
                target = F.log_softmax(at_least_float32(self.predict(images)), dim=1)
            d = unit(normal_draws(images, seen.positions, seen.step, 1000 * self.seed))
            for _ in range(self.power_iterations):
                with torch.enable_grad():
                    d.requires_grad_()
                    again()
                    divergence = _divergence(target, self.predict(images + self.xi * d))
                    (gradient,) = torch.autograd.grad(divergence, d)
                d = unit(gradient)
        return target, self.epsilon * d

    @contextmanager
    def _draws(self, device: torch.device) -> Iterator[Any]:
        """Give a function that sets the generator of a device back to where it is now."""
        module = torch if device.type == "cpu" else torch.get_device_module(device)
        state = module.get_rng_state()
        yield (lambda: module.set_rng_state(state)) if self.shared_dropout else lambda: None


def _divergence(target: Tensor, logits: Tensor) -> Tensor:
    """Mean of KL(p || q) with p constant, at least in float32; ``target`` is log p."""
    log_probs = F.log_softmax(at_least_float32(logits), dim=1)
    return F.kl_div(log_probs, target, reduction="batchmean", log_target=True)


def unit(rows: Tensor) -> Tensor:
    """Scale each image to norm 1, in two steps so that none underflows; zeros stay zeros.

    >>> unit(torch.tensor([[3e-30, 4e-30], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    flat = rows.detach().flatten(1)
    flat = flat / flat.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
    norm = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return (flat / norm.clamp(min=1)).view(rows.shape)


@methods.register("vat")
@dataclass(frozen=True, kw_only=True)
class VATMethod(SemiSupervisedMethod):
    """Virtual adversarial training: predictions withstand the worst small perturbation.

    Args:
        epsilon: Norm of the perturbation of an image as the network takes it.
        xi: Norm of the perturbations that the search looks at.
        power_iterations: Of the search.
        entropy_weight: Weight of the entropy of predictions, which is minimised: 1 in VAT + EntMin.
        shared_dropout: Whether all passes of a step have the same dropout masks.
    """

    ramp_percent: float = 0.0
    epsilon: float = 8.0
    xi: float = 0.01
    power_iterations: int = 1
    entropy_weight: float = 0.0
    shared_dropout: bool = True

    host = VAT

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epsilon", "xi"):
            value = getattr(self, name)
            check_option(name, value, 0 < value < math.inf, "> 0")
        iterations, entropy = self.power_iterations, self.entropy_weight
        check_option("power_iterations", iterations, iterations >= 1, ">= 1")
        check_option("entropy_weight", entropy, 0 <= entropy < math.inf, ">= 0")

    @property
    def passes(self) -> int:  # type: ignore[override]
        """With the labeled images, alone, in each iteration, and perturbed."""
        return 3 + self.power_iterations

    def own_options(self, builder: Any) -> dict[str, Any]:
        """Return what else the host takes."""
        names = ("epsilon", "xi", "power_iterations", "entropy_weight", "shared_dropout")
        return {name: getattr(self, name) for name in names}
