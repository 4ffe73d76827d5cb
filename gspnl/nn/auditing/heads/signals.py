"""Numbers of signals under an attention matrix: the constant share, the Dirichlet quotient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gspnl.nn.auditing.heads.case import HeadCase
from gspnl.nn.auditing.heads.steps import Found

UNIFORM = "under the uniform distribution, and not in [0, 2] in general: "


def constant_share(Y: np.ndarray | None, case: HeadCase) -> Found:
    """Share of ‖Y‖² in the column means of what a head writes, (n, C)."""
    name = "low_frequency_share"
    if Y is None:
        return {}, {name: "the values of this attention are not known"}
    if not np.isfinite(Y).all():
        return {}, {name: "the values of this attention are not finite"}
    peak = float(np.abs(Y).max(initial=0.0))
    if peak == 0:
        return {}, {name: "the head writes zeros"}
    Y = Y / peak
    share = len(Y) * float((Y.mean(0) ** 2).sum()) / float((Y**2).sum())
    return {name: min(1.0, share)}, {
        name: "of A V: W_O is not known"
    } if case.call.output_weight is None else {}


def quotient(
    case: HeadCase, apply: Callable[[np.ndarray], np.ndarray], pi: np.ndarray | None, why: str
) -> Found:
    """Dirichlet quotient of the features of a head under π; uniform where that has no meaning."""
    name, x = "dirichlet", case.features()
    if x is None:
        return {}, {name: "neither the input of the layer nor its values are known"}
    told = [] if case.has_inputs else ["of the values, as the input of the layer is not known"]
    if not np.isfinite(x).all():
        return {}, {name: "the features of this layer are not finite"}
    if pi is None or pi.max() > 1 - 1e-12:
        told.append(UNIFORM + (why or "π is a single node"))
        pi = np.full(len(x), 1 / len(x))
    x = x / max(float(np.abs(x).max(initial=0.0)), np.finfo(float).tiny)
    y = x - pi @ x
    size = float(pi @ (y**2).sum(1))
    if size <= 1e-24 * float(pi @ (x**2).sum(1)) or size == 0:
        return {}, {name: "the features are the same at all nodes"}
    energy = float(pi @ (y * (y - apply(y))).sum(1))
    return {name: energy / size}, {name: "; ".join(told)} if told else {}
