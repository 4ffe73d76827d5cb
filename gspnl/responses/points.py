"""Tabulated responses, defined at given λ only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant, is_array, like
from gspnl.errors import InputError
from gspnl.responses.base import POSITIVE, Parameters, parameter, response


def are_numbers(where: str, value: Any) -> Any:
    """Check that a parameter is a sequence of finite numbers; it becomes a tuple."""
    if is_array(value):
        value = constant(value).tolist()
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InputError(f"{where}={value!r} must be a tuple of numbers, with one at least")
    return tuple(parameter(f"{where}[{i}]", v) for i, v in enumerate(value))


NUMBERS = {"check": are_numbers}


@response("tabulated")
class tabulated(Parameters):
    r"""Values at given λ; NaN elsewhere, which a filter reports as an error.

    It defines an exact filter on graphs whose eigenvalues are all among the points.

    Parameters
    ----------
    points, values : tuples of float
        λ and g(λ), in any order; the first value of a repeated λ is used.
    slack : float
        > 0; largest distance at which a λ is identified with a point.

    Examples
    --------
    >>> import numpy as np
    >>> tabulated((0.0, 1.0), (5.0, 7.0))(np.array([1.0, 0.0, 0.5]))
    array([ 7.,  5., nan])
    """

    points: tuple[float, ...] = field(metadata=NUMBERS)
    values: tuple[float, ...] = field(metadata=NUMBERS)
    slack: float = field(default=1e-9, metadata=POSITIVE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.points) != len(self.values):
            raise InputError(
                f"tabulated: {len(self.points)} points and {len(self.values)} values; give one "
                "value a point"
            )

    def __call__(self, lam: Array) -> Array:
        wanted = np.asarray(constant(lam) if is_array(lam) else lam, dtype=np.float64)
        points, first = np.unique(np.array(self.points), return_index=True)
        after = np.clip(np.searchsorted(points, wanted), 0, len(points) - 1)
        before = np.maximum(after - 1, 0)
        nearer = np.abs(points[before] - wanted) < np.abs(points[after] - wanted)
        nearest = np.where(nearer, before, after)
        hit = np.abs(points[nearest] - wanted) <= self.slack
        found = np.where(hit, np.array(self.values, dtype=np.float64)[first][nearest], np.nan)
        return like(found, lam) if is_array(lam) else found
