"""A generator and a discriminator that take turns: a training loop of one's own.

    discriminator: mean of softplus(-d(real)) + softplus(d(made))
    generator:     mean of softplus(-d(made))

Source: Goodfellow et al., NeurIPS 2014, https://arxiv.org/abs/1406.2661, section 3, for the losses;
Heusel et al., NeurIPS 2017, https://arxiv.org/abs/1706.08500, for the Fréchet distance, which is
taken here between pixels in grey
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug.augmentation import normalize
from semaug.data import DataSet
from semaug.engine.seeding import derive_seed, make_generator
from semaug.engine.session import Session
from semaug.engine.start import Start
from semaug.errors import check_option
from semaug.metrics import Metric
from semaug.recipe import BaseRecipe
from semaug.recipe.plan import StreamPlan, make_plan
from semaug.registry import choice, optimizers

# N images of 3 x H x W pixels, Z numbers that make an image, D = H * W.


class Generator(nn.Module):
    """Make normalized images (N, 3, H, W) of noise (N, Z)."""

    def __init__(self, num_latents: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.num_latents, self.shape = num_latents, shape
        self.layers = nn.Sequential(
            nn.Linear(num_latents, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, shape[0] * shape[1] * shape[2]),
        )

    def forward(self, noise: Tensor) -> Tensor:
        return self.layers(noise).unflatten(1, self.shape)


class Discriminator(nn.Sequential):
    """Judge images (N, 3, H, W): (N, 1), high for real ones."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        num_pixels = shape[0] * shape[1] * shape[2]
        super().__init__(
            nn.Flatten(), nn.Linear(num_pixels, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1)
        )


def discriminator_loss(discriminator: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    return (F.softplus(-discriminator(real)) + F.softplus(discriminator(made))).mean()


def generator_loss(discriminator: nn.Module, made: Tensor) -> Tensor:
    return F.softplus(-discriminator(made)).mean()


class FrechetDistance(Metric):
    """Distance of made from real images, as normal distributions of their pixels in grey.

    |m - m'|^2 + trace(S + S' - 2 (S S')^(1/2)), which is 0 where both are alike.
    """

    name, unit, better = "frechet", "", "lower"

    def __init__(self, num_pixels: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("sum", torch.zeros(2, num_pixels, dtype=torch.float64))
        squares = torch.zeros(2, num_pixels, num_pixels, dtype=torch.float64)
        self.register_buffer("squares", squares)

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Count made and real images, (N, 3, H, W) each."""
        for place, images in enumerate((outputs, labels)):
            pixels = images.double().mean(dim=1).flatten(1)
            self.count[place] += len(pixels)
            self.sum[place] += pixels.sum(dim=0)
            self.squares[place] += pixels.mT @ pixels

    def compute(self) -> float:
        count = self.count.view(2, 1)
        mean = self.sum / count
        made, real = self.squares / count.unsqueeze(2) - mean.unsqueeze(2) * mean.unsqueeze(1)
        values, vectors = torch.linalg.eigh(made)
        root = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
        both = torch.linalg.eigvalsh(root @ real @ root).clamp(min=0).sqrt().sum()
        apart = (mean[0] - mean[1]).square().sum()
        return float(apart + made.trace() + real.trace() - 2 * both)


def train(start: Start) -> dict[str, Any]:
    """Train from the beginning or from the checkpoint to the end, and return the summary."""
    recipe, data = start.recipe, start.load_data()
    real = normalize(data.train.images, data.mean, data.std)
    torch.manual_seed(derive_seed(start.seed, "weights"))
    generator = Generator(recipe.num_latents, real.shape[1:]).to(start.device)
    discriminator = Discriminator(real.shape[1:]).to(start.device)
    makes = recipe.generator_optimizer.build([{"params": list(generator.parameters())}])
    judges = recipe.discriminator_optimizer.build([{"params": list(discriminator.parameters())}])
    objects = {
        "generator": generator,
        "discriminator": discriminator,
        "optimizer of the generator": makes,
        "optimizer of the discriminator": judges,
    }
    plan = make_plan(recipe, {"labeled": StreamPlan(len(real), recipe.batch_size)})
    with Session(start, plan, objects, measures=[FRECHET]) as session:
        for epoch in session.epochs():
            # All that is drawn depends on seed and epoch alone, so a run goes on at any step.
            order = torch.randperm(len(real), generator=session.generator("order", epoch))
            shape = (2, len(real), recipe.num_latents)
            noise = torch.randn(shape, generator=session.generator("noise", epoch))
            generator.train()
            for step in session.steps():
                rows = slice(step * recipe.batch_size, (step + 1) * recipe.batch_size)
                first, second = noise[:, rows].to(start.device)

                made = generator(first).detach()
                judged = discriminator_loss(discriminator, real[order[rows]], made)
                take_step(judges, judged)

                fooled = generator_loss(discriminator, generator(second))
                take_step(makes, fooled)

                session.count_step({"loss": judged.detach(), "generator_loss": fooled.detach()})
                session.pause()
            results = None
            if plan.is_evaluated(epoch + 1):
                results = {"": {"frechet": frechet_distance(generator, data, start.seed)}}
            session.finish_epoch(results)
        return session.summary()


def take_step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.no_grad()
def frechet_distance(generator: Generator, data: DataSet, seed: int) -> float:
    """Compare as many generated images as there are test images with these."""
    real = normalize(data.test.images, data.mean, data.std)
    shape = (len(real), generator.num_latents)
    noise = torch.randn(shape, generator=make_generator(seed, "test noise")).to(real.device)
    metric = FrechetDistance(real[0, 0].numel()).to(real.device)
    metric.update(generator.eval()(noise), real)
    return metric.compute()


FRECHET = ("frechet", "", "lower")


@dataclass(frozen=True, kw_only=True)
class GAN(BaseRecipe):
    """A generator that learns to make images which a discriminator takes for real ones.

    Args:
        generator_optimizer: Of the generator.
        discriminator_optimizer: Of the discriminator.
        num_latents: Numbers that an image is made of.
    """

    loop = staticmethod(train)

    generator_optimizer: Any = choice(optimizers, default="adamw")
    discriminator_optimizer: Any = choice(optimizers, default="adamw")
    num_latents: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("num_latents", self.num_latents, self.num_latents >= 1, ">= 1")

    def evaluate(self, start: Start, state: dict[str, Any]) -> dict[str, dict[str, float]]:
        data = start.load_data()
        generator = Generator(self.num_latents, data.train.images.shape[1:]).to(start.device)
        generator.load_state_dict(state["generator"])
        return {"": {"frechet": frechet_distance(generator, data, start.seed)}}
