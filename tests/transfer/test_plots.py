"""Tests of semaug.transfer.plots."""

from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from semaug.augmentation import Compose
from semaug.engine.trained import Trained, load_trained
from semaug.errors import UserError
from semaug.report.picture import export
from semaug.transfer import PAIRS, Transfer, measure_transfer, plots
from semaug.transfer.plots import (
    choose_samples,
    draw_embeddings,
    draw_variation,
    embed_variants,
)
from tests.transfer.conftest import CPU, files_of


def transfer(scale, distances=True):
    """Invent what a run came to: the KL divergence of pair k is ``scale * k``."""
    values = {",".join(pair): scale * k for k, pair in enumerate(PAIRS)}
    return Transfer({}, values, {key: 10 * v for key, v in values.items()} if distances else None)


def test_bars_are_means_and_their_lines_standard_deviations():
    figure = draw_variation({"a": [transfer(1), transfer(3)], "_b$": [transfer(5)]}, "digits")
    kl, euclidean = figure.axes
    assert kl.get_ylabel() == "symmetric KL divergence of predictions"
    assert [text.get_text() for text in kl.get_xticklabels()] == [
        "ori,rp", "ori,rg", "ori,rc", "rp,rg", "rp,rc", "rg,rc"
    ]  # fmt: skip
    heights = [bar.get_height() for bar in kl.patches]
    assert heights == [2 * k for k in range(6)] + [5 * k for k in range(6)]
    assert [bar.get_height() for bar in euclidean.patches] == [10 * height for height in heights]
    lines = kl.collections[
        0
    ].get_segments()  # of the first label alone: of one run nothing is known
    assert len(kl.collections) == 1
    assert np.diff([line[:, 1] for line in lines]).squeeze() == pytest.approx(
        [2 * 2**0.5 * k for k in range(6)]
    )
    (legend,) = figure.legends
    assert [text.get_text().lstrip("\u200b") for text in legend.get_texts()] == [
        "a (2 runs)", "_b$ (1 run)"
    ]  # fmt: skip
    bars = {place: bar.get_x() for place, bar in enumerate(kl.patches)}
    assert all(bars[k] < bars[k + 6] < bars[k] + 0.5 for k in range(6))


def test_without_distances_divergences_remain():
    figure = draw_variation({"a": [transfer(1, distances=False)], "b": [transfer(2)]}, "digits")
    assert len(figure.axes) == 1


def test_many_labels_are_told_apart():
    figure = draw_variation({f"label {k}": [transfer(k)] for k in range(20)}, "digits")
    looks = {(bar.get_facecolor(), bar.get_hatch()) for bar in figure.axes[0].patches}
    assert len(looks) == 20


def test_samples_are_of_different_classes_where_possible():
    labels = torch.arange(1000) % 20
    labels[:500] = 0
    chosen = choose_samples(labels, seed=0)
    assert len(labels[chosen].unique()) == len(chosen) == 14
    assert (labels[chosen].diff() > 0).all()
    assert not torch.equal(chosen, choose_samples(labels, seed=1))
    few = labels % 10
    counts = torch.bincount(few[choose_samples(few, seed=0)], minlength=10)
    assert counts.tolist().count(2) == 4
    assert counts.tolist().count(1) == 6
    assert sorted(choose_samples(labels[:5], seed=0).tolist()) == [0, 1, 2, 3, 4]


@pytest.fixture
def trained(run):
    return load_trained(run, CPU)


def test_variants_lie_in_the_plane_alike_each_time(trained):
    embedding = embed_variants(trained, num_samples=4, num_variants=8)
    assert embedding.points.shape == (32, 2)
    assert embedding.points.isfinite().all()
    assert len(set(embedding.names)) == 4
    assert set(embedding.names) <= set(trained.data.test.classes)
    again = embed_variants(trained, num_samples=4, num_variants=8)
    assert torch.equal(embedding.points, again.points)
    other = embed_variants(trained, seed=1, num_samples=4, num_variants=8)
    assert not torch.equal(embedding.points, other.points)


def test_variants_of_a_sample_lie_together(trained):
    def distances(points):
        samples = points.view(4, 8, 2)
        centers = samples.mean(1, keepdim=True)
        return (samples - centers).norm(dim=2).mean(), torch.pdist(centers.squeeze(1)).mean()

    # Features that say nothing but which sample it is, with a little noise.
    noise = torch.rand(32, 8, generator=torch.Generator().manual_seed(0))
    features = torch.eye(4).repeat_interleave(8, dim=0).repeat(1, 2) * 9 + noise
    parts = iter(features.split(trained.recipe.evaluation_batch_size))
    object.__setattr__(trained, "predict_with_features", lambda *_: (None, next(parts)))
    inner, outer = distances(embed_variants(trained, num_samples=4, num_variants=8).points)
    assert outer > 3 * inner


