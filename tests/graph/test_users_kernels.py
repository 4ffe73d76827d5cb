"""A user's kernel is right in every storage, or refused with the declaration that it breaks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

import gspnl
from gspnl.affinity.kernels import FEATURE_MAPS, RBF, Dot, Exponential, Kernel, declarations
from gspnl.errors import DegreeError, InputError, KernelError

RNG = np.random.default_rng(7)
X = RNG.standard_normal((700, 3))
Z = RNG.standard_normal((700, 2))


def differences(phi, psi):
    return phi[..., :, None, :] - psi[..., None, :, :]


def squares(phi, psi):
    return (differences(phi, psi) ** 2).sum(-1)


@dataclass(frozen=True)
class Plain(Kernel):
    """exp(−‖x − y‖²/2), by differences."""

    def affinity(self, phi, psi):
        return np.exp(-squares(phi, psi) / 2)


class Lagged(Plain):
    """Not symmetric: one side is shifted."""

    def affinity(self, phi, psi):
        return np.exp(-squares(phi, psi + 0.1) / 2)


class FewAsymmetric(Plain):
    """Not symmetric, for the nodes of greatest first feature alone."""

    def affinity(self, phi, psi):
        far = phi[..., :, None, 0] > 2.4
        return super().affinity(phi, psi) * np.where(far, 1.5, 1.0)


class Negative(Plain):
    """Has negative entries, though ``nonnegative`` is inherited."""

    def affinity(self, phi, psi):
        return np.cos(np.sqrt(squares(phi, psi)))


class NegativeProducts(Kernel):
    """Raw products, though ``nonnegative`` is inherited."""


class Transposed(Plain):
    def affinity(self, phi, psi):
        return np.swapaxes(super().affinity(phi, psi), -1, -2)


class RowsOnly(Plain):
    def affinity(self, phi, psi):
        return np.exp(-squares(phi, psi).sum(-1))


class Threshold(Plain):
    def affinity(self, phi, psi):
        return squares(phi, psi) < 1


class Counts(Plain):
    def affinity(self, phi, psi):
        return (squares(phi, psi) < 1).astype(np.int64)


class Narrow(Plain):
    def affinity(self, phi, psi):
        return super().affinity(phi, psi).astype(np.float32)


class Lists(Plain):
    def affinity(self, phi, psi):
        return super().affinity(phi, psi).tolist()


class Matrix(Plain):
    def affinity(self, phi, psi):
        return super().affinity(phi, psi).view(np.matrix)


class Holes(Plain):
    def affinity(self, phi, psi):
        return 1 / squares(phi, psi)


class PerBlock(Plain):
    """The bandwidth is the mean of the block."""

    def affinity(self, phi, psi):
        s = squares(phi, psi)
        return np.exp(-s / s.mean())


class OverN(Plain):
    def affinity(self, phi, psi):
        return super().affinity(phi, psi) / len(psi)


class Softmaxed(Plain):
    def affinity(self, phi, psi):
        M = super().affinity(phi, psi)
        return M / M.sum(-1, keepdims=True)


class Random(Plain):
    def affinity(self, phi, psi):
        return super().affinity(phi, psi) * np.random.default_rng().uniform(0.9, 1.1)


class WritesPoints(Plain):
    def affinity(self, phi, psi):
        phi *= 0.5
        return super().affinity(phi, psi)


class WritesFeatures(Plain):
    def embed(self, X, weights):
        X -= X.mean(-1, keepdims=True)
        return X, X


class Raises(Plain):
    def affinity(self, phi, psi):
        raise RuntimeError("no luck")


class Single(Plain):
    def affinity(self, phi, psi):
        return np.exp(-((phi - psi) ** 2).sum(-1))


class OnePoint(Kernel):
    def embed(self, X, weights):
        return abs(X)


class Pooled(Kernel):
    def embed(self, X, weights):
        return abs(X).mean(-2), abs(X).mean(-2)


class Centred(Kernel):
    """An inner product of points that depend on the other rows."""

    def embed(self, X, weights):
        points = np.exp(X - X.mean(-2, keepdims=True))
        return points, points


class DividedByN(Kernel):
    def embed(self, X, weights):
        points = abs(X) / X.shape[-2]
        return points, points


class TwoWidths(Kernel):
    def embed(self, X, weights):
        return abs(X), abs(X[..., :1])


class NotFinite(Kernel):
    def embed(self, X, weights):
        return np.log(X), np.log(X)


class Widened(Kernel):
    def embed(self, X, weights):
        points = abs(X) * np.float64(2)
        return points, points.astype(np.float64)


class Dropout(Kernel):
    def embed(self, X, weights):
        points = abs(X) * (np.random.default_rng().random(X.shape) > 0.5)
        return points, points


class FalselyBilinear(Plain):
    @property
    def bilinear(self):
        return True


class BadFit(Plain):
    def fit(self, X):
        X.sum()


@dataclass(frozen=True)
class Attention(Exponential):
    """Scores that are not symmetric, of points that are declared the same."""

    def scores(self, phi, psi):
        return phi, psi[..., ::-1] * np.array([1.0, 2.0, 3.0])


class Unbounded(Exponential):
    @property
    def bounded(self):
        return True


class TwoFormulas(Exponential):
    def affinity(self, phi, psi):
        return np.exp(-squares(phi, psi))


class WrongRoot(RBF):
    @property
    def bounded(self):
        return False

    def scores(self, phi, psi):
        return super().scores(phi, psi * 2)

    def embed(self, X, weights):
        return X, X + 0


class ScoresOfOne(Exponential):
    def scores(self, phi, psi):
        return phi @ psi.mT


REFUSED = {
    Lagged: r"declares that W is symmetric.*f\(x_\d+, x_\d+\) = \S+ and f\(x_\d+, x_\d+\) = ",
    FewAsymmetric: "declares that W is symmetric",
    Negative: r"declares f ≥ 0 .*f\(x_\d+, x_\d+\) = -",
    NegativeProducts: "declares f ≥ 0",
    Transposed: r"affinity returned shape \(\d+, \d+\) for points of shapes",
    RowsOnly: r"affinity returned shape \(32,\)",
    Threshold: "affinity returned bool for float64",
    Counts: "affinity returned int64 for float64",
    Narrow: "affinity returned float32 for float64",
    Lists: "affinity returned a list",
    Matrix: "affinity returned a matrix",
    Holes: "affinity returned inf for node",
    PerBlock: "changes with the block",
    OverN: "changes with the block",
    Softmaxed: "changes with the block",
    Random: "changes with how often it has been called",
    WritesPoints: "affinity writes into its arguments",
    WritesFeatures: "embed writes into its arguments",
    Raises: "affinity raised RuntimeError: no luck",
    Single: "affinity raised ValueError",
    OnePoint: r"embed returned a ndarray; return a pair",
    Pooled: r"embed returned shape \(3,\) for features of shape \(256, 3\)",
    Centred: "changes with the other rows it is called with",
    DividedByN: "changes with the other rows it is called with",
    TwoWidths: "points of 3 and 1 columns",
    NotFinite: "embed returned nan for node",
    Dropout: "changes with how often it has been called: embed",
    FalselyBilinear: "declares f = ⟨φ_i, ψ_j⟩",
    BadFit: "fit returned a NoneType",
    Attention: "the score of",
    Unbounded: r"declares f ≤ f\(x, x\) = 1",
    TwoFormulas: "declares f = exp",
    WrongRoot: "by its root",
    ScoresOfOne: "return .q, k. of shapes",
}


@pytest.mark.parametrize("storage", ["auto", "dense", "tiled"])
@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.__name__)
def test_a_false_declaration_is_refused_with_its_values(kind, storage):
    before = X.copy()
    with pytest.raises(KernelError, match=REFUSED[kind]) as caught:
        gspnl.feature_graph(X, kind(), storage=storage)
    assert kind.__name__ in str(caught.value)
    assert np.array_equal(X, before)


@pytest.mark.parametrize("normalization", ["softmax", "symmetric", "bistochastic"])
def test_a_false_declaration_is_refused_for_every_normalisation(normalization):
    for kind in (Lagged, Negative, Centred):
        with pytest.raises(KernelError, match=REFUSED[kind]):
            gspnl.feature_graph(X, kind(), normalization=normalization)


def test_a_widened_dtype_is_refused_in_float32_alone():
    with pytest.raises(KernelError, match="returned float64 for float32; keep the dtype"):
        gspnl.feature_graph(X.astype(np.float32), Widened())
    W = 4 * abs(X) @ abs(X).T
    assert np.allclose(gspnl.feature_graph(X, Widened()).degrees, W.sum(1), rtol=1e-12)


def test_a_mean_over_the_batch_is_refused():
    class AcrossBatch(Plain):
        def embed(self, X, weights):
            points = X - X.mean((0, 1)) if X.ndim == 3 else X / 2
            return points, points

    with pytest.raises(KernelError, match="changes with the other graphs of its batch"):
        gspnl.feature_graph(RNG.standard_normal((3, 50, 2)), AcrossBatch())


def test_a_false_root_is_refused_before_an_approximation():
    with pytest.raises(KernelError, match="by its root"):
        gspnl.feature_graph(X, WrongRoot(), rank=20)


def test_a_feature_map_of_a_user_is_checked():
    FEATURE_MAPS.register("sine")(np.sin)
    FEATURE_MAPS.register("ranks")(lambda x: abs(x).cumsum(-2))
    try:
        with pytest.raises(KernelError, match="Dot kernel declares f ≥ 0"):
            gspnl.feature_graph(X, "dot", feature_map="sine")
        with pytest.raises(KernelError, match="changes with the other rows"):
            gspnl.feature_graph(X, "dot", feature_map="ranks")
    finally:
        FEATURE_MAPS.unregister("sine")
        FEATURE_MAPS.unregister("ranks")


def walk(M):
    W = (M + M.T) / 2
    return W / W.sum(1, keepdims=True)


def difference_table(x, y=None):
    y = x if y is None else y
    return x[:, None, :] - y[None, :, :]


class TwoObjects(Plain):
    """Not symmetric, and embed says so."""

    def embed(self, X, weights):
        return X, X + 0

    def affinity(self, phi, psi):
        return np.exp(phi[..., :, None, 0] - 0.5 * psi[..., None, :, 1])


class Pair(Kernel):
    """An inner product of two embeddings, without weights."""

    def embed(self, X, weights):
        return abs(X), np.exp(X)


class Row(Kernel):
    """Features that are mapped row by row, not entry by entry."""

    embedding: ClassVar[str] = "matrices"

    def features(self, points):
        e = np.exp(points - points.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)


@dataclass(frozen=True)
class Standardised(Kernel):
    """Points that depend on all nodes, compared by a function of their own."""

    def embed(self, X, weights):
        points = (X - X.mean(-2, keepdims=True)) / X.std(-2, keepdims=True)
        return points, points

    def affinity(self, phi, psi):
        return np.exp(-abs(differences(phi, psi)).sum(-1))


@dataclass(frozen=True)
class Fitted(Kernel):
    width: float = 0.0

    def fit(self, X):
        return replace(self, width=float(X.std()))

    def affinity(self, phi, psi):
        return np.exp(-squares(phi, psi) / self.width)


class Signed(Kernel):
    """Products that may be negative, and say so."""

    def embed(self, X, weights):
        return X + 2, X + 2

    @property
    def nonnegative(self):
        return False


W1, W2 = RNG.standard_normal((2, 3, 5))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


RIGHT = {
    TwoObjects: (None, lambda: np.exp(X[:, None, 0] - 0.5 * X[None, :, 1])),
    Pair: (None, lambda: abs(X) @ np.exp(X).T),
    Row: ((W1, W2), lambda: softmax(X @ W1) @ softmax(X @ W2).T),
    Standardised: (
        None,
        lambda: np.exp(-abs(difference_table((X - X.mean(0)) / X.std(0))).sum(-1)),
    ),
    Fitted: (None, lambda: np.exp(-(difference_table(X) ** 2).sum(-1) / X.std())),
    Signed: (None, lambda: (X + 2) @ (X + 2).T),
}


@pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)
def test_a_kernel_that_keeps_its_word_equals_its_formula_in_every_storage(kind):
    embed, formula = RIGHT[kind]
    A = walk(formula())
    for storage in ("dense", "tiled", *(["lowrank"] if kind().bilinear else [])):
        graph = gspnl.feature_graph(X, kind(), embed, storage=storage)
        assert np.abs(graph.apply(Z) - A @ Z).max() < 1e-10
        assert np.abs(graph.rows([3, 650]) - A[[3, 650]]).max() < 1e-12


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3])
def test_rounding_in_float32_is_no_false_declaration(scale):
    class Expanded(Plain):
        """Squares of distances as |x|² + |y|² − 2⟨x, y⟩, which cancel."""

        def affinity(self, phi, psi):
            a, b = ((p * p).sum(-1) for p in (phi, psi))
            return np.exp(-np.maximum(a[..., :, None] + b[..., None, :] - 2 * phi @ psi.mT, 0))

    x = X[:300] + scale
    graph = gspnl.feature_graph(x.astype(np.float32), Expanded())
    assert np.isfinite(graph.degrees).all()


def test_kernels_of_torch_are_checked_too():
    class Late(Plain):
        def affinity(self, phi, psi):
            return torch.exp(-((phi[..., :, None, :] - psi[..., None, :, :] / 2) ** 2).sum(-1))

    class Fine(Plain):
        def affinity(self, phi, psi):
            return torch.exp(-((phi[..., :, None, :] - psi[..., None, :, :]) ** 2).sum(-1) / 2)

    x = torch.tensor(X[:100], requires_grad=True)
    with pytest.raises(KernelError, match="declares that W is symmetric"):
        gspnl.feature_graph(x, Late())
    graph = gspnl.feature_graph(x, Fine())
    A = walk(np.exp(-(difference_table(X[:100]) ** 2).sum(-1) / 2))
    out = graph.apply(torch.tensor(Z[:100]))
    assert np.abs(out.detach().numpy() - A @ Z[:100]).max() < 1e-12
    (gradient,) = torch.autograd.grad(out.sum() + (out**2).sum(), x)
    assert bool(torch.isfinite(gradient).all())


def test_kernels_of_the_package_are_not_probed(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("probed")

    monkeypatch.setattr(declarations, "_check", refuse)
    for name in ("dot", "rbf", "gaussian", "cosine", "anchors", "embedded_gaussian"):
        gspnl.feature_graph(X, name)
    with pytest.raises(AssertionError, match="probed"):
        gspnl.feature_graph(X, Plain())


def test_the_probe_costs_no_more_with_more_nodes():
    calls = []

    class Counted(Plain):
        def affinity(self, phi, psi):
            calls.append(phi.shape[-2] * psi.shape[-2])
            return super().affinity(phi, psi)

    many = RNG.standard_normal((50_000, 2))
    declarations.check_declarations(Counted(), many, None)
    assert sum(calls) < 100_000
    assert isinstance(KernelError("x"), InputError)
    assert re.search("Dot", repr(Dot()))


def test_degrees_of_a_signed_kernel_are_not_blamed_on_self_loops():
    class Signed(Kernel):
        nonnegative = False

        def embed(self, X, weights):
            return X, X

    with pytest.raises(DegreeError, match=r"degrees ≤ 0, .*; make f ≥ 0, or shift it"):
        gspnl.feature_graph(np.random.default_rng(0).standard_normal((30, 3)), Signed())
