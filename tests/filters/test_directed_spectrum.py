"""Directed spectra from products, against closed forms and dense NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from support.directed import (
    DRAWS,
    attention,
    bipartite,
    birth_death,
    causal,
    cycle,
    largest_moduli,
    off_constant,
    similar,
    stationary,
)

from gspnl.errors import ConvergenceError, InputError
from gspnl.filters.directed import MatrixProducts, directed_spectrum_of


def spectrum(A, pi="solve", k=16, **options):
    pi = stationary(A) if isinstance(pi, str) else pi
    return directed_spectrum_of(MatrixProducts(np.asarray(A, float)), pi, k, **options)


class Counted:
    """Products without a stored matrix, that count their columns."""

    def __init__(self, A):
        self.A, self.n, self.columns = A, len(A), 0

    def apply(self, Z):
        self.columns += Z.shape[1]
        return self.A @ Z

    def transpose(self, Z):
        self.columns += Z.shape[1]
        return self.A.T @ Z


def test_a_graph_that_averages_has_zero_apart_from_its_constant():
    pi = np.array([0.1, 0.2, 0.3, 0.4])
    found = spectrum(np.ones((4, 1)) @ pi[None], pi)
    assert np.allclose(found.eigenvalues, [1, 0, 0, 0], atol=1e-15)
    assert np.allclose(found.sigma, [1, 0, 0, 0], atol=1e-15)
    assert np.allclose(found.numerical_range, 0, atol=1e-15)
    assert (found.gap, found.chung_gap) == pytest.approx((1, 1))
    assert found.numerical_radius == pytest.approx(0, abs=1e-15)
    assert found.departure == pytest.approx(0, abs=1e-7)


def test_identity_has_no_unique_stationary_distribution():
    found = spectrum(np.eye(5), None)
    assert np.array_equal(found.eigenvalues, np.ones(5))
    assert found.gap == 0
    for name in ("sigma", "departure", "numerical_range", "numerical_radius", "stationary"):
        assert getattr(found, name) is None
        assert "several closed classes" in found.reasons[name]


@pytest.mark.parametrize("n", [2, 3, 7, 40, 150])
def test_cycle_has_the_roots_of_unity(n):
    found = spectrum(cycle(n), np.full(n, 1 / n), k=n)
    angles = np.exp(2j * np.pi * np.arange(n) / n)
    assert len(found.eigenvalues) == n
    assert np.abs(found.eigenvalues[:, None] - angles).min(0).max() < 1e-10
    assert np.allclose(found.sigma, 1)
    assert found.gap == pytest.approx(0, abs=1e-12)
    assert found.chung_gap == pytest.approx(1 - np.cos(2 * np.pi / n), abs=1e-9)
    assert found.numerical_radius == pytest.approx(1)
    assert found.departure == pytest.approx(0, abs=1e-6)


def test_a_numerical_range_that_does_not_settle_is_given_with_its_error():
    found = spectrum(cycle(600), np.full(600, 1 / 600))
    assert found.reasons["chung_gap"].startswith("known to ±")
    error = float(found.reasons["chung_gap"].removeprefix("known to ±").split(":")[0])
    assert 0 <= found.chung_gap - (1 - np.cos(2 * np.pi / 600)) <= error < 0.1
    assert found.numerical_radius == pytest.approx(1, abs=error)


def test_bipartite_graph_has_the_eigenvalue_minus_one():
    A = bipartite(np.random.default_rng(0), 12)
    found = spectrum(A)
    assert found.eigenvalues[:2] == pytest.approx([1, -1])
    assert found.gap == pytest.approx(0, abs=1e-12)


def test_birth_death_chain_is_normal_with_real_eigenvalues():
    A = birth_death(np.random.default_rng(0), 20)
    found = spectrum(A, k=20)
    mu = np.linalg.eigvals(A).real
    assert np.allclose(np.sort(found.eigenvalues.real), np.sort(mu), atol=1e-12)
    assert np.abs(found.eigenvalues.imag).max() < 1e-12
    assert np.allclose(found.sigma, np.abs(found.eigenvalues), atol=1e-12)
    assert found.departure == pytest.approx(0, abs=1e-6)
    assert found.chung_gap == pytest.approx(1 - np.sort(mu)[-2], abs=1e-12)


def test_causal_triangle_has_its_diagonal_and_no_stationary_norm():
    A = causal(np.random.default_rng(0), 30)
    pi = np.zeros(30)
    pi[0] = 1
    found = spectrum(A, pi, k=30)
    assert np.allclose(found.eigenvalues, np.sort(np.diag(A))[::-1], atol=1e-12)
    assert np.array_equal(found.stationary, pi)
    for name in ("sigma", "departure", "numerical_range", "numerical_radius", "chung_gap"):
        assert getattr(found, name) is None
        assert "29 of 30 nodes are transient" in found.reasons[name]
        assert "dobrushin" in found.reasons[name]


@pytest.mark.parametrize("n", [300, 700])
def test_two_closed_classes_have_the_eigenvalue_one_twice(n):
    rng, half = np.random.default_rng(0), n // 2
    A = np.zeros((n, n))
    A[:half, :half], A[half:, half:] = attention(rng, half), attention(rng, n - half)
    found = spectrum(A, None, k=6)
    assert found.eigenvalues[:2] == pytest.approx([1, 1])
    assert np.allclose(np.abs(found.eigenvalues), largest_moduli(A)[: len(found.eigenvalues)])
    assert found.gap == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dense", [0, 512])
@pytest.mark.parametrize("kind", sorted(DRAWS))
def test_numbers_equal_dense_formulas(kind, dense):
    rng = np.random.default_rng(7)
    A = DRAWS[kind](rng, 60)
    pi = stationary(A)
    found = spectrum(A, pi, k=8, dense=dense)
    B, C = similar(A, pi), off_constant(A, pi)
    m = len(found.eigenvalues)
    mu = np.linalg.eigvals(A)
    assert m in (8, 9)
    assert np.abs(found.eigenvalues[:, None] - mu).min(1).max() < 1e-8
    assert np.abs(np.abs(found.eigenvalues) - largest_moduli(A)[:m]).max() < 1e-8
    sigma = np.linalg.svd(B, compute_uv=False)
    assert np.abs(found.sigma - sigma[:m]).max() < 1e-8
    assert found.gap == pytest.approx(1 - largest_moduli(A)[1], abs=1e-8)
    assert found.chung_gap == pytest.approx(1 - np.linalg.eigvalsh((C + C.T) / 2)[-1], abs=1e-8)
    if found.complete:
        henrici = (np.linalg.norm(B) ** 2 - (np.abs(mu) ** 2).sum()).clip(0) ** 0.5
        assert found.departure == pytest.approx(henrici, abs=1e-6)
    for angle in np.linspace(0, 2 * np.pi, 17):
        turned = np.exp(-1j * angle) * C
        top = np.linalg.eigvalsh((turned + turned.conj().T) / 2)[-1]
        assert (np.exp(-1j * angle) * found.numerical_range).real.max() <= top + 1e-9
        assert found.numerical_radius >= top - 1e-9
    grid = np.exp(-1j * np.linspace(0, 2 * np.pi, 721))[:, None, None] * C
    tops = np.linalg.eigvalsh((grid + np.swapaxes(grid.conj(), 1, 2)) / 2)[:, -1]
    assert found.numerical_radius == pytest.approx(tops.max(), rel=1e-4)
    assert found.numerical_radius >= tops.max() - 1e-9


def test_large_graphs_take_products_only():
    A = attention(np.random.default_rng(1), 900, 0.6)
    products = Counted(A)
    found = directed_spectrum_of(products, stationary(A), 10)
    assert not found.complete
    assert products.columns < 900 * 3
    m = len(found.eigenvalues)
    assert np.abs(np.abs(found.eigenvalues) - largest_moduli(A)[:m]).max() < 1e-9
    pi = stationary(A)
    assert np.abs(found.sigma - np.linalg.svd(similar(A, pi), compute_uv=False)[:m]).max() < 1e-9
    assert found.departure**2 == pytest.approx(
        (found.sigma**2 - np.abs(found.eigenvalues) ** 2).sum()
    )
    assert "leading" in found.reasons["departure"]


def test_a_few_steps_give_numbers_with_their_accuracy():
    A = attention(np.random.default_rng(1), 700, 0.6)
    pi = stationary(A)
    products = Counted(A)
    found = directed_spectrum_of(products, pi, 6, steps=5, angles=1)
    assert found.numerical_range is found.numerical_radius is None
    assert found.reasons["numerical_range"] == "left out: angles=1"
    assert "after 5 products" in found.reasons["eigenvalues"]
    m = len(found.sigma)
    error = float(found.reasons["sigma"].removeprefix("known to ±").split(":")[0])
    sigma = np.linalg.svd(similar(A, pi), compute_uv=False)[:m]
    assert np.abs(found.sigma - sigma).max() <= error
    B = off_constant(A, pi)
    gap = 1 - np.linalg.eigvalsh((B + B.T) / 2)[-1]
    assert found.chung_gap == pytest.approx(gap, abs=1e-8)
    assert products.columns < 700


@pytest.mark.parametrize("dense", [0, 512])
def test_conjugate_pairs_are_never_cut(dense):
    A = attention(np.random.default_rng(3), 50, 1.5)
    for k in range(1, 25):
        mu = spectrum(A, k=k, dense=dense).eigenvalues
        assert len(mu) in (k, k + 1)
        assert mu[0] == 1
        assert np.abs(mu.sum().imag) < 1e-12
        assert (np.diff(np.abs(mu)) < 1e-10).all()
        if len(mu) == k + 1:
            assert mu[-1] == pytest.approx(mu[-2].conj())


def test_powers_show_mixing_that_one_step_hides():
    """σ₂ = 1 for this ergodic A: two nodes have the same single successor."""
    A = np.array([[0.0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]])
    pi = stationary(A)
    once, thrice = spectrum(A, pi), spectrum(A, pi, power=4)
    assert once.sigma[1] == pytest.approx(1)
    fourth = np.linalg.matrix_power(A, 4)
    assert thrice.sigma[1] == pytest.approx(np.linalg.svd(similar(fourth, pi), compute_uv=False)[1])
    assert thrice.sigma[1] < 0.9
    assert thrice.eigenvalues == pytest.approx(
        once.eigenvalues[np.argsort(-np.abs(once.eigenvalues))] ** 4
    ) or np.allclose(np.abs(thrice.eigenvalues), np.abs(once.eigenvalues) ** 4)
    assert "A^4" in repr(thrice)


def test_inaccurate_stationary_distribution_is_told():
    A = attention(np.random.default_rng(0), 20)
    pi = stationary(A)
    pi[3] *= 1 + 1e-3
    found = spectrum(A, pi)
    assert found.sigma is None
    assert "relative error" in found.reasons["sigma"]


@pytest.mark.parametrize(("k", "power", "word"), [(0, 1, "k=0"), (2.5, 1, "k=2.5"), (3, 0, "pow")])
def test_bad_numbers_are_refused(k, power, word):
    with pytest.raises(InputError, match=word):
        spectrum(np.full((3, 3), 1 / 3), k=k, power=power)


def test_rows_that_do_not_sum_to_one_are_refused():
    A = np.full((3, 3), 1 / 3)
    A[1] *= 1.2
    with pytest.raises(InputError, match=r"row 1 sums to 1\.2"):
        spectrum(A, np.full(3, 1 / 3))
    A[1, 1] = np.nan
    with pytest.raises(InputError, match=r"row 1 sums to nan"):
        spectrum(A, np.full(3, 1 / 3))


def test_eigenvalues_that_do_not_settle_raise_where_all_are_too_many(monkeypatch):
    from gspnl.filters.directed import values as module

    monkeypatch.setattr(module, "LARGEST", 100)
    with pytest.raises(ConvergenceError, match=r"8 eigenvalues of largest modulus"):
        spectrum(cycle(900), np.full(900, 1 / 900), k=8, dense=10)
