"""Compute the largest stable step of repeated nonlocal units (CFL condition)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import as_floats, check_finite, constant64
from gspnl._base.blas import on_one_thread
from gspnl._base.validate import number, whole_number
from gspnl.errors import InputError, NonsymmetricError
from gspnl.graph.graph import FeatureGraph
from gspnl.responses import Response
from gspnl.responses.evaluate import evaluate
from gspnl.signals.stability.modes import modes

ROUNDING = 1e-12  # an eigenvalue smaller than this, relative to the largest, is rounding


@dataclass(frozen=True)
class CFL:
    r"""Result of :func:`cfl`.

    Attributes
    ----------
    radius : float
        Spectral radius of I + h H over all modes.
    limit : float
        The largest step h at which no mode grows; inf if H = 0, and 0 if some mode grows at any
        step.
    stable : bool
        Whether h ≤ limit, up to rounding.
    growth : float
        Radius to the power of the number of units.
    mode : float or complex
        μ of the mode that grows fastest.
    """

    radius: float
    limit: float
    stable: bool
    growth: float
    mode: float | complex


@on_one_thread
def cfl(
    graph: FeatureGraph,
    response: Response | Sequence[Any],
    step: float = 1.0,
    units: int = 1,
) -> CFL:
    r"""Decide whether repeated units :math:`Z \leftarrow Z + h F(A, Z)` stay bounded.

    Mode μ is mapped by :math:`I + h H(\mu)`, with H(μ) the response at λ = 1 − μ. An eigenvalue z
    of H(μ) does not grow if :math:`|1 + h z| \le 1`, that is
    :math:`h \le -2 \operatorname{Re} z / |z|^2`.

    Parameters
    ----------
    graph : FeatureGraph
        One graph.
    response : callable, or sequence of 2 or 3 arrays of shape (c, c)
        g(λ), one channel; or the channel matrices W₁, W₂ (SNL), W₁, W₂, W₃ (gSNL), with
        :math:`H = W_1 + \mu W_2 + (2\mu - 1) W_3`.
    step : float
        h > 0.
    units : int
        Number of units in a row, ≥ 1.

    Returns
    -------
    CFL

    Raises
    ------
    NonsymmetricError
        For a callable on a softmax graph, whose λ are complex; channel matrices are allowed.
    InputError
        For a step that is not positive, or matrices that are not square and of one size.
    SizeError
        If all eigenvectors of a graph without low rank do not fit in memory; all are needed.

    Notes
    -----
    The radius decides the growth of every mode, unless H(μ) has a defective eigenvalue on the
    circle. It does not bound transients: with channel matrices that are not normal, signals may
    grow at first.

    References
    ----------
    .. [1] Y. Tao, Q. Sun, Q. Du and W. Liu, Nonlocal neural networks, nonlocal diffusion and
       nonlocal modeling, NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> graph = gspnl.feature_graph(np.eye(2) + 1.0, kernel="dot")  # λ = 0, 8/9
    >>> verdict = gspnl.stability.cfl(graph, gspnl.responses.ns(), step=1.0, units=5)
    >>> verdict.stable, round(verdict.limit, 6)  # 2 / λmax
    (True, 2.25)
    >>> gspnl.stability.cfl(graph, gspnl.responses.nl()).limit  # NL amplifies the mean
    0.0
    """
    step, units = number("step", step, above=0), whole_number("units", units, 1)
    mu, _ = modes(graph)
    return verdict(*_rates(graph, response, mu), step, units)


def verdict(rates: np.ndarray, owners: np.ndarray, step: float = 1.0, units: int = 1) -> CFL:
    """Return the CFL condition of eigenvalues ``rates`` of H(μ), ``owners`` the μ of each."""
    size = float(np.abs(rates).max(initial=0.0))
    real = rates.real
    noise = ROUNDING * size
    moving = np.abs(rates) > noise
    steps = np.where(real[moving] < -noise, -2 * real[moving], 0.0) / np.abs(rates[moving]) ** 2
    limit = float(steps.min(initial=math.inf))
    gains = np.abs(1 + step * rates)
    worst = int(np.argmax(gains))
    radius = float(gains[worst])
    with np.errstate(over="ignore"):
        growth = float(np.float64(radius) ** units)
    mode = complex(owners[worst])
    return CFL(
        radius,
        limit,
        bool(step <= limit * (1 + ROUNDING)),
        growth,
        mode if mode.imag else mode.real,
    )


def _rates(
    graph: FeatureGraph, response: Response | Sequence[Any], mu: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the eigenvalues of H(μ), and the μ of each."""
    if callable(response):
        if not graph.affinity.symmetric_core:
            raise NonsymmetricError(
                "a response g(λ) on a softmax graph, whose λ are complex; pass the channel "
                "matrices [W1, W2], or use normalization='random_walk'"
            )
        return evaluate(response, 1 - mu), mu
    matrices = _channels(response)
    H = matrices[0] + mu[:, None, None] * matrices[1]
    if len(matrices) == 3:
        H = H + (2 * mu - 1)[:, None, None] * matrices[2]
    values = np.linalg.eigvals(H)
    return values.reshape(-1), np.repeat(mu, values.shape[1])


def _channels(response: Any) -> list[np.ndarray]:
    """Check the channel matrices."""
    if not isinstance(response, (list, tuple)) or len(response) not in (2, 3):
        raise InputError(
            "response must be a callable g(λ), or a list of the channel matrices [W1, W2] or "
            f"[W1, W2, W3], not {type(response).__name__}"
            + (f" of {len(response)}" if isinstance(response, (list, tuple)) else "")
        )
    return [square(W, f"response[{i}]", like=response[0]) for i, W in enumerate(response)]


def square(W: Any, name: str, like: Any = None) -> np.ndarray:
    """Return a finite square matrix in float64, of the shape of ``like`` if that is given."""
    values = as_floats(W, name)
    check_finite(values, name)
    matrix = constant64(values)
    fits = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and matrix.size
    if not fits or (like is not None and matrix.shape != np.shape(like)):
        raise InputError(
            f"{name} has shape {matrix.shape}; channel matrices are square and of one size, (c, c)"
        )
    return matrix
