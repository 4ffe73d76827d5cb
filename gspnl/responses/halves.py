r"""Low passes of tight frames of two filters: Held, Papadakis, regular, Simoncelli.

The other filter is :math:`\sqrt{1 - g^2}`, see :class:`gspnl.responses.complement` and the banks of
the same names. All are functions of x = 2λ/lmax. For λ < 0, which rounding can produce, the low
passes are 1; PyGSP returns uninitialised memory there.
"""

from __future__ import annotations

import math
from dataclasses import field

from gspnl._base.array import Array, namespace
from gspnl.responses.base import POSITIVE, WHOLE, Parameters, response
from gspnl.responses.windows import where_else_zero


def _one_then(first: float, last: float, x: Array, fall: Array) -> Array:
    """Return 1 below ``first``, ``fall`` up to ``last``, 0 from there."""
    xp = namespace(x)
    return xp.where(x < first, xp.ones_like(x), where_else_zero(x < last, fall))


@response("held")
class held(Parameters):
    r"""Held's low pass, for a ≤ x < 2a :math:`g = \sin(2π\,μ(x/8a))`, x = 2λ/lmax.

    :math:`μ(u) = -1 + 24u - 144u^2 + 256u^3`; g = 1 below a, 0 from 2a.

    Parameters
    ----------
    a : float
        > 0.
    lmax : float
        > 0; the λ that counts as x = 2.

    References
    ----------
    ``pygsp.filters.Held``.

    Examples
    --------
    >>> import numpy as np
    >>> held(0.5)(np.array([0.25, 0.75, 1.0])).round(4)
    array([1.    , 0.7071, 0.    ])
    """

    a: float = field(default=2 / 3, metadata=POSITIVE)
    lmax: float = field(default=2.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        x = lam * 2 / self.lmax
        u = x / 8 / self.a
        mu = -1 + 24 * u - 144 * u**2 + 256 * u**3
        return _one_then(self.a, 2 * self.a, x, namespace(x).sin(2 * math.pi * mu))


@response("papadakis")
class papadakis(Parameters):
    r"""Papadakis' low pass, for a ≤ x < 5a/3 :math:`g = \sqrt{(1 - \sin(3πx/2a))/2}`, x = 2λ/lmax.

    g = 1 below a, 0 from 5a/3. (PyGSP's text prints 1 − sin(·)/2; its code has this.)

    Parameters
    ----------
    a : float
        > 0.
    lmax : float
        > 0; the λ that counts as x = 2.

    References
    ----------
    ``pygsp.filters.Papadakis``.

    Examples
    --------
    >>> import numpy as np
    >>> papadakis(0.75)(np.array([0.5, 1.0, 1.25])).round(4)
    array([1.    , 0.7071, 0.    ])
    """

    a: float = field(default=0.75, metadata=POSITIVE)
    lmax: float = field(default=2.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        x = lam * 2 / self.lmax
        fall = xp.sqrt((1 - xp.sin(3 * math.pi / (2 * self.a) * x)) / 2)
        return _one_then(self.a, self.a * 5 / 3, x, fall)


@response("regular")
class regular(Parameters):
    r"""The regular construction, a sine of iterated sines; analytic, rising from 0 to 1.

    With :math:`s(y) = \sin(πy/2)`, x = 2λ/lmax, and :math:`s^{(n)}` the n-fold iterate,

    .. math:: g = \sin(\tfrac{π}{4} (1 + s^{(n)}(x - 1))), \qquad n = \max(1, degree - 1),

    and for degree 0 :math:`g = \sin(πx/4)`. PyGSP calls it the low pass; it is the high one. Its
    documentation gives n = degree, its code the formula here, so that degrees 1 and 2 are equal.

    Parameters
    ----------
    degree : int
        ≥ 0.
    lmax : float
        > 0; the λ that counts as x = 2.

    References
    ----------
    ``pygsp.filters.Regular``.

    Examples
    --------
    >>> import numpy as np
    >>> regular(3)(np.array([0.0, 1.0, 2.0])).round(4)
    array([0.    , 0.7071, 1.    ])
    """

    degree: int = field(default=3, metadata=WHOLE)
    lmax: float = field(default=2.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        x = lam * 2 / self.lmax
        if self.degree == 0:
            return xp.sin(math.pi / 4 * x)
        y = xp.sin(math.pi * (x - 1) / 2)
        for _ in range(2, self.degree):
            y = xp.sin(math.pi * y / 2)
        return xp.sin(math.pi / 4 * (1 + y))


@response("simoncelli")
class simoncelli(Parameters):
    r"""Simoncelli's low pass, for a ≤ x < 2a :math:`g = \cos(½π\log_2(x/a))`, x = 2λ/lmax.

    g = 1 below a, 0 from 2a. (PyGSP's text prints x/2 for x/a; its code has this.)

    Parameters
    ----------
    a : float
        > 0.
    lmax : float
        > 0; the λ that counts as x = 2.

    References
    ----------
    ``pygsp.filters.Simoncelli``.

    Examples
    --------
    >>> import numpy as np
    >>> simoncelli(0.5)(np.array([0.25, 0.5**0.5, 1.0])).round(4)
    array([1.    , 0.7071, 0.    ])
    """

    a: float = field(default=2 / 3, metadata=POSITIVE)
    lmax: float = field(default=2.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        x = lam * 2 / self.lmax
        ratio = xp.where(x >= self.a, x, xp.full_like(x, self.a)) / self.a
        fall = xp.cos(math.pi / 2 * xp.log(ratio) / math.log(2))
        return _one_then(self.a, 2 * self.a, x, fall)
