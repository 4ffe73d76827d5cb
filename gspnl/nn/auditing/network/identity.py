"""Decide whether a layer's write needs θ₀: fit it by I, by A, by A − I, and by I and A."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.auditing.heads.case import as_float64
from gspnl.nn.auditing.heads.masks import shape_of
from gspnl.nn.auditing.network.mixing import Mixing, cases, is_square

TOKENS = 4  # per coefficient of a fit: fewer would fit noise
RANK = 1e-7  # of the largest singular value: smaller ones are rounding of float32
ITEMS = 8  # of the batch that enter the fit


@dataclass(frozen=True)
class IdentityShare:
    r"""How well filters of one graph explain what a layer writes.

    The layer writes :math:`Y = \sum_h A_h X W_h`. With :math:`\bar A` the mean of its heads, least
    squares give the share of ‖Y − mean‖² (adjusted for the number of coefficients) of each form.

    Attributes
    ----------
    identity : float
        Of :math:`X W_1`: a map of each token alone, θ₀ without θ₁.
    nl : float
        Of :math:`\bar A X W_2`, the response (1 − λ) W: θ₀ = 0.
    ns : float
        Of :math:`(\bar A - I) X W`, the response −λ W: θ₀ = −θ₁.
    snl : float
        Of :math:`X W_1 + \bar A X W_2`: both free.
    directions : int
        Principal directions of X that enter the fit: as many as the tokens can determine.
    coverage : float
        Share of ‖X − mean‖² in these directions.
    """

    identity: float
    nl: float
    ns: float
    snl: float
    directions: int
    coverage: float = 1.0

    @property
    def theta_0(self) -> float:
        """What θ₀ adds: the share of SNL less the larger of those of NL and NS."""
        return max(0.0, self.snl - max(self.nl, self.ns))


def identity_share(call: AttentionCall) -> tuple[IdentityShare | None, str]:
    """Fit what a layer writes; None with the reason where it cannot be fitted.

    Inputs X that are not known are replaced by the values of all heads, side by side; what is
    written is A V, head by head, where W_O is not known. The fit has an intercept, for biases.
    """
    if call.v is None:
        return None, "the values of this attention are not known"
    if not is_square(call):
        return None, "cross-attention: keys are other nodes than queries"
    parts = list(_parts(call))
    if not parts:
        return None, "every query is masked"
    X, AX, Y = (np.concatenate(each) for each in zip(*parts, strict=True))
    if not all(np.isfinite(each).all() for each in (X, AX, Y)):
        return None, "features or values are not finite"
    directions = min(X.shape[1], len(X) // (2 * TOKENS))
    if directions < 1:
        return None, f"{len(X)} tokens are fewer than a fit needs; pass more items"
    energy = float(((Y - Y.mean(0)) ** 2).sum())
    if energy <= 1e-20 * float((Y**2).sum()) or energy == 0:
        return None, "the layer writes the same at all tokens"
    # Principal directions of X: as many as the tokens can determine.
    _, sigma, rows = np.linalg.svd(X - X.mean(0), full_matrices=False)
    basis, coverage = rows[:directions].T, _share(sigma, directions)
    own, mixed = X @ basis, AX @ basis
    forms = ([own], [mixed], [mixed - own], [own, mixed])
    shares = [_explained(np.concatenate(form, axis=1), Y) for form in forms]
    return IdentityShare(shares[0], shares[1], shares[2], shares[3], directions, coverage), ""


def _share(sigma: np.ndarray, directions: int) -> float:
    """Return the share of the leading singular values in the sum of squares."""
    total = float((sigma**2).sum())
    return float((sigma[:directions] ** 2).sum()) / total if total else 1.0


def _explained(F: np.ndarray, Y: np.ndarray) -> float:
    """Return the share of ‖Y − mean‖² that an affine map of F explains, adjusted, in [0, 1]."""
    F, Y = F - F.mean(0), Y - Y.mean(0)
    left, sigma, _ = np.linalg.svd(F, full_matrices=False)
    left = left[:, sigma > RANK * max(sigma.max(initial=0.0), np.finfo(float).tiny)]
    tokens, rank = left.shape
    total = float((Y**2).sum())
    rest = float(((Y - left @ (left.T @ Y)) ** 2).sum())
    adjusted = 1 - rest / total * (tokens - 1) / (tokens - rank - 1)
    return max(0.0, float(adjusted))


def _parts(call: AttentionCall) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield X, Ā X and Y of items, each (n, ·), at the nodes that take part."""
    items = shape_of(call)[0]
    for item in range(min(items, ITEMS)):
        heads = [Mixing(case, shape_of(call)[2]) for case in cases(call, item)]
        if not heads:
            continue
        rows = heads[0].case.nodes.rows
        values = [_full(head) for head in heads]
        if call.inputs is not None and call.inputs.ndim == 3 and len(call.inputs) == items:
            X = as_float64(call.inputs[item])
        else:
            X = np.concatenate(values, axis=1)
        AX = np.mean([head.apply(X) for head in heads], axis=0)
        written = [head.apply(v) for head, v in zip(heads, values, strict=True)]
        if call.output_weight is None:
            Y = np.concatenate(written, axis=1)
        else:
            W = [as_float64(call.output_weight[head.case.head]) for head in heads]
            Y = np.sum([y @ w for y, w in zip(written, W, strict=True)], axis=0)
        yield X[rows], AX[rows], Y[rows]


def _full(head: Mixing) -> np.ndarray:
    """Return the values of a head at all keys, (M, c)."""
    assert head.case.call.v is not None
    return as_float64(head.case.key_head(head.case.call.v))
