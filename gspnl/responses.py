r"""Responses :math:`g(\lambda)` of spectral filters; they know no graph.

λ is an eigenvalue of the Laplacian L = I − A, in [0, 2]: 0 is the constant mode, 1 the modes that
A annihilates, 2 is reached only on a bipartite component. A response is any callable on arrays of
λ; those here also say where they jump, which the Chebyshev certificate needs to know.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeVar

from gspnl._array import Array, namespace
from gspnl.errors import InputError
from gspnl.registry import Registry

Response = Callable[[Array], Array]
R = TypeVar("R")

RESPONSES: Registry[type] = Registry("response")


def _response(name: str) -> Callable[[type[R]], type[R]]:
    """Register a response class, as a frozen dataclass whose numbers are finite."""

    def file(cls: type[R]) -> type[R]:
        data: type[R] = dataclass(frozen=True)(cls)
        RESPONSES.register(name)(data)
        return data

    return file


class _Parameters:
    """Checks that every parameter is a finite number, with the ranges a response declares."""

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InputError(f"{type(self).__name__}: {f.name}={value!r} must be a number")
            if not math.isfinite(value):
                raise InputError(f"{type(self).__name__}: {f.name}={value!r} must be finite")
            if f.metadata.get("positive") and value <= 0:
                raise InputError(f"{type(self).__name__}: {f.name}={value!r} must be > 0")

    @property
    def jumps(self) -> tuple[float, ...]:
        """The λ at which the response is discontinuous."""
        return ()


def _step(x: Array) -> Array:
    """Logistic 1 / (1 + e⁻ˣ), without overflow."""
    xp = namespace(x)
    small = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1 / (1 + small), small / (1 + small))


@_response("heat")
class heat(_Parameters):
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


@_response("tikhonov")
class tikhonov(_Parameters):
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


@_response("low_pass")
class low_pass(_Parameters):
    r"""Ideal low pass, 1 for λ ≤ cut and 0 above.

    Parameters
    ----------
    cut : float

    Examples
    --------
    >>> import numpy as np
    >>> low_pass(0.5)(np.array([0.0, 0.5, 0.6]))
    array([1., 1., 0.])
    """

    cut: float

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        return xp.where(lam <= self.cut, xp.ones_like(lam), xp.zeros_like(lam))

    @property
    def jumps(self) -> tuple[float, ...]:
        return (self.cut,)


@_response("high_pass")
class high_pass(_Parameters):
    r"""Ideal high pass, 0 for λ ≤ cut and 1 above.

    Parameters
    ----------
    cut : float

    Examples
    --------
    >>> import numpy as np
    >>> high_pass(0.5)(np.array([0.0, 0.5, 0.6]))
    array([0., 0., 1.])
    """

    cut: float

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        return xp.where(lam <= self.cut, xp.zeros_like(lam), xp.ones_like(lam))

    @property
    def jumps(self) -> tuple[float, ...]:
        return (self.cut,)


@_response("band_pass")
class band_pass(_Parameters):
    r"""Ideal band pass, 1 for low ≤ λ ≤ high and 0 elsewhere.

    Parameters
    ----------
    low, high : float

    Examples
    --------
    >>> import numpy as np
    >>> band_pass(0.2, 0.8)(np.array([0.1, 0.2, 0.8, 1.0]))
    array([0., 1., 1., 0.])
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise InputError(f"band_pass: low={self.low!r} is above high={self.high!r}")

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        inside = (lam >= self.low) & (lam <= self.high)
        return xp.where(inside, xp.ones_like(lam), xp.zeros_like(lam))

    @property
    def jumps(self) -> tuple[float, ...]:
        return (self.low, self.high)


@_response("smooth_low_pass")
class smooth_low_pass(_Parameters):
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
    width: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width <= 0:
            raise InputError(f"{type(self).__name__}: width={self.width!r} must be > 0")

    def __call__(self, lam: Array) -> Array:
        return _step((self.cut - lam) / self.width)


@_response("smooth_high_pass")
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
        return _step((lam - self.cut) / self.width)


@_response("smooth_band_pass")
class smooth_band_pass(_Parameters):
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
    width: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width <= 0:
            raise InputError(f"smooth_band_pass: width={self.width!r} must be > 0")

    def __call__(self, lam: Array) -> Array:
        return namespace(lam).exp(-(((lam - self.centre) / self.width) ** 2) / 2)


@_response("nl")
class nl(_Parameters):
    r"""The nonlocal operator A Z w, :math:`g(λ) = (1 - λ)\,w` (Chebyshev order 1 with θ₀ = 0).

    Examples
    --------
    >>> import numpy as np
    >>> nl()(np.array([0.0, 1.0, 2.0]))
    array([ 1.,  0., -1.])
    """

    w: float = 1.0

    def __call__(self, lam: Array) -> Array:
        return (1 - lam) * self.w


@_response("ns")
class ns(_Parameters):
    r"""The nonlocal stage (A − I) Z w, :math:`g(λ) = -λ w` (Chebyshev order 1 with θ₀ = −θ₁).

    Examples
    --------
    >>> import numpy as np
    >>> ns()(np.array([0.0, 1.0, 2.0]))
    array([-0., -1., -2.])
    """

    w: float = 1.0

    def __call__(self, lam: Array) -> Array:
        return -lam * self.w


@_response("snl")
class snl(_Parameters):
    r"""The spectral nonlocal operator w₁ Z + w₂ A Z, :math:`g(λ) = w_1 + (1 - λ)\,w_2`.

    Examples
    --------
    >>> import numpy as np
    >>> snl(2.0, 1.0)(np.array([0.0, 1.0, 2.0]))
    array([3., 2., 1.])
    """

    w1: float = 1.0
    w2: float = 1.0

    def __call__(self, lam: Array) -> Array:
        return self.w1 + (1 - lam) * self.w2


@_response("gsnl")
class gsnl(_Parameters):
    r"""Generalised SNL, :math:`g(λ) = w_1 + (1 - λ)\,w_2 + (1 - 2λ)\,w_3`.

    The term in w₃ is (2A − I) Z, whose response is 2(1 − λ) − 1. The function class is that of
    :class:`snl`: gsnl(w₁, w₂, w₃) = snl(w₁ − w₃, w₂ + 2w₃).

    Examples
    --------
    >>> import numpy as np
    >>> gsnl(1.0, 2.0, 3.0)(np.array([0.0, 1.0, 2.0]))
    array([  6.,  -2., -10.])
    """

    w1: float = 1.0
    w2: float = 1.0
    w3: float = 1.0

    def __call__(self, lam: Array) -> Array:
        return self.w1 + (1 - lam) * self.w2 + (1 - 2 * lam) * self.w3


def parse(text: str) -> Response:
    """Return the response that a text such as ``heat(3)`` or ``band_pass(0.2, high=0.8)`` names.

    Raises
    ------
    InputError
        For an unknown name, or arguments that are not numbers.

    Examples
    --------
    >>> parse("tikhonov(50)")
    tikhonov(tau=50)
    >>> parse("nl")
    nl(w=1.0)
    """
    try:
        node = ast.parse(text, mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if not isinstance(call.func, ast.Name):
            raise ValueError
        values = [ast.literal_eval(a) for a in call.args]
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # what ast makes of any text
        raise InputError(
            f"response {text!r} is not of the form name(number, ...), as heat(3)"
        ) from None
    cls = RESPONSES[call.func.id]
    try:
        response: Response = cls(*values, **named)
    except TypeError:
        takes = ", ".join(f.name for f in fields(cls))
        raise InputError(f"response {text!r} does not fit {call.func.id}({takes})") from None
    return response
