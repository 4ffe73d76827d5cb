"""Responses of least estimated error: gain of the constant, and robustness to a wrong sigma."""

import pickle

import numpy as np
import pytest

import gspnl
from gspnl import images

ROWS, COLUMNS = np.indices((40, 40))
CLEAN = 0.5 + 0.3 * np.sin(ROWS / 5) * np.cos(COLUMNS / 7) + 0.1 * (ROWS > 20)
NOISY = CLEAN + 0.1 * np.random.default_rng(0).standard_normal(CLEAN.shape)


def error(photo):
    return np.sqrt(((photo - CLEAN) ** 2).mean())


@pytest.mark.parametrize("sigma", [1e-9, 1e-4, 0.01, 0.05, 0.1, 0.15, 0.3, 1.0, 100.0])
def test_a_wrong_sigma_does_not_make_a_photo_worse(sigma):
    assert error(images.denoise_photo(NOISY, sigma, window=11)) <= 1.001 * error(NOISY)


@pytest.mark.parametrize("scale", [1e-300, 1e-40, 1e40, 1e300])
def test_denoised_photos_scale_with_photo_and_noise(scale):
    plain = images.denoise_photo(NOISY, 0.1, window=9)
    scaled = images.denoise_photo(NOISY * scale, 0.1 * scale, window=9) / scale
    np.testing.assert_allclose(scaled, plain, atol=1e-8)


def test_a_constant_photo_stays_as_it_is():
    flat = np.full((24, 24), 0.3)
    np.testing.assert_allclose(images.denoise_photo(flat, 0.1, window=9), flat, atol=1e-12)


def test_a_patch_graph_pickles_with_its_source():
    graph = images.patch_graph(NOISY, window=9, noise=0.1)
    again = pickle.loads(pickle.dumps(graph)).source.rebuild(NOISY.reshape(-1, 1))
    difference = abs(again.weights.sparse - graph.weights.sparse).max()
    assert difference < 1e-4


@pytest.mark.parametrize("build", [gspnl.feature_graph, gspnl.neighbor_graph])
def test_a_graph_of_noisy_signals_warns_of_them(build):
    rng = np.random.default_rng(0)
    Z = rng.random((300, 2)) + 0.1 * rng.standard_normal((300, 2))
    graph = build(Z, kernel="rbf", sigma=0.2)
    with pytest.warns(gspnl.errors.DependenceWarning, match="rebuild="):
        gspnl.choose_response(graph, Z.sum(1), sigma=0.1)
