"""Numbers on one graph, as a table in text and in HTML."""

from __future__ import annotations

import html
from dataclasses import dataclass

from gspnl.graph.sentence import CONNECTED, bounded


@dataclass(frozen=True, repr=False)
class Description:
    r"""Numbers on one graph, from :meth:`FeatureGraph.describe`.

    Eigenvalues have the unit of ``graph.spectrum()``. Thresholds hold for λ/s, where s is 1, but
    for "combinatorial" the largest degree. They leave out isolated nodes, whose λ is 0. Up to 1,024
    nodes, and at low rank, they are exact; else they come from at most 24 products with 8 columns.

    Attributes
    ----------
    nodes : int
        N.
    edges : int or "all pairs"
        Number of pairs of different nodes that given weights join; directed for softmax.
    kernel, normalization, storage, storage_reason : str
        As those of the graph.
    components : int or None
        Isolated nodes included; None where W is not stored and one row does not reach all nodes.
    largest_component : int or None
        Number of its nodes.
    isolated : int
        Number of nodes of degree 0.
    degrees : (float, float, float)
        Least, median and largest degree of the nodes that have edges.
    degree_ratio : float
        The largest by the least.
    effective_neighbors : float
        Median over nodes of :math:`\exp(-\sum_j p_j \log p_j)`, the exponential of the entropy of
        a row of A, scaled to a sum of 1: k for k equal weights. All rows up to 1,024 nodes, and a
        random sample of 8 to 64 beyond.
    self_weight : float
        Median over the same rows of the share of a node's own weight.
    second : float or None
        λ₂, the least λ besides that of the constant mode; 0 for several components. None for
        softmax, which has no real spectrum.
    second_error : float
        An eigenvalue lies within this of ``second``; 0 where it is exact. λ₂ is at most ``second``.
    small_eigenvalues : int or None
        Number of λ/s below 0.1, that of the constant mode included.
    small_exact : bool
        False where ``small_eigenvalues`` is an estimate, good to a fifth.
    groups : int or None
        k, where the k least eigenvalues stand apart: λ_{k+1} is above them by at least 0.1 s and
        twice λ_k ≤ 0.3 s, or else, for k ≥ 2, is 10 times λ_k ≤ 0.1 s. 1 for a graph in one piece;
        None above a ``self_weight`` of 0.8, where each node is nearly a group of its own.
    gap : float or None
        :math:`λ_{k+1} - λ_k` behind the groups; where there are none, the largest such difference.
    sentence : str
        What the graph can and cannot do.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    >>> found = gspnl.feature_graph(X, "rbf", sigma=1.0).describe()
    >>> found.groups, found.small_eigenvalues, round(found.effective_neighbors, 1)
    (2, 2, 3.0)
    >>> found.sentence.partition(":")[0]
    '2 small eigenvalues stand apart'
    """

    nodes: int
    edges: int | str
    kernel: str
    normalization: str
    storage: str
    storage_reason: str
    components: int | None
    largest_component: int | None
    isolated: int
    degrees: tuple[float, float, float]
    degree_ratio: float
    effective_neighbors: float
    self_weight: float
    second: float | None = None
    second_error: float = 0.0
    small_eigenvalues: int | None = None
    small_exact: bool = True
    gap: float | None = None
    groups: int | None = None
    sentence: str = ""

    def rows(self) -> list[tuple[str, str]]:
        """Return the table: names and values as text."""
        low, middle, high = self.degrees
        table = [
            ("nodes", f"{self.nodes:,}"),
            ("edges", self.edges if isinstance(self.edges, str) else f"{self.edges:,}"),
            ("kernel", self.kernel),
            ("normalization", self.normalization),
            ("storage", storage_cell(self.storage, self.storage_reason)),
            ("components", _components(self.components, self.largest_component)),
            ("isolated nodes", f"{self.isolated:,}"),
            ("degrees", f"{low:.3g} to {high:.3g}, median {middle:.3g}, "
                        f"ratio {self.degree_ratio:.3g}"),
            ("effective neighbors", f"{self.effective_neighbors:,.4g} of a median node, with "
                                    f"{_percent(self.self_weight)} of its weight on itself"),
        ]  # fmt: skip
        if self.second is None:
            return [*table, ("λ₂", "none")]
        error = f" ± {self.second_error:.1g}" if self.second_error > 1e-6 else ""
        found = f"{_rounded(self.second):.3g}{error}"
        if bounded(self.second, self.second_error):
            found = f"at most {self.second:.3g}"
        about = "" if self.small_exact else "about "
        gap = "none found" if self.gap is None else f"{self.gap:.3g}"
        return [
            *table,
            ("λ₂", found),
            ("small eigenvalues", f"{about}{self.small_eigenvalues:,} with λ < {CONNECTED}"
                                  + (" s" if self.normalization == "combinatorial" else "")),
            ("gap", gap + (f" behind the first {self.groups}" if self.groups else "")),
        ]  # fmt: skip

    def __str__(self) -> str:
        table = self.rows()
        width = max(len(name) for name, _ in table)
        lines = [f"{name:<{width}}  {value}" for name, value in table]
        return "\n".join([*lines, self.sentence])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_table(self.rows(), self.sentence)


def storage_cell(name: str, reason: str) -> str:
    """Return the storage and its reason, which may open with its name."""
    return reason if reason.startswith(f"{name}: ") else f"{name} ({reason})"


def _components(count: int | None, largest: int | None) -> str:
    if count is None:
        return "not counted"
    return f"{count:,}" if count == 1 else f"{count:,}, the largest with {largest:,} nodes"


def _rounded(lam: float) -> float:
    return 0.0 if abs(lam) < 1e-12 else lam


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share > 0.01 else f"{100 * share:.1g} %"


def html_table(table: list[tuple[str, str]], text: str) -> str:
    """Return a table and a sentence as HTML, without scripts, styles or external files."""
    rows = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(value)}</td></tr>'
        for name, value in table
    )
    return f"<table><tbody>{rows}</tbody></table><p>{html.escape(text)}</p>"
