r"""Gradient of π by the features: of the fixed point :math:`A^T π = π`, by one linear system.

:math:`(I - A^T + v 1^T)\,dπ = dA^T π` for any v of sum 1; the adjoint solves the transpose.
"""

from __future__ import annotations

import numpy as np

from gspnl._base.array import Array, constant64, eps, like
from gspnl._base.implicit import implicit
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.products import AffinityProducts, transposed
from gspnl.affinity.stationary.krylov import solve
from gspnl.errors import ConvergenceError

ENOUGH = 1e-8  # relative residual, and 1,000 units of rounding


def with_gradient(affinity: Affinity, pi: np.ndarray) -> Array:
    """Return π of one graph, (N,), in its library and dtype, with its gradient."""
    solution = like(pi, affinity.left)
    flow = transposed(affinity, solution[:, None])[:, 0]
    products, rounding = AffinityProducts(affinity), eps(affinity.left)

    def system(u: np.ndarray) -> np.ndarray:
        return np.asarray(u - products.apply(u[:, None])[:, 0] + u.mean())

    def adjoint(g: Array) -> Array:
        load = constant64(g)
        u, left = solve(system, load, load, rounding * float(np.linalg.norm(load)))
        if left > (ENOUGH + 1000 * rounding) * np.linalg.norm(load):
            raise ConvergenceError(
                "the gradient of the stationary distribution did not converge: λ = 1 is all but "
                "repeated; detach the features, or use normalization='random_walk'"
            )
        return like(u, g)

    return implicit(solution, flow - solution, adjoint)
