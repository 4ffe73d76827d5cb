r"""Symmetric core of a Fourier sum as :math:`S = F F^T`, with products of :math:`F^T F` by FFT.

With s the scale of the core and p that of the weights,

.. math::

    F = diag(s p)\,Φ\,diag(\hat g)^{1/2}, \qquad Φ_{in} = e^{2πi n x_i/L}, \qquad
    (F^* F)_{nm} = \hat g_n^{1/2} \hat g_m^{1/2} \sum_i (s_i p_i)^2 e^{-2πi (n - m) x_i/L} .

The Gram matrix depends on n − m only, so its products are convolutions on the grid of modes, and do
not see the N points. Polynomials of S, and its eigenvectors of μ > 0, need two transforms of the
points and any number of such products.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from scipy import fft

from gspnl._base.rows import cores
from gspnl.affinity.approximation.fourier.transform import GRID, WIDEST, Transform, table

LARGEST = 1 << 24  # entries of the complex grids of a product
ENTRIES = 1 << 26  # entries of a grid up to which the Gram matrix is used


class FourierFactor:
    """F (N, M) of one graph, by its products; M is the number of modes.

    Coefficients of real functions are conjugate-symmetric. They are kept as real columns, the sums
    of their real and imaginary parts, which have the same inner products.

    Parameters
    ----------
    transform : Transform
    scale : array of shape (N,)
        s p.
    """

    def __init__(self, transform: Transform, scale: np.ndarray) -> None:
        self.transform, self.scale = transform, scale[:, None]
        self.size = math.prod(transform.box.modes)

    def heads(self, Z: np.ndarray) -> np.ndarray:
        """Compute Fᵀ Z, (N, c) → (M, c)."""
        out = np.empty((self.size, Z.shape[1]))
        for part in parts(Z.shape[1], 2 * WIDEST):
            modes = self.transform.modes_of(self.scale * Z[:, part])
            out[:, part] = self._columns(modes * self._root, part.stop - part.start)
        return out

    def times(self, h: np.ndarray) -> np.ndarray:
        """Compute F h, (M, c) → (N, c)."""
        out = np.empty((len(self.scale), h.shape[1]))
        for part in parts(h.shape[1], 2 * WIDEST):
            columns = self.transform.at_points(self._modes(h[:, part]) * self._root)
            out[:, part] = self.scale * columns[:, : part.stop - part.start]
        return out

    def gram(self, h: np.ndarray) -> np.ndarray:
        """Compute Fᵀ F h, (M, c) → (M, c)."""
        grid = self._table.shape
        axes = tuple(range(1, 1 + len(grid)))
        lags = [np.arange(-m, m + 1) for m in self.transform.box.halves]
        inside: Any = (slice(None), *np.ix_(*lags))
        out = np.empty(h.shape)
        for part in parts(h.shape[1], 2 * max(1, LARGEST // math.prod(grid))):
            modes = self._modes(h[:, part]) * self._root
            padded = np.zeros((len(modes), *grid), np.complex128)
            padded[inside] = modes
            padded = fft.fftn(padded, axes=axes, workers=cores(), overwrite_x=True)
            padded *= self._table
            padded = fft.ifftn(padded, axes=axes, workers=cores(), overwrite_x=True)
            out[:, part] = self._columns(padded[inside] * self._root, part.stop - part.start)
        return out

    def operations(self, columns: int) -> float:
        """Count the operations of :meth:`gram`, in units of matrix products."""
        return -(-columns // 2) * _pair(self.transform)

    @cached_property
    def _root(self) -> np.ndarray:
        root: np.ndarray = np.sqrt(self.transform.coefficients)
        return root

    @cached_property
    def _table(self) -> np.ndarray:
        """Fourier transform of the sums over points, on the padded grid; real."""
        grid = tuple(fft.next_fast_len(size) for size in wide(self.transform))
        sums = np.zeros(grid, np.complex128)
        lags = [np.arange(-2 * m, 2 * m + 1) for m in self.transform.box.halves]
        sums[np.ix_(*lags)] = table(self.transform, self.scale[:, 0] ** 2)
        return np.ascontiguousarray(fft.fftn(sums, workers=cores()).real)

    def _modes(self, h: np.ndarray) -> np.ndarray:
        """Return packed coefficients (pairs, ...) of real columns (M, c)."""
        columns = np.zeros((len(h), 2 * -(-h.shape[1] // 2)))
        columns[:, : h.shape[1]] = h
        packed = columns.view(np.complex128).T.reshape(-1, *self.transform.box.modes)
        return 0.5 * ((1 + 1j) * packed + (1 - 1j) * reflected(packed))

    def _columns(self, modes: np.ndarray, count: int) -> np.ndarray:
        """Undo :meth:`_modes`."""
        packed = 0.5 * ((1 - 1j) * modes + (1 + 1j) * reflected(modes))
        flat = np.ascontiguousarray(packed.reshape(len(modes), -1).T)
        return flat.view(np.float64)[:, :count]


def pays(transform: Transform) -> bool:
    """Tell whether a product of the Gram matrix takes at most half the time of one of S."""
    fits = math.prod(wide(transform)) <= ENTRIES
    return fits and 2 * _pair(transform) <= transform.operations(2)


def _pair(transform: Transform) -> float:
    """Count the operations of a product of the Gram matrix with two columns."""
    return GRID * math.prod(wide(transform))


def wide(transform: Transform) -> tuple[int, ...]:
    """Return the number of differences n − m along each axis."""
    return tuple(4 * m + 1 for m in transform.box.halves)


def reflected(modes: np.ndarray) -> np.ndarray:
    """Return the coefficients of −n."""
    return np.flip(modes, axis=tuple(range(1, modes.ndim)))


def parts(count: int, width: int) -> list[slice]:
    """Cut columns into slices of an even width."""
    return [slice(i, min(i + width, count)) for i in range(0, count, width)]
