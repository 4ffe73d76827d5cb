"""The channel weights of blocks: the paper's figure 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gspnl.errors import InputError
from gspnl.plotting._axes import COLOURS, GREY, curve_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gspnl.signals.stability import Damping

MARKERS = "osD^vP"


def top_eigenvalues(
    verdict: Damping | Mapping[str, Damping], k: int = 32, *, ax: Axes | None = None
) -> Axes:
    r"""Draw the k eigenvalues of largest magnitude of a block's channel weights.

    Figure 5 of the paper: of :math:`\tfrac12 (W_g W + (W_g W)^\top)`. Below 0, drawn hollow, the
    block damps what it is given; the legend tells the share of such eigenvalues among all, not only
    among those drawn, and how many differ from 0.

    Parameters
    ----------
    verdict : Damping, or mapping from name to Damping
        As :func:`gspnl.stability.damping` returns it, of one block or several.
    k : int
        ≥ 1.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    References
    ----------
    .. [1] L. Zhu, Q. She, L. Zhang and P. Guo, A spectral nonlocal block for neural networks,
       arXiv:1911.01059, figure 5.
    .. [2] Y. Tao, Q. Sun, Q. Du and W. Liu, Nonlocal neural networks, nonlocal diffusion and
       nonlocal modeling, NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> rng = np.random.default_rng(0)
    >>> W_g, W = rng.standard_normal((64, 32)), rng.standard_normal((32, 64))
    >>> ax = gspnl.plotting.top_eigenvalues({"NL": gspnl.stability.damping(W_g, W)})
    >>> ax.get_legend().get_texts()[0].get_text()
    'NL: 50 % of 64 negative, 64 not 0'
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InputError(f"k={k!r} must be a whole number ≥ 1")
    blocks = verdict if isinstance(verdict, Mapping) else {"": verdict}
    if not blocks:
        raise InputError("no blocks; pass one Damping or more, as gspnl.stability.damping gives")
    ax = curve_axes(ax)
    ax.axhline(0.0, color=GREY, linewidth=1.0)
    for i, (name, block) in enumerate(blocks.items()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        values = block.top(k)
        places = np.arange(1, len(values) + 1)
        label = (
            f"{name}{': ' if name else ''}{100 * block.negative:.0f} % of "
            f"{len(block.eigenvalues):,} negative, {block.rank:,} not 0"
        )
        ax.plot(places, values, color=colour, linewidth=1.0, marker=marker, markersize=5,
                label=label)  # fmt: skip
        # The verdict knows which zeros of a product of low rank are only rounding.
        below = np.isin(values, np.sort(block.eigenvalues)[: block.n_negative])
        ax.plot(places[below], values[below], marker, color=colour, markersize=5,
                markerfacecolor="white")  # fmt: skip
    ax.set_xlabel(f"number of the eigenvalue, of the {k:,} largest in magnitude")
    ax.set_ylabel("eigenvalue of the symmetric part")
    ax.legend(frameon=False)
    return ax
