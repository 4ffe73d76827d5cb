"""Filter banks: families of responses with their frame bounds, duals and complements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from gspnl._base.array import Array, as_floats, namespace
from gspnl._base.registry import Registry
from gspnl.errors import InputError
from gspnl.responses import Response, complement, quotient
from gspnl.responses.banks.bounds import extremes
from gspnl.responses.base import parameter
from gspnl.responses.composite import are_responses, jumps_of, over_power
from gspnl.responses.evaluate import make_interval, numbers

F = TypeVar("F", bound=Callable[..., "FilterBank"])

BANKS: Registry[Callable[..., FilterBank]] = Registry("filter bank")

INTERVAL = (0.0, 2.0)
VANISHES = 1e-14  # A/B up to which a bank is no frame in float64


def bank(name: str) -> Callable[[F], F]:
    """Register a function that builds a bank."""

    def file(make: F) -> F:
        BANKS.register(name)(make)
        return make

    return file


@dataclass(frozen=True)
class FilterBank:
    r"""A family of F responses, :math:`g_f = r_f / (\sum_j r_j^2)^{power}`.

    Its analysis operator maps a signal to F signals :math:`g_f(L) Z`, see :func:`gspnl.analyze`. In
    the norm ‖T⁻¹ · ‖ of the graph its frame bounds are those of :math:`\sum_f g_f(λ)^2`.

    Parameters
    ----------
    responses : tuple of callables
        r_f.
    power : float
        0, the default, for the responses themselves; ½ for their normalised tight frame, with
        Σ g² = 1; 1 for their canonical dual.

    Examples
    --------
    >>> import numpy as np
    >>> from gspnl.responses import heat, ns
    >>> bank = FilterBank((heat(3.0), ns()))
    >>> bank(np.array([0.0, 1.0])).round(4)
    array([[ 1.    ,  0.0498],
           [ 0.    , -1.    ]])
    >>> len(bank), bank[0]
    (2, heat(t=3.0))
    >>> bank.dual().dual() == bank
    True
    """

    responses: tuple[Response, ...]
    power: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "responses", are_responses("FilterBank: responses", self.responses)
        )
        object.__setattr__(self, "power", parameter("FilterBank: power", self.power))

    def __call__(self, lam: Any) -> Array:
        """Evaluate every response.

        Parameters
        ----------
        lam : array of shape (...)

        Returns
        -------
        array of shape (F, ...)
        """
        lam = as_floats(lam, "lam")
        zero = namespace(lam).zeros_like(lam)  # a constant response may return a number
        values = namespace(lam).stack([zero + r(lam) for r in self.responses])
        if self.power == 0:
            return values
        return over_power(values, namespace(lam).sum(values**2, axis=0), self.power)

    def __len__(self) -> int:
        return len(self.responses)

    def __getitem__(self, index: int) -> Response:
        """Return g_f as a response."""
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
            raise InputError(f"bank[{index!r}]: give the number of a filter")
        if not -len(self) <= index < len(self):
            raise IndexError(f"bank[{index}] is outside its {len(self)} filters")
        if self.power == 0:
            return self.responses[index]
        return quotient(self.responses, int(index) % len(self), self.power)

    def __iter__(self) -> Iterator[Response]:
        return (self[f] for f in range(len(self)))

    def __add__(self, other: FilterBank) -> FilterBank:
        """Concatenate the filters of two banks."""
        if not isinstance(other, FilterBank):
            return NotImplemented
        return FilterBank((*self, *other))

    def frame_bounds(
        self, interval: tuple[float, float] = INTERVAL, *, spectrum: Any = None
    ) -> tuple[float, float]:
        r"""Compute A and B with :math:`A \le \sum_f g_f(λ)^2 \le B`.

        On an interval they are outer bounds: the sum is expanded in Chebyshev series on pieces
        that are halved until each is resolved, the supremum of each series is bounded from samples
        (Ehlich and Zeller), and the pieces that may hold an extreme are halved further. They are
        within about 10⁻¹¹ of the extremes, relative to B, where the responses are piecewise smooth
        with kinks and declared jumps. A feature of a callable narrower than 1/2000 of the interval
        can be missed, and at a jump that is not declared only values beside it are sampled.

        Parameters
        ----------
        interval : (float, float)
        spectrum : Spectrum, or array of λ, optional
            Use the least and largest value on these λ instead, which is exact for that graph.

        Returns
        -------
        A, B : float

        References
        ----------
        ``pygsp.filters.Filter.estimate_frame_bounds``, which samples a grid.

        Examples
        --------
        >>> from gspnl import banks
        >>> [round(v, 9) for v in banks.abspline(4).frame_bounds()]
        [0.20006249, 1.971632092]
        """
        if spectrum is not None:
            lam = eigenvalues_of(spectrum)
            total = self._squares(lam)
            return float(total.min()), float(total.max())
        return extremes(self._squares, make_interval(interval), jumps_of(self.responses))

    def is_tight(
        self,
        interval: tuple[float, float] = INTERVAL,
        *,
        spectrum: Any = None,
        tolerance: float = 1e-10,
    ) -> bool:
        """Tell whether Σ g² is constant: B − A ≤ tolerance · B, and B > 0.

        Parameters
        ----------
        interval, spectrum
            As for :meth:`frame_bounds`.
        tolerance : float
        """
        low, high = self.frame_bounds(interval, spectrum=spectrum)
        return high > 0 and high - low <= tolerance * high

    def dual(self, interval: tuple[float, float] = INTERVAL, *, spectrum: Any = None) -> FilterBank:
        r"""Return the canonical dual, :math:`h_f = g_f / \sum_j g_j^2`, with Σ h g = 1.

        Synthesis by the dual inverts analysis by the bank.

        Parameters
        ----------
        interval, spectrum
            λ on which the bank must be a frame, as for :meth:`frame_bounds`.

        Raises
        ------
        InputError
            If it is no frame: all responses vanish at some λ.
        """
        self._check_frame(interval, spectrum)
        return FilterBank(self.responses, 1 - self.power)

    def normalized(
        self, interval: tuple[float, float] = INTERVAL, *, spectrum: Any = None
    ) -> FilterBank:
        r"""Return the tight frame of the same shape, :math:`g_f / \sqrt{\sum_j g_j^2}`, A = B = 1.

        Parameters
        ----------
        interval, spectrum
            λ on which the bank must be a frame, as for :meth:`frame_bounds`.
        """
        self._check_frame(interval, spectrum)
        return FilterBank(self.responses, 0.5)

    def complement(
        self,
        bound: float | None = None,
        interval: tuple[float, float] = INTERVAL,
        *,
        spectrum: Any = None,
    ) -> complement:
        r"""Return the response :math:`\sqrt{bound - \sum_f g_f^2}` that makes the bank tight.

        Parameters
        ----------
        bound : float, optional
            B of the tight frame; default: the upper frame bound, the smallest possible.
        interval, spectrum
            As for :meth:`frame_bounds`.

        Raises
        ------
        InputError
            For a bound below the upper frame bound.
        """
        high = self.frame_bounds(interval, spectrum=spectrum)[1]
        bound = high if bound is None else parameter("bound", bound)
        if bound < high * (1 - 1e-12):
            raise InputError(
                f"bound={bound!r} is below the upper frame bound; take {high:.6g} or more"
            )
        return complement(tuple(self), bound)

    def completed(
        self,
        bound: float | None = None,
        interval: tuple[float, float] = INTERVAL,
        *,
        spectrum: Any = None,
    ) -> FilterBank:
        """Return the bank with its :meth:`complement` as last filter: tight, with A = B = bound."""
        return FilterBank((*self, self.complement(bound, interval, spectrum=spectrum)))

    def _squares(self, lam: np.ndarray) -> np.ndarray:
        values = np.asarray(self(lam))
        if not np.isfinite(values).all():
            f, *rest = np.argwhere(~np.isfinite(values))[0]
            raise InputError(
                f"filter {f} of the bank, {self[f]!r}, is not finite at λ = "
                f"{lam[tuple(rest)]:.6g}; pass spectrum= if it is defined at eigenvalues only"
            )
        return np.asarray((values**2).sum(axis=0))

    def _check_frame(self, interval: tuple[float, float], spectrum: Any) -> None:
        low, high = self.frame_bounds(interval, spectrum=spectrum)
        if low <= VANISHES * high:
            where = f"{interval}" if spectrum is None else "the spectrum"
            raise InputError(
                f"the bank is no frame on {where}: Σ g² falls to {low:.2g}; complete it with "
                ".completed(), or pass the interval= or spectrum= on which it is used"
            )


def eigenvalues_of(spectrum: Any) -> np.ndarray:
    """Return the λ of an array, or of a Spectrum, each as often as its multiplicity."""
    if hasattr(spectrum, "eigenvalues") and not hasattr(spectrum, "multiplicities"):
        raise InputError(
            f"spectrum is a {type(spectrum).__name__}, which holds {len(spectrum.eigenvalues)} of "
            "the eigenvalues; pass graph.spectrum(), or its .eigenvalues if these are meant alone"
        )
    lam = numbers(getattr(spectrum, "eigenvalues", spectrum))
    if lam.ndim != 1 or lam.size == 0 or not np.isfinite(lam).all():
        raise InputError("spectrum must be a Spectrum or a one-dimensional array of finite λ")
    return np.repeat(lam, getattr(spectrum, "multiplicities", 1))
