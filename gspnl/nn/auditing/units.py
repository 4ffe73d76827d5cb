"""Measure one unit of a block: its response W(λ), step limit, damping and weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gspnl._base.blas import on_one_thread
from gspnl.nn.auditing.measures import JOINED, AffinityAudit
from gspnl.nn.operators import Operator
from gspnl.nn.pointwise import Pointwise
from gspnl.nn.structured import Generalized
from gspnl.nn.unit import Stage
from gspnl.signals.stability import CFL, Damping, damping
from gspnl.signals.stability.units import verdict

TOP = 32  # singular values of each weight, as in the paper's figure 5
GRID = 33  # values of λ in [0, 2]
ROUNDING = 1e-12
CHUNK = 1 << 24  # entries of the matrices H(μ) in memory at once


@dataclass(frozen=True, eq=False)
class UnitAudit:
    r"""One unit of a block: :math:`Y = X + \mathrm{norm}(F(A, X W_g))`.

    Attributes
    ----------
    lam : array of shape (33,)
        λ from 0 to 2.
    response : array of shape (33, min(C, Cs))
        Singular values, descending, of W(λ), the (C, Cs) matrix by which F multiplies a mode of
        Z = X W_g.
    cfl : tuple of (CFL or None), one for each item
        Of the whole unit, with its norm in evaluation and step 1: mode μ is multiplied by I + H(μ).
    damping : Damping
        Eigenvalues of the symmetric part of W_g W, with W the factor of 1 − λ in the response, as
        in the paper for SNL; with W(0) where the response is constant or not affine in λ.
    weights : mapping of str to array of shape (≤ 32,)
        The largest singular values of each weight matrix, embeddings included, descending.
    reasons : mapping of str to str
        For "cfl": why it is None.
    """

    lam: np.ndarray
    response: np.ndarray
    cfl: tuple[CFL | None, ...]
    damping: Damping
    weights: Mapping[str, np.ndarray]
    reasons: Mapping[str, str]

    @property
    def norm(self) -> np.ndarray:
        """‖W(λ)‖₂, (33,)."""
        return np.asarray(self.response[:, 0])


class SingleModes(Operator):
    """A restricted to single modes: the rows of item b are signals of a mode of eigenvalue μ_b.

    Parameters
    ----------
    mu : tensor of shape (B,)
    """

    def __init__(self, mu: Tensor) -> None:
        self.mu = mu[:, None, None]

    def apply(self, Z: Tensor) -> Tensor:
        return self.mu * Z


@on_one_thread
def audit_unit(stage: Stage, affinity: nn.Module, items: Sequence[AffinityAudit]) -> UnitAudit:
    """Measure a unit in evaluation mode, in float64; its CFL verdict for each item."""
    exact = copy.deepcopy(stage).cpu().double().eval()
    lam = np.linspace(0, 2, GRID)
    W = response(exact, 1 - lam)
    reason = _nonlinearity(exact, affinity)
    rates = None if reason else GrowthRates(exact)
    reasons = {"cfl": reason} if reason else {}
    verdicts: list[CFL | None] = []
    for item in items:
        if rates is None or item.modes is None:
            verdicts.append(None)
            reasons.setdefault("cfl", item.reasons.get("eigenvalues", ""))
        else:
            verdicts.append(verdict(*rates(item.modes)))
    return UnitAudit(
        lam,
        np.linalg.svd(W, compute_uv=False),
        tuple(verdicts),
        _damping(exact),
        {
            f"{part}.{name}".removeprefix("unit."): largest_singular_values(m.weight, m.groups)
            for part, module in (("affinity", affinity), ("unit", stage))
            for name, m in module.named_modules()
            if isinstance(m, Pointwise)
        },
        reasons,
    )


def response(stage: Stage, mu: np.ndarray) -> np.ndarray:
    """Return W at λ = 1 − μ, (m, C, Cs): F of signals that are single modes of one channel each."""
    channels = stage.outputs[0].weight.shape[1] * stage.outputs[0].groups
    return _linear_part(lambda Z, A: stage.filtered(Z, A).mT, channels, mu) - (
        np.eye(channels) if stage.whole else 0
    )


def _linear_part(
    step: Callable[[Tensor, Operator], Tensor], channels: int, mu: np.ndarray
) -> np.ndarray:
    """Return the matrix of ``step(Z, operator)``, without its bias, on each mode: (m, out, in)."""
    operator = SingleModes(torch.from_numpy(np.ascontiguousarray(mu, dtype=np.float64)))
    eye = torch.eye(channels, dtype=torch.float64).expand(len(mu), -1, -1)
    with torch.no_grad():
        out = step(eye, operator) - step(torch.zeros_like(eye), operator)
    return out.numpy()


def _nonlinearity(stage: Stage, affinity: nn.Module) -> str | None:
    """Return why a unit is not a linear map of each mode, or None."""
    if isinstance(affinity, Generalized):
        return JOINED
    if stage.activation is not None:
        return f"activation={stage.activation!r} is not linear, and mixes the modes"
    batch = isinstance(stage.norm, nn.BatchNorm1d) and stage.norm.running_var is not None
    if stage.norm is not None and not batch:
        return f"the scale of {type(stage.norm).__name__} depends on its input"
    return None


class GrowthRates:
    """Eigenvalues of H(μ), where the unit maps a mode X to Y = X + X H(μ).

    Parameters
    ----------
    stage : Stage
        In float64 and evaluation mode, and linear.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.channels = stage.outputs[0].weight.shape[0]
        self.basis: np.ndarray | None = None
        if stage.g is not None and stage.g.width < self.channels:
            # H vanishes outside the row space of W_g; on it, a smaller matrix has the eigenvalues.
            self.basis = np.linalg.qr(stage.g.weight.detach().numpy().T)[0]
        low, middle, high = self._evaluate(np.array([-1.0, 0.0, 1.0]))
        self.constant, self.slope = middle, high - middle
        self.affine = _is_affine(low, middle, high)

    def __call__(self, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (eigenvalues, the μ of each)."""
        chunk = max(1, CHUNK // self.channels**2)
        parts = [np.linalg.eigvals(self._H(mu[i : i + chunk])) for i in range(0, len(mu), chunk)]
        rates = np.concatenate(parts)
        if self.basis is not None:
            rates = np.concatenate([rates, np.zeros((len(mu), 1))], axis=1)
        return rates.reshape(-1), np.repeat(mu, rates.shape[1])

    def _H(self, mu: np.ndarray) -> np.ndarray:
        if self.affine:
            return np.asarray(self.constant + mu[:, None, None] * self.slope)
        return self._evaluate(mu)

    def _evaluate(self, mu: np.ndarray) -> np.ndarray:
        """Return H(μ) by running the unit."""
        H = _linear_part(lambda X, A: self.stage(X, A), self.channels, mu) - np.eye(self.channels)
        return H if self.basis is None else self.basis.T @ H @ self.basis


def _damping(stage: Stage) -> Damping:
    at_minus, at_zero, at_one = response(stage, np.array([-1.0, 0.0, 1.0]))
    slope = at_one - at_zero
    changes = np.abs(slope).max() > ROUNDING * np.abs(at_one).max()
    W = slope if changes and _is_affine(at_minus, at_zero, at_one) else at_one
    W_g = np.eye(len(W)) if stage.g is None else stage.g.weight.detach().numpy().T
    return damping(W_g, W.T)


def _is_affine(low: np.ndarray, middle: np.ndarray, high: np.ndarray) -> bool:
    """Return whether values at μ = −1, 0, 1 lie on a line, as for blocks of order 0 and 1."""
    size = max(np.abs(part).max() for part in (low, middle, high))
    return bool(np.abs(low + high - 2 * middle).max() <= ROUNDING * size)


def largest_singular_values(weight: Tensor, groups: int = 1) -> np.ndarray:
    """Return the 32 largest singular values, descending, of a map with all its groups."""
    blocks = weight.detach().double().cpu().numpy().reshape(groups, -1, weight.shape[1])
    values = np.linalg.svd(blocks, compute_uv=False).reshape(-1)
    return np.sort(values)[::-1][:TOP]
