"""A user's linear operator is right, or refused with what its products show."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import gspnl
from gspnl.errors import InputError

N = 30
RNG = np.random.default_rng(0)
S = RNG.random((N, N))
S = S + S.T
U = np.triu(S)
Z = RNG.standard_normal((N, 2))
BUFFER = np.empty(N)


def overwrite(x):
    x *= 2
    return S @ x


def operator(matvec, **options):
    return LinearOperator((N, N), matvec, **{"dtype": float} | options)


@pytest.mark.parametrize(
    ("matvec", "options", "message"),
    [
        (lambda x: S @ x + 1j, {}, "returned a ndarray .* complex128"),
        (lambda x: (S @ x).astype(np.float32), {}, "declares dtype float64 and returns float32"),
        (lambda x: np.rint(S @ x), {}, "not linear"),
        (lambda x: S @ x + 1, {}, "not linear"),
        (lambda x: abs(S @ x), {}, "not linear"),
        (lambda x: S @ x * RNG.uniform(0.9, 1.1), {}, "not linear, or changes between calls"),
        (lambda x: np.matmul(S, x.ravel(), out=BUFFER), {}, "differ by"),
        (lambda x: (S @ x)[:-1], {}, "matvec or matmat raised ValueError"),
        (lambda x: None, {}, "matvec or matmat raised ValueError"),
        (lambda x: 1 / 0, {}, "matvec or matmat raised ZeroDivisionError"),
        (lambda x: S @ x * np.nan, {}, "30 value.s. that are not finite"),
        (lambda x: S @ x, {"matmat": lambda X: (S @ X).T}, r"a ndarray of shape \(1, 30\)"),
        (lambda x: (S - 0.9) @ x, {}, r"nonnegative=True, but W\[\d+, \d+\] = -0"),
        (lambda x: U @ x, {}, "symmetric operator"),
    ],
)  # fmt: skip
def test_products_that_contradict_the_declaration_raise(matvec, options, message):
    with pytest.raises(InputError, match=message):
        gspnl.from_linear_operator(operator(matvec, **options), nonnegative=True)


@pytest.mark.parametrize("dtype", [int, np.float16, ">f8", ">f4", np.longdouble, float])
def test_other_real_dtypes_are_right(dtype):
    graph = gspnl.from_linear_operator(
        operator(lambda x: S @ x, dtype=np.dtype(dtype)), nonnegative=True
    )
    assert np.abs(graph.apply(Z) - S / S.sum(1, keepdims=True) @ Z).max() < 1e-12


def test_an_operator_that_overwrites_its_argument_leaves_signals_alone():
    graph = gspnl.from_linear_operator(
        LinearOperator((N, N), overwrite, matmat=overwrite, dtype=float), "symmetric"
    )
    before = Z.copy()
    root = np.sqrt(S.sum(1))
    assert np.abs(graph.apply(Z) - S / np.outer(root, root) @ Z).max() < 1e-12
    assert np.array_equal(Z, before)


def test_an_adjoint_that_is_not_the_transpose_raises():
    graph = gspnl.from_linear_operator(
        operator(lambda x: U @ x, rmatvec=lambda x: U @ x), "softmax"
    )
    with pytest.raises(InputError, match="rmatvec is not the transpose"):
        graph.rows([1])
    right = gspnl.from_linear_operator(aslinearoperator(U), "softmax")
    assert np.abs(right.rows(1) - U[1] / U[1].sum()).max() < 1e-12
