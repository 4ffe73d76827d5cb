"""The feature graph: what users hold, and the verbs on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

import numpy as np

from gspnl._base.array import Array, check_fits, constant, like, namespace
from gspnl._base.validate import on_signals
from gspnl.affinity.affinity import Affinity, normalize
from gspnl.affinity.approximation import Approximation
from gspnl.affinity.kernels import Kernel
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.weights import Weights
from gspnl.errors import DegreeError, InputError, NonsymmetricError
from gspnl.filters import ChebyshevFilter, chebyshev_filter, exact
from gspnl.filters.cache import Decompositions
from gspnl.filters.partial_spectrum import PartialSpectrum, partial_spectrum
from gspnl.filters.spectrum import Spectrum
from gspnl.responses import Response


@dataclass(frozen=True, eq=False, repr=False)
class FeatureGraph:
    r"""A graph of features, or of weights given, with :math:`A = diag(l)\,W\,diag(r)`.

    Made by :func:`gspnl.feature_graph` or :func:`gspnl.graph_from_weights`; immutable. Spectral
    parts are computed on demand and kept.

    Attributes
    ----------
    n_nodes : int
        N.
    shape : tuple
        (..., N, N), the shape of A, with the batch dimensions of the features.
    kernel : Kernel
        f(x_i, x_j), with its options and what it has learned.
    storage, normalization : str
        How W is held, and how it is scaled.
    storage_reason : str
        Why it is held so: the costs that storage="auto" compared.
    degrees : array of shape (..., N)
        d = W 1, before normalisation (for softmax M 1).
    log_degrees : array of shape (..., N)
        log d, also where d itself leaves the range of its dtype.
    approximation : Approximation or None
        Of what an approximate graph is off by; None where W is the kernel's, to rounding.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.random.default_rng(0).standard_normal((1000, 3))
    >>> graph = gspnl.feature_graph(X, kernel="dot")
    >>> graph
    FeatureGraph(1000 nodes, kernel Dot(feature_map='relu'), lowrank, random_walk)
    >>> smooth = graph.filter(X, gspnl.responses.heat(2.0))
    >>> smooth.shape
    (1000, 3)
    """

    _weights: Weights
    kernel: Kernel
    storage: str
    normalization: str
    storage_reason: str = "asked for"
    approximation: Approximation | None = None
    _parts: dict[tuple[int, ...], Decompositions] = field(default_factory=dict, init=False)

    @property
    def n_nodes(self) -> int:
        """N."""
        return self._weights.shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., N, N)."""
        return self._weights.shape

    @cached_property
    def _affinity(self) -> Affinity:
        return normalize(self._weights, self.kernel, self.normalization)

    @cached_property
    def degrees(self) -> Array:
        """D = W 1, (..., N).

        Raises
        ------
        DegreeError
            Where degrees leave the range of their dtype; take :attr:`log_degrees`.
        """
        factor = np.asarray(self._weights.log_factor)
        if not factor.any():
            return self._affinity.degrees
        with np.errstate(over="ignore", under="ignore"):
            degrees = np.exp(constant(self.log_degrees))
        if not (np.isfinite(degrees).all() and degrees.all()):
            raise DegreeError(
                f"degrees around exp({float(factor.flat[0]):.0f}) leave the range of "
                f"{degrees.dtype}; take log_degrees, or use float64"
            )
        return like(degrees, self._affinity.degrees)

    @cached_property
    def log_degrees(self) -> Array:
        """Log d, (..., N); −inf for isolated nodes."""
        try:
            degrees = self._affinity.degrees
        except DegreeError:
            logs = self._weights.log_degrees()
            if logs is None:
                raise
            return logs
        xp = namespace(degrees)
        factor = np.asarray(self._weights.log_factor)
        live = degrees > 0
        logs = xp.log(xp.where(live, degrees, xp.ones_like(degrees)))
        logs = xp.where(live, logs, -xp.inf * xp.ones_like(logs))
        return logs + like(factor[..., None], degrees) if factor.any() else logs

    def apply(self, Z: Array) -> Array:
        r"""A Z.

        Parameters
        ----------
        Z : array of shape (..., N, c), or (N,)

        Returns
        -------
        array of the shape of Z

        Examples
        --------
        >>> import numpy as np, gspnl
        >>> graph = gspnl.feature_graph(np.eye(4) + 1.0)
        >>> graph.apply(np.ones((4, 1))).round(12).T  # rows sum to 1
        array([[1., 1., 1., 1.]])
        """
        fresh = self._weights.lazy and "_affinity" not in self.__dict__
        if fresh and NORMALIZATIONS[self.normalization].averages:
            return self._on_signals(self._weights.averages, Z)
        return self._on_signals(self._affinity.apply, Z)

    def __matmul__(self, Z: Array) -> Array:
        return self.apply(Z)

    def laplacian(self, Z: Array) -> Array:
        r"""L Z = Z − A Z.

        Parameters
        ----------
        Z : array of shape (..., N, c), or (N,)
        """
        return self._on_signals(lambda z: z - self._affinity.apply(z), Z)

    def norm(self, Z: Array) -> float:
        r"""‖T⁻¹ Z‖ (Frobenius): the norm in which eigenvectors are orthonormal.

        For random_walk it is D-weighted; for symmetric and bistochastic it is the plain one. The
        certificates of Chebyshev filters are relative to it.

        Parameters
        ----------
        Z : array of shape (N, c), or (N,)
        """
        change = self._affinity.change[..., None]
        inner = constant(self._on_signals(lambda z: z / change, Z)).astype(np.float64)
        peak = float(np.abs(inner).max())  # squares of huge or tiny signals leave the range
        return peak * float(np.linalg.norm(inner / peak)) if peak else 0.0

    def dense(self) -> Array:
        """A as an array (..., N, N).

        Raises
        ------
        SizeError
            If it would not fit in memory, naming the size.
        """
        check_fits(
            self.shape, self._weights.like, "A as a dense array", "use apply(), rows() or filter()"
        )
        return self._affinity.rows(namespace(self._weights.like).arange(self.n_nodes))

    def rows(self, index: Any) -> Array:
        """Rows of A: the attention maps of chosen nodes.

        Parameters
        ----------
        index : int, or sequence of k ints
            Nodes; negative ones count from the end.

        Returns
        -------
        array of shape (..., N) for one node, (..., k, N) for several
        """
        chosen = np.asarray(index)
        if chosen.dtype.kind not in "iu" or chosen.ndim > 1:
            raise InputError(f"index={index!r} must be a node number or a sequence of them")
        n = self.n_nodes
        if chosen.size and (chosen.min() < -n or chosen.max() >= n):
            raise InputError(f"index={index!r} is outside the {n} nodes of this graph")
        xp = namespace(self._weights.like)
        part = self._affinity.rows(xp.asarray(np.atleast_1d(chosen % n)))
        return part[..., 0, :] if chosen.ndim == 0 else part

    @overload
    def spectrum(self, k: None = None) -> Spectrum: ...

    @overload
    def spectrum(self, k: int, which: str = "low", *, seed: int = 0) -> PartialSpectrum: ...

    def spectrum(
        self, k: int | None = None, which: str = "low", *, seed: int = 0
    ) -> Spectrum | PartialSpectrum:
        """Every eigenvalue, exactly, or k of them; eigenvectors and the Fourier transform.

        A part of the spectrum needs products with A alone: block Lanczos on the symmetric core,
        or the exact spectrum where that is cheap (low rank, few nodes, k above N/4).

        Parameters
        ----------
        k : int, optional
            How many eigenpairs, 1 ≤ k ≤ N; default: all of them.
        which : {"low", "high", "both"}
            Those of least λ, of greatest λ, or half of each.
        seed : int
            Of the random start.

        Returns
        -------
        Spectrum, or PartialSpectrum for a k

        Raises
        ------
        NonsymmetricError
            For normalization="softmax".
        ConvergenceError
            For k eigenvalues that cannot be told apart from the next.
        InputError
            For a batch: take the spectrum of one graph, ``graph[i].spectrum()``.
        """
        parts = self._single()
        if k is None:
            if which != "low":
                raise InputError(f"which={which!r} belongs to a partial spectrum; pass k= with it")
            return parts.spectrum
        return partial_spectrum(parts.affinity, k, which, seed)

    def spectral_interval(self) -> tuple[float, float]:
        """Outer bounds of every λ but that of the constant mode (and of isolated nodes).

        The extreme Ritz values of a short block Lanczos run, plus their residuals, widened by one
        part in a hundred, within [0, 2] for non-negative weights; from all eigenvalues at low rank.
        An eigenvalue outside is possible only if none of the random starts has a share in it.

        Returns
        -------
        (float, float)
            Low and high, for :func:`gspnl.chebyshev.fit` or ``filter(interval=)``.

        Raises
        ------
        NonsymmetricError
            For normalization="softmax".

        Examples
        --------
        >>> import numpy as np, gspnl
        >>> X = np.random.default_rng(0).standard_normal((500, 32))
        >>> graph = gspnl.feature_graph(X, kernel="rbf", sigma=8.0)
        >>> low, high = graph.spectral_interval()
        >>> 0.9 < low < high < 1.01
        True
        """
        parts = self._single()
        if not parts.affinity.symmetric_core:
            raise NonsymmetricError(
                "normalization='softmax' has no real spectrum to bound; use 'random_walk'"
            )
        return parts.deflated(1).interval

    def filter(
        self,
        Z: Array,
        response: Response | Array,
        order: int | None = None,
        *,
        tol: float | None = None,
        method: str = "interpolate",
        deflate: int | bool | None = None,
        interval: tuple[float, float] | None = None,
        allow_nonsymmetric: bool = False,
    ) -> Array:
        r"""Filter a signal: g(L) Z exactly, or p_K(L) Z by a Chebyshev series.

        Parameters
        ----------
        Z : array of shape (..., N, c), or (N,)
        response : callable, or array of shape (m,)
            g(λ); or ω, one value per entry of ``spectrum().eigenvalues``: the paper's free Ω.
        order : int, optional
            K ≥ 0 of the Chebyshev series; default: the exact filter.
        tol : float, optional
            Instead of ``order``: take the least order whose certificate, rounding included, is at
            most ``tol``, relative to ‖T⁻¹ Z‖.
        method : {"interpolate", "least_squares", "minimax", "jackson"}
            How the series is fitted, see :func:`gspnl.chebyshev.fit`.
        deflate : int or bool, optional
            How many modes of least λ to filter exactly, beside the series: default the constant
            mode, which is known in closed form; False for the plain series on [0, 2].
        interval : (float, float), optional
            Of the series; default: the band in which the remaining λ lie, or [0, 2].
        allow_nonsymmetric : bool
            Permit an order above 1 on a softmax graph.

        Returns
        -------
        array of the shape of Z

        Raises
        ------
        InputError
            For signals that do not fit the graph, or a response that is not finite on the spectrum.
        NonsymmetricError
            For an exact filter, or an order above 1, on a softmax graph.
        """
        if order is None and tol is None:
            self._exact_options(method, deflate, interval, allow_nonsymmetric)
            return self._per_item(lambda parts, z: exact(parts, response, z), Z)
        return self._per_item(
            lambda parts, z: chebyshev_filter(
                parts, response, order=order, tol=tol, method=method, deflate=deflate,
                interval=interval, allow_nonsymmetric=allow_nonsymmetric,
            )(z),
            Z,
        )  # fmt: skip

    def chebyshev(
        self, response: Response | Array, order: int | None = None, **options: Any
    ) -> ChebyshevFilter:
        """Plan a Chebyshev filter once, to look at its certificate and to use it many times.

        Parameters
        ----------
        response, order, **options
            As for :meth:`filter`: ``tol``, ``method``, ``deflate``, ``interval``.

        Returns
        -------
        ChebyshevFilter

        Examples
        --------
        >>> import numpy as np, gspnl
        >>> X = np.random.default_rng(0).standard_normal((300, 8))
        >>> graph = gspnl.feature_graph(X, kernel="rbf", sigma=4.0)
        >>> plan = graph.chebyshev(gspnl.responses.tikhonov(50.0), tol=1e-6)
        >>> plan.error_bound <= 1e-6
        True
        """
        return chebyshev_filter(self._single(), response, order=order, **options)

    def __getitem__(self, index: Any) -> FeatureGraph:
        """One graph of a batch: ``graph[3]``, or ``graph[0, 2]`` for two batch dimensions."""
        key = index if isinstance(index, tuple) else (index,)
        batch = self.shape[:-2]
        if len(key) != len(batch) or not all(isinstance(i, (int, np.integer)) for i in key):
            raise InputError(
                f"graph[{index!r}]: this graph has batch dimensions {batch}; "
                + ("index each with a number" if batch else "it is a single graph")
            )
        told = self.approximation and self.approximation.item(key)
        one = FeatureGraph(
            self._weights.item(key),
            self.kernel,
            self.storage,
            self.normalization,
            self.storage_reason,
            told,
        )
        if "_affinity" in self.__dict__:
            one.__dict__["_affinity"] = self._affinity.item(key)
        return one

    def __repr__(self) -> str:
        batch = self.shape[:-2]
        size = f"{' × '.join(map(str, batch))} graphs of " if batch else ""
        return (
            f"FeatureGraph({size}{self.n_nodes} nodes, kernel {self.kernel}, {self.storage}, "
            f"{self.normalization})"
        )

    # --- one graph at a time ----------------------------------------------------------------------

    def _single(self) -> Decompositions:
        if self.shape[:-2]:
            raise InputError(
                f"this holds {self.shape[:-2]} graphs, each with a spectrum of its own; take one, "
                "graph[i]"
            )
        return self._part(())

    def _part(self, key: tuple[int, ...]) -> Decompositions:
        if key not in self._parts:
            self._parts[key] = Decompositions(self._affinity.item(key) if key else self._affinity)
        return self._parts[key]

    def _per_item(self, fn: Callable[[Decompositions, Array], Array], Z: Array) -> Array:
        """Apply ``fn`` to each graph of a batch and its signals; each has a band of its own."""
        batch = self.shape[:-2]
        if not batch:
            return self._on_signals(lambda z: fn(self._part(()), z), Z)

        def loop(z: Array) -> Array:
            xp = namespace(z)
            z = xp.broadcast_to(z, (*batch, *z.shape[-2:]))
            done = [fn(self._part(key), z[(*key, ...)]) for key in np.ndindex(*batch)]
            return xp.reshape(xp.stack(done), z.shape)

        return self._on_signals(loop, Z)

    def _on_signals(self, fn: Callable[[Array], Array], Z: Array) -> Array:
        return on_signals(fn, Z, self.shape, self._weights.like)

    @staticmethod
    def _exact_options(method: str, deflate: Any, interval: Any, allow: bool) -> None:
        if method != "interpolate" or deflate is not None or interval is not None or allow:
            raise InputError(
                "method=, deflate=, interval= and allow_nonsymmetric= belong to a Chebyshev "
                "filter; pass order= or tol= with them"
            )


def check_graph(graph: Any) -> FeatureGraph:
    """Return the graph, or raise where it is none."""
    if not isinstance(graph, FeatureGraph):
        raise InputError(
            f"graph is a {type(graph).__name__}; make one with gspnl.feature_graph(features)"
        )
    return graph