@pytest.mark.parametrize(("num_samples", "num_variants"), [(1, 1), (2, 1), (1, 4)])
def test_few_points_are_laid_out_too(trained, num_samples, num_variants):
    embedding = embed_variants(trained, num_samples=num_samples, num_variants=num_variants)
    assert embedding.points.shape == (num_samples * num_variants, 2)
    assert embedding.points.isfinite().all()


def test_equal_features_are_one_point(trained):
    answer = lambda images, predictor: (None, torch.ones(len(images), 5))  # noqa: E731
    object.__setattr__(trained, "predict_with_features", answer)
    assert not embed_variants(trained, num_samples=4, num_variants=8).points.any()


def test_networks_without_features_cannot_be_drawn(trained, monkeypatch):
    monkeypatch.setattr(Trained, "predict_with_features", lambda self, x, k: (self.logits(x), None))
    with pytest.raises(UserError, match="seed0: expected predictions of one classifier to draw"):
        embed_variants(trained)


def test_each_predictor_has_features_of_its_own(pair):
    trained = load_trained(pair, CPU)
    first, second = (
        embed_variants(trained, predictor=name, num_samples=4, num_variants=4)
        for name in ("", "network 2")
    )
    assert first.names == second.names
    assert not torch.equal(first.points, second.points)


def test_samples_in_files_are_seen_as_the_test_sees_them(in_files, photographs, monkeypatch):
    trained = load_trained(in_files, files_of(photographs))
    seen = []
    monkeypatch.setattr(plots, "random_color", lambda hue: Compose())
    prepare = trained.prepare
    object.__setattr__(trained, "prepare", lambda images: seen.append(images) or prepare(images))
    embedding = embed_variants(trained, num_samples=3, num_variants=4)
    assert embedding.points.shape == (12, 2)
    assert set(embedding.names) == {"black cat", "dog"}
    places = choose_samples(trained.data.test.labels, seed=0, num_samples=3)
    (batch,) = trained.test_pixels(places)
    padded = torch.nn.functional.pad(batch.pixels, (2,) * 4)  # an eighth of 16
    for place, image in enumerate(torch.cat(seen)):
        whole = padded[place // 4]
        crops = (whole[:, y : y + 16, x : x + 16] for y in range(5) for x in range(5))
        assert any(torch.equal(image, crop) for crop in crops)


def test_pictures_are_written_as_files(runs, tmp_path):
    labels = ("digits_resnet8", "digits_resnet8_isda")
    found = {
        label: [measure_transfer(runs / label / f"seed{k}", CPU)[""] for k in (0, 1)]
        for label in labels
    }
    embeddings = {
        label: embed_variants(load_trained(runs / label / "seed0", CPU)) for label in labels
    }
    draw = {
        "variation": lambda: draw_variation(found, "digits"),
        "features": lambda: draw_embeddings(embeddings, "digits"),
    }
    for name in draw:
        png, svg = export([(name, draw[name]())], tmp_path / "new" / "pictures")
        assert png.read_bytes().startswith(b"\x89PNG")
        text = "".join(ElementTree.parse(svg).getroot().itertext())
        assert all(label in text for label in labels)
    content = (tmp_path / "new" / "pictures" / "variation.svg").read_bytes()
    again = export([("variation", draw["variation"]())], tmp_path)[1]
    assert again.read_bytes() == content
    assert len(list((tmp_path / "new" / "pictures").iterdir())) == 4
    panels = draw["features"]().axes
    assert [len(axes.collections) for axes in panels] == [14, 14]
    assert sum(len(points.get_offsets()) for points in panels[0].collections) == 14 * 16


def test_odd_numbers_of_panels_leave_the_last_places_empty(trained):
    embedding = embed_variants(trained, num_samples=2, num_variants=2)
    figure = draw_embeddings({f"label {k}": embedding for k in range(5)}, "digits")
    assert [axes.axison for axes in figure.axes] == [True] * 5 + [False]


def test_long_labels_are_folded_after_commas(trained):
    embedding = embed_variants(trained, num_samples=2, num_variants=2)
    label = "cifar10_5k_resnet20,epochs=2,jitter=0.1,0.1,0.1," + "x" * 60 + " seed 0"
    (axes,) = draw_embeddings({label: embedding}, "digits").axes
    lines = axes.get_title().split("\n")
    assert lines[0] == "cifar10_5k_resnet20,epochs=2,jitter=0.1,"
    assert max(map(len, lines)) <= 44
    assert "".join(lines).replace(" ", "") == label.replace(" ", "")
