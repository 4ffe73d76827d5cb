"""Denoise photos by the methods of scikit-image, each at the best of a few settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet

SIZES = ((7, 10), (5, 6))  # patch_size and patch_distance: windows of 21 and 13
DECAY = {True: {7: 0.8, 5: 0.6}, False: {7: 0.8, 5: 0.8}}  # h / σ by fast_mode and patch_size
WEIGHTS = (0.5, 0.6, 0.75, 0.9, 1.1, 1.3, 1.6)  # of total variation, in units of σ


@dataclass(frozen=True)
class Found:
    """A denoised photo.

    Parameters
    ----------
    psnr, seconds : float
    setting : str
        The setting that is best on the clean photo, of those tried.
    """

    psnr: float
    seconds: float
    setting: str = ""


def psnr(estimate: np.ndarray, clean: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB of an estimate clipped to [0, 1]."""
    return float(-10 * np.log10(np.mean((np.clip(estimate, 0, 1) - clean) ** 2)))


def timed(run: Callable[[], np.ndarray], clean: np.ndarray, setting: str = "") -> Found:
    """Run once, and return PSNR and seconds."""
    start = time.perf_counter()
    estimate = run()
    seconds = time.perf_counter() - start
    return Found(psnr(estimate, clean), seconds, setting)


def nonlocal_means(noisy: np.ndarray, clean: np.ndarray, sigma: float, fast: bool) -> Found:
    """Denoise by nonlocal means, at the better of two sizes."""
    return _best(
        timed(
            lambda patch=patch, distance=distance: denoise_nl_means(
                noisy, patch, distance, h=DECAY[fast][patch] * sigma, sigma=sigma,
                fast_mode=fast, channel_axis=_channels(noisy),
            ),
            clean,
            f"{patch}/{distance}",
        )
        for patch, distance in SIZES
    )  # fmt: skip


def total_variation(noisy: np.ndarray, clean: np.ndarray, sigma: float) -> Found:
    """Denoise by total variation, at the best of a grid of weights."""
    return _best(
        timed(
            lambda weight=weight: denoise_tv_chambolle(
                noisy, weight * sigma, channel_axis=_channels(noisy)
            ),
            clean,
            f"{weight}σ",
        )
        for weight in WEIGHTS
    )


def wavelets(noisy: np.ndarray, clean: np.ndarray, sigma: float) -> Found:
    """Denoise by thresholds of wavelet coefficients, the better of two rules."""
    colour = noisy.ndim == 3
    return _best(
        timed(
            lambda method=method: denoise_wavelet(
                noisy, sigma=sigma, method=method, rescale_sigma=True, convert2ycbcr=colour,
                channel_axis=_channels(noisy),
            ),
            clean,
            method,
        )
        for method in ("BayesShrink", "VisuShrink")
    )  # fmt: skip


def _channels(photo: np.ndarray) -> int | None:
    return -1 if photo.ndim == 3 else None


def _best(found: Iterable[Found]) -> Found:
    return max(found, key=lambda each: each.psnr)
