"""Features of test images in the plane by t-SNE, with augmented ones among them.

The layout is scikit-learn's: it places all points together, those of augmented features too, since
it cannot place others later. Features are taken as they are, without scaling of their own, the
images and all settings are the same for each network, and beside the layout stand numbers of the
features themselves.

Source: Wang et al., T-PAMI 2021, https://arxiv.org/abs/2007.10538, section 6.5.1, Fig. 8, which
leaves images, perplexity and software open
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from semaug.engine.seeding import derive_seed
from semaug.engine.trained import Trained
from semaug.errors import UserError
from semaug.insight.features import compute_outputs, statistics_of
from semaug.insight.separation import Separation, measure_separation
from semaug.transfer.plots import choose_samples, embed

# N images, S of them that are augmented, D draws of each, A features.


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Features of a network in the plane.

    Args:
        label: Of the network.
        classes: Names.
        places: ``(N,)`` int64, which test images.
        labels: ``(N,)`` int64.
        points: ``(N, 2)`` float32.
        sources: ``(S,)`` int64, places in ``points`` of what was augmented.
        augmented: ``(D, S, 2)`` float32.
        separation: Of all N features.
        strength: lambda of the augmented features; None without any.
        origin: Where their covariances are from, in words.
    """

    label: str
    classes: tuple[str, ...]
    places: Tensor
    labels: Tensor
    points: Tensor
    sources: Tensor
    augmented: Tensor
    separation: Separation
    strength: float | None
    origin: str

    def plain(self) -> dict[str, Any]:
        """Return plain data."""
        tensors = ("places", "labels", "points", "sources", "augmented")
        return {
            "label": self.label,
            **asdict(self.separation),
            "strength": self.strength,
            "statistics": self.origin,
            **{name: getattr(self, name).tolist() for name in tensors},
        }


def map_features(
    networks: Mapping[str, tuple[Trained, str]],
    *,
    num_images: int = 1000,
    num_draws: int = 5,
    num_augmented: int = 10,
    perplexity: float = 30.0,
    strength: float | None = None,
    estimate: bool = False,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> list[FeatureMap]:
    """Lay out features of the same test images in several networks.

    Args:
        networks: By label: the run, and the name of a predictor.
        num_images: N, evenly from all classes.
        num_draws: D, features a + e with e from N(0, lambda S_y), for each of a few images.
        num_augmented: S, these images, of as many classes as there are.
        perplexity: Of t-SNE; less where there are few points.
        strength: lambda; None is that of the loss at the end, or 0.5 for a loss without.
        estimate: See :func:`semaug.insight.statistics_of`.
        seed: Chooses images, draws, and the layout.
        advance: Called with the number of images of each batch.

    Raises:
        OSError: If a file cannot be read.
        UserError: If runs have other test images, a file is damaged, or a predictor has no
            features of whole images.
    """
    maps, seen_images = [], dict[str, str]()
    for label, (trained, predictor) in networks.items():
        test = trained.data.test
        sums = {k: v for k, v in trained.sums.items() if k.startswith("test")}
        seen_images[label] = f"{trained.data.name}, {sums}"
        if (first := next(iter(seen_images))) and seen_images[first] != seen_images[label]:
            raise UserError(
                f"features: expected runs with the same test images, got {first} and {label}"
            )
        if len(test) == 0 or test.labels.ndim > 1:
            raise UserError(f"{trained.folder}: expected test images with a label each")
        places = choose_samples(test.labels, seed, num_images)
        seen = compute_outputs(trained, test, places, predictor, advance)
        labels, origin, used = seen.labels.cpu(), "", None
        sources = choose_samples(labels, seed, num_augmented if num_draws else 0)
        extra = seen.features.new_empty(num_draws, 0, seen.features.shape[1])
        if len(sources):
            found = statistics_of(
                trained, predictor, strength=strength, estimate=estimate, seed=seed, advance=advance
            )
            origin, used = found.origin, found.strength
            generator = torch.Generator(trained.device)
            generator.manual_seed(derive_seed(seed, "augmented features"))
            own = sources.to(trained.device)
            noise = found.estimator.sample(seen.labels[own], num_draws, generator=generator)
            extra = seen.features[own] + used**0.5 * noise.detach()
        together = torch.cat([seen.features, extra.flatten(0, 1)]).float().cpu()
        layout = embed(together, seed, perplexity)
        points, augmented = layout.split([len(labels), len(layout) - len(labels)])
        maps.append(
            FeatureMap(
                label,
                test.classes,
                places,
                labels,
                points,
                sources,
                augmented.view(*extra.shape[:2], 2),
                measure_separation(seen.features, seen.labels),
                used,
                origin,
            )
        )
    return maps
