"""Base class and registry of kernels, and checks of their options and embeddings.

A kernel is two maps: ``embed`` takes each node's features to points, ``affinity`` compares two sets
of points. A kernel that defines ``embed`` alone compares by the inner product, and its graph then
has low rank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from gspnl._base.array import Array, as_floats, check_finite, like
from gspnl._base.registry import Registry
from gspnl.errors import InputError

KERNELS: Registry[type[Kernel]] = Registry("kernel")


@dataclass(frozen=True)
class Kernel:
    r"""An affinity :math:`M_{ij} = f(\varphi_i, \psi_j)`; subclass and register to add one.

    Attributes
    ----------
    embedding : {"none", "matrices", "vectors"}
        Whether ``embed=`` takes nothing, a pair of (C, r) matrices, or a pair of (C,) vectors.
    embedding_required : bool
        Whether ``embed=None`` is an error.

    Notes
    -----
    :math:`M` is symmetric where the points :math:`\varphi` and :math:`\psi` are the same object.
    """

    embedding: ClassVar[Literal["none", "matrices", "vectors"]] = "none"
    embedding_required: ClassVar[bool] = False

    @property
    def nonnegative(self) -> bool:
        """Whether f ≥ 0 for any features."""
        return True

    @property
    def bilinear(self) -> bool:
        """Whether f is the inner product of the embedded points, which makes W low rank."""
        return type(self).affinity is Kernel.affinity

    @property
    def positive(self) -> bool:
        """Whether f > 0 for any features, so that a degree of 0 is one that underflowed."""
        return False

    @property
    def nodewise(self) -> bool:
        """Whether the fitted kernel has parameters of each node, and embeds all nodes at once."""
        return False

    @property
    def homogeneous(self) -> int:
        """Degree p with f(cx, cy) = c^p f(x, y) for all c > 0; 0 where there is none."""
        return 0

    def fit(self, X: Array) -> Kernel:
        """Return the kernel fitted to all nodes, such as with anchor points; default: itself."""
        return self

    def item(self, index: tuple[int, ...]) -> Kernel:
        """Return the kernel of one graph of the batch that it was fitted to; default: itself."""
        return self

    def features(self, points: Array) -> Array:
        """Map embedded points entry by entry (relu, exp, ...); default: the identity."""
        return points

    def embed(self, X: Array, weights: tuple[Array, Array] | None) -> tuple[Array, Array]:
        """Embed features (..., N, C) as points (φ, ψ), each (..., N, r), node by node."""
        if weights is None:
            phi = self.features(X)
            return phi, phi
        w_phi, w_psi = weights
        phi = self.features(X @ w_phi)
        return phi, (phi if w_psi is w_phi else self.features(X @ w_psi))

    def affinity(self, phi: Array, psi: Array) -> Array:
        """Compute M between two sets of points: (..., n, r), (..., m, r) → (..., n, m)."""
        return phi @ psi.mT


def make_kernel(kernel: str | Kernel, options: dict[str, Any]) -> Kernel:
    """Return a kernel from its registered name and options; unknown options are errors."""
    if isinstance(kernel, Kernel):
        if options:
            raise InputError(
                f"options {sorted(options)} were passed along with a {type(kernel).__name__} "
                "kernel; set them on the kernel"
            )
        return kernel
    if not isinstance(kernel, str):
        raise InputError(f"kernel must be a registered name or a Kernel, not {kernel!r}")
    cls = KERNELS[kernel]
    known = [f.name for f in fields(cls) if f.init and not f.name.startswith("_")]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(
            f"kernel={kernel!r} has no option {', '.join(map(repr, unknown))}; "
            f"it takes {', '.join(map(repr, known)) or 'none'}"
        )
    return cls(**options)


def check_embedding(
    kernel: Kernel, X: Array, embed: tuple[Any, Any] | None
) -> tuple[Array, Array] | None:
    """Return the pair of embedding weights in the dtype of X, as columns, or raise."""
    name = type(kernel).__name__
    if embed is None:
        if kernel.embedding_required:
            raise InputError(f"the {name} kernel needs embed=(w_a, w_b), two vectors of length C")
        return None
    if kernel.embedding == "none":
        raise InputError(f"the {name} kernel compares the features themselves; leave embed=None")
    if not isinstance(embed, (tuple, list)) or len(embed) != 2:
        raise InputError(f"embed must be a pair (W_phi, W_psi), not {type(embed).__name__}")
    pair = []
    for label, w in zip(("embed[0]", "embed[1]"), embed, strict=True):
        w = as_floats(w, label)
        check_finite(w, label)
        wanted = 2 if kernel.embedding == "matrices" else 1
        if w.ndim != wanted or w.shape[0] != X.shape[-1]:
            shape = f"({X.shape[-1]}, r)" if wanted == 2 else f"({X.shape[-1]},)"
            raise InputError(
                f"{label} has shape {tuple(w.shape)}; features of {X.shape[-1]} columns need "
                f"{shape}"
            )
        pair.append(like(w, X) if wanted == 2 else like(w, X)[:, None])
    if pair[0].shape != pair[1].shape:
        raise InputError(
            f"embed holds widths {pair[0].shape[1]} and {pair[1].shape[1]}; "
            "both embeddings need the same r"
        )
    return (pair[0], pair[0]) if embed[0] is embed[1] else (pair[0], pair[1])


def map_pair(
    fn: Callable[[Array], Array], pair: tuple[Array, Array] | None
) -> tuple[Array, Array] | None:
    """Apply ``fn`` to the maps of an embedding; φ and ψ stay one object if they are."""
    if pair is None:
        return None
    first = fn(pair[0])
    return first, (first if pair[1] is pair[0] else fn(pair[1]))
