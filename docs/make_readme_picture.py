"""Draw docs/_static/readme.png: python docs/make_readme_picture.py."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import gspnl

TARGET = Path(__file__).parent / "_static" / "readme.png"
SHOWN = (1, 2, 4, 7)  # modes that are told apart at a glance; 0 is the constant one
PIXEL = (250, 170)  # x, y: on the forehead


def main() -> None:
    photo = gspnl.images.load_photo(gspnl.images.default_photo())
    height, width = photo.shape[:2]
    X, Z = gspnl.images.photo_features(photo), gspnl.images.from_photo(photo)
    graph = gspnl.feature_graph(X, kernel="anchors", anchors=64)
    modes = gspnl.images.to_photo(graph.spectrum().modes(max(SHOWN) + 1), (height, width))
    smooth = gspnl.images.to_photo(graph.filter(Z, gspnl.responses.heat(3.0)), (height, width))

    figure = Figure(figsize=(10, 3.2), dpi=150, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01)
    left, middle, right, last = figure.subplots(1, 4)
    left.imshow(photo)
    left.set_title(f"{graph.n_nodes:,} pixels, all joined")
    middle.imshow(_mosaic([modes[..., k] for k in SHOWN]), cmap="PuOr_r", vmin=-1, vmax=1)
    middle.set_title("modes of the graph")
    gspnl.plotting.attention(graph, PIXEL[1] * width + PIXEL[0], photo, ax=right)
    right.images[-1].colorbar.remove()
    right.set_anchor("C")
    right.set_title("attention of one pixel", loc="left", fontsize="large")
    last.imshow(np.clip(smooth, 0, 1))
    last.set_title("heat diffusion, exact")
    for ax in (left, middle, last):
        ax.set_axis_off()
        ax.set_title(ax.get_title(), loc="left")
        ax.set_title("")

    file = io.BytesIO()
    figure.savefig(file, format="png")
    with Image.open(file) as image:
        image.convert("RGB").quantize(200).save(TARGET, optimize=True)
    print(f"{TARGET.name}: {TARGET.stat().st_size / 1000:.0f} kB")


def _mosaic(pictures: list[np.ndarray]) -> np.ndarray:
    """Four pictures, each scaled to ±1, as one; white between them."""
    scaled = [p / np.quantile(np.abs(p), 0.995) for p in pictures]
    height, width = pictures[0].shape
    tall, wide = np.zeros((height, 12)), np.zeros((12, 2 * width + 12))
    upper, lower = (np.hstack([a, tall, b]) for a, b in (scaled[:2], scaled[2:]))
    return np.vstack([upper, wide, lower])


if __name__ == "__main__":
    main()
