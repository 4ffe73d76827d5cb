r"""The rbf kernel, with a bandwidth σ that is given, or taken from distances of the features."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant, eps, like, namespace, ones, times_power
from gspnl._base.validate import number
from gspnl.affinity.kernels.bandwidth import BANDWIDTHS, bandwidths
from gspnl.affinity.kernels.base import KERNELS
from gspnl.affinity.kernels.exponential import Exponential
from gspnl.affinity.kernels.scores import Differences
from gspnl.errors import InputError


@KERNELS.register("rbf")
@dataclass(frozen=True)
class RBF(Exponential):
    r""":math:`\exp(-\|x_i - x_j\|^2 / 2σ^2)`, or with one σ for each node.

    Parameters
    ----------
    sigma : float, "median", "local" or "adaptive"
        σ > 0 in the units of the features, or the rule that takes it from them, graph by graph:

        - "median": the median of the distances between two nodes, i < j; above 2,048 nodes, of
          those of a random sample of 2,048 (the same in every call). Where it is 0, the median of
          the distances above 0. It is a scale of the whole set: graphs of data with clusters
          average much, see :class:`gspnl.errors.AveragingWarning`.
        - "local": self-tuning [1]_, :math:`\exp(-\|x_i - x_j\|^2 / 2σ_i σ_j)` with
          :math:`σ_i` half of the distance of node i to its 7th nearest other node (the farthest
          one of fewer than 8 nodes). Where that is 0, since 7 others are equal to it: half of the
          distance to the nearest node that differs. W is symmetric and positive; it is not
          positive semi-definite, so no low rank approximates it.
        - "adaptive": :math:`M_{ij} = \exp(-\|x_i - x_j\|^2 / 2σ_i^2)`, so W = ½(M + Mᵀ), with
          :math:`σ_i` = c max(r_i, median of r), r_i the distance to the 15th nearest other node,
          taken as for "local", and c the largest number up to 0.3 for which a median node has at
          most 30 effective neighbours: the exponential of the entropy of its row of M without
          itself (above 128 nodes, of a sample of 128; 0.3 where no c ≥ 0.1 does). An outlier
          reaches its neighbours by its own σ, so modes of small λ do not single it out. It has no
          low rank either.

        Gradients take σ as a constant.

    Attributes
    ----------
    sigmas : float, or array of shape (...) or (..., N)
        σ: the number itself, the median of each graph, or the σ of each node.

    References
    ----------
    .. [1] L. Zelnik-Manor and P. Perona, Self-tuning spectral clustering, NeurIPS 2004; there
       :math:`σ_i σ_j` stands for our :math:`2σ_i σ_j`, with σ_i the whole distance.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> graph = gspnl.feature_graph(X, kernel="rbf", sigma="median")
    >>> graph.kernel, graph.kernel.sigmas
    (RBF(sigma='median'), 2.0)
    """

    sigma: float | str = 1.0
    _sigmas: Any = field(default=None, repr=False, compare=False)  # (..., 1, 1) or (..., N, 1)

    def __post_init__(self) -> None:
        if not isinstance(self.sigma, str):
            number("sigma", self.sigma, above=0)
        elif self.sigma not in BANDWIDTHS:
            names = " or ".join(map(repr, BANDWIDTHS))
            raise InputError(f"sigma={self.sigma!r} must be a finite number > 0, or {names}")

    @property
    def sigmas(self) -> Any:
        """σ of the kernel, of each graph, or of each node."""
        if not isinstance(self.sigma, str):
            return self.sigma
        found = self._fitted[..., 0] if self.nodewise else self._fitted[..., 0, 0]
        return float(found) if found.ndim == 0 else found.copy()

    @property
    def bounded(self) -> bool:
        return True

    @property
    def nodewise(self) -> bool:
        return self.sigma in ("local", "adaptive")

    def fit(self, X: Array) -> RBF:
        """Take σ from the distances of X (..., N, C), graph by graph, where it is a rule."""
        if not isinstance(self.sigma, str):
            return self
        return replace(self, _sigmas=bandwidths(self.sigma, constant(X)))

    def item(self, index: tuple[int, ...]) -> RBF:
        return self if self._sigmas is None else replace(self, _sigmas=self._sigmas[(*index, ...)])

    @property
    def _fitted(self) -> np.ndarray:
        if self._sigmas is None:
            raise InputError(
                f"this rbf kernel takes sigma={self.sigma!r} from the features, and has none yet; "
                "call fit(X) first, or pass sigma= as a number"
            )
        found: np.ndarray = self._sigmas
        return found

    def embed(self, X: Array, weights: tuple[Array, Array] | None) -> tuple[Array, Array]:
        sigma: Any = self.sigma
        if isinstance(sigma, str):
            sigma = self._fitted
            if self.nodewise and sigma.shape[:-1] != tuple(X.shape[:-1]):
                raise InputError(
                    f"sigma={self.sigma!r} was fitted to features of shape "
                    f"{(*sigma.shape[:-1], 'C')} and is asked for those of shape "
                    f"{tuple(X.shape)}; call fit(X) with these first"
                )
            # Powers of 2 keep all digits, and sums and squares of any features in the range.
            power = np.frexp(sigma.max(axis=-2, keepdims=True))[1].astype(np.float64)
            X, sigma = times_power(X, -power), like(times_power(sigma, -power), X)
        # Distances do not depend on the mean, but their rounding error does.
        points = (X - namespace(X).mean(X, axis=-2, keepdims=True)) / sigma
        if not self.nodewise:
            return points, points
        scaled = namespace(X).concat([points, 1 / sigma], axis=-1)  # [x/σ, 1/σ]
        return scaled, (scaled if self.sigma == "local" else points * sigma)

    def scores(self, phi: Array, psi: Array) -> tuple[Array, Array]:
        xp = namespace(phi)
        if not self.nodewise:
            units = [ones((*p.shape[:-1], 1), p) for p in (phi, psi)]
        elif self.sigma == "local":
            phi, psi, units = phi[..., :-1], psi[..., :-1], [phi[..., -1:], psi[..., -1:]]
        else:  # one σ for both sides of a row: ψ is x
            unit = phi[..., -1:]
            phi, units = phi[..., :-1] * unit, [unit * unit, ones((*psi.shape[:-1], 1), psi)]
        halves = [
            xp.sum(p * p, axis=-1, keepdims=True) / (-2 * u)
            for p, u in zip((phi, psi), units, strict=True)
        ]
        q = xp.concat([phi, halves[0], units[0]], axis=-1)
        return q, xp.concat([psi, units[1], halves[1]], axis=-1)

    def score_error(self, q: Array, k: Array, *, same: bool) -> float:
        if not self.nodewise:
            return super().score_error(q, k, same=same)
        # |⟨x_i, x_j⟩| ≤ |x_i| |x_j|, and the two products of squares with 1/σ.
        a, b = constant(q), constant(k)
        with np.errstate(over="ignore"):
            sizes = [float(np.sqrt((p[..., :-2] ** 2).sum(-1)).max()) for p in (a, b)]
            tops = [float(np.abs(p[..., t]).max()) for t in (-2, -1) for p in (a, b)]
            return (sizes[0] * sizes[1] + tops[0] * tops[1] + tops[2] * tops[3]) * eps(q)

    def root(self, points: Array) -> tuple[Array, Array] | None:
        if self.nodewise:
            return None
        return points, namespace(points).sum(points * points, axis=-1, keepdims=True) / 2

    def differences(self, X: Array) -> Differences | None:
        if type(self).embed is not RBF.embed or type(self).scores is not RBF.scores:
            return None
        sigma = self.sigma if self._sigmas is None else self._sigmas
        return Differences.of(X, sigma, rows_only=self.sigma == "adaptive")
