"""Inpainting: values at all nodes from those at some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gspnl._array import Array, eps, float64, like, namespace
from gspnl.affinity import Affinity
from gspnl.errors import InputError
from gspnl.graph import FeatureGraph
from gspnl.operators.checks import amount, whole
from gspnl.operators.conjugate import conjugate_gradients
from gspnl.operators.edges import nonnegative, signals
from gspnl.operators.known import check_reach, flags, known_nodes, only_known
from gspnl.registry import Registry
from gspnl.responses import RESPONSES


@dataclass(frozen=True, eq=False)
class Task:
    """What a way to inpaint is given: checked, with zeros where nothing is known.

    Parameters
    ----------
    graph : FeatureGraph
    affinity : Affinity
    on : array of bool of shape (..., N, 1)
    strength : float
    tol : float or None
        As the caller gave it.
    solve : callable
        Conjugate gradients, ``solve(operator, b, diagonal)``, to the caller's tolerance.
    """

    graph: FeatureGraph
    affinity: Affinity
    on: Array
    strength: float
    tol: float | None
    solve: Callable[[Callable[[Array], Array], Array, Array], Array]


Method = Callable[[Task, Array], Array]
METHODS: Registry[tuple[Method, bool]] = Registry("method")  # with whether it takes a strength


def inpaint(
    graph: FeatureGraph,
    Z: Array,
    known: Any,
    method: str = "harmonic",
    *,
    strength: float | None = None,
    tol: float | None = None,
    max_steps: int = 1000,
) -> Array:
    r"""Fill in the values of a signal at nodes where it is not known.

    With M the diagonal of ``known``, and norm and product those of ‖T⁻¹ · ‖ (D-weighted for
    random_walk, plain for symmetric and bistochastic):

    - "harmonic": :math:`\arg\min_Y ⟨Y, L Y⟩` with Y = Z where known. Known values stay; at the
      others :math:`(L Y)_i = 0`, the Dirichlet problem: for random_walk each is the weighted mean
      of all.
    - "tikhonov": :math:`\arg\min_Y \|M (Y - Z)\|^2 + τ ⟨Y, L Y⟩`, that is (M + τL) Y = M Z: known
      values are smoothed too. τ → 0 is "harmonic"; with every node known it is
      :func:`denoise`.
    - "heat": :math:`Y = m ∘ e^{-tL} M Z / e^{-tL} M m`, values and mask diffused for the time t
      (normalised convolution); m is the constant mode, 1 or (symmetric) √d.

    The first two are solved by conjugate gradients on the symmetric core, a product with W a
    step; in few steps where the spectrum is {0} and a narrow band, as it is with every edge
    present. "heat" is :meth:`FeatureGraph.filter`, exact by default.

    Parameters
    ----------
    graph : FeatureGraph
        With non-negative weights.
    Z : array of shape (..., N, c), or (N,)
        Where a node is not known its values are not looked at, and may be NaN.
    known : array of bool of shape (N,), or (..., N) for a batch
    method : {"harmonic", "tikhonov", "heat"}
    strength : float, optional
        τ or t, > 0; none for "harmonic".
    tol : float, optional
        Of the relative residual of each column, each node's equation divided by its diagonal;
        default 1e-10 in float64, 1e-5 in float32. The error can be larger by 1/λ, λ the smallest
        eigenvalue of the system, about the share of the known nodes. For "heat": the certified
        error of a Chebyshev filter, well below the share of known nodes; default: the exact
        filter, which for a dense W takes all eigenpairs.
    max_steps : int
        Of conjugate gradients.

    Returns
    -------
    array of the shape of Z

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For a mask of another shape or dtype or with nothing in it, nodes that no path joins to a
        known one, signed weights, or a strength that the method does not take.
    ConvergenceError
        Where conjugate gradients do not reach ``tol``.

    References
    ----------
    Zhu, X., Ghahramani, Z. and Lafferty, J. (2003). Semi-supervised learning using Gaussian fields
    and harmonic functions. Knutsson, H. and Westin, C.-F. (1993). Normalized and differential
    convolution.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.linspace(0, 1, 5)[:, None]
    >>> graph = gspnl.feature_graph(X, kernel="rbf", sigma=0.1)
    >>> Z = np.array([0.0, np.nan, np.nan, np.nan, 1.0])
    >>> gspnl.inpaint(graph, Z, ~np.isnan(Z)).round(2)
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    affinity = nonnegative(graph, "inpaint")
    fill, takes_strength = METHODS[method]
    if takes_strength == (strength is None):
        raise InputError(
            f"method={method!r} needs strength=, a number > 0"
            if takes_strength
            else f"method={method!r} keeps known values and takes no strength; leave it out"
        )
    value = amount(strength, "strength", positive=True) if takes_strength else 0.0
    mask = known_nodes(graph, known)
    goal = amount(tol, "tol", positive=True) if tol is not None else default_tol(graph.degrees)
    steps = whole(max_steps, "max_steps", 1)
    task = Task(
        graph, affinity, flags(mask, graph.degrees), value, tol,
        partial(conjugate_gradients, tol=goal, max_steps=steps),
    )  # fmt: skip

    def run(z: Array) -> Array:
        check_reach(graph, mask)
        return fill(task, z)

    return signals(graph, run, only_known(graph, Z, mask))


