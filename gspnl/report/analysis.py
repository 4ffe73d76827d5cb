"""Analyse a photo as a graph of its pixels: spectrum, modes, segments, filters, attention."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from gspnl.errors import InputError
from gspnl.filters.partial_spectrum import PartialSpectrum
from gspnl.filters.spectrum import Spectrum
from gspnl.graph.graph import FeatureGraph
from gspnl.plotting.comparison import Comparison, compare
from gspnl.plotting.spectra import multiplicities
from gspnl.report.clock import Clock
from gspnl.report.graphs import eigenpairs, photo_graph
from gspnl.report.segments import Segments, segment
from gspnl.report.settings import Settings
from gspnl.signals import images

log = logging.getLogger(__name__)

MODES = 8  # shown, without the constant mode
VIEWS = 4  # reference pixels where the settings name none


@dataclass(frozen=True, eq=False)
class Analysis:
    """Results of the analysis of a photo of N = H W pixels.

    Attributes
    ----------
    name : str
        Name of the file.
    photo : array of shape (H, W, 3)
    full_size : (int, int)
        (H, W) of the photo in the file.
    features : array of shape (N, C)
    graph, spectrum, table
        The graph, its eigenpairs (of a Fourier sum the lowest), and the comparison over orders.
    modes : array of shape (N, k)
        Modes of the smallest λ, the constant mode first; k ≤ 9.
    mode_values : array of shape (k,)
        λ of each mode.
    segments : Segments
    smooth : array of shape (N, 3)
        g(L) Z of the photo's colours Z.
    pixels : list of (int, int)
        Reference pixels, (x, y) in the photo at full size.
    nodes : list of int
        The node that each pixel belongs to.
    rows : array of shape (len(nodes), N)
        Attention of each reference pixel: its row of A.
    """

    settings: Settings
    name: str
    photo: np.ndarray
    full_size: tuple[int, int]
    features: np.ndarray
    graph: FeatureGraph
    spectrum: Spectrum | PartialSpectrum
    modes: np.ndarray
    mode_values: np.ndarray
    segments: Segments
    smooth: np.ndarray
    table: Comparison
    pixels: list[tuple[int, int]]
    nodes: list[int]
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.photo.shape[0], self.photo.shape[1]

    @property
    def leading(self) -> np.ndarray:
        """The modes without the constant one, (N, k − 1)."""
        return without_constant(self.modes)

    @property
    def signals(self) -> np.ndarray:
        """Z, the photo's colours, (N, 3)."""
        return images.from_photo(self.photo)

    @property
    def smoothing(self) -> bool:
        """Whether g(0) = 1 and g decreases over the spectrum without falling below 0."""
        lam = np.asarray(self.spectrum.eigenvalues)
        if isinstance(self.spectrum, PartialSpectrum):
            lam = np.append(lam, np.linspace(lam[-1], max(1.0, lam[-1]), 200))
        g = np.asarray(self.settings.response_function(lam))
        return bool(g.ndim and abs(g[0] - 1) < 1e-6 and g.min() >= 0 and np.diff(g).max() <= 1e-12)

    @property
    def enhanced(self) -> np.ndarray:
        """Z + (Z − g(L) Z), (N, 3): what the filter removes is doubled."""
        return np.asarray(2 * self.signals - self.smooth)


def analyse(image: str | PathLike[str] | None, settings: Settings, clock: Clock) -> Analysis:
    """Load a photo (None: the default photo) and analyse its graph."""
    path = images.default_photo() if image is None else image
    with clock.step("photo", str(path)):
        photo, full_size = images.read_photo(path, max_pixels=settings.max_nodes)
    height, width = photo.shape[:2]
    if (height, width) != full_size:
        log.info(
            "note: %d × %d pixels were scaled down to %d × %d; raise --max-nodes to keep more",
            full_size[1], full_size[0], width, height,
        )  # fmt: skip
    if height * width < 2:
        raise InputError(
            f"{str(path)!r} has 1 pixel, and a graph needs 2 nodes; pass a larger photo"
        )
    pixels = list(settings.pixels)
    nodes = [_node(pixel, full_size, (height, width)) for pixel in settings.pixels]
    with clock.step("features"):
        features = images.photo_features(
            photo, colour=settings.colour, position=settings.position, patch=settings.patch
        )
    with clock.step("graph", f"{height * width:,} nodes, kernel {settings.kernel}"):
        graph = photo_graph(features, settings)
    if graph.storage == "fourier":
        log.info("note: %s", graph.approximation)
    lowest = f"lowest {MODES + 1}" if graph.storage == "fourier" else "exact"
    with clock.step("spectrum", lowest):
        spectrum = eigenpairs(graph, settings, MODES + 1)
    with clock.step("modes", "and segments"):
        values = np.repeat(spectrum.eigenvalues, multiplicities(spectrum))[: MODES + 1]
        values = values[: max(1, int((values < 1).sum()))]
        modes = spectrum.modes(len(values))
        signals = images.from_photo(photo)
        segments = segment(without_constant(modes), signals, settings.seed)
    response = settings.response_function
    with clock.step("filter", f"exact, {settings.response}"):
        smooth = graph.filter(signals, response)
    with clock.step("compare", f"Chebyshev, orders {settings.orders}"):
        table = compare(graph, signals, response, settings.order_list)
    with clock.step("attention"):
        views = range(min(VIEWS, len(segments.shares)))
        if not nodes:
            nodes = [segments.innermost(label, (height, width)) for label in views]
            pixels = [_pixel(node, full_size, (height, width)) for node in nodes]
        rows = graph.rows(nodes)
    return Analysis(
        settings, printable(path), photo, full_size, features, graph, spectrum, modes,
        values, segments, smooth, table, pixels, nodes, rows,
    )  # fmt: skip


def printable(path: str | PathLike[str]) -> str:
    """The file name of a path, with a replacement character for each undecodable byte."""
    return os.fsencode(Path(path).name).decode("utf-8", "replace")


def without_constant(modes: np.ndarray) -> np.ndarray:
    """All modes but the first; the first itself where it is the only one."""
    return modes[:, 1:] if modes.shape[1] > 1 else modes


def _pixel(node: int, full_size: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """The central one, (x, y), of the full-size pixels that a node covers."""
    row, column = divmod(node, shape[1])

    def middle(i: int, whole: int, part: int) -> int:
        first, beyond = -(-i * whole // part), -(-(i + 1) * whole // part)
        return (first + beyond - 1) // 2

    return middle(column, full_size[1], shape[1]), middle(row, full_size[0], shape[0])


def _node(pixel: tuple[int, int], full_size: tuple[int, int], shape: tuple[int, int]) -> int:
    """The node that a pixel (x, y) of the full-size photo belongs to."""
    x, y = pixel
    if x >= full_size[1] or y >= full_size[0]:
        raise InputError(
            f"pixel={x},{y} lies outside the photo of {full_size[1]} × {full_size[0]} pixels; pass "
            f"X,Y with 0 ≤ X < {full_size[1]} and 0 ≤ Y < {full_size[0]}"
        )
    return (y * shape[0] // full_size[0]) * shape[1] + x * shape[1] // full_size[1]
