"""Compute a few eigenpairs at the ends of the spectrum of a large graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import Array, check_fits, constant, constant64, like, to_numpy
from gspnl._base.blas import on_one_thread
from gspnl._base.lanczos import BLOCK, Pairs, largest
from gspnl._base.validate import on_signals, one_of, whole_number
from gspnl.affinity.affinity import Affinity
from gspnl.errors import ConvergenceError
from gspnl.filters.relative import unit_of
from gspnl.filters.spectrum import SMALL, Spectrum, exact_spectrum

STEPS = 600  # largest number of products with a block
TOLERANCE = 1e-10  # of residuals in float64
ENDS = ("low", "high", "both")


@dataclass(frozen=True, eq=False)
class PartialSpectrum:
    r"""k eigenpairs of the Laplacian of one graph, :math:`L u_i = λ_i u_i`.

    Attributes
    ----------
    eigenvalues : array of shape (k,)
        λ, ascending.
    residuals : array of shape (k,)
        :math:`\|T^{-1}(L u - λ u)\|` for ‖T⁻¹ u‖ = 1: an eigenvalue lies within this of each λ.
    n_nodes : int
        N.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((2000, 3))
    >>> spec = gspnl.feature_graph(X, kernel="rbf").spectrum(k=5)
    >>> spec.modes().shape, float(abs(spec.eigenvalues[0]))
    ((2000, 5), 0.0)
    >>> bool(spec.residuals.max() < 1e-9)
    True
    """

    eigenvalues: Array
    residuals: Array
    _vectors: Array  # V, (N, k), orthonormal modes of S
    _change: Array  # diagonal of T

    @property
    def n_nodes(self) -> int:
        """N."""
        return int(self._change.shape[0])

    def modes(self, k: int | None = None) -> Array:
        """Return the first k right eigenvectors, columns of U = T V, (N, k); default: all.

        Normalised to ‖T⁻¹ u‖ = 1, the entry of largest magnitude positive.
        """
        count = self._vectors.shape[1]
        k = count if k is None else k
        more = ", the pairs of this spectrum; ask graph.spectrum(k=) for more"
        return self._change[:, None] * self._vectors[:, : whole_number("k", k, 1, count, more)]

    def gft(self, Z: Array) -> Array:
        r"""Compute the coefficients of Z on the k modes, :math:`\hat Z = V^T T^{-1} Z`.

        Parameters
        ----------
        Z : array of shape (..., N, c)

        Returns
        -------
        array of shape (..., k, c)
        """
        V, change = self._vectors, self._change
        return on_signals(lambda z: V.mT @ (z / change[:, None]), Z, (self.n_nodes,) * 2, change)

    def igft(self, Zhat: Array) -> Array:
        r"""Compute the signal with coefficients Ẑ on the k modes, :math:`Z = T V \hat Z`.

        ``igft(gft(Z))`` is the projection of Z on the span of the k modes, orthogonal in the norm
        ‖T⁻¹ · ‖.

        Parameters
        ----------
        Zhat : array of shape (..., k, c)

        Returns
        -------
        array of shape (..., N, c)
        """
        V, change = self._vectors, self._change
        k = V.shape[1]
        return on_signals(lambda z: change[:, None] * (V @ z), Zhat, (k, k), change)

    def __repr__(self) -> str:
        lam, worst = constant(self.eigenvalues), float(constant(self.residuals).max())
        return (
            f"PartialSpectrum({len(lam)} of {self.n_nodes} modes, λ in [{lam[0]:.4g}, "
            f"{lam[-1]:.4g}], residuals ≤ {worst:.1g})"
        )


@on_one_thread
def partial_spectrum(affinity: Affinity, k: Any, which: str, seed: Any) -> PartialSpectrum:
    """Compute k eigenpairs of least ("low") or greatest λ ("high"), or half of each ("both").

    Raises
    ------
    ConvergenceError
        Where residuals stay above their tolerance.
    """
    n = affinity.n_nodes
    one_of("which", which, ENDS)
    k, seed = whole_number("k", k, 1, n, ", the number of nodes"), whole_number("seed", seed)
    affinity.require_core("no real spectrum")
    to_numpy(affinity.left)  # raises where a gradient would be lost: eigenpairs carry none
    below = {"low": k, "high": 0, "both": -(-k // 2)}[which]
    above = k - below
    live = int(np.count_nonzero(constant(affinity.core_scale)))
    cheap = n <= SMALL or k > n // 4 or live <= k + 1 or affinity.low_rank is not None
    if cheap:
        return _of_all(affinity, exact_spectrum(affinity), below, above)
    return _checked(affinity, *_by_lanczos(affinity, below, above, seed))


def _of_all(affinity: Affinity, spectrum: Spectrum, below: int, above: int) -> PartialSpectrum:
    """Select the pairs from the whole spectrum."""
    n = spectrum.n_nodes
    sample = affinity.left
    check_fits((n, below + above), sample, "the modes", "ask for fewer", copies=4)
    every = np.repeat(to_numpy(spectrum.relative), spectrum.multiplicities)
    chosen = np.r_[0:below, n - above : n]
    unit = np.zeros((n, len(chosen)))
    unit[chosen, np.arange(len(chosen))] = 1.0
    V = constant(spectrum.inverse(like(unit, sample)) / affinity.change[:, None])
    return _checked(affinity, every[chosen], V)


def _checked(affinity: Affinity, lam: np.ndarray, V: np.ndarray) -> PartialSpectrum:
    """Fix signs, compute the residuals by one more product, and turn λ/s into λ."""
    sample = affinity.left
    U = constant(affinity.change)[:, None] * V
    peak = np.argmax(np.abs(U), axis=0)
    V = V * np.where(U[peak, np.arange(V.shape[1])] < 0, -1.0, 1.0)
    vectors = like(V, sample)
    image = constant64(affinity.apply_core(vectors))
    rounded = constant64(vectors)
    if affinity.isolated is not None:
        alone = constant(affinity.isolated)
        image[alone] = rounded[alone]
    gaps = np.linalg.norm(image - (1 - lam) * rounded, axis=0)
    unit = unit_of(affinity)
    lam, gaps = like(unit * lam, sample), like(unit * gaps, sample)
    return PartialSpectrum(lam, gaps, vectors, affinity.change)


def _by_lanczos(
    affinity: Affinity, below: int, above: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute λ/s, ascending, and V by block Lanczos, orthogonal to the known modes of λ = 0."""
    n = affinity.n_nodes
    live = constant(affinity.core_scale) > 0
    constant_mode = constant64(affinity.stationary)[:, None]
    alone = np.nonzero(~live)[0]
    known = len(alone) + bool(live.any())
    room = n - known  # the known modes have λ = 0, the least
    rng = np.random.default_rng(seed)
    count = max(below, above, 1)
    check_fits(
        (n, 8 * count + 16 * BLOCK), affinity.left, "the Krylov basis", "ask for fewer modes"
    )

    known_modes = constant_mode

    def random(width: int) -> np.ndarray:
        return np.where(live[:, None], rng.standard_normal((n, width)), 0.0)

    def run(sign: float, count: int) -> Pairs:
        def apply(block: np.ndarray) -> np.ndarray:
            image = constant(affinity.apply_core(like(block, affinity.left)))
            return sign * image.astype(np.float64)

        tolerance = max(TOLERANCE, 200 * affinity.eps)
        found = largest(
            apply, random, known_modes, room=room, count=count, tolerance=tolerance, steps=STEPS
        )
        if found.residuals.max() > tolerance:
            raise ConvergenceError(
                f"{int((found.residuals > tolerance).sum())} of {count} eigenpairs are not found "
                f"to {tolerance:.0e} after {found.products} products: their λ lie too close "
                "together; ask for fewer, or for gspnl.spectral_density"
            )
        return found

    lam, vectors = [np.zeros(0)], [np.zeros((n, 0))]
    if below:
        found = run(1.0, min(below, room))
        units = np.zeros((n, len(alone)))
        units[alone, np.arange(len(alone))] = 1.0
        every = np.concatenate([units, constant_mode[:, : known - len(alone)], found.vectors], 1)
        values = np.concatenate([np.zeros(known), 1 - found.values])
        order = np.argsort(values, kind="stable")[:below]
        lam.append(values[order])
        vectors.append(every[:, order])
    if above:
        # Orthogonal to the modes of least λ: both ends may have the same repeated eigenvalue.
        if below:
            known_modes = np.concatenate([constant_mode, found.vectors], axis=1)
            room -= found.vectors.shape[1]
        found = run(-1.0, above)
        lam.append((1 + found.values)[::-1])
        vectors.append(found.vectors[:, ::-1])
    least, most = affinity.limits
    return np.clip(np.concatenate(lam), least, most), np.concatenate(vectors, axis=1)
