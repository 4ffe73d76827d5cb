"""Write the page of results of fourier_sums.py, and its picture of time against N."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from _measure import SEED, machine

from gspnl._base.rows import cores

Table = tuple[str, list[tuple[str, str]]]


def page(tables: list[Table], versions: str, seconds: float, picture: str) -> str:
    """Return the text of the page."""
    threads = os.environ.get("OMP_NUM_THREADS", "as by default")
    parts = [
        "---\norphan: true\n---\n# Fourier sums\n",
        '`gspnl bench fourier_sums`: rbf graphs with `approximation="fourier"`, uniform points in '
        f"the unit cube unless another set is named, float64, seed {SEED}. What is compared runs "
        "in turns; times are medians.",
        f"{machine()}, {versions}; OMP_NUM_THREADS: {threads}. gspnl and finufft use {cores()} "
        f"threads. The whole run took {seconds / 60:.0f} minutes.\n",
        "![Seconds against the number of points, on logarithmic axes: a line of slope 1]"
        f"({picture})\n",
    ]
    for title, rows in tables:
        parts.append(f"## {title}\n")
        parts.append("| what | result |\n|:--|:--|")
        parts[-1] += "".join(f"\n| {name} | {value.strip()} |" for name, value in rows) + "\n"
    return "\n".join(parts)


def draw(path: Path, sizes: list[int], seconds: list[float], title: str) -> None:
    """Plot seconds against N, with a line of slope 1 through the last point."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "gspnl"
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
    n = np.array(sizes, float)
    ax.loglog(n, seconds[-1] * n / n[-1], "--", color="#888888", label="slope 1")
    ax.loglog(n, seconds, "o-", color="#0072B2", label="graph and product")
    ax.set(xlabel="points N", ylabel="seconds", title=title)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    fig.savefig(path, metadata={"Date": None})
    plt.close(fig)
