r"""Stationary distribution π of a row-stochastic A: :math:`π^T A = π^T`, π ≥ 0, with sum 1.

It is unique if the chain has one closed class, whether periodic or not: a node's share of the time
of an endless random walk, or in attention the part of all values that one more layer after another
takes from it. Transient nodes, which flow leaves for good, have π = 0: a causal mask leaves the
first node alone, π = e₁, so that many causal layers of averaging copy the first token everywhere.

Where A is reversible, :math:`π_i ∝ r_i / l_i` of :math:`A = diag(l)\,W\,diag(r)`. Other chains are
solved by elimination up to :data:`DENSE` nodes, with small relative errors of every entry; at low
rank as a chain of r features; else by Krylov methods on products, from two starts, whose difference
is the error.
"""

from gspnl.affinity.stationary.distribution import stationary_distribution
from gspnl.affinity.stationary.graphs import stationary_of

__all__ = ["stationary_distribution", "stationary_of"]
