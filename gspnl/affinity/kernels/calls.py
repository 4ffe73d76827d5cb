"""Calls of a kernel's methods on a few nodes, with checks of what they return."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant, constant64, float64, is_array, is_numpy, namespace
from gspnl.affinity.kernels.base import Kernel
from gspnl.errors import GspnlError, KernelError

Entries = Callable[[Array, Array], Array]


class Difference(KernelError):
    """Two values that should be equal differ, perhaps by rounding."""


@contextmanager
def named(kernel: Kernel, method: str) -> Iterator[None]:
    """Raise KernelError, naming the method, for an exception in a user's code."""
    try:
        yield
    except GspnlError:
        raise
    except Exception as error:
        raise KernelError(
            f"{type(kernel).__name__}.{method} raised {type(error).__name__}: {error}; its "
            "arguments are arrays of shape (..., n, r), for any n ≥ 1"
        ) from error


@dataclass(frozen=True)
class Probe:
    """A kernel and the nodes on which it is checked.

    Parameters
    ----------
    kernel : Kernel
    nodes : array of shape (k,)
        Numbers of the nodes, for messages.
    rounding : float
        Relative difference of two evaluations that counts as rounding.
    """

    kernel: Kernel
    nodes: np.ndarray
    rounding: float

    @property
    def name(self) -> str:
        """Class of the kernel."""
        return type(self.kernel).__name__

    def embed(self, X: Array, pair: Any) -> tuple[Array, Array]:
        """Return (φ, ψ), each (..., n, r), or raise."""
        both, again = (
            self._pure("embed", lambda x: self.kernel.embed(x, pair), X) for _ in range(2)
        )
        if not isinstance(both, (tuple, list)) or len(both) != 2:
            raise KernelError(f"{self.name}.embed returned {_kind(both)}; return a pair (φ, ψ)")
        for part, other in zip(both, again, strict=True):
            self._check(part, X, "embed")
            shape = tuple(part.shape)
            if len(shape) != X.ndim or shape[:-1] != tuple(X.shape[:-1]) or not shape[-1]:
                wanted = ", ".join([*map(str, X.shape[:-1]), "r"])
                raise KernelError(
                    f"{self.name}.embed returned shape {shape} for features of shape "
                    f"{tuple(X.shape)}; return one point for each node, ({wanted})"
                )
            self._check_finite(part, "embed")
            self.equal(other, part, "embed", "how often it has been called")
        if self.kernel.bilinear and both[0].shape != both[1].shape:
            raise KernelError(
                f"{self.name}.embed returned points of {both[0].shape[-1]} and "
                f"{both[1].shape[-1]} columns; an inner product needs the same number"
            )
        return both[0], both[1]

    def affinity(self, phi: Array, psi: Array) -> Array:
        """Return M, (..., n, m), or raise."""
        M = self._pure("affinity", self.kernel.affinity, phi, psi)
        self._check(M, phi, "affinity")
        wanted = (*phi.shape[:-1], psi.shape[-2])
        if tuple(M.shape) != tuple(wanted):
            raise KernelError(
                f"{self.name}.affinity returned shape {tuple(M.shape)} for points of shapes "
                f"{tuple(phi.shape)} and {tuple(psi.shape)}; return (..., n, m), {tuple(wanted)}: "
                "rows for φ, columns for ψ"
            )
        if not hasattr(self.kernel, "scores"):  # exponentials may overflow
            self._check_finite(M, "affinity")
        return M

    def scores(self, phi: Array, psi: Array) -> np.ndarray:
        """Return s = q kᵀ, (n, m), or raise; in float64 as far as the library allows."""
        if is_numpy(phi):
            same = psi is phi
            phi = float64(phi)
            psi = phi if same else float64(psi)
        both = self._pure("scores", self.kernel.scores, phi, psi)  # type: ignore[attr-defined]
        pair = isinstance(both, (tuple, list)) and len(both) == 2 and all(map(is_array, both))
        shapes = [tuple(part.shape) for part in both] if pair else []
        if len({s[-1:] for s in shapes}) != 1 or [s[:-1] for s in shapes] != [
            tuple(p.shape[:-1]) for p in (phi, psi)
        ]:
            raise KernelError(
                f"{self.name}.scores returned {shapes or _kind(both)} for {phi.shape[-2]} and "
                f"{psi.shape[-2]} points; return (q, k) of shapes (..., n, t) and (..., m, t)"
            )
        for part in both:
            self._check_finite(part, "scores")
        q, k = map(constant64, both)
        out: np.ndarray = q @ np.swapaxes(k, -1, -2)
        return out

    def root(self, phi: Array, psi: Array) -> np.ndarray | None:
        """Return ⟨a, b⟩ − h − g of the kernel's root, (n, m), or None without one."""
        wide = [float64(p) if is_numpy(p) else p for p in (phi, psi)]
        roots = [self._pure("root", self.kernel.root, p) for p in wide]  # type: ignore[attr-defined]
        if any(each is None for each in roots):
            return None
        with named(self.kernel, "root"):
            (a, h), (b, g) = (map(constant64, each) for each in roots)
            out: np.ndarray = a @ b.T - h - g.T
        return out

    def equal(self, part: Array, whole: Array, method: str, reason: str) -> None:
        """Raise where two evaluations of the same entries differ."""
        self.compare(
            constant64(part), constant64(whole),
            f"changes with {reason}: {method} gave {{first}} and {{second}} for one entry, of node "
            "{i}; compute it from its arguments, node by node, and what depends on all nodes in "
            "fit()",
        )  # fmt: skip

    def compare(
        self, first: np.ndarray, second: np.ndarray, message: str, floor: float = 0.0
    ) -> None:
        """Raise with the two entries that differ most, where that is more than rounding.

        A difference is relative to √(m_i m_j), m the largest entries of its row and its column,
        and at least to ``floor``.
        """
        with np.errstate(all="ignore"):
            sizes = np.maximum(np.abs(first), np.abs(second))
            peaks = np.sqrt(sizes.max(-1, keepdims=True)) * np.sqrt(sizes.max(-2, keepdims=True))
            limit = self.rounding * np.maximum(peaks, floor)
            excess = np.where(first == second, -1.0, np.abs(first - second) - limit)
        if not (excess > 0).any():
            return
        at = np.unravel_index(int(np.argmax(excess)), excess.shape)
        i, j = (f"x_{self.nodes[k % len(self.nodes)]}" for k in at[-2:])
        values = {"first": f"{first[at]:.6g}", "second": f"{second[at]:.6g}", "i": i, "j": j}
        raise Difference(f"the {self.name} kernel {message.format(**values)}")

    def _pure(self, method: str, fn: Callable[..., Any], *arguments: Array) -> Any:
        """Call ``fn`` on copies; raise where it fails, or writes into them."""
        copies = [part + 0 for part in arguments]
        if len(arguments) == 2 and arguments[0] is arguments[1]:
            copies[1] = copies[0]
        with named(self.kernel, method), np.errstate(all="ignore"):
            out = fn(*copies)
        for part, copy in zip(arguments, copies, strict=True):
            if not np.array_equal(constant(part), constant(copy)):
                raise KernelError(
                    f"{self.name}.{method} writes into its arguments, which are the user's "
                    "features or points that are used again; compute new arrays, x = x * s instead "
                    "of x *= s"
                )
        return out

    def _check(self, out: Any, x: Array, method: str) -> None:
        """Raise unless ``out`` is an array of the library and dtype of ``x``."""
        plain = type(out) is np.ndarray if is_numpy(x) else is_array(out)
        if not plain or namespace(out) is not namespace(x):
            raise KernelError(
                f"{self.name}.{method} returned {_kind(out)} for a {type(x).__name__}; return "
                "arrays of the library of its arguments"
            )
        if out.dtype != x.dtype:
            raise KernelError(
                f"{self.name}.{method} returned {out.dtype} for {x.dtype}; keep the dtype of the "
                "arguments, as astype does (a NumPy scalar such as np.float64(2) widens float32)"
            )

    def _check_finite(self, out: Array, method: str) -> None:
        """Raise where a value is not finite, naming its node."""
        values = constant64(out)
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            at = tuple(bad[0])
            raise KernelError(
                f"{self.name}.{method} returned {values[at]} for node "
                f"{self.nodes[at[-2] % len(self.nodes)]}, and {len(bad)} of {values.size} values "
                "are not finite; scale the features, or mend the formula"
            )


def _kind(value: Any) -> str:
    """Describe a value by its type."""
    return "None" if value is None else f"a {type(value).__name__}"
