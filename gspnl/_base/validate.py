"""Check arguments: whole numbers, finite numbers, names, and signals on a graph."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gspnl._base.array import (
    Array,
    as_floats,
    constant,
    detached,
    eps,
    largest_entry,
    like,
    namespace,
    times_power,
)
from gspnl._base.blas import one_thread
from gspnl._base.memory import size_error
from gspnl.errors import InputError

# Range of the largest entry of signals that are used as they are, by the spacing of the dtype.
PLAIN = {2.0**-23: (1e-5, 1e8), 2.0**-52: (1e-100, 1e100)}


def whole_number(
    name: str, value: Any, least: int = 0, most: int | None = None, about_most: str = ""
) -> int:
    """Return ``value`` as an int in [least, most], or raise.

    Parameters
    ----------
    name : str
        The argument's name, for the error.
    value : int, numpy.integer
        Booleans and floats are refused, whole ones too.
    least, most : int
        The range; None for no upper end.
    about_most : str
        Description of ``most`` for the error: ", the nodes that have edges".

    Raises
    ------
    InputError

    Examples
    --------
    >>> whole_number("order", 2.5)
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: order=2.5 must be a whole number ≥ 0
    >>> whole_number("k", 9, 1, 4)
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: k=9 must be a whole number from 1 to 4
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))
    if not whole or value < least or (most is not None and value > most):
        reach = f"≥ {least}" if most is None else f"from {least} to {most}{about_most}"
        raise InputError(f"{name}={shown(value)} must be a whole number {reach}")
    return int(value)


def number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> float:
    """Return ``value`` as a finite float within the bounds given, or raise.

    Raises
    ------
    InputError

    Examples
    --------
    >>> number("sigma", -1.0, above=0)
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: sigma=-1.0 must be a finite number > 0
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    inside = (
        real
        and _is_float(value)
        and (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
        and (most is None or value <= most)
    )
    if not inside:
        signs = ((">", above), ("≥", least), ("<", below), ("≤", most))
        bounds = " and ".join(f"{sign} {bound:g}" for sign, bound in signs if bound is not None)
        raise InputError(f"{name}={shown(value)} must be a finite number {bounds}".rstrip())
    return float(value)


def _is_float(value: Any) -> bool:
    """Tell whether a real number is finite as a float."""
    try:
        return math.isfinite(float(value))
    except (OverflowError, ValueError):  # an integer of hundreds of digits
        return False


def shown(value: Any) -> str:
    """Return ``repr(value)``, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return f"an integer of {value.bit_length()} bits"
    return text if len(text) <= 200 else f"{text[:60]}... ({len(text)} characters)"


def one_of(name: str, value: Any, names: Iterable[str]) -> str:
    """Return ``value``, one of ``names``, or raise and list them.

    Raises
    ------
    InputError

    Examples
    --------
    >>> one_of("which", "top", ("low", "high"))
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: which='top' must be one of 'low', 'high'
    """
    names = tuple(names)
    if not isinstance(value, str) or value not in names:
        raise InputError(f"{name}={value!r} must be one of {', '.join(map(repr, names))}")
    return value


def on_signals(
    fn: Callable[[Array], Array],
    Z: Any,
    shape: tuple[int, ...],
    sample: Array,
    degree: int = 1,
    summed: bool = False,
) -> Array:
    """Check signals against a graph and apply ``fn``; a signal (N,) gives (N,).

    Parameters
    ----------
    fn : callable
        Maps (..., N, c) to (..., N, c).
    Z : array of shape (..., N, c), or (N,) on a single graph
    shape : tuple
        (..., N, N), of the graph.
    sample : array
        Array of the graph's library and dtype.
    degree : int
        p with ``fn(c z) = c^p fn(z)``, column by column: huge and tiny signals are scaled, so that
        no intermediate result leaves the range.
    summed : bool
        Whether ``fn`` sums over the axis before that of the nodes.
    """
    z = as_floats(Z, "Z")
    n, batch = shape[-1], shape[:-2]
    if namespace(z) is not namespace(sample):
        raise InputError(
            f"Z is a {type(Z).__name__} and the graph holds {type(sample).__name__}; "
            "convert one of them"
        )
    if z.ndim == 1 and not batch and z.shape[0] == n:
        return on_signals(fn, z[:, None], shape, sample, degree, summed)[:, 0]
    if z.ndim < 2 or z.shape[-2] != n:
        raise InputError(
            f"Z has shape {tuple(z.shape)}; signals on this graph have shape (..., {n}, c)"
        )
    if batch and z.ndim > 2 and tuple(z.shape[:-2]) != batch:
        raise InputError(
            f"Z has batch dimensions {tuple(z.shape[:-2])} and the graph {batch}; they must agree"
        )
    with np.errstate(over="ignore"):  # a cast to float32 may overflow: checked next
        z = like(z, sample)
    try:
        with one_thread:
            low, high = largest_entry(z, "Z")
            least, most = PLAIN[eps(z)]
            if high == 0 or (least <= low and high <= most):
                return fn(z)
            return _in_units(fn, z, degree, summed)
    except (MemoryError, RuntimeError) as error:
        if (sized := size_error(error)) is None or sized is error:
            raise
        raise sized from error


def _in_units(fn: Callable[[Array], Array], Z: Array, degree: int, summed: bool) -> Array:
    """Compute ``fn(Z)`` with every column scaled to a largest entry in [½, 1) by a power of 2."""
    xp = namespace(Z)
    peak = constant(xp.max(xp.abs(detached(Z)), axis=-2, keepdims=True))
    if summed:
        peak = peak.max(-3)
    power = np.frexp(peak)[1].astype(np.float64)

    def scale(x: Array, factor: int) -> Array:
        fitted = power
        while fitted.ndim < x.ndim:  # the axis of a bank comes right before that of the nodes
            fitted = fitted[..., None, :, :]
        return times_power(x, factor * fitted)

    out = fn(scale(Z, -1))
    full, xp = scale(out, degree), namespace(out)
    if bool(xp.any(xp.isfinite(out) & ~xp.isfinite(full))):
        raise InputError(
            f"Z has entries up to {float(peak.max()):.1e}, and the result overflows "
            f"{str(Z.dtype).removeprefix('torch.')}; scale Z down, or use float64"
        )
    return full
