"""Compute a few eigenpairs at the ends of the spectrum of a large graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import Array, check_fits, constant, constant64, fits, like, to_numpy
from gspnl._base.blas import on_one_thread
from gspnl._base.effort import work
from gspnl._base.lanczos import BLOCK, EIGH, Pairs, largest
from gspnl._base.validate import on_signals, one_of, whole_number
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.weights.base import GramFactor
from gspnl.errors import ConvergenceError
from gspnl.filters.direct import Shifted
from gspnl.filters.relative import unit_of
from gspnl.filters.spectrum import SMALL, Spectrum, exact_spectrum

STEPS = 600  # largest number of products with a block
DOUBT = 8  # factor by which solves may need more operations than is estimated
WHOLE = 20_000  # nodes up to which all eigenpairs may replace a search that does not converge
TOLERANCE = 1e-10  # of residuals in float64
LEAST = 1e-4  # μ from which an eigenvector of FᵀF gives one of F Fᵀ to its digits
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
    found = None if cheap else _by_lanczos(affinity, below, above, seed)
    if found is None:
        return _of_all(affinity, exact_spectrum(affinity), below, above)
    return _checked(affinity, *found)


def _whole(affinity: Affinity) -> float:
    """Count the operations of all eigenpairs; inf where they do not fit or take too long."""
    n = affinity.n_nodes
    operations = EIGH * float(n) ** 3 + 2 * affinity.weights.operations(0)
    return operations if n <= WHOLE and fits((n, n), affinity.left, copies=4) else math.inf


def _of_all(affinity: Affinity, spectrum: Spectrum, below: int, above: int) -> PartialSpectrum:
    """Select the pairs from the whole spectrum."""
    n = spectrum.n_nodes
    sample = affinity.left
    check_fits((n, below + above), sample, "the modes", "ask for fewer", copies=4)
    every = np.repeat(to_numpy(spectrum.relative), spectrum.multiplicities)
    chosen = np.r_[0:below, n - above : n]
    V = constant(spectrum.core_modes(chosen))
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
) -> tuple[np.ndarray, np.ndarray] | None:
    """Compute λ/s, ascending, and V by block Lanczos, orthogonal to the known modes of λ = 0.

    Returns None where all eigenpairs take less time.
    """
    n = affinity.n_nodes
    live = constant(affinity.core_scale) > 0
    constant_mode = constant64(affinity.stationary)[:, None]
    alone = np.nonzero(~live)[0]
    known = len(alone) + bool(live.any())
    search = _Search(affinity, constant_mode, n - known, np.random.default_rng(seed))
    count = max(below, above, 1)
    check_fits(
        (n, 8 * count + 16 * BLOCK), affinity.left, "the Krylov basis", "ask for fewer modes"
    )
    if above and affinity.factor is not None and affinity.factor.size < n - above:
        raise ConvergenceError(
            f"which={'both' if below else 'high'!r}: the Fourier sum of this graph has "
            f"{affinity.factor.size:,} modes, so at least {n - affinity.factor.size:,} of its "
            f"{n:,} eigenvalues are 1, the greatest, and have no distinguished eigenvectors; ask "
            "for which='low', or for gspnl.spectral_density"
        )
    lam, vectors = [np.zeros(0)], [np.zeros((n, 0))]
    if below:
        found = search.run(1.0, min(below, search.room))
        if found is None:
            return None
        units = np.zeros((n, len(alone)))
        units[alone, np.arange(len(alone))] = 1.0
        every = np.concatenate([units, constant_mode[:, : known - len(alone)], found[1]], 1)
        values = np.concatenate([np.zeros(known), 1 - found[0]])
        order = np.argsort(values, kind="stable")[:below]
        lam.append(values[order])
        vectors.append(every[:, order])
    if above:
        # Orthogonal to the modes of least λ: both ends may have the same repeated eigenvalue.
        if below and found is not None:
            search.exclude(found[1])
        found = search.run(-1.0, above)
        if found is None:
            return None
        lam.append((1 + found[0])[::-1])
        vectors.append(found[1][:, ::-1])
    least, most = affinity.limits
    return np.clip(np.concatenate(lam), least, most), np.concatenate(vectors, axis=1)


class _Search:
    """Search for eigenvectors of ± S, by products while they are the cheaper way, then by solves.

    Lanczos with products gives way to Lanczos with a Cholesky factor of the shifted core, and that
    to all eigenpairs, where the forecast of its operations is above those of the next way. They are
    counted, not timed, so that results do not depend on the load of the machine.
    """

    def __init__(
        self, affinity: Affinity, known: np.ndarray, room: int, rng: np.random.Generator
    ) -> None:
        self.affinity, self.known, self.room, self.rng = affinity, known, room, rng
        self.live = constant(affinity.core_scale) > 0
        self.tolerance = max(TOLERANCE, 200 * affinity.eps)
        self.whole = _whole(affinity)

    def exclude(self, vectors: np.ndarray) -> None:
        """Search on the orthogonal complement of orthonormal eigenvectors."""
        self.known = np.concatenate([self.known, vectors], axis=1)
        self.room -= vectors.shape[1]

    def run(self, sign: float, count: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Find the ``count`` largest μ of σ S, descending, and V; None: all pairs cost less."""
        if sign > 0 and self.affinity.factor is not None:
            found = self._by_factor(self.affinity.factor, count)
            if found is not None:
                return found
        solver = Shifted(self.affinity, sign)
        by_solves = _solves(solver, count) if math.isfinite(solver.limit) else math.inf
        product = self.affinity.weights.operations(BLOCK)
        basis = 3 * count + 10 * BLOCK
        least = basis / BLOCK * product + 12 * self.affinity.n_nodes * float(basis) ** 2
        what = f"{count} eigenpairs of {self.affinity.n_nodes:,} nodes"
        with work(what, least, 0, "ask for fewer, or for gspnl.spectral_density") as shown:
            return self._run(sign, count, solver, by_solves, shown)

    def _run(
        self, sign: float, count: int, solver: Shifted, by_solves: float, shown: Any
    ) -> tuple[np.ndarray, np.ndarray] | None:
        pairs = self._largest(
            self._products(sign), count, steps=STEPS, budget=0.4 * self.whole,
            alternative=min(DOUBT * by_solves, self.whole),
            product=self.affinity.weights.operations(BLOCK), progress=shown,
        )  # fmt: skip
        if pairs.found:
            return pairs.values, pairs.vectors
        if by_solves <= self.whole / (2 if pairs.spent < self.whole / 4 else 8):
            shift = _shift(solver, count)
            inverse = self._largest(
                solver.factor(shift), count, steps=STEPS, budget=0.4 * self.whole,
                alternative=self.whole, product=solver.solving(BLOCK), relative=True,
                progress=shown,
            )  # fmt: skip
            if inverse.found:
                found = self._quotients(sign, inverse.vectors)
                if found is not None:
                    return found
        if math.isfinite(self.whole):
            return None
        raise ConvergenceError(
            f"{count} eigenpairs are not found to {self.tolerance:.0e} after {pairs.products} "
            "products: their λ lie too close together, and this graph is too large to compute all "
            "of them; ask for fewer, or for gspnl.spectral_density"
        )

    def _by_factor(self, factor: GramFactor, count: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Find the largest μ of S = F Fᵀ and V = F H μ^-½ from those of FᵀF, μ and H.

        Returns None where the factor's rounding is above the tolerance of residuals.
        """
        if 4 * count > min(factor.size, self.room) or not self.live.all():
            return None
        known = np.linalg.qr(factor.heads(self.known))[0]

        def without(h: np.ndarray) -> np.ndarray:
            return np.asarray(h - known @ (known.T @ h))

        def random(width: int) -> np.ndarray:
            return without(self.rng.standard_normal((factor.size, width)))

        cost = STEPS / 10 * factor.operations(BLOCK)
        with work(f"{count} eigenpairs of {factor.size:,} Fourier modes", cost) as shown:
            pairs = largest(
                lambda h: without(factor.gram(without(h))), random, known,
                room=factor.size - known.shape[1], count=count, tolerance=self.tolerance / 4,
                steps=STEPS, progress=shown,
            )  # fmt: skip
        if not pairs.found or pairs.values.min() < LEAST:
            return None
        V = factor.times(pairs.vectors / np.sqrt(pairs.values))
        V = V - self.known @ (self.known.T @ V)
        sizes, turn = np.linalg.eigh(V.T @ V)
        return self._quotients(1.0, V @ (turn / np.sqrt(sizes)) @ turn.T)

    def _largest(self, apply: Callable[[np.ndarray], np.ndarray], count: int, **how: Any) -> Pairs:
        return largest(
            apply, self._random, self.known, room=self.room, count=count,
            tolerance=self.tolerance, **how,
        )  # fmt: skip

    def _random(self, width: int) -> np.ndarray:
        noise = self.rng.standard_normal((self.affinity.n_nodes, width))
        return np.where(self.live[:, None], noise, 0.0)

    def _products(self, sign: float) -> Callable[[np.ndarray], np.ndarray]:
        def apply(block: np.ndarray) -> np.ndarray:
            image = constant(self.affinity.apply_core(like(block, self.affinity.left)))
            return sign * image.astype(np.float64)

        return apply

    def _quotients(self, sign: float, V: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return Rayleigh quotients of σ S, descending, and V; None where residuals are large."""
        image = self._products(sign)(V)
        mu = np.sum(V * image, axis=0)
        if np.linalg.norm(image - V * mu, axis=0).max() > self.tolerance:
            return None
        order = np.argsort(-mu, kind="stable")
        return mu[order], V[:, order]


def _solves(solver: Shifted, count: int) -> float:
    """Estimate the operations of Lanczos with solves: about three columns a pair, and 160."""
    if not solver.fits:
        return math.inf
    n, size = float(len(solver.nodes)), float(3 * count + 10 * BLOCK)
    return (
        solver.factoring + size / BLOCK * solver.solving(BLOCK) + 6 * n * size**2 + EIGH * size**3
    )


def _shift(solver: Shifted, count: int) -> float:
    """Return a shift of about the λ of mode ``count``, as of a grid of that bandwidth.

    A smaller one costs digits, a larger one steps; both within wide limits.
    """
    if solver.band is None:
        return float(np.clip((count / len(solver.nodes)) ** 2, 1e-5, 1e-2))
    return float(np.clip((count * solver.width / len(solver.nodes)) ** 2, 1e-8, 1e-2))
