"""Five photos at three noises: PSNR and time beside scikit-image's methods, risk against truth.

Needs ``pip install scikit-image PyWavelets``; the photos ship with scikit-image. ``--small`` takes
crops of 128 × 128 pixels. A full run writes ``docs/results/photo_denoising.md`` of a checkout.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pywt
import skimage
from _measure import SEED, report
from _photo_page import Row, page
from _photo_peers import Found, nonlocal_means, psnr, timed, total_variation, wavelets
from skimage import data

import gspnl
from gspnl.errors import EstimateWarning

PHOTOS = ("camera", "astronaut", "coffee", "chelsea", "coins")
NOISES = (15, 25, 50)  # of 255
LOGS = range(-4, 11)  # log2 of the strengths tried on the clean photo
STEPS = (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75)  # of the logarithm around the best of them
BEYOND = 2  # strengths of lower PSNR after which that search ends
ORDER = 5  # of the polynomial
PAGE = Path(__file__).parent.parent / "docs" / "results" / "photo_denoising.md"


def tables(clean: np.ndarray, sigma: float) -> tuple[dict[str, Found], dict[str, float]]:
    """Denoise one photo by all methods, and compare the choices by risk with the clean photo."""
    noisy = clean + sigma * np.random.default_rng(SEED).standard_normal(clean.shape)

    def unknown() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EstimateWarning)
            return gspnl.images.denoise_photo(noisy)

    found = {
        "noisy": Found(psnr(noisy, clean), 0.0),
        "polynomial": timed(lambda: gspnl.images.denoise_photo(noisy, sigma), clean),
        "σ unknown": timed(unknown, clean, f"{255 * gspnl.images.estimate_noise(noisy):.1f}"),
    }
    risks = by_risk(noisy, clean, sigma, found)
    risks["polynomial: risk"] = found["polynomial"].psnr
    found["NLM exact"] = nonlocal_means(noisy, clean, sigma, fast=False)
    found["NLM fast"] = nonlocal_means(noisy, clean, sigma, fast=True)
    found["TV"] = total_variation(noisy, clean, sigma)
    found["wavelets"] = wavelets(noisy, clean, sigma)
    return found, risks


def by_risk(
    noisy: np.ndarray, clean: np.ndarray, sigma: float, found: dict[str, Found]
) -> dict[str, float]:
    """Compare strengths of least risk with the best ones; add ``heat`` to the methods found."""
    start = time.perf_counter()
    graph = gspnl.images.patch_graph(noisy, noise=sigma)
    seconds = time.perf_counter() - start
    pixels = noisy.reshape(graph.n_nodes, -1)
    assert graph.source is not None
    independent = dataclasses.replace(graph, source=None)
    rebuild = remembered(graph.source.rebuild)
    risks = {}

    def smooth(method: str, strength: float, tol: float | None = None) -> np.ndarray:
        return np.asarray(gspnl.denoise(graph, pixels, method, strength=strength, tol=tol))

    for method in ("heat", "tikhonov"):
        start = time.perf_counter()
        strength = gspnl.choose_strength(graph, pixels, method, sigma=sigma, rebuild=rebuild)
        seconds += time.perf_counter() - start
        chosen = timed(
            lambda m=method, s=strength: smooth(m, s).reshape(clean.shape), clean, f"{strength:.2g}"
        )
        if method == "heat":
            found["heat"] = dataclasses.replace(chosen, seconds=seconds + chosen.seconds)
        alone = gspnl.choose_strength(independent, pixels, method, sigma=sigma)
        risks[f"{method}: best"] = best_psnr(
            lambda s, m=method: psnr(smooth(m, s, 1e-4).reshape(clean.shape), clean)
        )
        risks[f"{method}: risk"] = chosen.psnr
        risks[f"{method}: independent"] = psnr(smooth(method, alone).reshape(clean.shape), clean)
    risks["polynomial: best"] = psnr(best_polynomial(graph, pixels, clean), clean)
    return risks


def best_psnr(at: Callable[[float], float]) -> float:
    """Return the best PSNR over powers of 2, then of ∜2 around the best of them."""
    tried: list[float] = []
    for log in LOGS:
        tried.append(at(2.0**log))
        if int(np.argmax(tried)) < len(tried) - BEYOND:
            break
    middle = LOGS[int(np.argmax(tried))]
    return max(tried + [at(2.0 ** (middle + step)) for step in STEPS])


def remembered(
    rebuild: Callable[[np.ndarray], gspnl.FeatureGraph],
) -> Callable[[np.ndarray], gspnl.FeatureGraph]:
    """Build the graphs of the same signals once, for the rules that draw the same ones."""
    built: list[tuple[np.ndarray, gspnl.FeatureGraph]] = []

    def again(Z: np.ndarray) -> gspnl.FeatureGraph:
        for signals, graph in built:
            if np.array_equal(signals, Z):
                return graph
        built.append((np.array(Z), rebuild(Z)))
        return built[-1][1]

    return again


def best_polynomial(graph: gspnl.FeatureGraph, pixels: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Fit the polynomial of gain 1 at λ = 0 to the clean photo by least squares."""
    powers = [graph.laplacian(pixels)]
    for _ in range(1, ORDER):
        powers.append(graph.laplacian(powers[-1]))
    basis = np.stack([each.ravel() for each in powers], axis=1)
    missing = clean.ravel() - pixels.ravel()
    return (pixels.ravel() + basis @ np.linalg.lstsq(basis, missing)[0]).reshape(clean.shape)


def main() -> None:
    """Run all photos and noises, print the figures and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="crops of 128 × 128 pixels")
    parser.add_argument("--out", type=Path, help="write the page there")
    options = parser.parse_args()
    out = options.out
    if out is None and not options.small and PAGE.parent.is_dir():
        out = PAGE
    rows: list[Row] = []
    begun = time.perf_counter()
    for name in PHOTOS:
        clean = skimage.img_as_float(getattr(data, name)())
        if options.small:
            clean = clean[100:228, 100:228]
        for noise in NOISES:
            found, risks = tables(clean, noise / 255)
            rows.append(Row(name, noise, clean.shape, found, risks))
            report(
                f"{name}, σ = {noise}/255: PSNR in dB, seconds, setting",
                [
                    (method, f"{each.psnr:.2f}  {each.seconds:6.2f}  {each.setting}")
                    for method, each in found.items()
                ]
                + [(rule, f"{value:.2f}") for rule, value in risks.items()],
            )
    versions = f"scikit-image {skimage.__version__}, PyWavelets {pywt.__version__}"
    if out is not None:
        out.write_text(page(rows, versions, time.perf_counter() - begun), encoding="utf-8")
        print(f"\nwritten: {out}")


if __name__ == "__main__":
    main()
