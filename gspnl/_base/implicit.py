"""Gradients of the solution of an equation, by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable

from gspnl._base.array import Array, carries_gradient, detached
from gspnl.errors import GspnlError


def implicit(solution: Array, residual: Array, adjoint: Callable[[Array], Array]) -> Array:
    r"""Return a solution of F = 0 with its derivative, :math:`-J^{-1} ∂F`.

    Gradients of gradients raise a GspnlError.

    Parameters
    ----------
    solution : array
        Values without gradient.
    residual : array of the same shape
        F at the solution; it carries the gradients of all that F depends on.
    adjoint : callable
        :math:`g ↦ -J^{-T} g`, J the derivative of F by the solution.
    """
    if not carries_gradient(residual):
        return solution
    change = residual - detached(residual)
    change.register_hook(lambda g: None if g is None else once(detached(adjoint(g)), g + residual))
    return solution + change


def once(
    gradient: Array,
    sources: Array,
    what: str = "normalization='bistochastic' or a linear system",
    instead: str = "use normalization='random_walk'",
) -> Array:
    """Return a gradient that raises where it is differentiated by what ``sources`` depend on.

    ``sources`` carries gradients only in a backward pass with create_graph=True. The message says
    through ``what`` it came and what to do ``instead``.
    """
    if not carries_gradient(sources):
        return gradient
    guard = sources - detached(sources)

    def refuse(_: Array) -> Array:
        raise GspnlError(
            f"gradients of gradients through {what} are not available; {instead}, or differentiate "
            "once"
        )

    guard.register_hook(refuse)
    return gradient + guard
