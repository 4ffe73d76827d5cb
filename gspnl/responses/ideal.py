"""Ideal low, high and band pass, which are discontinuous."""

from __future__ import annotations

from gspnl._base.array import Array, namespace
from gspnl.errors import InputError
from gspnl.responses.base import Parameters, response


@response("low_pass")
class low_pass(Parameters):
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


@response("high_pass")
class high_pass(low_pass):
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

    def __call__(self, lam: Array) -> Array:
        return 1 - super().__call__(lam)


@response("band_pass")
class band_pass(Parameters):
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
