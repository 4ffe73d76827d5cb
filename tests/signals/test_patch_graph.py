"""Graphs of similar patches against plain loops over patches, and photos that they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import gspnl
from gspnl.errors import EffortError, InputError
from gspnl.signals.images import patches

HEIGHT, WIDTH = 17, 14


def distances(photo, size, window):
    """D of every pixel with those of its window, inf elsewhere, by loops over patches."""
    half, reach = size // 2, window // 2
    height, width = photo.shape[:2]
    values = photo.reshape(height, width, -1)
    padded = np.pad(values, ((half, half), (half, half), (0, 0)), mode="symmetric")
    fall = half + 1 - np.abs(np.arange(size) - half)  # 1 … half + 1 … 1
    tent = np.outer(fall, fall)[..., None] / fall.sum() ** 2
    cut = {
        (i, j): padded[i : i + size, j : j + size] for i in range(height) for j in range(width)
    }  # fmt: skip
    D = np.full((height * width,) * 2, np.inf)
    for (i, j), own in cut.items():
        for (a, b), other in cut.items():
            if max(abs(i - a), abs(j - b)) <= reach and (i, j) != (a, b):
                square = (tent * (own - other) ** 2).sum() / values.shape[2]
                D[i * width + j, a * width + b] = square
    return D


def noisy(channels=1, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.arange(HEIGHT)[:, None, None] > 8
    return rows + 0.1 * rng.standard_normal((HEIGHT, WIDTH, channels))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "window", "k"), [(1, 3, 3), (3, 5, 8), (5, 7, 10), (7, 9, 24)])
def test_weights_are_those_of_the_nearest_patches(size, window, k, channels):
    photo, noise, sigma = noisy(channels), 0.1, 0.07
    graph = gspnl.images.patch_graph(photo, size, window, k, noise=noise, sigma=sigma)
    D = distances(photo, size, window)
    near = np.zeros_like(D, dtype=bool)
    np.put_along_axis(near, np.argsort(D, axis=1)[:, :k], True, axis=1)
    excess = np.maximum(D - 2 * noise**2, 0)
    W = np.where(near | near.T, np.exp(-excess / (2 * sigma**2)), 0.0)
    np.fill_diagonal(W, np.maximum(W.max(1), 1e-4))
    found = graph.weights.sparse.toarray()
    assert (found == found.T).all()
    assert np.allclose(found, W, rtol=1e-4, atol=1e-6)  # distances are in float32


def test_the_graph_is_bistochastic_and_keeps_the_mean():
    photo = noisy(3)
    graph = gspnl.images.patch_graph(photo, 3, 7)
    A = graph.dense()
    assert np.abs(A.sum(0) - 1).max() < 1e-12
    assert np.abs(A.sum(1) - 1).max() < 1e-12
    pixels = gspnl.images.from_photo(photo)
    smooth = graph.filter(pixels, gspnl.responses.heat(5.0))
    assert np.allclose(smooth.mean(0), pixels.mean(0), atol=1e-12)


def test_strips_give_the_neighbours_of_the_whole(monkeypatch):
    photo = noisy(2)
    whole = patches.nearest_patches(photo, 5, 7, 9)
    monkeypatch.setattr(patches, "STRIP_BYTES", 1)  # one row each
    for part, other in zip(patches.nearest_patches(photo, 5, 7, 9), whole, strict=True):
        assert (part == other).all()


@pytest.mark.parametrize("scale", [1e-150, 1e-20, 255.0, 1e40, 1e150])
def test_weights_do_not_depend_on_the_unit_of_the_photo(scale):
    photo = noisy()
    W = gspnl.images.patch_graph(photo, 3, 7, noise=0.1).weights.sparse.toarray()
    other = gspnl.images.patch_graph(scale * photo, 3, 7, noise=0.1 * scale)
    assert np.allclose(other.weights.sparse.toarray(), W, rtol=1e-3, atol=1e-6)


def test_float32_and_whole_numbers_are_photos():
    photo = noisy()
    assert gspnl.images.patch_graph(photo.astype(np.float32), 3, 7).degrees.dtype == np.float32
    levels = (np.clip(photo, 0, 1) * 255).astype(np.uint8)
    graph = gspnl.images.patch_graph(levels, 3, 7)
    assert graph.kernel.noise > 1  # in the unit of the photo
    assert graph.kernel.estimated


def test_a_constant_photo_has_equal_weights():
    graph = gspnl.images.patch_graph(np.full((12, 11), 0.3), 3, 5)
    assert set(np.unique(graph.weights.sparse.data)) == {1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((10, 12)),), r"10 × 12 pixels is smaller than window=21; pass window=9 or less"),
        ((np.zeros((30, 30)), 4), "patch_size=4 must be odd"),
        ((np.zeros((30, 30)), 3, 8), "window=8 must be odd"),
        ((np.zeros((30, 30)), 3, 5, 9), r"k=9 must be a whole number from 1 to 8"),
        ((np.zeros(30),), r"photo has shape \(30,\)"),
        ((np.full((30, 30), np.nan),), "not finite"),
    ],
)
def test_what_is_no_photo_for_these_sizes_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        gspnl.images.patch_graph(*arguments)


@pytest.mark.parametrize("options", [{"noise": -1.0}, {"sigma": 0.0}, {"sigma": "local"}])
def test_wrong_noise_and_bandwidths_are_refused(options):
    with pytest.raises(InputError, match="|".join(options)):
        gspnl.images.patch_graph(noisy(), 3, 7, **options)


@pytest.mark.parametrize("level", [0.02, 0.1, 3.0])
def test_the_noise_of_a_plane_is_estimated(level):
    rows, columns = np.indices((120, 120))
    photo = 0.3 * rows - 0.2 * columns + 5
    photo = photo + level * np.random.default_rng(1).standard_normal(photo.shape)
    assert abs(gspnl.images.estimate_noise(photo) / level - 1) < 0.03  # 1.2 / √(118²/2) a sd


def test_denoise_photo_says_what_it_estimated():
    photo = noisy()[:, :, 0]
    with pytest.warns(gspnl.errors.EstimateWarning, match=r"noise is estimated as 0\.\d+"):
        out = gspnl.images.denoise_photo(photo.astype(np.float32), patch_size=3, window=7)
    assert (out.shape, out.dtype) == (photo.shape, np.float32)


def test_a_search_that_takes_too_long_is_refused_with_an_estimate(monkeypatch):
    monkeypatch.setattr("gspnl._base.effort.QUICK", 0.0)
    with (
        gspnl.patience(hours=1e-9),
        pytest.raises(EffortError, match=r"similar patches of 238 pixels would take .* window="),
    ):
        gspnl.images.patch_graph(noisy(), 3, 7)


def test_a_sigma_in_another_unit_than_whole_numbers_is_refused():
    levels = (np.clip(noisy()[:, :, 0], 0, 1) * 255).astype(np.uint8)
    with pytest.raises(InputError, match=r"sigma=0.1 is less than the rounding .* up to 255"):
        gspnl.images.denoise_photo(levels, sigma=0.1, window=7)
    smooth = gspnl.images.denoise_photo(levels, sigma=25.5, window=7)
    other = gspnl.images.denoise_photo(levels / 255, sigma=0.1, window=7)
    assert np.allclose(smooth / 255, other, atol=1e-6)
