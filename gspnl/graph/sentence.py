"""State in a sentence what a graph can and cannot do, and the remedy where it only averages."""

from __future__ import annotations

from typing import Any

from gspnl.affinity.kernels import Gaussian, Kernel
from gspnl.affinity.normalization import NORMALIZATIONS

AVERAGING = 0.8  # λ₂/s above which every mode but the constant one nearly vanishes in a product
ALONE = 0.8  # self-weight of a median row above which filters nearly return the signal
CONNECTED = 0.1  # λ/s below which a mode hardly changes in a product
NEAR = ("local", "adaptive")  # rules that take sigma from near neighbours
LOCAL = "gspnl.neighbor_graph(X)"


def remedy(kernel: Kernel, storage: str) -> str:
    """Return what to build instead of a graph of this kernel that only averages."""
    sigma = getattr(kernel, "sigma", None)
    if on_neighbors(kernel):
        return f"build it with a smaller k= than {getattr(kernel, 'k', None)}"
    if hasattr(kernel, "temperature"):
        return f"build it with a smaller temperature= than {kernel.temperature:g}, or {LOCAL}"
    if isinstance(kernel, Gaussian):
        return (
            "scale the features up, or build it with kernel='embedded_gaussian' and a temperature= "
            f"below 1, or {LOCAL}"
        )
    if hasattr(kernel, "signed"):
        return "keep fewer edges, those to near neighbours, or lower the weights of the others"
    if sigma in NEAR and hasattr(kernel, "anchors"):
        return f"build it with more anchors= than {kernel.anchors}, or {LOCAL}"
    if sigma in NEAR:
        return f"build it with {LOCAL}, or a small number as sigma="
    if hasattr(kernel, "sigma") and not hasattr(kernel, "anchors"):
        than = f" than {sigma:g}" if isinstance(sigma, (int, float)) else ""
        local = "" if storage == "lowrank" else "sigma='local' or "  # it has no low rank
        return f"build it with {local}a smaller sigma={than}, or {LOCAL}"
    return f"leave kernel= out, which chooses sigma from the data, or build it with {LOCAL}"


def on_neighbors(kernel: Kernel) -> bool:
    """Tell whether a kernel holds between k neighbours only."""
    return hasattr(kernel, "k") and hasattr(kernel, "kernel")


def sentence(d: Any, kernel: Kernel, second: float | None, *, symmetric: bool) -> str:
    """Return one sentence on a description ``d``; ``second`` is λ₂/s, None without one."""
    live = d.nodes - d.isolated
    name = second_name(d.normalization)
    equals = "≤" if bounded(d.second, d.second_error) else "="
    if not live:
        return (
            "No node has an edge: products and filters with g(0) = 1 return the signal itself; "
            "widen the kernel, or add edges."
        )
    alone = ""
    if d.isolated:
        alone = f"; {_isolated(d.isolated)}"
    if not symmetric:
        return (
            "softmax weights are not symmetrised, so this graph has no real spectrum: no λ₂ and no "
            "clusters; products, graph.directed_spectrum() and filters by smooth responses work, "
            f"and normalization='random_walk' gives the rest{alone}."
        )
    if d.self_weight > ALONE:
        return (
            f"A median node keeps {100 * d.self_weight:.0f} % of its weight to itself: filters "
            f"nearly return the signal, and little spreads; {_wider(kernel)}{alone}."
        )
    joined = None if d.components is None else d.components - d.isolated
    if joined is not None and joined > 1:
        return (
            f"{joined:,} components without edges between them, the largest with "
            f"{d.largest_component:,} of {d.nodes:,} nodes: nothing passes from one to another, so "
            f"each needs labels of its own; {_joining(kernel)} would join them{alone}."
        )
    if second is None:
        return f"A single node has an edge, to itself, so there is nothing to filter{alone}."
    if second > AVERAGING:
        return (
            f"{name} = {second:.2f}: this graph averages; filters and label propagation return "
            f"nearly the mean, and no clusters stand apart; {remedy(kernel, d.storage)}{alone}."
        )
    if second < -1e-6:
        return (
            f"{name} = {second:.2g} is negative, as negative weights allow: filters amplify some "
            f"differences, and clusters and labels are not defined{alone}."
        )
    if d.groups is not None and d.groups > 1:
        return (
            f"{d.groups} small eigenvalues stand apart: clustering into about {d.groups} groups, "
            f"label propagation and denoising follow its structure{alone}."
        )
    if second < CONNECTED:
        return (
            f"{name} {equals} {second:.2g} and no gap found behind it: denoising, label "
            "propagation and clustering follow its shape, and the number of clusters is not "
            f"clear{alone}."
        )
    return (
        f"{name} = {second:.2f} and no separate groups: denoising and label propagation follow its "
        f"structure in part, and clusters are cuts through a connected whole; {_nearer(kernel)} "
        f"shows more of it{alone}."
    )


def bounded(second: float | None, error: float) -> bool:
    """Tell whether λ₂ is known by an upper bound only."""
    return second is not None and error > max(1e-6, 0.25 * abs(second))


def second_name(normalization: str) -> str:
    """Return the name of λ₂ on the scale of [0, 2]."""
    return "λ₂/s" if NORMALIZATIONS[normalization].regular else "λ₂"


def _isolated(n: int) -> str:
    if n == 1:
        return "1 node has no edges and is left as it is"
    return f"{n:,} nodes have no edges and are left as they are"


def _joining(kernel: Kernel) -> str:
    if on_neighbors(kernel):
        return "a larger k="
    return "more neighbours" if hasattr(kernel, "signed") else "a wider kernel"


def _wider(kernel: Kernel) -> str:
    if hasattr(kernel, "signed"):
        return "raise the weights between nodes, or lower those of self-loops"
    for name in ("sigma", "temperature"):
        if hasattr(getattr(kernel, "kernel", kernel), name):
            return f"build it with a larger {name}="
    return "build it with self_loops=False, or another kernel"


def _nearer(kernel: Kernel) -> str:
    if on_neighbors(kernel):
        return "a smaller k="
    return "a graph of nearer neighbours" if hasattr(kernel, "signed") else "a narrower kernel"
