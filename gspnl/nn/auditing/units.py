"""What one unit of a block does to each mode of its graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gspnl.nn.auditing.readings import JOINED, Reading
from gspnl.nn.operators import Operator
from gspnl.nn.pointwise import Pointwise
from gspnl.nn.structured import Generalized
from gspnl.nn.unit import Stage
from gspnl.signals.stability import CFL, Damping, damping
from gspnl.signals.stability.units import verdict

TOP = 32  # of the paper's figure 5
GRID = 33  # values of λ in [0, 2]
ROUNDING = 1e-12
AT_ONCE = 1 << 24  # entries of matrices, one for each mode


@dataclass(frozen=True, eq=False)
class Unit:
    r"""One unit of a block: :math:`Y = X + \mathrm{norm}(F(A, X W_g))`.

    Attributes
    ----------
    lam : array of shape (33,)
        λ from 0 to 2.
    response : array of shape (33, min(C, Cs))
        Singular values of W(λ), the (C, Cs) matrix that F is on a mode of Z = X W_g, descending.
    cfl : tuple of (CFL or None), one for each item
        Of the whole unit, with its norm in evaluation and step 1: mode μ is mapped by I + H(μ).
    damping : Damping
        Eigenvalues of the symmetric part of W_g W, with W the factor of A (1 − λ in the response),
        as the paper has it for SNL; without one W(0), and W(0) where the response is no line.
    weights : mapping of str to array of shape (≤ 32,)
        The largest singular values of each weight matrix, embeddings included, descending.
    reasons : mapping of str to str
        Of "cfl": why there is none.
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


class Modes(Operator):
    """A on single modes: item b is a mode of eigenvalue μ_b, and its rows are signals of it.

    Parameters
    ----------
    mu : tensor of shape (B,)
    """

    def __init__(self, mu: Tensor) -> None:
        self.mu = mu[:, None, None]

    def apply(self, Z: Tensor) -> Tensor:
        return self.mu * Z


def audit_unit(stage: Stage, affinity: nn.Module, readings: Sequence[Reading]) -> Unit:
    """The unit of a stage in evaluation mode."""
    exact = copy.deepcopy(stage).cpu().double().eval()
    lam = np.linspace(0, 2, GRID)
    W = response(exact, 1 - lam)
    reason = _not_linear(exact, affinity)
    rates = None if reason else Rates(exact)
    reasons = {"cfl": reason} if reason else {}
    verdicts: list[CFL | None] = []
    for reading in readings:
        if rates is None or reading.modes is None:
            verdicts.append(None)
            reasons.setdefault("cfl", reading.reasons.get("eigenvalues", ""))
        else:
            verdicts.append(verdict(*rates(reading.modes)))
    return Unit(
        lam,
        np.linalg.svd(W, compute_uv=False),
        tuple(verdicts),
        _damping(exact),
        {
            f"{place}.{name}".removeprefix("unit."): top(m.weight, m.groups)
            for place, module in (("affinity", affinity), ("unit", stage))
            for name, m in module.named_modules()
            if isinstance(m, Pointwise)
        },
        reasons,
    )


def response(stage: Stage, mu: np.ndarray) -> np.ndarray:
    """W at λ = 1 − μ, (m, C, Cs): F of signals that are single modes of one channel each."""
    channels = stage.outputs[0].weight.shape[1] * stage.outputs[0].groups
    return _probe(lambda Z, A: stage.filtered(Z, A).mT, channels, mu) - (
        np.eye(channels) if stage.whole else 0
    )


def _probe(step: Callable[[Tensor, Operator], Tensor], channels: int, mu: np.ndarray) -> np.ndarray:
    """The linear part of ``step(Z, operator)``, on each mode: (m, out, in)."""
    operator = Modes(torch.from_numpy(np.ascontiguousarray(mu, dtype=np.float64)))
    eye = torch.eye(channels, dtype=torch.float64).expand(len(mu), -1, -1)
    with torch.no_grad():
        out = step(eye, operator) - step(torch.zeros_like(eye), operator)
    return out.numpy()


def _not_linear(stage: Stage, affinity: nn.Module) -> str | None:
    """Why a unit is not a linear map of each mode, or None."""
    if isinstance(affinity, Generalized):
        return JOINED
    if stage.activation is not None:
        return f"activation={stage.activation!r} is not linear, and mixes the modes"
    batch = isinstance(stage.norm, nn.BatchNorm1d) and stage.norm.running_var is not None
    if stage.norm is not None and not batch:
        return f"the scale of {type(stage.norm).__name__} depends on its input"
    return None


class Rates:
    """Eigenvalues of H(μ), Y = X + X H for X a mode.

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
            # H sees the row space of W_g alone: a small matrix has all its eigenvalues but zeros.
            self.basis = np.linalg.qr(stage.g.weight.detach().numpy().T)[0]
        low, middle, high = self._steps(np.array([-1.0, 0.0, 1.0]))
        self.constant, self.slope = middle, high - middle
        self.line = _on_line(low, middle, high)

    def __call__(self, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(Eigenvalues, the μ of each)."""
        chunk = max(1, AT_ONCE // self.channels**2)
        parts = [np.linalg.eigvals(self._at(mu[i : i + chunk])) for i in range(0, len(mu), chunk)]
        rates = np.concatenate(parts)
        if self.basis is not None:
            rates = np.concatenate([rates, np.zeros((len(mu), 1))], axis=1)
        return rates.reshape(-1), np.repeat(mu, rates.shape[1])

    def _at(self, mu: np.ndarray) -> np.ndarray:
        if self.line:
            return np.asarray(self.constant + mu[:, None, None] * self.slope)
        return self._steps(mu)

    def _steps(self, mu: np.ndarray) -> np.ndarray:
        H = _probe(lambda X, A: self.stage(X, A), self.channels, mu) - np.eye(self.channels)
        return H if self.basis is None else self.basis.T @ H @ self.basis


def _damping(stage: Stage) -> Damping:
    at_minus, at_zero, at_one = response(stage, np.array([-1.0, 0.0, 1.0]))
    slope = at_one - at_zero
    changes = np.abs(slope).max() > ROUNDING * np.abs(at_one).max()
    W = slope if changes and _on_line(at_minus, at_zero, at_one) else at_one
    W_g = np.eye(len(W)) if stage.g is None else stage.g.weight.detach().numpy().T
    return damping(W_g, W.T)


def _on_line(low: np.ndarray, middle: np.ndarray, high: np.ndarray) -> bool:
    """Whether values at μ = −1, 0, 1 lie on a line: as blocks of order 0 and 1 have it."""
    size = max(np.abs(part).max() for part in (low, middle, high))
    return bool(np.abs(low + high - 2 * middle).max() <= ROUNDING * size)


def top(weight: Tensor, groups: int = 1) -> np.ndarray:
    """The largest singular values, descending; of a grouped map those of all its blocks."""
    blocks = weight.detach().double().cpu().numpy().reshape(groups, -1, weight.shape[1])
    values = np.linalg.svd(blocks, compute_uv=False).reshape(-1)
    return np.sort(values)[::-1][:TOP]
