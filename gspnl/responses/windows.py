"""Window responses: exponential, rectangular, half cosine, iterated sine."""

from __future__ import annotations

import math
from dataclasses import field

from gspnl._base.array import Array, namespace
from gspnl.responses.base import OPTIONAL, POSITIVE, Parameters, response
from gspnl.responses.smooth import logistic


def where_else_zero(mask: Array, values: Array) -> Array:
    """Return the values where the mask holds, 0 elsewhere."""
    xp = namespace(values)
    return xp.where(mask, values, xp.zeros_like(values))


def _smoothed_step(x: Array, slope: float) -> Array:
    """Compute y/(y + z) with y = e^{−slope/x}, z = e^{−slope/(1−x)}: 0 for x ≤ 0, 1 for x ≥ 1."""
    xp = namespace(x)
    inside = (x > 0) & (x < 1)
    safe = xp.where(inside, x, xp.full_like(x, 0.5))
    values = logistic(slope / (1 - safe) - slope / safe)
    return xp.where(inside, values, xp.where(x >= 1, xp.ones_like(x), xp.zeros_like(x)))


@response("expwin")
class expwin(Parameters):
    r"""Exponential window: a band with edges smoothed by :math:`e^{-slope/x}`, infinitely smooth.

    With h(x) = y/(y + z), :math:`y = e^{-slope/x}`, :math:`z = e^{-slope/(1-x)}`, which rises from
    0 at x = 0 to 1 at x = 1,

    .. math:: g(λ) = h(\tfrac12 + b - λ/λ_{max})\; h(\tfrac12 - a + λ/λ_{max}),

    with a and b the lower and the upper end of the band. An end of None leaves its factor out.

    Parameters
    ----------
    band_min, band_max : float, optional
        Ends of the band relative to ``lmax``, where that factor is ½; None for no end. Both None
        give g = 1.
    slope : float
        > 0; steepness of the edges, each of which is ``lmax`` wide.
    lmax : float
        > 0; the λ that counts as 1. Default 2, the bound of every random-walk Laplacian.

    References
    ----------
    ``pygsp.filters.Expwin``.

    Examples
    --------
    >>> import numpy as np
    >>> expwin(band_max=0.25)(np.array([0.0, 0.5, 2.0])).round(4)
    array([0.935, 0.5  , 0.   ])
    """

    band_min: float | None = field(default=None, metadata=OPTIONAL)
    band_max: float | None = field(default=0.2, metadata=OPTIONAL)
    slope: float = field(default=1.0, metadata=POSITIVE)
    lmax: float = field(default=2.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        x, out = lam / self.lmax, namespace(lam).ones_like(lam)
        if self.band_max is not None:
            out = out * _smoothed_step(0.5 - x + self.band_max, self.slope)
        if self.band_min is not None:
            out = out * _smoothed_step(0.5 + x - self.band_min, self.slope)
        return out


@response("rectangular")
class rectangular(Parameters):
    r"""Ideal band, 1 for band_min ≤ λ/lmax ≤ band_max and 0 elsewhere.

    Parameters
    ----------
    band_min, band_max : float, optional
        Ends of the band relative to ``lmax``; None for no end.
    lmax : float
        > 0; the λ that counts as 1.

    See Also
    --------
    gspnl.responses.band_pass : the same with absolute ends.

    References
    ----------
    ``pygsp.filters.Rectangular``.

    Examples
    --------
    >>> import numpy as np
    >>> rectangular(0.1, 0.4)(np.array([0.1, 0.2, 0.8, 1.0]))
    array([0., 1., 1., 0.])
    """

    band_min: float | None = field(default=None, metadata=OPTIONAL)
    band_max: float | None = field(default=0.2, metadata=OPTIONAL)
    lmax: float = field(default=2.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        x, out = lam / self.lmax, namespace(lam).ones_like(lam)
        if self.band_max is not None:
            out = where_else_zero(x <= self.band_max, out)
        if self.band_min is not None:
            out = where_else_zero(x >= self.band_min, out)
        return out

    @property
    def jumps(self) -> tuple[float, ...]:
        ends = (self.band_min, self.band_max)
        return tuple(end * self.lmax for end in ends if end is not None)


@response("half_cosine")
class half_cosine(Parameters):
    r"""One period of a raised cosine, :math:`g(λ) = ½ - ½\cos(2π(λ - start)/width)`.

    0 outside start ≤ λ ≤ start + width.

    Parameters
    ----------
    start : float
    width : float
        > 0.

    References
    ----------
    ``pygsp.filters.HalfCosine``, as one of its filters.

    Examples
    --------
    >>> import numpy as np
    >>> half_cosine(0.5, 1.0)(np.array([0.25, 0.5, 0.75, 1.0, 1.75])).round(12)
    array([0. , 0. , 0.5, 1. , 0. ])
    """

    start: float = 0.0
    width: float = field(default=2.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        x = lam - self.start
        y = 0.5 + 0.5 * namespace(lam).cos(2 * math.pi * (x / self.width - 0.5))
        return where_else_zero((x >= 0) & (x <= self.width), y)


@response("itersine")
class itersine(Parameters):
    r"""Iterated sine, :math:`g(λ) = gain\,\sin(\tfrac{π}{2}\cos^2(π(λ - centre)/width))`.

    0 where λ is further than width/2 from the centre.

    Parameters
    ----------
    centre : float
    width : float
        > 0.
    gain : float

    References
    ----------
    ``pygsp.filters.Itersine``, as one of its filters.

    Examples
    --------
    >>> import numpy as np
    >>> itersine(1.0, 1.0)(np.array([0.25, 0.5, 0.75, 1.0])).round(4)
    array([0.    , 0.    , 0.7071, 1.    ])
    """

    centre: float = 1.0
    width: float = field(default=1.0, metadata=POSITIVE)
    gain: float = 1.0

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        x = (lam - self.centre) / self.width
        y = xp.sin(0.5 * math.pi * xp.cos(x * math.pi) ** 2)
        return self.gain * where_else_zero(xp.abs(x) <= 0.5, y)
