"""Plot the top eigenvalues of the channel weights of blocks, figure 5 of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.plotting._axes import COLOURS, GREY, curve_axes
from gspnl.plotting._style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gspnl.signals.stability import Damping

MARKERS = "osD^vP"


@styled
def top_eigenvalues(
    verdict: Damping | Mapping[str, Damping], k: int = 32, *, ax: Axes | None = None
) -> Axes:
    r"""Draw the k eigenvalues of largest magnitude of a block's channel weights.

    They are those of :math:`\tfrac12 (W_g W + (W_g W)^\top)`, as in figure 5 of the paper. Negative
    eigenvalues, along which the block damps its input, have hollow markers. The legend gives their
    share among all eigenvalues, not only among the k, and the number of eigenvalues that are not 0.

    Parameters
    ----------
    verdict : Damping, or mapping from name to Damping
        Result of :func:`gspnl.stability.damping` for one block or several.
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
    k = whole_number("k", k, 1)
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
        # The verdict counts zeros of a low-rank product as zeros, despite rounding.
        below = np.isin(values, np.sort(block.eigenvalues)[: block.n_negative])
        ax.plot(places[below], values[below], marker, color=colour, markersize=5,
                markerfacecolor="white")  # fmt: skip
    ax.set_xlabel(f"number of the eigenvalue, of the {k:,} largest in magnitude")
    ax.set_ylabel("eigenvalue of the symmetric part")
    ax.legend(frameon=False)
    return ax
