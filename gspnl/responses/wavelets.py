"""Spectral graph wavelets at a scale, and their low passes (scaling functions)."""

from __future__ import annotations

import math
from dataclasses import field

from gspnl._base.array import Array, namespace
from gspnl.responses.base import POSITIVE, Parameters, response
from gspnl.responses.windows import where_else_zero


@response("abspline")
class abspline(Parameters):
    r"""Cubic-spline wavelet at scale s, with x = sλ: x² up to 1, 4/x² from 2, a cubic between.

    The cubic −5 + 11x − 6x² + x³ makes it once continuously differentiable; its largest value is
    1 + 2/√27.

    Parameters
    ----------
    scale : float
        > 0.

    References
    ----------
    Hammond, Vandergheynst and Gribonval 2011; ``pygsp.filters.Abspline``, as one of its
    filters.

    Examples
    --------
    >>> import numpy as np
    >>> abspline(2.0)(np.array([0.25, 0.75, 2.0]))
    array([0.25 , 1.375, 0.25 ])
    """

    scale: float = field(default=1.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        x = self.scale * lam
        cubic = ((x - 6) * x + 11) * x - 5
        tail = 4 / xp.where(x >= 2, x, xp.full_like(x, 2.0)) ** 2
        return xp.where(x <= 1, x**2, xp.where(x < 2, cubic, tail))


@response("mexican_hat")
class mexican_hat(Parameters):
    r"""Mexican-hat wavelet at scale s, :math:`g(λ) = gain · sλ\,e^{-sλ}`.

    Parameters
    ----------
    scale : float
        > 0; the peak is at λ = 1/s.
    gain : float

    References
    ----------
    ``pygsp.filters.MexicanHat``, as one of its filters.

    Examples
    --------
    >>> import numpy as np
    >>> mexican_hat(2.0)(np.array([0.0, 0.5])).round(6)
    array([0.      , 0.367879])
    """

    scale: float = field(default=1.0, metadata=POSITIVE)
    gain: float = 1.0

    def __call__(self, lam: Array) -> Array:
        x = self.scale * lam
        return self.gain * (x * namespace(lam).exp(-x))


@response("quartic_low_pass")
class quartic_low_pass(Parameters):
    r"""Low pass :math:`g(λ) = gain · e^{-(λ/cut)^4}` for the λ near 0 that wavelets do not cover.

    Parameters
    ----------
    cut : float
        > 0.
    gain : float

    References
    ----------
    Hammond, Vandergheynst and Gribonval 2011; the first filter of ``pygsp.filters.Abspline`` and
    ``pygsp.filters.MexicanHat``.

    Examples
    --------
    >>> import numpy as np
    >>> quartic_low_pass(0.5)(np.array([0.0, 0.5])).round(4)
    array([1.    , 0.3679])
    """

    cut: float = field(default=0.5, metadata=POSITIVE)
    gain: float = 1.0

    def __call__(self, lam: Array) -> Array:
        return self.gain * namespace(lam).exp(-((lam / self.cut) ** 4))


def _meyer_angle(x: Array) -> Array:
    """½π v(x), v(x) = x⁴ (35 − 84x + 70x² − 20x³): from 0 at x = 0 to ½π at x = 1."""
    return (math.pi / 2) * (x**4 * (35 - 84 * x + 70 * x**2 - 20 * x**3))


@response("meyer")
class meyer(Parameters):
    r"""Meyer wavelet at scale s: with x = sλ, sin(½π v(3x/2 − 1)), then cos(½π v(3x/4 − 1)).

    :math:`v(x) = x^4 (35 - 84x + 70x^2 - 20x^3)`. Its support is
    ⅔ ≤ x < 8/3; it changes formula at 4/3.

    Parameters
    ----------
    scale : float
        > 0.

    References
    ----------
    Leonardi and Van De Ville 2011; ``pygsp.filters.Meyer``, as one of its filters.

    Examples
    --------
    >>> import numpy as np
    >>> meyer()(np.array([0.5, 1.0, 4 / 3, 2.0])).round(4)
    array([0.    , 0.7071, 1.    , 0.7071])
    """

    scale: float = field(default=1.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        x = self.scale * lam
        rise = xp.sin(_meyer_angle(x / (2 / 3) - 1))
        fall = xp.cos(_meyer_angle(x / (4 / 3) - 1))
        inside = (x >= 2 / 3) & (x < 8 / 3)
        return where_else_zero(inside, xp.where(x < 4 / 3, rise, fall))


@response("meyer_scaling")
class meyer_scaling(Parameters):
    r"""Meyer's low pass at scale s: with x = sλ, 1 below ⅔, then cos(½π v(3x/2 − 1)), 0 from 4/3.

    Parameters
    ----------
    scale : float
        > 0.

    References
    ----------
    Leonardi and Van De Ville 2011; the first filter of ``pygsp.filters.Meyer``.

    Examples
    --------
    >>> import numpy as np
    >>> meyer_scaling()(np.array([0.5, 1.0, 2.0])).round(4)
    array([1.    , 0.7071, 0.    ])
    """

    scale: float = field(default=1.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        x = self.scale * lam
        fall = where_else_zero(x < 4 / 3, xp.cos(_meyer_angle(x / (2 / 3) - 1)))
        return xp.where(x < 2 / 3, xp.ones_like(x), fall)


def _squared_sine(x: Array) -> Array:
    return namespace(x).sin(math.pi * x / 2.0) ** 2


def _partner(x: Array) -> Array:
    """√(1 − sin⁴(½πx))."""
    return namespace(x).sqrt(1 - _squared_sine(x) ** 2)


@response("simple_tight")
class simple_tight(Parameters):
    r"""Simple tight wavelet at scale s: with x = sλ, h(4x − 1), then √(1 − h(2x − 1)²).

    :math:`h(x) = \sin^2(πx/2)`. Its support is ¼ ≤ x < 1; it changes formula at ½.

    Parameters
    ----------
    scale : float
        > 0.

    References
    ----------
    ``pygsp.filters.SimpleTight``, as one of its filters.

    Examples
    --------
    >>> import numpy as np
    >>> simple_tight()(np.array([0.25, 0.375, 0.5, 0.75])).round(4)
    array([0.   , 0.5  , 1.   , 0.866])
    """

    scale: float = field(default=1.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        x = self.scale * lam
        rise = _squared_sine(4 * (x - 0.25))
        inside = (x >= 0.25) & (x < 1)
        return where_else_zero(inside, xp.where(x < 0.5, rise, _partner(2 * x - 1)))


@response("simple_tight_scaling")
class simple_tight_scaling(Parameters):
    r"""The simple tight low pass at scale s: with x = sλ, 1 below ¼, then √(1 − h(4x − 1)²).

    :math:`h(x) = \sin^2(πx/2)`; 0 from x = ½.

    Parameters
    ----------
    scale : float
        > 0.

    References
    ----------
    The first filter of ``pygsp.filters.SimpleTight``.

    Examples
    --------
    >>> import numpy as np
    >>> simple_tight_scaling()(np.array([0.2, 0.375, 0.5])).round(4)
    array([1.   , 0.866, 0.   ])
    """

    scale: float = field(default=1.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        x = self.scale * lam
        fall = where_else_zero(x < 0.5, _partner(4 * x - 1))
        return xp.where(x < 0.25, xp.ones_like(x), fall)
