"""The feature graph: products with A, filters, spectra and rows of one graph or a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, overload

import numpy as np

from gspnl._base.array import Array, check_fits, constant64
from gspnl._base.blas import on_one_thread
from gspnl._base.effort import Progress, takes_progress
from gspnl._base.memory import within_memory
from gspnl._base.validate import on_signals
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.approximation import Approximation
from gspnl.affinity.kernels import Kernel
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.affinity.normalize import normalize
from gspnl.affinity.stationary import stationary_of
from gspnl.affinity.weights import Weights
from gspnl.errors import DegreeError, InputError
from gspnl.filters import ChebyshevFilter, chebyshev_filter, filter_signals
from gspnl.filters.directed import DirectedFilter, DirectedSpectrum, directed_spectrum
from gspnl.filters.partial_spectrum import PartialSpectrum, partial_spectrum
from gspnl.filters.spectrum import Spectrum, check_whole
from gspnl.graph.batch import BatchCache, batch_key
from gspnl.graph.degrees import degrees_of, log_degrees_of
from gspnl.graph.describe import describe
from gspnl.graph.description import Description
from gspnl.graph.display import glance
from gspnl.graph.nodes import node_numbers
from gspnl.graph.source import Source
from gspnl.responses import Response


@dataclass(frozen=True, eq=False, repr=False)
class FeatureGraph:
    r"""A graph of features, or of stored weights, with :math:`A = diag(l)\,W\,diag(r)`.

    Built by :func:`gspnl.feature_graph` or :func:`gspnl.graph_from_weights`; immutable. Degrees,
    eigenpairs and filter bands are computed on demand and cached.

    Attributes
    ----------
    n_nodes : int
        N.
    shape : tuple
        (..., N, N), the shape of A, with the batch dimensions of the features.
    weights : Weights
        W in its storage, before normalisation.
    affinity : Affinity
        A with its scales l and r, its symmetric core and its isolated nodes.
    caches : BatchCache
        Spectral caches, one for each graph of a batch.
    kernel : Kernel
        f(x_i, x_j), with its options and its fitted parameters.
    storage, normalization : str
        Names of the storage of W and of the scaling that turns W into A.
    storage_reason : str
        Reason for the storage: the costs that storage="auto" compared.
    degrees : array of shape (..., N)
        d = W 1, before normalisation (for softmax M 1, for chung π).
    log_degrees : array of shape (..., N)
        log d, also where d itself leaves the range of its dtype.
    approximation : Approximation or None
        Error of an approximate graph; None where W is the kernel's, to rounding.
    source : Source or None
        A sample of the features, and the way to build the graph of others; for the estimates of
        :func:`gspnl.choose_strength`.

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

    weights: Weights
    kernel: Kernel
    storage: str
    normalization: str
    storage_reason: str = "asked for"
    approximation: Approximation | None = None
    source: Source | None = None

    @property
    def n_nodes(self) -> int:
        """N."""
        return self.weights.shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., N, N)."""
        return self.weights.shape

    @cached_property
    def affinity(self) -> Affinity:
        """A = diag(l) W diag(r); raises DegreeError where 1/d is undefined."""
        found = normalize(self.weights, self.kernel, self.normalization)
        if self.approximation is None:
            return found
        return replace(found, errors=self.approximation.errors)

    @cached_property
    def caches(self) -> BatchCache:
        """Spectral caches, one for each graph of a batch."""
        return BatchCache(self.affinity)

    @within_memory
    def check_degrees(self) -> FeatureGraph:
        """Compute the degrees now; returns the graph, or raises DegreeError."""
        _ = self.affinity  # cached; its construction checks the degrees
        return self

    @cached_property
    def degrees(self) -> Array:
        """D = W 1, (..., N).

        Raises
        ------
        DegreeError
            Where degrees leave the range of their dtype; use :attr:`log_degrees`.
        """
        return degrees_of(self.affinity)

    @cached_property
    def log_degrees(self) -> Array:
        """Log d, (..., N); −inf for isolated nodes."""
        try:
            return log_degrees_of(self.affinity)
        except DegreeError:  # tiled weights know log d where d leaves the range
            logs = self.weights.log_degrees()
            if logs is None:
                raise
            return logs

    @cached_property
    @within_memory
    def stationary(self) -> Array:
        r"""Stationary distribution π of the walk A, (..., N): :math:`π^T A = π^T`, π ≥ 0, Σ π = 1.

        π_i is the share of time that an endless random walk by A spends at node i, and πᵀZ is the
        mean of a signal that averaging keeps. It is d/Σd for random_walk and chung, and 1/N for
        bistochastic and for combinatorial, where it is that of the flow exp(−t L). For softmax it
        is computed; periodic walks have one as well. Nodes that the walk leaves for good have
        π = 0: under a causal mask π = (1, 0, …, 0), so that layer after layer of averaging copies
        the first node to all others.

        Raises
        ------
        ReducibleError
            If A has several closed classes (components, where A is symmetric), each with a π of its
            own; ``error.classes`` has their nodes.
        InputError
            For normalization="symmetric", whose rows do not sum to 1, and softmax of negative
            weights.
        ConvergenceError
            If π is not determined to rounding, as where parts exchange next to nothing.

        Examples
        --------
        >>> import numpy as np, gspnl
        >>> walk = gspnl.graph_from_weights(np.array([[1, 1], [1, 3]]), "softmax")
        >>> walk.stationary.round(12)
        array([0.33333333, 0.66666667])
        """
        return self.caches.each(stationary_of)

    def apply(self, Z: Array) -> Array:
        r"""Compute A Z, or W Z for normalization="combinatorial".

        Parameters
        ----------
        Z : array of shape (..., N, c), or (N,)

        Returns
        -------
        array of the shape of Z

        Examples
        --------
        >>> import numpy as np, gspnl
        >>> graph = gspnl.feature_graph(np.eye(4) + 1.0, kernel="dot")
        >>> graph.apply(np.ones((4, 1))).round(12).T  # rows sum to 1
        array([[1., 1., 1., 1.]])
        """
        unscaled = self.weights.lazy and "affinity" not in self.__dict__
        if unscaled and NORMALIZATIONS[self.normalization].averages:
            return self._on_signals(self.weights.averages, Z)
        return self._on_signals(self.affinity.apply, Z)

    def __matmul__(self, Z: Array) -> Array:
        return self.apply(Z)

    def laplacian(self, Z: Array) -> Array:
        r"""Compute L Z: Z − A Z, or D Z − W Z for normalization="combinatorial".

        Parameters
        ----------
        Z : array of shape (..., N, c), or (N,)
        """
        return self._on_signals(self.affinity.laplacian, Z)

    @on_one_thread
    def norm(self, Z: Array) -> float:
        r"""Compute ‖T⁻¹ Z‖ (Frobenius), the norm in which eigenvectors are orthonormal.

        For random_walk it is D-weighted. For softmax, whose eigenvectors are not orthonormal in any
        norm, it is the stationary one, :math:`\sqrt{\sum_i π_i \|z_i\|^2}`, see
        :attr:`stationary`. For all others it is the plain one. The certificates of filters are
        relative to it.

        Parameters
        ----------
        Z : array of shape (N, c), or (N,)

        Raises
        ------
        NonsymmetricError
            For softmax, if π has zeros (transient nodes) or is not unique: there it is no norm.
        """
        if self.affinity.symmetric_core:
            change = constant64(self.affinity.change[..., None])
        else:
            change = self.caches.norm_scale()
        inner = self._on_signals(lambda z: constant64(z) / change, Z)
        peak = float(np.abs(inner).max(initial=0.0))  # squares of huge or tiny signals may overflow
        return peak * float(np.linalg.norm(inner / peak)) if peak else 0.0

    @within_memory
    @on_one_thread
    def dense(self) -> Array:
        """Return A, or W for normalization="combinatorial", as a dense array (..., N, N).

        Raises
        ------
        SizeError
            If it does not fit in memory, with its size.
        """
        check_fits(
            self.shape, self.weights.like, "A as a dense array", "use apply(), rows() or filter()"
        )
        return self.affinity.rows(self.affinity.xp.arange(self.n_nodes))

    @within_memory
    @on_one_thread
    def rows(self, index: Any) -> Array:
        """Return rows of A (of W for "combinatorial"): the attention maps of the chosen nodes.

        Parameters
        ----------
        index : int, or sequence of k ints
            Nodes; negative ones count from the end.

        Returns
        -------
        array of shape (..., N) for one node, (..., k, N) for several
        """
        chosen = node_numbers("index", index, self.n_nodes)
        part = self.affinity.rows(self.affinity.xp.asarray(np.atleast_1d(chosen)))
        return part[..., 0, :] if chosen.ndim == 0 else part

    @overload
    def spectrum(self, k: None = None, *, progress: Progress = None) -> Spectrum: ...

    @overload
    def spectrum(
        self, k: int, which: str = "low", *, seed: int = 0, progress: Progress = None
    ) -> PartialSpectrum: ...

    @within_memory
    @takes_progress
    def spectrum(
        self,
        k: int | None = None,
        which: str = "low",
        *,
        seed: int = 0,
        progress: Progress = None,
    ) -> Spectrum | PartialSpectrum:
        """Compute all eigenpairs exactly, or k of them, with their graph Fourier transform.

        k eigenpairs need products with A only: block Lanczos on the symmetric core, or the exact
        spectrum where that is cheap (low rank, few nodes, k above N/4). Where eigenvalues lie close
        together, as on a ring or a grid, Lanczos gives way to solves with a Cholesky factor, or to
        the exact spectrum.

        Parameters
        ----------
        k : int, optional
            Number of eigenpairs, 1 ≤ k ≤ N; default: all of them.
        which : {"low", "high", "both"}
            The k of least λ, of greatest λ, or half of each.
        seed : int
            Seed of the random start.
        progress : bool or callable, optional
            See :func:`gspnl.progress`.

        Returns
        -------
        Spectrum, or PartialSpectrum for a k

        Raises
        ------
        NonsymmetricError
            For normalization="softmax".
        ConvergenceError
            If the k eigenvalues are not separated from the others, and all of them take too long.
        EffortError
            Where the estimate is above an hour, see :func:`gspnl.patience`.
        InputError
            For a batch: take the spectrum of one graph, ``graph[i].spectrum()``.
        """
        if k is None and self.storage == "tiled" and self.weights.lazy:
            check_whole(
                self.n_nodes, self.weights.like
            )  # before the degrees, a pass over all pairs
        cache = self.caches.single()
        if k is None:
            if which != "low":
                raise InputError(f"which={which!r} belongs to a partial spectrum; pass k= with it")
            return cache.spectrum
        return partial_spectrum(cache.affinity, k, which, seed)

    @within_memory
    @takes_progress
    def directed_spectrum(
        self, k: int = 16, *, power: int = 1, seed: int = 0, progress: Progress = None
    ) -> DirectedSpectrum:
        r"""Compute complex eigenvalues, stationary singular values and the numerical range of A.

        For graphs without a real spectrum: normalization="softmax", directed edges, attention. It
        holds for reversible graphs as well. Above 512 nodes it takes products with A and Aᵀ only:
        a block Krylov–Schur iteration.

        Parameters
        ----------
        k : int
            Number of eigenvalues of largest modulus, and of singular values; all where k ≥ N. A
            conjugate pair is completed: then k + 1.
        power : int
            p ≥ 1: the spectrum of A^p in place of A. A walk that mixes can have σ₂ = 1; then
            σ₂(A^p) says how many steps it takes.
        seed : int
            Seed of the random starts.
        progress : bool or callable, optional
            See :func:`gspnl.progress`.

        Returns
        -------
        DirectedSpectrum
            Where π has zeros (transient nodes, as under a causal mask) or is not unique, what the
            stationary norm defines is None, with a reason; there
            :func:`gspnl.stability.dobrushin` tells what depth does.

        Raises
        ------
        InputError
            If rows of A do not sum to 1 or weights may be negative; for a batch: take one,
            ``graph[i]``.
        ConvergenceError
            Where k eigenvalues are not separated from the others and N is above 8192.
        EffortError
            Where the estimate is above an hour, see :func:`gspnl.patience`.

        References
        ----------
        .. [1] F. Chung, Laplacians and the Cheeger inequality for directed graphs, 2005.
        .. [2] P. Henrici, Bounds for iterates, inverses, spectral variation and fields of values of
           non-normal matrices, 1962.

        Examples
        --------
        >>> import numpy as np, gspnl
        >>> ring = gspnl.graph_from_weights(np.roll(np.eye(4), 1, axis=1), "softmax")
        >>> found = ring.directed_spectrum()  # steps around a ring: the 4th roots of unity
        >>> sorted(found.eigenvalues.round(12).tolist(), key=lambda mu: mu.imag)
        [-1j, (1+0j), (-1+0j), 1j]
        >>> found.sigma.round(12), round(found.chung_gap, 12)
        (array([1., 1., 1., 1.]), 1.0)
        """
        return directed_spectrum(self.caches.single().affinity, k, power, seed)

    @within_memory
    def spectral_interval(self) -> tuple[float, float]:
        """Bound all λ except those of the constant mode and of isolated nodes.

        The bounds are the extreme Ritz values of a short block Lanczos run, plus their residuals,
        widened by 1 % of the band, within [0, 2] for non-negative weights ([0, 2 max d] for
        "combinatorial"); at low rank they come from all eigenvalues. An eigenvalue lies outside
        only if every random start is orthogonal to its eigenvector.

        Returns
        -------
        (float, float)
            Lower and upper bound, for :func:`gspnl.chebyshev.fit` or ``filter(interval=)``.

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
        return self.caches.single().interval

    @takes_progress
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
        progress: Progress = None,
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
            most ``tol``, relative to ‖T⁻¹ Z‖. On an approximate graph that is the error of the
            series alone; ``chebyshev(...).error_bound`` adds that of the graph.
        method : {"interpolate", "least_squares", "minimax", "jackson"}
            Fit of the series, see :func:`gspnl.chebyshev.fit`.
        deflate : int or bool, optional
            Number of modes of least λ that are filtered exactly, outside the series. Default: 1,
            the constant mode, which is known in closed form; False: the series alone, on [0, 2]
            ([0, 2 max d] for "combinatorial").
        interval : (float, float), optional
            Interval of the series; default: the band of the remaining λ, or that of deflate=False.
            Sparse graphs take that of deflate=False where a band costs more than the filter: with
            ``order`` above 10,000 nodes, unless known, as after :meth:`spectral_interval`.
        allow_nonsymmetric : bool
            On a softmax graph, take the series on [0, 2], without a bound above order 1, instead of
            a filter with a bound in the stationary norm.
        progress : bool or callable, optional
            See :func:`gspnl.progress`.

        Returns
        -------
        array of the shape of Z

        Raises
        ------
        InputError
            For signals that do not fit the graph, or a response that is not finite on the spectrum.
        NonsymmetricError
            On a softmax graph: for values ω; and where no bound in the stationary norm is below
            the size of the response: π has zeros or is not unique, or the response is not analytic
            at the complex λ. Responses that are linear in λ always pass.
        EffortError
            Where the estimate is above an hour, see :func:`gspnl.patience`.

        Notes
        -----
        Softmax graphs have complex λ, where the response must be analytic: it is evaluated there.
        The constant mode 1πᵀ is filtered exactly and a polynomial on a disc or an ellipse does the
        rest, with a bound in the stationary norm, see :meth:`norm`; see
        :class:`gspnl.filters.directed.DirectedFilter`.

        Gradients by torch features take the coefficients and the interval of a series as constants.
        """
        options = {"order": order, "tol": tol, "method": method, "deflate": deflate,
                   "interval": interval, "allow_nonsymmetric": allow_nonsymmetric}  # fmt: skip
        one = partial(filter_signals, response=response, options=options)
        return self._on_signals(partial(self.caches.map, one), Z)

    @within_memory
    def chebyshev(
        self, response: Response | Array, order: int | None = None, **options: Any
    ) -> ChebyshevFilter | DirectedFilter:
        """Plan a Chebyshev filter with its certificate, to be applied to many signals.

        Parameters
        ----------
        response, order, **options
            As for :meth:`filter`: ``tol``, ``method``, ``deflate``, ``interval``.

        Returns
        -------
        ChebyshevFilter, or DirectedFilter for a softmax graph

        Examples
        --------
        >>> import numpy as np, gspnl
        >>> X = np.random.default_rng(0).standard_normal((300, 8))
        >>> graph = gspnl.feature_graph(X, kernel="rbf", sigma=4.0)
        >>> plan = graph.chebyshev(gspnl.responses.tikhonov(50.0), tol=1e-6)
        >>> plan.error_bound <= 1e-6
        True
        """
        return chebyshev_filter(self.caches.single(), response, order=order, **options)

    @within_memory
    @takes_progress
    def describe(self, *, progress: Progress = None) -> Description:
        """Describe one graph: λ₂, clusters, degrees, reach, storage, and what it can do.

        The result is kept with the graph, which shows it in a notebook. It needs O(N) memory; a
        tiled graph takes up to 24 products, fewer where its eigenvalues settle.

        Parameters
        ----------
        progress : bool or callable, optional
            See :func:`gspnl.progress`.

        Returns
        -------
        Description

        Raises
        ------
        InputError
            For a batch: describe one graph, ``graph[i].describe()``.
        DegreeError
            Where degrees are undefined.
        EffortError
            Where the estimate is above an hour, see :func:`gspnl.patience`.

        Examples
        --------
        >>> import numpy as np, gspnl
        >>> X = np.random.default_rng(0).random((500, 20))
        >>> found = gspnl.feature_graph(X, kernel="dot").describe()
        >>> found.sentence.partition(";")[0]
        'λ₂ = 0.98: this graph averages'
        """
        return self._description

    @cached_property
    def _description(self) -> Description:
        return describe(
            self.caches.single(), self.log_degrees, self.kernel, self.storage, self.normalization,
            self.storage_reason,
        )  # fmt: skip

    def __getitem__(self, index: Any) -> FeatureGraph:
        """Return one graph of a batch: ``graph[3]``, ``graph[0, 2]`` for two batch dimensions."""
        key = batch_key(index, self.shape[:-2])
        one = FeatureGraph(
            self.weights.item(key),
            self.kernel.item(key),
            self.storage,
            self.normalization,
            self.storage_reason,
            self.approximation and self.approximation.item(key),
        )
        if "affinity" in self.__dict__:
            one.__dict__["affinity"] = self.affinity.item(key)
        return one

    def __repr__(self) -> str:
        batch = self.shape[:-2]
        size = f"{' × '.join(map(str, batch))} graphs of " if batch else ""
        return (
            f"FeatureGraph({size}{self.n_nodes} nodes, kernel {self.kernel}, {self.storage}, "
            f"{self.normalization})"
        )

    def _repr_html_(self) -> str:
        return glance(self, self.__dict__.get("_description"))

    def _on_signals(self, fn: Callable[[Array], Array], Z: Array) -> Array:
        return on_signals(fn, Z, self.shape, self.weights.like)


def check_graph(graph: Any) -> FeatureGraph:
    """Return the graph, or raise for an object that is not a graph."""
    if not isinstance(graph, FeatureGraph):
        raise InputError(
            f"graph is a {type(graph).__name__}; make one with gspnl.feature_graph(features)"
        )
    return graph


def single_graph(graph: Any, what: str) -> FeatureGraph:
    """Return the graph, or raise an error that names ``what`` for a batch or another object."""
    if not isinstance(graph, FeatureGraph):
        raise InputError(f"{what} takes a gspnl.FeatureGraph, not a {type(graph).__name__}")
    if graph.shape[:-2]:
        raise InputError(
            f"{what} takes one graph, and this holds {graph.shape[:-2]} graphs; take one, graph[i]"
        )
    return graph
