"""Methods of inpainting: solve the harmonic, Tikhonov or heat equation for unknown values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gspnl._base.array import Array, eps, float64, like, namespace
from gspnl._base.registry import Registry
from gspnl.affinity.affinity import Affinity
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph
from gspnl.responses import RESPONSES
from gspnl.signals.inpainting_solver import Equations


@dataclass(frozen=True, eq=False)
class Task:
    """Checked arguments of :func:`gspnl.inpaint`.

    Parameters
    ----------
    graph : FeatureGraph
    affinity : Affinity
    known : array of bool of shape (..., N, 1)
        The mask; signals are 0 where it is False.
    strength : float
    tol : float or None
        The caller's argument.
    solve : callable
        ``solve(equations)``, to the caller's tolerance.
    """

    graph: FeatureGraph
    affinity: Affinity
    known: Array
    strength: float
    tol: float | None
    solve: Callable[[Equations], Array]


Method = Callable[[Task, Array], Array]
METHODS: Registry[tuple[Method, bool]] = Registry("method")  # (method, takes a strength)


def _harmonic(task: Task, z: Array) -> Array:
    """Solve (I − S)_uu y_u = S_uk y_k for the unknown nodes u, in the symmetric core."""
    affinity, known = task.affinity, task.known
    xp = namespace(z)
    rest, offset = _without_offset(task, z)
    zero = xp.zeros_like(rest[..., :1])
    # Only the rows of unknown nodes enter the equations.
    data = rest / affinity.change[..., None]
    b = xp.where(known, zero, affinity.apply_core(data))

    def operator(y: Array) -> Array:
        return xp.where(known, zero, y - affinity.apply_core(y))

    diagonal = _diagonal(task, b)
    y = task.solve(Equations(affinity, operator, b, diagonal, known, data, None))
    return xp.where(known, z, affinity.change[..., None] * y + offset)


def _tikhonov(task: Task, z: Array) -> Array:
    """Solve (M + τ s (I − S)) y = M T⁻¹ z, in the symmetric core."""
    affinity, known = task.affinity, task.known
    xp = namespace(z)
    rest, offset = _without_offset(task, z)
    unit = affinity.unit
    strength = task.strength if unit is None else like(task.strength * unit[..., None, None], rest)

    def operator(y: Array) -> Array:
        flow = y - affinity.apply_core(y)
        if affinity.isolated is not None:
            flow = xp.where(affinity.isolated[..., None], xp.zeros_like(flow), flow)
        return xp.where(known, y, xp.zeros_like(y)) + strength * flow

    b = rest / affinity.change[..., None]
    tau = strength * _diagonal(task, b)
    diagonal = xp.where(known, 1 + tau, tau)
    y = task.solve(Equations(affinity, operator, b, diagonal, known, b, task.strength))
    return affinity.change[..., None] * y + offset


def _diagonal(task: Task, b: Array) -> Array:
    """Diagonal of I − S, up to self-loops: 1, or d/s for the combinatorial Laplacian."""
    affinity, xp = task.affinity, namespace(b)
    one = xp.ones_like(b[..., :1])
    if affinity.unit is None:
        return one
    shares = affinity.degrees * affinity.core_scale**2
    return xp.where(shares[..., None] > 0, one * shares[..., None], one)


def _heat(task: Task, z: Array) -> Array:
    """Diffuse values and mask, and divide the first by the second (normalised convolution)."""
    mode = task.affinity.constant_mode[..., None]
    xp = namespace(z)
    known = xp.where(task.known, mode, xp.zeros_like(mode))
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


def _without_offset(task: Task, z: Array) -> tuple[Array, Array]:
    """Split z into a multiple of the constant mode m, fitted to the known values, and the rest.

    L m = 0, so the solution for z is that for the rest plus the multiple. The linear system is
    solved for the rest, whose size is that of the variation of z, not of its offset.
    """
    xp = namespace(z)
    mode = task.affinity.constant_mode[..., None]
    scale = float64(mode / task.affinity.change[..., None])
    scale = xp.where(task.known, scale, xp.zeros_like(scale))
    top = xp.sum(scale * float64(z / task.affinity.change[..., None]), axis=-2, keepdims=True)
    mean = like(top / xp.sum(scale * scale, axis=-2, keepdims=True), z)
    rest = xp.where(task.known, z - mean * mode, xp.zeros_like(z))
    return rest, mean * mode


METHODS.register("harmonic")((_harmonic, False))
METHODS.register("tikhonov")((_tikhonov, True))
METHODS.register("heat")((_heat, True))
