"""Responses that papers put into self-attention, as functions of λ = 1 − μ."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from gspnl._base.array import Array, namespace
from gspnl._base.validate import whole_number
from gspnl.responses.base import Parameters, response, whole
from gspnl.responses.points import NUMBERS

CONSTANT = 1e-9  # λ up to which a mode counts as the constant one, beyond the rounding of λ


def _power(where: str, value: Any) -> int:
    return whole_number(where, whole(where, value), 1)


@response("chebyshev")
class chebyshev(Parameters):
    r"""Chebyshev series on [0, 2], :math:`g(λ) = \sum_k θ_k\,T_k(λ - 1)`: the filter Σ θ_k T_k(−A).

    Parameters
    ----------
    coefficients : tuple of float
        θ_0, …, θ_K.

    References
    ----------
    Defferrard, Bresson and Vandergheynst 2016, equation 4.

    Examples
    --------
    >>> import numpy as np
    >>> chebyshev((0.0, -1.0, 0.5))(np.array([0.0, 1.0, 2.0]))  # μ + μ² − ½
    array([ 1.5, -0.5, -0.5])
    """

    coefficients: tuple[float, ...] = field(metadata=NUMBERS)

    def __call__(self, lam: Array) -> Array:
        x, above, last = lam - 1, 0 * lam, 0 * lam
        for theta in self.coefficients[:0:-1]:  # Clenshaw
            above, last = last, theta + 2 * x * last - above
        return self.coefficients[0] + x * last - above


@response("gfsa")
class gfsa(Parameters):
    r"""Graph-filter-based self-attention, a quadratic in μ = 1 − λ.

    :math:`g(λ) = w_0 + w_1 μ + w_K\,(μ + (K - 1)(μ^2 - μ))`: the last term stands for :math:`μ^K`,
    to first order in K at K = 1; for K = 2 it is exact.

    Parameters
    ----------
    w0, w1, wK : float
        The defaults, with which training starts, are A itself.
    order : int
        K ≥ 1.

    References
    ----------
    Choi, Wi, Kim, Shin, Lee, Trask and Park 2024; ``Image/gfsa.py`` of their code, with w₀ = 0 and
    w₁ = 1.

    Examples
    --------
    >>> import numpy as np
    >>> gfsa(0.0, 1.0, 0.5, order=3)(np.array([0.0, 0.5, 1.0]))
    array([1.5, 0.5, 0. ])
    """

    w0: float = 0.0
    w1: float = 1.0
    wK: float = 0.0
    order: int = field(default=3, metadata={"check": _power})

    def __call__(self, lam: Array) -> Array:
        mu = 1 - lam
        return self.w0 + mu * (self.w1 + self.wK * (1 + (self.order - 1) * (mu - 1)))


@response("attnscale")
class attnscale(Parameters):
    r"""AttnScale, 1 on the constant mode and :math:`(1 + ω)(1 - λ)` on all others.

    The operator :math:`\bar A + (1 + ω)(A - \bar A)` with :math:`\bar A = \mathbf 1 \mathbf 1^T/N`
    is this filter of A where the columns of A sum to 1 as its rows do. Otherwise it has these
    eigenvalues, and its eigenvectors are those of A up to a constant. λ = 0 counts as the constant
    mode: the graph has to be connected.

    Parameters
    ----------
    omega : float
        ω.

    References
    ----------
    Wang, Zheng, Chen and Wang 2022; ``attnscale.py`` of their code.

    Examples
    --------
    >>> import numpy as np
    >>> attnscale(0.5)(np.array([0.0, 0.5, 1.0]))
    array([1.  , 0.75, 0.  ])
    """

    omega: float = 0.0

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        return xp.where(lam <= CONSTANT, xp.ones_like(lam), (1 + self.omega) * (1 - lam))

    @property
    def jumps(self) -> tuple[float, ...]:
        return (CONSTANT,) if self.omega else ()


@response("featscale")
class featscale(Parameters):
    r"""FeatScale on one channel, :math:`g(λ) = 1 + s\,(1 - λ) + t\,λ`.

    :math:`Z + s\,\bar A Z + t\,(Z - \bar A Z)` is a filter of the uniform graph
    :math:`\bar A = \mathbf 1 \mathbf 1^T/N`, whose λ are 0 and 1: mean and remainder are scaled.

    Parameters
    ----------
    s, t : float
        Gains of the mean and of the remainder, in addition to 1.

    References
    ----------
    Wang, Zheng, Chen and Wang 2022; ``featscale.py`` of their code adds both terms twice, that for
    Swin once, as here.

    Examples
    --------
    >>> import numpy as np
    >>> featscale(0.5, 2.0)(np.array([0.0, 1.0]))
    array([1.5, 3. ])
    """

    s: float = 0.0
    t: float = 0.0

    def __call__(self, lam: Array) -> Array:
        return 1 + self.s * (1 - lam) + self.t * lam


@response("contranorm")
class contranorm(Parameters):
    r"""ContraNorm before its norm, :math:`g(λ) = 1 - s\,(1 - λ)`.

    A filter of the softmax graph :math:`\mathrm{softmax}(Z Z^T)` of the signal itself, so of
    another graph than the attention's.

    Parameters
    ----------
    s : float

    References
    ----------
    Guo, Wang, Du and Wang 2023; ``ViT_imagenet/models.py`` of their code.

    Examples
    --------
    >>> import numpy as np
    >>> contranorm(0.5)(np.array([0.0, 1.0, 2.0]))
    array([0.5, 1. , 1.5])
    """

    s: float = 0.01

    def __call__(self, lam: Array) -> Array:
        return 1 - self.s * (1 - lam)
