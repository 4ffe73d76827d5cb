"""Ways to fill in a signal: each solves its equation for what is not known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gspnl._base.array import Array, eps, float64, like, namespace
from gspnl._base.registry import Registry
from gspnl.affinity.affinity import Affinity
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph
from gspnl.responses import RESPONSES


@dataclass(frozen=True, eq=False)
class Task:
    """What a way to inpaint is given: checked, with zeros where nothing is known.

    Parameters
    ----------
    graph : FeatureGraph
    affinity : Affinity
    on : array of bool of shape (..., N, 1)
    strength : float
    tol : float or None
        As the caller gave it.
    solve : callable
        Conjugate gradients, ``solve(operator, b, diagonal)``, to the caller's tolerance.
    """

    graph: FeatureGraph
    affinity: Affinity
    on: Array
    strength: float
    tol: float | None
    solve: Callable[[Callable[[Array], Array], Array, Array], Array]


Method = Callable[[Task, Array], Array]
METHODS: Registry[tuple[Method, bool]] = Registry("method")  # with whether it takes a strength


def _harmonic(task: Task, z: Array) -> Array:
    """(I − S)_uu y_u = S_uk y_k, in the core."""
    affinity, on = task.affinity, task.on
    xp = namespace(z)
    rest, offset = _without_offset(task, z)
    zero = xp.zeros_like(rest)
    # A sum with an unknown node's row only: what a known node receives is of no interest.
    b = xp.where(on, zero, affinity.apply_core(rest / affinity.change[..., None]))

    def operator(y: Array) -> Array:
        return xp.where(on, zero, y - affinity.apply_core(y))

    y = affinity.change[..., None] * task.solve(operator, b, xp.ones_like(b[..., :1]))
    return xp.where(on, z, y + offset)


def _tikhonov(task: Task, z: Array) -> Array:
    """(M + τ (I − S)) y = M T⁻¹ z, in the core."""
    affinity, on = task.affinity, task.on
    xp = namespace(z)
    rest, offset = _without_offset(task, z)

    def operator(y: Array) -> Array:
        flow = y - affinity.apply_core(y)
        if affinity.isolated is not None:
            flow = xp.where(affinity.isolated[..., None], xp.zeros_like(flow), flow)
        return xp.where(on, y, xp.zeros_like(y)) + task.strength * flow

    b = rest / affinity.change[..., None]
    tau = task.strength * xp.ones_like(b[..., :1])
    y = task.solve(operator, b, xp.where(on, 1 + tau, tau))
    return affinity.change[..., None] * y + offset


def _heat(task: Task, z: Array) -> Array:
    mode = constant_mode(task.affinity)[..., None]
    xp = namespace(z)
    known = xp.where(task.on, mode, xp.zeros_like(mode))
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


def constant_mode(affinity: Affinity) -> Array:
    """The mode m > 0 of λ = 0, L m = 0: 1, or √d as symmetric has it; 1 on isolated nodes."""
    xp = namespace(affinity.left)
    if affinity.row_stochastic:
        return xp.ones_like(affinity.left)
    live = affinity.core_scale > 0
    one = xp.ones_like(affinity.left)
    return xp.where(live, 1 / xp.where(live, affinity.core_scale, one), one)


def _without_offset(task: Task, z: Array) -> tuple[Array, Array]:
    """Known values less their best multiple of m, and that multiple: L does not see it.

    What is solved for is then of the size of the variation, however large the values are.
    """
    xp = namespace(z)
    mode = constant_mode(task.affinity)[..., None]
    scale = float64(mode / task.affinity.change[..., None])
    scale = xp.where(task.on, scale, xp.zeros_like(scale))
    top = xp.sum(scale * float64(z / task.affinity.change[..., None]), axis=-2, keepdims=True)
    mean = like(top / xp.sum(scale * scale, axis=-2, keepdims=True), z)
    rest = xp.where(task.on, z - mean * mode, xp.zeros_like(z))
    return rest, mean * mode


METHODS.register("harmonic")((_harmonic, False))
METHODS.register("tikhonov")((_tikhonov, True))
METHODS.register("heat")((_heat, True))
