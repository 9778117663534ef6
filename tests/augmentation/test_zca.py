"""Tests of semaug.augmentation.zca."""

import pytest
import torch
from sklearn.decomposition import PCA
from torch.testing import assert_close

from semaug.augmentation import ZCA, zca


@pytest.fixture
def smooth(generator):
    """500 float64 images of 3 x 4 x 5, whose pixels go along with their neighbors."""
    root = torch.randn(60, 60, generator=generator, dtype=torch.float64) / 60**0.5
    pixels = torch.randn(500, 60, generator=generator, dtype=torch.float64) @ root
    return (pixels * 0.2 + 0.5).view(500, 3, 4, 5)


def covariance_of(images):
    pixels = images.flatten(1).double()
    return (pixels - pixels.mean(0)).mT @ (pixels - pixels.mean(0)) / len(pixels)


def test_whitened_pixels_have_mean_zero_and_the_identity_as_covariance(smooth):
    whitened = ZCA.fit(smooth, regularization=1e-12).double()(smooth)
    assert_close(whitened.mean(0), torch.zeros(3, 4, 5).double(), rtol=0, atol=1e-4)
    assert_close(covariance_of(whitened), torch.eye(60).double(), rtol=0, atol=1e-3)


def test_is_the_formula(smooth):
    """W = (S + r I)^(-1/2): symmetric, positive, and its square times S + r I is I."""
    whiten = ZCA.fit(smooth, regularization=0.01)
    regular = covariance_of(smooth) + 0.01 * torch.eye(60)
    matrix = whiten.whitening.double()
    assert_close(matrix, matrix.mT, rtol=0, atol=1e-5)
    assert torch.linalg.eigvalsh(matrix).min() > 0
    assert_close(matrix @ matrix @ regular, torch.eye(60).double(), rtol=0, atol=1e-4)
    expected = (smooth - smooth.mean(0)).flatten(1) @ matrix
    assert_close(whiten(smooth).flatten(1), expected.float(), rtol=1e-4, atol=1e-4)


