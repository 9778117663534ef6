"""InfoGAN with classes: ACGAN, and two continuous codes that a head reads in generated images.

    both:  + code_weight * mean over generated images of 1/2 |codes - q(made)|^2

The codes are two more inputs of the generator, drawn from U(-1, 1); q is a head on the critic's
trunk. The last line is minus the log-density of a normal distribution of variance 1, up to a
constant: a bound of the information that images have of the codes.

The source has a categorical code that no label decides: its clusters are no classes, and images
labeled by them would poison a classifier. Here classes are supervised, as in ACGAN.

Source: Chen et al., NeurIPS 2016, https://arxiv.org/abs/1606.03657, Eq. (6), and its code for the
head, the learning rates and the fixed variance
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from semaug.errors import check_option
from semaug.generation.acgan import ACGan, ACGanSpec, Trunk
from semaug.generation.gan import Conditional
from semaug.registry import generators

__all__ = ["InfoGan", "InfoGanSpec"]

_HIDDEN = 128


class InfoGan(ACGan):
    """ACGAN with a third head, of the codes.

    Args:
        generator: Of all classes; the last ``num_codes`` of z are the codes.
        trunk: Of the critic.
        num_classes: C.
        num_codes: How many.
        code_weight: Weight of their loss.
    """

    def __init__(
        self,
        generator: Conditional,
        trunk: Trunk,
        num_classes: int,
        num_codes: int,
        code_weight: float,
    ) -> None:
        super().__init__(generator, trunk, num_classes)
        self.num_codes, self.code_weight = num_codes, code_weight
        self.critic["codes"] = nn.Sequential(
            nn.Linear(trunk.num_features, _HIDDEN, bias=False),
            nn.BatchNorm1d(_HIDDEN),
            nn.LeakyReLU(0.1),
            nn.Linear(_HIDDEN, num_codes),
        )

    def code_losses(self, features: Tensor, z: Tensor) -> Tensor:
        """Return half the squared distance of codes and what images tell of them, weighted."""
        told: Tensor = self.critic["codes"](features)
        distances = (told - z[:, -self.num_codes :]).square().sum(dim=1)
        return self.code_weight / 2 * distances.mean()


@generators.register("infogan")
@dataclass(frozen=True, kw_only=True)
class InfoGanSpec(ACGanSpec):
    """InfoGAN with classes: ACGAN, and two continuous codes that a head reads in images.

    Args:
        code_weight: Weight of the codes' loss.
    """

    lr: float = 1e-3
    code_weight: float = 1.0

    num_codes: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("code_weight", self.code_weight, self.code_weight >= 0, ">= 0")

    def gan(self, generator: Conditional, trunk: Trunk, num_classes: int) -> InfoGan:
        """Put the parts together."""
        return InfoGan(generator, trunk, num_classes, self.num_codes, self.code_weight)
