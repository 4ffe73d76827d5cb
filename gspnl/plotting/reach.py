"""Plot rows of nonlocal operators: how far they reach from a node, figure 1 of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph, single_graph
from gspnl.graph.nodes import node_numbers
from gspnl.plotting._axes import COLOURS, curve_axes, ring, tiles
from gspnl.plotting._style import colours, styled
from gspnl.plotting.pictures import DIVERGING
from gspnl.responses import RESPONSES
from gspnl.signals.images import to_photo
from gspnl.signals.localize import filter_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gspnl.responses import Response

SHARE = 0.9  # share of Σ|g(L)_ij| within the reach
FAINT = 1e-8  # lower end of the axis, in multiples of 1/N
STYLES = ((3.6, "-"), (2.4, (0, (4, 2))), (1.6, (0, (1, 1.5))))  # visible where curves coincide


@styled
def attention_range(
    graph: FeatureGraph,
    node: int,
    *,
    operators: Mapping[str, Response] | None = None,
    shape: tuple[int, int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw row i of NL, NS and SNL, which shows how far each reaches from a node.

    .. math:: \text{NL: } A_{ij}, \quad \text{NS: } A_{ij} - δ_{ij}, \quad
        \text{SNL: } w_1 δ_{ij} + w_2 A_{ij}

    On one channel the three differ only at the node itself and in scale: they average the same
    nodes in the same proportions. The *reach* is the least number of nodes that hold 90 % of
    :math:`\sum_j |g(L)_{ij}|`.

    Parameters
    ----------
    graph : FeatureGraph
        One graph, any normalisation.
    node : int
        i; negative ones count from the end.
    operators : mapping from name to g(λ), optional
        Default: ``nl()``, ``ns()`` and ``snl(1, 1)``. Responses that are not linear in λ are
        filtered exactly.
    shape : (int, int), optional
        (H, W) of a photo whose pixels are the nodes, row by row; draws pictures instead of curves.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        In multiples of 1/N. Curves: magnitudes in descending order, the node itself as a ring.
        Pictures: signed values on one common scale, up to the largest magnitude outside the node;
        the titles give :math:`g(L)_{ii}` and the reach.

    Raises
    ------
    InputError
        For a batch, no operators, a node outside the graph, or a shape that its nodes do not fill.
    NonsymmetricError
        For a response that is not linear in λ on a softmax graph.

    References
    ----------
    .. [1] L. Zhu, Q. She, L. Zhang and P. Guo, A spectral nonlocal block for neural networks,
       arXiv:1911.01059, figure 1.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).random((500, 3))
    >>> ax = gspnl.plotting.attention_range(gspnl.feature_graph(X, kernel="dot"), 7)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['NL: reach 400 nodes', 'NS: reach 336 nodes', 'SNL: reach 336 nodes', 'the node itself']
    """
    single_graph(graph, "attention_range")
    if operators is None:
        operators = {name.upper(): RESPONSES[name]() for name in ("nl", "ns", "snl")}
    if not operators:
        raise InputError("operators is empty; pass for example {'NL': gspnl.responses.nl()}")
    n = graph.n_nodes
    chosen = node_numbers("node", node, n)
    if chosen.ndim:
        raise InputError(f"node={node!r} must be one node number")
    own = int(chosen)
    rows = {name: n * filter_row(graph, g, own) for name, g in operators.items()}
    if shape is not None:
        return _pictures(rows, own, shape, ax)
    ax = curve_axes(ax)
    places = np.arange(1, n + 1)
    for i, (name, row) in enumerate(rows.items()):
        order = np.argsort(-np.abs(row), kind="stable")
        size = np.abs(row[order])
        width, dashes = STYLES[min(i, len(STYLES) - 1)]
        shown = size > 0  # a logarithmic axis has no 0
        colour = COLOURS[i % len(COLOURS)]
        reach = reach_of(row)
        label = f"{name}: reach {reach:,} node{'' if reach == 1 else 's'}"
        ax.plot(places[shown], size[shown], color=colour, linewidth=width, linestyle=dashes,
                label=label)  # fmt: skip
        rank = int(np.flatnonzero(order == own)[0])
        if shown[rank]:
            ax.plot(rank + 1, size[rank], "o", color=colour, markerfacecolor="white",
                    markersize=9 - 2 * min(i, 2), clip_on=False, zorder=3)  # fmt: skip
    ax.plot([], [], "o", color="black", markerfacecolor="white", label="the node itself")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(bottom=max(ax.get_ylim()[0], FAINT))
    ax.set_xlabel(f"nodes, by magnitude of their weight for node {own}")
    ax.set_ylabel("magnitude of the weight,\nin multiples of 1/N")
    ax.legend(frameon=False)
    return ax


def reach_of(row: np.ndarray, share: float = SHARE) -> int:
    """Return the least number of nodes with a share of the magnitude of a row, up to rounding."""
    sums = np.cumsum(np.sort(np.abs(row))[::-1])
    if not sums[-1]:
        return 0
    return int(np.searchsorted(sums, share * sums[-1] * (1 - 1e-12))) + 1


def _pictures(rows: Mapping[str, Any], node: int, shape: tuple[int, int], ax: Axes | None) -> Axes:
    pictures = [to_photo(row, shape) for row in rows.values()]
    others = max(float(np.abs(np.delete(row, node)).max(initial=0.0)) for row in rows.values())
    titles = [
        f"{name}: itself {row[node] / row.size:,.3g}, reach {reach_of(row):,}"
        for name, row in rows.items()
    ]
    bound = others or 1.0
    ax, image = tiles(
        pictures, titles, ax, across=3, room=3.0, extra=0.55, cmap=colours(DIVERGING), vmin=-bound,
        vmax=bound,
    )  # fmt: skip
    for i in range(-len(pictures), 0):
        ring(ax, i, divmod(node, shape[1]), shape)
    bar = ax.figure.colorbar(
        image, ax=ax, location="bottom", shrink=0.4, aspect=35, pad=0.02, extend="both"
    )
    bar.set_label("weight, in multiples of 1/N")
    return ax
