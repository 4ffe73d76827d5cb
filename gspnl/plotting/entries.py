"""Plot histograms of the entries of A, A², A³, A⁴, figure 2 of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gspnl.plotting._axes import COLOURS, LEAST_COUNT, curve_axes
from gspnl.plotting._style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gspnl.signals.stability import Strengths

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@styled
def strengths(figure: Strengths, *, ax: Axes | None = None) -> Axes:
    r"""Draw the histograms of A, A², A³, A⁴, with the distances of the matrices in the legend.

    Figure 2 of the paper concludes :math:`A^k = A` from such a picture. That does not follow: a
    histogram does not show where an entry is. The legend gives :math:`\|A^k - A\|_F / \|A\|_F`,
    which decides, and the share of entries by which the histograms differ.

    Parameters
    ----------
    figure : Strengths
        Result of :func:`gspnl.stability.strengths`.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With a logarithmic axis of counts.

    References
    ----------
    .. [1] L. Zhu, Q. She, L. Zhang and P. Guo, A spectral nonlocal block for neural networks,
       arXiv:1911.01059, figure 2.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> swap = np.kron(np.eye(8), [[0.0, 1.0], [1.0, 0.0]])
    >>> ax = gspnl.plotting.strengths(gspnl.stability.strengths(swap, powers=[1, 2]))
    >>> print(ax.get_legend().get_texts()[1].get_text())
    A²: histogram 0.0 % apart, ‖A² − A‖ = 1.41 ‖A‖
    """
    ax = curve_axes(ax)
    names = ["A" if k == 1 else "A" + str(k).translate(SUPERSCRIPTS) for k in figure.powers]
    first = names[0]
    drawn = zip(names, figure.counts, figure.distances, figure.defects, strict=True)
    for i, (name, counts, distance, defect) in enumerate(drawn):
        label = name
        if i:
            label += (
                f": histogram {100 * distance:.1f} % apart, "
                f"‖{name} − {first}‖ = {_short(defect)} ‖{first}‖"
            )
        # The first line is the widest, so that lines that coincide are all visible.
        ax.stairs(counts, figure.edges, color=COLOURS[i % len(COLOURS)], label=label,
                  linewidth=max(1.2, 4.2 - i), baseline=None)  # fmt: skip
    ax.set_yscale("log")
    peak = max(2.0, float(figure.counts.max()))
    room = (peak / LEAST_COUNT) ** (0.1 + 0.12 * len(names))  # for the legend
    ax.set_ylim(LEAST_COUNT, peak * room)
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel("strength: an entry of the matrix")
    ax.set_ylabel("entries in a bin")
    ax.legend(frameon=False, loc="upper right")
    return ax


def _short(x: float) -> str:
    return f"{x:.2f}" if x >= 0.1 else f"{x:.2g}"
