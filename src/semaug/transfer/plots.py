"""What augmentations do to predictions and features, as pictures.

Source: Chen et al., *Augmentation Invariant Training*, ICCV Workshops 2019, section 4.5, Figs. 5
and 6
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from semaug.augmentation import Compose, CropFlip
from semaug.engine.seeding import make_generator
from semaug.engine.trained import Trained
from semaug.errors import UserError
from semaug.report.picture import SERIES, add_legend, settings, wrapped
from semaug.runs.statistics import mean_and_spread
from semaug.transfer.result import PAIRS, Transfer
from semaug.transfer.sets import choose_padding, random_color

# R runs, S samples, V variants of each, A features, H and W pixels.

NUM_SAMPLES = 14  # as in Fig. 6
NUM_VARIANTS = 16
_PERPLEXITY = 15.0  # neighbors that count: the other variants of a sample
_SHORT = {"original": "ori", "random_crop": "rp", "grayscale": "rg", "random_color": "rc"}
_HATCHES = ("", "///", "...", "xxx")  # of bars after the last color
_MARKERS = "o^sD"  # of samples after the last color
_MOST_COLUMNS = 3
_PANEL_CHARACTERS = 44  # of a title
_LETTERS_AN_INCH = 12


class Embedding(NamedTuple):
    """Features of variants in the plane.

    Args:
        points: ``(S * V, 2)`` float32, the variants of a sample one after the other.
        names: Of the class of each sample.
    """

    points: Tensor
    names: tuple[str, ...]


def draw_variation(transfers: Mapping[str, Sequence[Transfer]], title: str) -> Figure:
    """Draw Fig. 5: how far predictions and features are apart between pairs of test sets.

    Args:
        transfers: For each label what its runs came to; bars are means over runs, and lines on
            them reach one standard deviation up and down.
        title: What the runs have in common.
    """
    quantities = {"symmetric KL divergence of predictions": "divergences"}
    if all(found.distances is not None for runs in transfers.values() for found in runs):
        quantities["Euclidean distance of features"] = "distances"
    with matplotlib.rc_context(settings("variation")):
        figure = Figure((4.6 * len(quantities), 3.4), layout="constrained")
        row = figure.subplots(1, len(quantities), squeeze=False)[0]
        for axes, (name, field) in zip(row, quantities.items(), strict=True):
            _draw_bars(axes, transfers, field)
            axes.set_ylabel(name)
        _set_title(figure, f"{title}: variation between test sets")
        bars = [one for one in row[0].containers if isinstance(one, BarContainer)]
        add_legend(figure, bars)
        return figure


def draw_embeddings(embeddings: Mapping[str, Embedding], title: str) -> Figure:
    """Draw Fig. 6: variants of a few images in the feature space of each predictor, side by side.

    Args:
        embeddings: For each label that of one run; samples are the same ones.
        title: What the runs have in common.
    """
    columns = min(_MOST_COLUMNS, len(embeddings))
    rows = -(-len(embeddings) // columns)
    with matplotlib.rc_context(settings("features")):
        figure = Figure((max(6.0, 3.6 * columns), 3.6 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (label, embedding) in zip(grid, embeddings.items(), strict=False):
            _draw_points(axes, embedding)
            axes.set_title(wrapped(label, _PANEL_CHARACTERS), fontsize=8)
        for axes in grid[len(embeddings) :]:
            axes.set_axis_off()
        _set_title(figure, f"{title}: features of variants, t-SNE")
        add_legend(figure, grid[0].collections, columns=min(5, 2 * columns))
        return figure


def choose_samples(labels: Tensor, seed: int, num_samples: int = NUM_SAMPLES) -> Tensor:
    """Choose images at random, of as many classes as there are.

    Args:
        labels: ``(N,)`` int64.
        seed: Decides which.
        num_samples: S; all images if there are fewer.

    Returns:
        ``(S,)`` int64 places, sorted by class.
    """
    labels = labels.cpu()
    order = torch.randperm(len(labels), generator=make_generator(seed, "samples of a picture"))
    mixed = labels[order]
    # The how manieth of its class each image is: all classes come once, then all twice.
    rank = F.one_hot(mixed).cumsum(0).gather(1, mixed.unsqueeze(1)).squeeze(1)
    chosen = order[rank.argsort(stable=True)[:num_samples]]
    return chosen[labels[chosen].argsort(stable=True)]


def embed_variants(
    trained: Trained,
    *,
    predictor: str = "",
    seed: int = 0,
    hue: float = 0.0,
    num_samples: int = NUM_SAMPLES,
    num_variants: int = NUM_VARIANTS,
) -> Embedding:
    """Augment a few test images many times, and lay their features out in the plane.

    Each variant is cropped at random and then changed in color, as in two of the test sets.

    Args:
        trained: The networks, and the images.
        predictor: Name of what predicts.
        seed: Decides images, variants and layout.
        hue: Most that hues are turned by.
        num_samples: S.
        num_variants: V.

    Raises:
        OSError: If an image lies in a file that cannot be read.
        UserError: If the file is damaged, or the predictor has no features.
    """
    test = trained.data.test
    places = choose_samples(test.labels, seed, num_samples)
    samples = [batch.pixels.cpu() for batch in trained.test_pixels(places)]
    images = torch.cat(samples).repeat_interleave(num_variants, dim=0)
    change = Compose(CropFlip(choose_padding(images), "zero", flip=False), random_color(hue))
    draws = change.draw(len(images), make_generator(seed, "variants of a picture"))
    features = []
    for some in change(images, draws).split(trained.recipe.evaluation_batch_size):
        _, own = trained.predict_with_features(trained.prepare(some), predictor)
        if own is None:
            raise UserError(
                f"transfer: {trained.folder}: expected predictions of one classifier to draw its "
                "features, got those of several networks together"
            )
        features.append(own.flatten(1).float().cpu())
    names = tuple(test.classes[label] for label in test.labels[places.to(test.labels.device)])
    return Embedding(embed(torch.cat(features), seed, _PERPLEXITY), names)


def _set_title(figure: Figure, text: str) -> None:
    letters = int(_LETTERS_AN_INCH * figure.get_size_inches()[0])
    figure.suptitle(wrapped(text, letters), fontsize=9.5)


def _draw_bars(axes: Axes, transfers: Mapping[str, Sequence[Transfer]], field: str) -> None:
    width = 0.8 / len(transfers)
    for place, (label, runs) in enumerate(transfers.items()):
        moments = [
            mean_and_spread([getattr(found, field)[",".join(pair)] for found in runs])
            for pair in PAIRS
        ]

        noun = "run" if len(runs) == 1 else "runs"
        axes.bar(
            [pair + (place + 0.5) * width - 0.4 for pair in range(len(PAIRS))],
            [mean for mean, _ in moments],
            width,
            yerr=[spread for _, spread in moments if spread is not None] or None,
            color=SERIES[place % len(SERIES)],
            hatch=_HATCHES[place // len(SERIES) % len(_HATCHES)],
            edgecolor="white",
            linewidth=0.4,
            error_kw={"linewidth": 0.8, "capsize": 1.5},
            label=f"{label} ({len(runs)} {noun})",
        )
    axes.set_xticks(range(len(PAIRS)), [",".join(_SHORT[name] for name in pair) for pair in PAIRS])
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _draw_points(axes: Axes, embedding: Embedding) -> None:
    samples = embedding.points.view(len(embedding.names), -1, 2)
    for place, (points, name) in enumerate(zip(samples, embedding.names, strict=True)):
        axes.scatter(
            points[:, 0].numpy(),
            points[:, 1].numpy(),
            s=14,
            color=SERIES[place % len(SERIES)],
            marker=_MARKERS[place // len(SERIES) % len(_MARKERS)],
            linewidths=0,
            alpha=0.8,
            label=name,
        )
    axes.set(xticks=[], yticks=[])  # distances in such a plane have no unit
    axes.spines[:].set_visible(True)
    axes.set_aspect("equal", "datalim")


def embed(features: Tensor, seed: int, perplexity: float) -> Tensor:
    """Map ``(N, A)`` to ``(N, 2)`` by t-SNE of scikit-learn.

    Args:
        features: float32 on the CPU.
        seed: Of the layout.
        perplexity: Neighbors that count; at most a third of the others.
    """
    from sklearn.manifold import TSNE  # slow to import

    if len(features) < 3 or bool((features == features[0]).all()):
        return torch.zeros(len(features), 2)  # there is nothing to lay out
    perplexity = min(perplexity, (len(features) - 1) / 3)
    layout = TSNE(perplexity=perplexity, init="pca", random_state=seed % 2**32)
    return torch.from_numpy(layout.fit_transform(features.numpy()))
