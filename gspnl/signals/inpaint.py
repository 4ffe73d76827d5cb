"""Inpaint a signal: compute its values at all nodes from those at some."""

from __future__ import annotations

from functools import partial
from typing import Any

from gspnl._base.array import Array
from gspnl._base.effort import Progress, takes_progress
from gspnl._base.validate import number, whole_number
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph
from gspnl.signals.checks import nonnegative, on_graph
from gspnl.signals.inpainting_methods import METHODS, Task
from gspnl.signals.inpainting_solver import solve
from gspnl.signals.masks import check_reach, known_nodes, mask_column, only_known


@takes_progress
def inpaint(
    graph: FeatureGraph,
    Z: Array,
    known: Any,
    method: str = "harmonic",
    *,
    strength: float | None = None,
    tol: float | None = None,
    max_steps: int | None = None,
    progress: Progress = None,
) -> Array:
    r"""Fill in the values of a signal at nodes where it is not known.

    With M the diagonal of ``known``, and the norm and inner product of ‖T⁻¹ · ‖ (D-weighted for
    random_walk, plain for all others):

    - "harmonic": :math:`\arg\min_Y ⟨Y, L Y⟩` with Y = Z where known. Known values are kept; at the
      other nodes :math:`(L Y)_i = 0` (Dirichlet problem): for random_walk each value is the
      weighted mean of all values.
    - "tikhonov": :math:`\arg\min_Y \|M (Y - Z)\|^2 + τ ⟨Y, L Y⟩`, that is (M + τL) Y = M Z: known
      values are smoothed too. τ → 0 gives "harmonic"; with every node known it is
      :func:`denoise`.
    - "heat": :math:`Y = m ∘ e^{-tL} M Z / e^{-tL} M m`, values and mask diffused for the time t
      (normalised convolution); m is the constant mode, 1 or (symmetric) √d.

    The first two are solved by conjugate gradients on the symmetric core, with one product with W
    in each step. On a fully-connected graph, whose spectrum is {0} and a narrow band, few steps are
    needed. Where they are slow, or do not certify eight digits, as on a graph that is nearly
    disconnected, the equations are solved by elimination without subtractions, up to 20,000 nodes
    of a dense W, or any number of a sparse one with a small bandwidth. "heat" is
    :meth:`FeatureGraph.filter`, exact by default.

    Parameters
    ----------
    graph : FeatureGraph
        Its weights must be non-negative.
    Z : array of shape (..., N, c), or (N,)
        Values at unknown nodes are ignored, and may be NaN.
    known : array of bool of shape (N,), or (..., N) for a batch
    method : {"harmonic", "tikhonov", "heat"}
    strength : float, optional
        τ or t, > 0; not for "harmonic".
    tol : float, optional
        Relative residual of each column, each node's equation divided by its diagonal; default
        1e-10 in float64, 1e-5 in float32. The error can be larger by a factor 1/λ, λ the smallest
        eigenvalue of the system, about the share of the known nodes; it is bounded, and kept below
        1e-5 (float32: 1e-2). For "heat": the certified
        error of a Chebyshev filter, well below the share of known nodes; default: the exact
        filter, which computes all eigenpairs of a dense W.
    max_steps : int, optional
        Largest number of steps of conjugate gradients; default: as many as cost less than
        elimination, or 1,000 where that does not fit.
    progress : bool or callable, optional
        See :func:`gspnl.progress`.

    Returns
    -------
    array of the shape of Z

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For an empty mask or one of another shape or dtype, nodes that no path joins to a known
        one, signed weights, or a strength that the method does not take.
    ConvergenceError
        If neither way reaches ``tol``, or the error has no small bound.

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
    value = number("strength", strength, above=0) if takes_strength else 0.0
    mask = known_nodes(graph, known)
    goal = number("tol", tol, above=0) if tol is not None else default_tol(affinity.eps)
    steps = None if max_steps is None else whole_number("max_steps", max_steps, 1)
    task = Task(
        graph, affinity, mask_column(mask, affinity.left), value, tol,
        partial(solve, tol=goal, max_steps=steps),
    )  # fmt: skip

    def run(z: Array) -> Array:
        check_reach(graph, mask)
        return fill(task, z)

    return on_graph(graph, run, only_known(graph, Z, mask))


def default_tol(eps: float) -> float:
    """Return a relative residual that rounding allows even where few nodes are known."""
    return 1e-10 if eps < 1e-10 else 1e-5
