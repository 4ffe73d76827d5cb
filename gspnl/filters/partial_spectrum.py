"""A few eigenpairs at the ends of a graph's spectrum, for graphs too large for all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from gspnl._base.array import Array, check_fits, constant, eps, like, to_numpy, transpose
from gspnl._base.lanczos import BLOCK, Pairs, largest
from gspnl._base.validate import on_signals
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.weights import LowRank
from gspnl.errors import ConvergenceError, InputError, NonsymmetricError
from gspnl.filters.spectrum import Spectrum, exact_spectrum

DENSE = 1024  # nodes up to which all eigenpairs take a fraction of a second
STEPS = 600  # blocks of products
TOLERANCE = 1e-10  # of residuals, where the dtype allows it
ENDS = ("low", "high", "both")


@dataclass(frozen=True, eq=False)
class PartialSpectrum:
    r"""Some eigenpairs of the Laplacian of one graph, :math:`L u_i = λ_i u_i`.

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
        """The first k of the right eigenvectors, columns of U = T V, (N, k); default: all.

        Normalised to ‖T⁻¹ u‖ = 1, the entry of largest magnitude positive.
        """
        held = self._vectors.shape[1]
        k = held if k is None else k
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= held:
            raise InputError(
                f"k={k!r} must be a whole number from 1 to {held}, the pairs held; ask "
                "graph.spectrum(k=) for more"
            )
        return self._change[:, None] * self._vectors[:, : int(k)]

    def gft(self, Z: Array) -> Array:
        r"""The coefficients of Z on the modes held, :math:`\hat Z = V^T T^{-1} Z`.

        Parameters
        ----------
        Z : array of shape (..., N, c)

        Returns
        -------
        array of shape (..., k, c)
        """
        V, change = self._vectors, self._change
        return on_signals(
            lambda z: transpose(V) @ (z / change[:, None]), Z, (self.n_nodes,) * 2, change
        )

    def igft(self, Zhat: Array) -> Array:
        r"""The signal with these coefficients, :math:`Z = T V \hat Z`.

        ``igft(gft(Z))`` is the part of Z in the span of the modes held: its projection, orthogonal
        in the norm ‖T⁻¹ · ‖, and not Z.

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


def partial_spectrum(affinity: Affinity, k: Any, which: str, seed: Any) -> PartialSpectrum:
    """K eigenpairs of least ("low") or greatest λ ("high"), or half of each ("both").

    Raises
    ------
    ConvergenceError
        Where residuals stay above their tolerance.
    """
    n = affinity.n_nodes
    if which not in ENDS:
        raise InputError(f"which={which!r} must be one of 'low', 'high' and 'both'")
    for name, value, low, high in (("k", k, 1, n), ("seed", seed, 0, math.inf)):
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or not low <= value <= high:
            until = f" to N = {n}" if name == "k" else " up"
            raise InputError(f"{name}={value!r} must be a whole number from {low}{until}")
    if not affinity.symmetric_core:
        raise NonsymmetricError(
            "normalization='softmax' gives a graph that is not similar to a symmetric one, so it "
            "has no real spectrum; use normalization='random_walk'"
        )
    to_numpy(affinity.left)  # eigenpairs carry no gradient, and say so
    below = {"low": int(k), "high": 0, "both": -(-int(k) // 2)}[which]
    above = int(k) - below
    live = int(np.count_nonzero(constant(affinity.core_scale)))
    few = n <= DENSE or k > n // 4 or live <= k + 1
    if few or isinstance(affinity.weights, LowRank):
        return _of_all(affinity, exact_spectrum(affinity), below, above)
    lam, V = _by_lanczos(affinity, below, above, int(seed))
    return _checked(affinity, lam, V, math.inf)


def _of_all(affinity: Affinity, spectrum: Spectrum, below: int, above: int) -> PartialSpectrum:
    """Cut out of the whole spectrum."""
    n = spectrum.n_nodes
    sample = affinity.left
    check_fits((n, below + above), sample, "the modes", "ask for fewer", copies=4)
    every = np.repeat(to_numpy(spectrum.eigenvalues), spectrum.multiplicities)
    chosen = np.r_[0:below, n - above : n]
    unit = np.zeros((n, len(chosen)))
    unit[chosen, np.arange(len(chosen))] = 1.0
    V = constant(spectrum.igft(like(unit, sample)) / affinity.change[:, None])
    return _checked(affinity, every[chosen], V, math.inf)


def _checked(affinity: Affinity, lam: np.ndarray, V: np.ndarray, worst: float) -> PartialSpectrum:
    """With the residuals as they are, by one more product."""
    sample = affinity.left
    U = constant(affinity.change)[:, None] * V
    peak = np.argmax(np.abs(U), axis=0)
    V = V * np.where(U[peak, np.arange(V.shape[1])] < 0, -1.0, 1.0)
    vectors = like(V, sample)
    image = constant(affinity.apply_core(vectors)).astype(np.float64)
    held = constant(vectors).astype(np.float64)
    if affinity.isolated is not None:
        alone = constant(affinity.isolated)
        image[alone] = held[alone]
    gaps = np.linalg.norm(image - (1 - lam) * held, axis=0)
    return PartialSpectrum(like(lam, sample), like(gaps, sample), vectors, affinity.change)


def _by_lanczos(
    affinity: Affinity, below: int, above: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """λ ascending, and V; the constant mode and isolated nodes are known."""
    n = affinity.n_nodes
    live = constant(affinity.core_scale) > 0
    constant_mode = constant(affinity.stationary).astype(np.float64)[:, None]
    alone = np.nonzero(~live)[0]
    known = len(alone) + bool(live.any())
    # What is known is λ = 0: never among the highest.
    room = n - known
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

        tolerance = max(TOLERANCE, 200 * eps(affinity.left))
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
        # Off the lowest: both ends may lie in one repeated eigenvalue, λ = 1 at low rank.
        if below:
            known_modes = np.concatenate([constant_mode, found.vectors], axis=1)
            room -= found.vectors.shape[1]
        found = run(-1.0, above)
        lam.append((1 + found.values)[::-1])
        vectors.append(found.vectors[:, ::-1])
    least, most = affinity.limits
    return np.clip(np.concatenate(lam), least, most), np.concatenate(vectors, axis=1)