def test_is_scikit_learns_whitening_turned_back(smooth):
    pixels = smooth.flatten(1).numpy()
    pca = PCA(whiten=True).fit(pixels)
    expected = torch.from_numpy(pca.transform(pixels) @ pca.components_)
    whitened = ZCA.fit(smooth, regularization=1e-12)(smooth).flatten(1)
    # Scikit-learn divides by N - 1.
    assert_close(whitened.double() * (499 / 500) ** 0.5, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_inverse_returns_the_images(smooth, dtype):
    images = (smooth.clamp(0, 1) * 255).byte() if dtype == torch.uint8 else smooth.float()
    whiten = ZCA.fit(images)
    back = whiten.inverse(whiten(images))
    expected = images.float() / 255 if dtype == torch.uint8 else images
    assert_close(back, expected, rtol=0, atol=1e-4)


def test_contrast_is_normalized_image_by_image(smooth):
    whiten = ZCA.fit(smooth, contrast_normalization=True)
    brighter = smooth * torch.linspace(0.1, 3, 500).view(-1, 1, 1, 1) + 0.3
    assert_close(whiten(brighter), whiten(smooth), rtol=0, atol=1e-3)
    seen = whiten.inverse(whiten(smooth)).flatten(1)
    assert_close(seen.mean(1), torch.zeros(500), rtol=0, atol=1e-3)
    assert_close(seen.std(1, correction=0), torch.ones(500), rtol=0, atol=1e-3)


def test_an_image_of_one_color_is_finite():
    whiten = ZCA.fit(torch.full((3, 1, 2, 2), 7, dtype=torch.uint8), contrast_normalization=True)
    assert_close(whiten(torch.full((1, 1, 2, 2), 9, dtype=torch.uint8)), torch.zeros(1, 1, 2, 2))


def test_pieces_are_the_whole(smooth, monkeypatch):
    whole = ZCA.fit(smooth)
    monkeypatch.setattr(zca, "_IMAGES_AT_ONCE", 33)
    assert_close(ZCA.fit(smooth).state_dict(), whole.state_dict())


def test_saved_and_loaded_it_is_the_same(smooth, tmp_path):
    whiten = ZCA.fit(smooth, contrast_normalization=True)
    torch.save(whiten.state_dict(), tmp_path / "zca.pt")
    loaded = ZCA(3, 4, 5, contrast_normalization=True)
    loaded.load_state_dict(torch.load(tmp_path / "zca.pt", weights_only=True))
    assert_close(loaded(smooth), whiten(smooth), rtol=0, atol=0)
    assert str(loaded) == "ZCA(3, 4, 5, contrast_normalization=True)"
    assert not list(loaded.parameters())


def test_an_image_does_not_depend_on_its_batch_or_memory_format(smooth):
    images = smooth.float()
    whiten = ZCA.fit(images)
    parts = torch.cat([whiten(part) for part in images.split(7)])
    assert_close(parts, whiten(images), rtol=1e-4, atol=1e-4)
    channels_last = images.to(memory_format=torch.channels_last)
    assert_close(whiten(channels_last), whiten(images), rtol=0, atol=0)
    assert whiten(images[:0]).shape == (0, 3, 4, 5)


def test_autocast_does_not_touch_it(smooth):
    whiten = ZCA.fit(smooth)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = whiten(smooth)
        back = whiten.inverse(inside)
    assert_close(inside, whiten(smooth), rtol=0, atol=0)
    assert_close(back, whiten.inverse(inside), rtol=0, atol=0)


def test_wrong_arguments_are_named(smooth):
    with pytest.raises(ValueError, match=r"finite `regularization` > 0, got 0"):
        ZCA.fit(smooth, regularization=0)
    for value in ("x", True, None):
        with pytest.raises(TypeError, match=rf"ZCA\.fit: .* to be a number, got {value!r}"):
            ZCA.fit(smooth, regularization=value)
    with pytest.raises(TypeError, match=r"ZCA: .*`contrast_normalization` to be a bool, got 'no'"):
        ZCA.fit(smooth, contrast_normalization="no")
    with pytest.raises(TypeError, match=r"ZCA: .*`contrast_normalization` to be a bool, got 1"):
        ZCA(3, 4, 5, contrast_normalization=1)
    with pytest.raises(TypeError, match="ZCA: expected `height` to be an int, got True"):
        ZCA(3, True, 4)
    with pytest.raises(ValueError, match=r"ZCA\.fit: expected at least one of `images`, got none"):
        ZCA.fit(smooth[:0])
    with pytest.raises(ValueError, match=r"ZCA\.fit: expected `images` of shape \(N, C, H, W\)"):
        ZCA.fit(smooth[0])
    with pytest.raises(TypeError, match=r"ZCA: .* floating-point dtype, got torch\.int64"):
        ZCA.fit(smooth.long())
    with pytest.raises(ValueError, match="ZCA: expected `height` >= 1, got 0"):
        ZCA(3, 0, 4)
    with pytest.raises(TypeError, match=r"ZCA: expected `width` to be an int, got 4\.0"):
        ZCA(3, 4, 4.0)
    whiten = ZCA.fit(smooth)
    with pytest.raises(ValueError, match=r"ZCA: .*\(N, C=3, H=4, W=5\), got \(500, 3, 5, 4\)"):
        whiten(smooth.mT)
    with pytest.raises(ValueError, match=r"ZCA\.inverse: .*\(N, C=3, H=4, W=5\), got \(500, 3"):
        whiten.inverse(smooth.mT)
    with pytest.raises(TypeError, match=r"ZCA\.inverse: .* floating-point dtype, got torch\.uint8"):
        whiten.inverse(smooth.byte())


# The whitenings of semi-supervised learning.


@pytest.fixture
def pictures(smooth):
    return (smooth.clamp(0, 1) * 255).round()


def literal_zca(pixels, scale):
    """Return U diag(scale(S)) U^T (x - mean), with the covariance divided by N."""
    centered = pixels - pixels.mean(0)
    variance, directions = torch.linalg.eigh(centered.mT @ centered / len(pixels))
    return centered @ (directions * scale(variance)) @ directions.mT


def test_whitenings_are_those_of_the_sources(pictures):
    images, pixels = pictures.byte(), pictures.flatten(1)
    of_laine = literal_zca(pixels / 255, lambda s: (s + 1e-5).rsqrt())
    of_miyato = literal_zca((pixels - 127.5) / 255, lambda s: s.rsqrt() + 1e-6)
    contrast = pixels - pixels.mean(1, keepdim=True)
    contrast = 55 * contrast / contrast.norm(dim=1, keepdim=True)
    of_tarvainen = literal_zca(contrast, lambda s: (s + 0.1).rsqrt())
    for kind, expected in ((True, of_laine), ("vat", of_miyato), ("contrast", of_tarvainen)):
        whitened = zca.fit_whitening(kind, images)(images)
        assert_close(whitened.flatten(1), expected.float(), rtol=1e-3, atol=1e-3)


def test_images_may_be_standardized_one_by_one(pictures):
    for images in (pictures.byte(), pictures):
        shown = zca.fit_whitening("per_image", images)(images)
        assert shown.shape == images.shape
        assert shown.dtype == (torch.float32 if images.dtype == torch.uint8 else images.dtype)
        assert_close(
            shown.flatten(1).mean(1), torch.zeros(500, dtype=shown.dtype), atol=1e-5, rtol=0
        )
        expected = torch.ones(500, dtype=shown.dtype)
        assert_close(shown.flatten(1).std(1, correction=0), expected)
    assert (zca.standardized(torch.full((1, 3, 2, 2), 7, dtype=torch.uint8)) == 0).all()


def test_pixels_that_never_vary_stay_zero(pictures):
    images = pictures.byte()
    images[:, :, 0] = 9
    whitened = zca.fit_whitening("vat", images)(images)
    assert whitened.isfinite().all()
    assert whitened[:, :, 0].abs().max() < 1e-2
