"""Responses of nonlocal operators: polynomials of degree 1 in λ."""

from __future__ import annotations

from gspnl._base.array import Array
from gspnl.responses.base import Parameters, response


@response("nl")
class nl(Parameters):
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


@response("ns")
class ns(Parameters):
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


@response("snl")
class snl(Parameters):
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


@response("gsnl")
class gsnl(Parameters):
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
