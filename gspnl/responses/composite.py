"""Responses composed of responses: scaled, shifted, dilated, complement, quotient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from gspnl._base.array import Array, namespace
from gspnl.errors import InputError
from gspnl.responses.base import POSITIVE, Parameters, Response, response, whole


def is_response(where: str, value: Any) -> Any:
    """Check that a parameter is a response: a callable object, not a class."""
    if not callable(value) or isinstance(value, type):
        raise InputError(f"{where}={value!r} must be a response, such as heat(3.0)")
    return value


def are_responses(where: str, value: Any) -> Any:
    """Check that a parameter is a sequence of responses; it becomes a tuple."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InputError(f"{where}={value!r} must be a tuple of responses, with one at least")
    return tuple(is_response(f"{where}[{i}]", g) for i, g in enumerate(value))


RESPONSE = {"check": is_response}
FAMILY = {"check": are_responses}


def sum_of_squares(responses: Sequence[Response], lam: Array) -> Array:
    """Compute Σ g_f(λ)²."""
    total = namespace(lam).zeros_like(lam)
    for g in responses:
        total = total + g(lam) ** 2
    return total


def jumps_of(responses: Sequence[Response]) -> tuple[float, ...]:
    """Return every λ at which one of the responses jumps."""
    return tuple(sorted({jump for g in responses for jump in getattr(g, "jumps", ())}))


@response("scaled")
class scaled(Parameters):
    r"""A response times a number, gain · g(λ).

    Parameters
    ----------
    response : callable
    gain : float

    Examples
    --------
    >>> import numpy as np
    >>> from gspnl.responses import nl
    >>> scaled(nl(), 3.0)(np.array([0.0, 1.0, 2.0]))
    array([ 3.,  0., -3.])
    """

    response: Response = field(metadata=RESPONSE)
    gain: float = 1.0

    def __call__(self, lam: Array) -> Array:
        return self.gain * self.response(lam)

    @property
    def jumps(self) -> tuple[float, ...]:
        return jumps_of([self.response])


@response("shifted")
class shifted(Parameters):
    r"""A response shifted along the spectrum, g(λ − by).

    Parameters
    ----------
    response : callable
        Defined for negative arguments too.
    by : float

    Examples
    --------
    >>> import numpy as np
    >>> from gspnl.responses import heat
    >>> shifted(heat(1.0), 1.0)(np.array([1.0]))
    array([1.])
    """

    response: Response = field(metadata=RESPONSE)
    by: float = 0.0

    def __call__(self, lam: Array) -> Array:
        return self.response(lam - self.by)

    @property
    def jumps(self) -> tuple[float, ...]:
        return tuple(jump + self.by for jump in jumps_of([self.response]))


@response("dilated")
class dilated(Parameters):
    r"""A dilated response, g(scale · λ).

    Parameters
    ----------
    response : callable
    scale : float
        > 0.

    Examples
    --------
    >>> import numpy as np
    >>> from gspnl.responses import nl
    >>> dilated(nl(), 2.0)(np.array([0.5]))
    array([0.])
    """

    response: Response = field(metadata=RESPONSE)
    scale: float = field(default=1.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        return self.response(self.scale * lam)

    @property
    def jumps(self) -> tuple[float, ...]:
        return tuple(jump / self.scale for jump in jumps_of([self.response]))


@response("complement")
class complement(Parameters):
    r"""The response that makes a family tight, :math:`g(λ) = \sqrt{B - \sum_f g_f(λ)^2}`.

    0 where the sum exceeds B; :meth:`gspnl.FilterBank.complement` checks that only rounding makes
    it do so. Where g is small, half the digits are accurate: an error of 10⁻¹⁶ in the sum becomes
    one of 10⁻⁸ in the root.

    Parameters
    ----------
    responses : tuple of callables
    bound : float
        B > 0.

    References
    ----------
    ``pygsp.filters.Filter.complement``.

    Examples
    --------
    >>> import numpy as np
    >>> from gspnl.responses import nl
    >>> complement((scaled(nl(), 0.6),))(np.array([0.0]))
    array([0.8])
    """

    responses: tuple[Response, ...] = field(metadata=FAMILY)
    bound: float = field(default=1.0, metadata=POSITIVE)

    def __call__(self, lam: Array) -> Array:
        xp = namespace(lam)
        left = self.bound - sum_of_squares(self.responses, lam)
        inside = left > 0  # the gradient of a root at 0 is infinite
        root = xp.sqrt(xp.where(inside, left, xp.ones_like(left)))
        return xp.where(inside, root, xp.zeros_like(root))

    @property
    def jumps(self) -> tuple[float, ...]:
        return jumps_of(self.responses)


@response("quotient")
class quotient(Parameters):
    r"""One response divided by its family, :math:`g_i(λ) / (\sum_f g_f(λ)^2)^{power}`.

    Power 1 gives the canonical dual, ½ a tight frame with B = 1. Where all responses vanish it is
    0, as with the pseudo-inverse.

    Parameters
    ----------
    responses : tuple of callables
    index : int
        i ≥ 0.
    power : float

    References
    ----------
    ``pygsp.filters.Filter.inverse``.

    Examples
    --------
    >>> import numpy as np
    >>> from gspnl.responses import nl
    >>> quotient((nl(3.0), nl(4.0)), 0, power=0.5)(np.array([0.0]))
    array([0.6])
    """

    responses: tuple[Response, ...] = field(metadata=FAMILY)
    index: int = field(default=0, metadata={"check": whole})
    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.index >= len(self.responses):
            raise InputError(
                f"quotient: index={self.index} is outside the {len(self.responses)} responses"
            )

    def __call__(self, lam: Array) -> Array:
        return over_power(
            self.responses[self.index](lam), sum_of_squares(self.responses, lam), self.power
        )

    @property
    def jumps(self) -> tuple[float, ...]:
        return jumps_of(self.responses)


def over_power(values: Array, squares: Array, power: float) -> Array:
    """Divide values by squares^power; 0 where the squares vanish."""
    xp = namespace(squares)
    live = squares > 0
    root = xp.where(live, squares, xp.ones_like(squares)) ** power
    return xp.where(live, values / root, xp.zeros_like(values / root))
