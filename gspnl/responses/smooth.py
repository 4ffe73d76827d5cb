"""Analytic responses, whose Chebyshev series converge geometrically with certificates."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from gspnl._base.array import Array, namespace
from gspnl.errors import InputError
from gspnl.responses.base import POSITIVE, Parameters, parameter, response


@response("heat")
class heat(Parameters):
    r"""Heat diffusion, :math:`g(λ) = e^{-tλ}`.

    Parameters
    ----------
    t : float
        Diffusion time; the filter is the flow of dZ/dt = −L Z.

    Examples
    --------
    >>> import numpy as np
    >>> heat(3.0)(np.array([0.0, 1.0])).round(6)
    array([1.      , 0.049787])
    """

    t: float

    def __call__(self, lam: Array) -> Array:
        return namespace(lam).exp(-self.t * lam)


@response("tikhonov")
class tikhonov(Parameters):
    r"""Tikhonov smoothing, :math:`g(λ) = 1/(1 + τλ)`: the minimiser of ‖Y − Z‖² + τ⟨Y, L Y⟩.

    Parameters
    ----------
    tau : float
        τ > −½, so that the denominator does not vanish on [0, 2].

    Examples
    --------
    >>> import numpy as np
    >>> tikhonov(50.0)(np.array([0.0, 0.02]))
    array([1. , 0.5])
    """

    tau: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tau <= -0.5:
            raise InputError(f"tikhonov: tau={self.tau!r} must be > -0.5, or 1 + τλ vanishes")

    def __call__(self, lam: Array) -> Array:
        return 1 / (1 + self.tau * lam)


def logistic(x: Array) -> Array:
    """Logistic 1 / (1 + e⁻ˣ), without overflow."""
    xp = namespace(x)
    small = xp.exp(-xp.where(x >= 0, x, -x))  # analytic, unlike |x|, for complex λ
    return xp.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _speed(where: str, value: Any) -> Any:
    value = parameter(where, value)
    if not 0 <= value < 2:
        raise InputError(f"{where}={value!r} must be in [0, 2), or the wave equation is unstable")
    return value


@response("wave")
class wave(Parameters):
    r"""Wave propagation, :math:`g(λ) = \cos(t \arccos(1 - s^2 λ/2λ_{max}))`.

    For a whole number t the filter computes t steps of the discrete wave equation from rest,
    :math:`z_{t+1} = 2z_t - z_{t-1} - (s^2/λ_{max}) L z_t`. The argument of arccos is clipped to
    [−1, 1], where rounding can exceed it; PyGSP returns NaN there.

    Parameters
    ----------
    time : float
        t.
    speed : float
        s, in [0, 2).
    lmax : float
        > 0; the λ that counts as 1.

    References
    ----------
    Grassi, Loukas, Perraudin and Ricaud 2018; ``pygsp.filters.Wave``.

    Examples
    --------
    >>> import numpy as np
    >>> wave(2.0)(np.array([0.0, 2.0])).round(6)  # 2y² − 1 at y = 1 and y = ½
    array([ 1. , -0.5])
    """

    time: float = 10.0
    speed: float = field(default=1.0, metadata={"check": _speed})
    lmax: float = field(default=2.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        y = 1 - self.speed**2 * lam / self.lmax / 2
        return xp.cos(self.time * xp.acos(xp.clip(y, -1, 1)))


@response("smooth_low_pass")
class smooth_low_pass(Parameters):
    r"""Logistic low pass, :math:`g(λ) = 1/(1 + e^{(λ - cut)/width})`; analytic, so certified.

    Parameters
    ----------
    cut : float
        Where g = ½.
    width : float
        > 0; g falls from 0.88 to 0.12 over cut ± 2 width.

    Examples
    --------
    >>> import numpy as np
    >>> smooth_low_pass(0.5, 0.1)(np.array([0.5, 1.0])).round(4)
    array([0.5   , 0.0067])
    """

    cut: float
    width: float = field(default=0.05, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        return logistic((self.cut - lam) / self.width)


@response("smooth_high_pass")
class smooth_high_pass(smooth_low_pass):
    r"""Logistic high pass, :math:`g(λ) = 1/(1 + e^{-(λ - cut)/width})`.

    Parameters
    ----------
    cut : float
        Where g = ½.
    width : float
        > 0.

    Examples
    --------
    >>> import numpy as np
    >>> smooth_high_pass(0.5, 0.1)(np.array([0.5, 1.0])).round(4)
    array([0.5   , 0.9933])
    """

    def __call__(self, lam: Array) -> Array:
        return logistic((lam - self.cut) / self.width)


@response("smooth_band_pass")
class smooth_band_pass(Parameters):
    r"""Gaussian band pass, :math:`g(λ) = e^{-(λ - centre)^2 / 2\,width^2}`.

    Parameters
    ----------
    centre : float
    width : float
        > 0, the standard deviation in λ.

    Examples
    --------
    >>> import numpy as np
    >>> smooth_band_pass(0.5, 0.1)(np.array([0.5, 0.6])).round(4)
    array([1.    , 0.6065])
    """

    centre: float
    width: float = field(default=0.1, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        return namespace(lam).exp(-(((lam - self.centre) / self.width) ** 2) / 2)
