r"""Compute all eigenpairs of a graph's Laplacian, and the graph Fourier transform.

A = T S T⁻¹ with S symmetric, so U = T V and U⁻¹ = Vᵀ T⁻¹. A low-rank graph has a few explicit
modes; all others share λ = 1, and their space is stored as a multiplicity and a block reflection.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from gspnl._base.array import (
    Array,
    check_fits,
    constant,
    eps,
    is_numpy,
    like,
    namespace,
    ones,
)
from gspnl._base.blas import on_one_thread, one_thread
from gspnl._base.effort import work
from gspnl._base.lanczos import EIGH
from gspnl._base.qr import Reflection, TallQR, tall_qr
from gspnl._base.validate import on_signals, whole_number
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.weights import LowRank
from gspnl.errors import InputError
from gspnl.filters.relative import unit_of
from gspnl.responses.evaluate import numbers

REMEDY = (
    "filter with order=, ask for spectrum(k=), or use a graph of low rank (kernel dot, cosine or "
    "anchors, self-loops kept, not combinatorial)"
)
SMALL = 1024  # nodes up to which all eigenpairs take a fraction of a second
LARGE = 4096  # nodes above which a step of eigh takes longer than BLAS threads wait for each other


@dataclass(frozen=True, eq=False)
class Spectrum:
    r"""The eigendecomposition :math:`L = U Λ U^{-1}` of one graph.

    Attributes
    ----------
    eigenvalues : array of shape (m,)
        λ, ascending, in [0, 2] for non-negative weights, and in [0, 2 max d] for the combinatorial
        Laplacian. One entry for each mode, except one entry
        λ = 0 for all isolated nodes and, at low rank, one entry λ = 1 for the null space of A.
    multiplicities : array of int of shape (m,)
        Number of modes of each entry; they sum to N.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((500, 4))
    >>> spec = gspnl.feature_graph(X, kernel="dot").spectrum()
    >>> spec.eigenvalues.shape, spec.multiplicities.tolist()
    ((6,), [36, 1, 1, 1, 1, 460])
    >>> bool(np.allclose(spec.igft(spec.gft(X)), X))
    True
    """

    eigenvalues: Array
    multiplicities: np.ndarray
    _change: Array  # diagonal of T
    _make_vectors: Callable[[], Array]
    _split: int  # number of explicit modes with λ < 1
    _live: np.ndarray | None  # indices of the nodes that are not isolated, where some are
    _relative: Array | None = None  # λ/s for L = s (I − A); None where s = 1

    @property
    def n_nodes(self) -> int:
        """N."""
        return int(self._change.shape[0])

    @property
    def relative(self) -> Array:
        """λ/s for L = s (I − A): the eigenvalues, but for the combinatorial Laplacian."""
        return self.eigenvalues if self._relative is None else self._relative

    def gft(self, Z: Array) -> Array:
        r"""Compute the graph Fourier transform :math:`\hat Z = U^{-1} Z`.

        Row i belongs to ``np.repeat(eigenvalues, multiplicities)[i]``.

        Parameters
        ----------
        Z : array of shape (..., N, c)

        Returns
        -------
        array of shape (..., N, c)
            With ‖Ẑ‖ = ‖T⁻¹ Z‖ (Parseval in the D-weighted norm).
        """
        return self._on_signals(self.transform, Z)

    def transform(self, Z: Array) -> Array:
        """:meth:`gft` for signals (..., N, c) that have been checked."""
        xp = namespace(Z)
        y = Z / self._change[:, None]
        isolated = None
        if self._live is not None:
            isolated = xp.take(y, xp.asarray(self._isolated), axis=-2)
            y = xp.take(y, xp.asarray(self._live), axis=-2)
        y = self._reflection.apply(y)
        m, s = self._vectors.shape[1], self._split
        head = self._reflection.turn.mT @ y[..., :m, :]
        parts = [head[..., :s, :], y[..., m:, :], head[..., s:, :]]
        return xp.concat(parts if isolated is None else [isolated, *parts], axis=-2)

    def igft(self, Zhat: Array) -> Array:
        r"""Compute the inverse transform, :math:`Z = U \hat Z`; undoes :meth:`gft`.

        Parameters
        ----------
        Zhat : array of shape (..., N, c)

        Returns
        -------
        array of shape (..., N, c)
        """
        return self._on_signals(self.inverse, Zhat)

    def inverse(self, Zhat: Array) -> Array:
        """:meth:`igft` for coefficients (..., N, c) that have been checked."""
        xp = namespace(Zhat)
        n, m, s = self.n_nodes, self._vectors.shape[1], self._split
        skip = 0 if self._live is None else n - len(self._live)
        low, rest = Zhat[..., skip : skip + s, :], Zhat[..., skip + s : n - (m - s), :]
        head = xp.concat([low, Zhat[..., n - (m - s) :, :]], axis=-2)
        y = xp.concat([self._reflection.turn @ head, rest], axis=-2)
        y = self._reflection.apply(y)
        if self._live is not None:
            order = np.argsort(np.concatenate([self._isolated, self._live]))
            y = xp.take(xp.concat([Zhat[..., :skip, :], y], axis=-2), xp.asarray(order), axis=-2)
        return self._change[:, None] * y

    @on_one_thread
    def modes(self, k: int | None = None) -> Array:
        r"""Return the k right eigenvectors of least λ: columns of U, (N, k), with L u = λ u.

        Normalised to ‖T⁻¹ u‖ = 1, the entry of largest magnitude positive. Vectors of a repeated λ
        are one orthonormal basis among many.

        Parameters
        ----------
        k : int, optional
            1 ≤ k ≤ N; default: the modes with λ < 1.
        """
        xp = namespace(self._change)
        n = self.n_nodes
        if k is None:
            k = self._split + (0 if self._live is None else n - len(self._live))
        k = whole_number("k", k, 1, n, ", the number of nodes")
        check_fits((n, k), self._change, "a matrix of modes", "ask for fewer modes", copies=4)
        unit = xp.concat([like(np.eye(k), self._change), like(np.zeros((n - k, k)), self._change)])
        u = self.inverse(unit)
        peak = np.argmax(np.abs(constant(u)), axis=0)
        signs = np.sign(constant(u)[peak, np.arange(k)])
        return u * like(np.where(signs == 0, 1.0, signs), u)

    def core_modes(self, chosen: np.ndarray) -> Array:
        """Return V[:, chosen], modes of the symmetric core S, as :meth:`gft` numbers them."""
        xp, n = namespace(self._change), self.n_nodes
        if self._live is None and self._vectors.shape[1] == n:
            return xp.take(self._vectors, xp.asarray(chosen), axis=1)
        unit = np.zeros((n, len(chosen)))
        unit[chosen, np.arange(len(chosen))] = 1.0
        return self.inverse(like(unit, self._change)) / self._change[:, None]

    def filter(self, Z: Array, omega: Any) -> Array:
        """Compute U diag(ω) U⁻¹ Z, with one ω per entry of :attr:`eigenvalues`.

        Parameters
        ----------
        Z : array of shape (..., N, c)
        omega : array of shape (m,)
        """
        return self._on_signals(lambda z: self.multiply(z, omega), Z)

    def multiply(self, Z: Array, omega: Any) -> Array:
        """:meth:`filter` for signals (..., N, c) that have been checked."""
        values = numbers(omega)
        if values.shape != tuple(self.eigenvalues.shape):
            raise InputError(
                f"omega has shape {values.shape}; this spectrum has {self.eigenvalues.shape[0]} "
                "distinct entries, see spectrum().eigenvalues and .multiplicities"
            )
        if not np.isfinite(values).all():
            raise InputError("omega holds values that are not finite")
        gains = like(np.repeat(values, self.multiplicities), self._change)
        return self.inverse(gains[:, None] * self.transform(Z))

    def _on_signals(self, fn: Callable[[Array], Array], Z: Array) -> Array:
        return on_signals(fn, Z, (self.n_nodes, self.n_nodes), self._change)

    def __repr__(self) -> str:
        lam = constant(self.eigenvalues)
        span = f"[{lam[0]:.4g}, {lam[-1]:.4g}]"
        return f"Spectrum({self.n_nodes} nodes, {len(lam)} entries, λ in {span})"

    @cached_property
    def _isolated(self) -> np.ndarray:
        live = np.arange(self.n_nodes) if self._live is None else self._live
        return np.setdiff1d(np.arange(self.n_nodes), live)

    @cached_property
    def _vectors(self) -> Array:
        """V, the explicit modes of S on the nodes that are not isolated."""
        return self._make_vectors()

    @cached_property
    def _reflection(self) -> Reflection:
        return Reflection.onto_first_axes(self._vectors)


@on_one_thread
def exact_spectrum(affinity: Affinity) -> Spectrum:
    """Compute every eigenpair of one graph: eigh of S, or of a small matrix at low rank.

    Raises
    ------
    NonsymmetricError
        For the softmax normalisation.
    SizeError
        Where dense eigenvectors would not fit in memory.
    """
    affinity.require_core(
        "no real spectrum and no exact filter", ", or apply() and filter(..., order=1)"
    )
    weights = affinity.low_rank
    found = _dense(affinity) if weights is None else _low_rank(affinity, weights)
    if affinity.unit is None:
        return found
    lam = unit_of(affinity) * found.eigenvalues
    return replace(found, eigenvalues=lam, _relative=found.eigenvalues)


def check_whole(n: int, sample: Array) -> None:
    """Raise SizeError if all eigenvectors of a dense core of n nodes do not fit in memory."""
    check_fits((n, n), sample, "the eigenvectors", REMEDY, copies=4)


def _dense(affinity: Affinity) -> Spectrum:
    n = affinity.n_nodes
    sample = affinity.left
    check_whole(n, sample)
    xp = namespace(sample)
    scale = affinity.core_scale
    live, n_isolated = _live_nodes(affinity)
    nodes = xp.arange(n) if live is None else xp.asarray(live)
    S = xp.take(scale, nodes, axis=0)[:, None] * affinity.weights.rows(nodes) * scale
    if live is not None:  # isolated nodes have λ = 0 too: eigh would mix them with the constant
        S = xp.take(S, nodes, axis=1)
    whole = work(f"all eigenpairs of {n:,} nodes", EIGH * float(n) ** 3 * is_numpy(S), 0, REMEDY)
    with whole, one_thread.lifted() if n > LARGE else nullcontext():
        mu, V = xp.linalg.eigh(S)
    lam = xp.concat([0 * ones((1,), sample)] * bool(n_isolated) + [xp.flip(1 - mu)])
    counts = [n_isolated] * bool(n_isolated) + [1] * (n - n_isolated)
    vectors = partial(xp.flip, V, axis=-1)
    return Spectrum(
        _clip(lam, affinity), np.array(counts), affinity.change, vectors, n - n_isolated, live
    )


def _live_nodes(affinity: Affinity) -> tuple[np.ndarray | None, int]:
    """Return the nodes that are not isolated (None: all), and the number of isolated ones."""
    if affinity.isolated is None:
        return None, 0
    isolated = constant(affinity.isolated)
    return np.nonzero(~isolated)[0], int(isolated.sum())


def _low_rank(affinity: Affinity, weights: LowRank) -> Spectrum:
    xp = namespace(affinity.left)
    scale = affinity.core_scale
    tall = tall_qr(weights.factor, scale)
    R = tall.R
    middle = R @ weights.core @ R.mT
    mu, W = xp.linalg.eigh((middle + middle.mT) / 2)
    mu, W = xp.flip(mu), xp.flip(W, axis=-1)
    # The rounding of a zero eigenvalue grows with ‖R‖².
    norm = float(xp.linalg.matrix_norm(R, ord="fro")) ** 2
    values = constant(mu)
    kept = np.nonzero(np.abs(values) > 4 * len(values) * eps(mu) * max(norm, 1.0))[0]
    chosen = xp.asarray(kept)
    lam, turned = 1 - xp.take(mu, chosen), xp.take(W, chosen, axis=1)
    split = int((values[kept] > 0).sum())
    live, n_isolated = _live_nodes(affinity)
    vectors = partial(_explicit_modes, tall, turned, live)
    at_one = affinity.n_nodes - n_isolated - len(kept)
    unit = ones((1,), scale)
    counts = (
        [n_isolated] * bool(n_isolated)
        + [1] * split
        + [at_one] * bool(at_one)
        + [1] * (len(kept) - split)
    )
    pieces = [0 * unit] * bool(n_isolated) + [lam[:split]] + [unit] * bool(at_one) + [lam[split:]]
    eigenvalues = _clip(xp.concat(pieces), affinity)
    return Spectrum(eigenvalues, np.array(counts), affinity.change, vectors, split, live)


def _explicit_modes(tall: TallQR, turned: Array, live: np.ndarray | None) -> Array:
    """Compute V on the nodes that are not isolated; on the others it is 0."""
    V = tall.times(turned)
    xp = namespace(V)
    return V if live is None else xp.take(V, xp.asarray(live), axis=0)


def _clip(lam: Array, affinity: Affinity) -> Array:
    """Clip λ to [0, 2] for non-negative weights, beyond which only rounding can move it."""
    least, most = affinity.limits
    return namespace(lam).clip(lam, min=least, max=most)
