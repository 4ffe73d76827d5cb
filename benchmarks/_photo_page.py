"""Write the page of results of photo_denoising as Markdown tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from _measure import SEED, machine
from _photo_peers import WEIGHTS, Found

from gspnl._base.rows import cores

METHODS = (
    "noisy", "polynomial", "σ unknown", "heat", "NLM exact", "NLM fast", "TV", "wavelets"
)  # fmt: skip
PEERS = METHODS[4:]
CLOSE = 0.2  # dB


@dataclass(frozen=True)
class Row:
    """Results of one photo at one noise."""

    photo: str
    noise: int
    shape: tuple[int, ...]
    found: dict[str, Found]
    risks: dict[str, float]


def page(rows: list[Row], versions: str, seconds: float) -> str:
    """Return the text of the page."""
    threads = os.environ.get("OMP_NUM_THREADS", "as by default")
    parts = [
        "---\norphan: true\n---\n# Denoising photos\n",
        "`gspnl bench photo_denoising`: five photos that ship with scikit-image, in full size and "
        f"as floats in [0, 1], with white noise (seed {SEED}, not clipped). PSNR is in dB, of "
        "estimates clipped to [0, 1]. Times are those of one run.",
        f"{machine()}, {versions}; OMP_NUM_THREADS: {threads}. gspnl uses {cores()} threads, "
        f"scikit-image's nonlocal means one. The whole run took {seconds / 60:.0f} minutes.\n",
        "- **polynomial**: `gspnl.images.denoise_photo(photo, sigma)`; **σ unknown**: without "
        '`sigma`, which is estimated; **heat**: with `method="heat"`.',
        "- **NLM exact**, **NLM fast**: `denoise_nl_means` with `fast_mode=False` and `True`, "
        "`sigma=σ`, at the better of two sizes: `patch_size=7, patch_distance=10, h=0.8σ` and "
        "`5, 6`, as in its documentation (`h=0.8σ` exact, `0.6σ` fast).",
        "- **TV**: `denoise_tv_chambolle` at the best of the weights "
        f"{', '.join(map(str, WEIGHTS))} times σ, picked by the clean photo.",
        "- **wavelets**: `denoise_wavelet`, the better of BayesShrink and VisuShrink, "
        "`rescale_sigma=True`, in YCbCr for colour.",
        "- Sizes, weights and rules of the peers are picked by the clean photo, which favours "
        "them. gspnl sees only the noisy photo and σ.\n",
        "## PSNR\n",
        _table(rows, METHODS, lambda row, name: row.found[name].psnr),
        "Chosen settings: " + _settings(rows) + "\n",
        "## Seconds\n",
        _table(rows, METHODS[1:], lambda row, name: row.found[name].seconds),
        _ratio(rows),
        "## Wins and losses\n",
        *_differences(rows, "polynomial", PEERS),
        *_differences(rows, "σ unknown", ("NLM exact",)),
        "\n## The risk against the truth\n",
        "Both rules see the noisy photo and σ. **risk** takes the estimate through the "
        "construction of the graph; **independent** takes the graph as independent of the noise. "
        "**best**: for heat and Tikhonov the best power of ∜2 on the clean photo, for the "
        "polynomial the least-squares fit to the clean photo. Losses may be negative by a little: "
        "a strength between two of them may be better, and the fit is that of the photo before "
        "clipping.\n",
        *(_risk(rows, method) for method in ("heat", "tikhonov", "polynomial")),
    ]
    return "\n".join(parts)


def _table(rows: list[Row], names: Iterable[str], value: Callable[[Row, str], float]) -> str:
    names = list(names)
    lines = ["| photo | σ | " + " | ".join(names) + " |", "|:--|--:|" + "--:|" * len(names)]
    lines += [
        f"| {row.photo} | {row.noise} | "
        + " | ".join(f"{value(row, name):.2f}" for name in names)
        + " |"
        for row in rows
    ]
    for noise in sorted({row.noise for row in rows}):
        some = [row for row in rows if row.noise == noise]
        means = [float(np.mean([value(row, name) for row in some])) for name in names]
        lines.append(f"| **mean** | {noise} | " + " | ".join(f"**{m:.2f}**" for m in means) + " |")
    return "\n".join(lines) + "\n"


def _settings(rows: list[Row]) -> str:
    parts = []
    for name in ("σ unknown", "NLM exact", "NLM fast", "TV", "wavelets"):
        taken = ", ".join(row.found[name].setting for row in rows)
        parts.append(f"{name} {taken}")
    return "in the order of the rows: " + "; ".join(parts) + "."


def _ratio(rows: list[Row]) -> str:
    ours, exact = (
        sum(row.found[name].seconds for row in rows) for name in ("polynomial", "NLM exact")
    )
    return (
        f"`denoise_photo` takes {ours / exact:.2f} times as long as NLM exact, over all rows, each "
        "at the size in the table of PSNR.\n"
    )


def _differences(rows: list[Row], ours: str, peers: Iterable[str]) -> list[str]:
    lines = []
    for noise in sorted({row.noise for row in rows}):
        some = [row for row in rows if row.noise == noise]
        for peer in peers:
            gains = [row.found[ours].psnr - row.found[peer].psnr for row in some]
            lost = [f"{row.photo} by {-g:.2f}" for row, g in zip(some, gains, strict=True) if g < 0]
            lines.append(
                f"- σ = {noise}, {ours} beside {peer}: {np.mean(gains):+.2f} dB on the mean; "
                + ("loses on " + ", ".join(lost) if lost else "better on every photo")
                + "."
            )
    return lines


def _risk(rows: list[Row], method: str) -> str:
    rules = [rule for rule in ("risk", "independent") if f"{method}: {rule}" in rows[0].risks]
    columns = ["best", *rules, *(f"loss of {rule}" for rule in rules)]

    def value(row: Row, column: str) -> float:
        if column.startswith("loss of "):
            chosen = row.risks[f"{method}: {column.removeprefix('loss of ')}"]
            return row.risks[f"{method}: best"] - chosen
        return row.risks[f"{method}: {column}"]

    worst = max(rows, key=lambda row: value(row, "loss of risk"))
    most = value(worst, "loss of risk")
    verdict = "within" if most <= CLOSE else "NOT within"
    return (
        f"### {method.capitalize()}\n\n{_table(rows, columns, value)}\n"
        f"The largest loss of the risk is {most:.2f} dB ({worst.photo}, σ = {worst.noise}): "
        f"{verdict} {CLOSE} dB everywhere.\n"
    )