def default_tol(sample: Array) -> float:
    """A residual that rounding allows even where few nodes are known."""
    return 1e-10 if eps(sample) < 1e-10 else 1e-5


def _harmonic(task: Task, z: Array) -> Array:
    """(I − S)_uu y_u = S_uk y_k, in the core."""
    affinity, on = task.affinity, task.on
    xp = namespace(z)
    rest, offset = _without_offset(task, z)
    zero = xp.zeros_like(rest)
    # A sum with an unknown node's row only: what a known node receives is of no interest.
    b = xp.where(on, zero, affinity.apply_core(rest / affinity.change[..., None]))

    def operator(y: Array) -> Array:
        return xp.where(on, zero, y - affinity.apply_core(y))

    y = affinity.change[..., None] * task.solve(operator, b, xp.ones_like(b[..., :1]))
    return xp.where(on, z, y + offset)


def _tikhonov(task: Task, z: Array) -> Array:
    """(M + τ (I − S)) y = M T⁻¹ z, in the core."""
    affinity, on = task.affinity, task.on
    xp = namespace(z)
    rest, offset = _without_offset(task, z)

    def operator(y: Array) -> Array:
        flow = y - affinity.apply_core(y)
        if affinity.isolated is not None:
            flow = xp.where(affinity.isolated[..., None], xp.zeros_like(flow), flow)
        return xp.where(on, y, xp.zeros_like(y)) + task.strength * flow

    b = rest / affinity.change[..., None]
    tau = task.strength * xp.ones_like(b[..., :1])
    y = task.solve(operator, b, xp.where(on, 1 + tau, tau))
    return affinity.change[..., None] * y + offset


def _heat(task: Task, z: Array) -> Array:
    mode = constant_mode(task.affinity)[..., None]
    xp = namespace(z)
    known = xp.where(task.on, mode, xp.zeros_like(mode))
    known = xp.broadcast_to(known, (*z.shape[:-1], 1))
    spread = task.graph.filter(
        xp.concat([z, known], axis=-1), RESPONSES["heat"](task.strength), tol=task.tol
    )
    below = spread[..., -1:]
    if bool(xp.any(below <= 4 * eps(z) * mode)):
        raise InputError(
            f"in the time strength={task.strength:g} the heat of known nodes reaches some others "
            "below rounding only; raise it, use float64, or method='harmonic'"
        )
    return mode * (spread[..., :-1] / below)


def constant_mode(affinity: Affinity) -> Array:
    """The mode m > 0 of λ = 0, L m = 0: 1, or √d as symmetric has it; 1 on isolated nodes."""
    xp = namespace(affinity.left)
    if affinity.row_stochastic:
        return xp.ones_like(affinity.left)
    live = affinity.core_scale > 0
    one = xp.ones_like(affinity.left)
    return xp.where(live, 1 / xp.where(live, affinity.core_scale, one), one)


def _without_offset(task: Task, z: Array) -> tuple[Array, Array]:
    """Known values less their best multiple of m, and that multiple: L does not see it.

    What is solved for is then of the size of the variation, however large the values are.
    """
    xp = namespace(z)
    mode = constant_mode(task.affinity)[..., None]
    scale = float64(mode / task.affinity.change[..., None])
    scale = xp.where(task.on, scale, xp.zeros_like(scale))
    top = xp.sum(scale * float64(z / task.affinity.change[..., None]), axis=-2, keepdims=True)
    mean = like(top / xp.sum(scale * scale, axis=-2, keepdims=True), z)
    rest = xp.where(task.on, z - mean * mode, xp.zeros_like(z))
    return rest, mean * mode


METHODS.register("harmonic")((_harmonic, False))
METHODS.register("tikhonov")((_tikhonov, True))
METHODS.register("heat")((_heat, True))
