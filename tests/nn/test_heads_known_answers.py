"""Attention matrices whose numbers are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.nn_heads import given

from gspnl.nn.auditing.heads import measure_heads

N = 6
PI = np.array([0.3, 0.05, 0.25, 0.1, 0.2, 0.1])
CHAIN = ("stationary", "sink_mass", "sink", "reversible", "sigma", "chung_gap")


def of(A, **options):
    (record,) = measure_heads(given(A), **options)
    return record


def close(found, expected, atol=1e-12):
    np.testing.assert_allclose(found, expected, atol=atol)


def spread(P):
    """Return |i − j| weighted by the entries of P and averaged over rows."""
    i = np.arange(len(P))
    return (P * np.abs(i[:, None] - i)).sum() / len(P)


def test_one_row_repeated():
    head = of(np.tile(PI, (N, 1)))
    close(head.eigenvalues, [1, 0, 0, 0, 0, 0], 1e-8)
    close(head.gap, 1, 1e-8)
    close(head.stationary, PI)
    close((head.sink_mass, head.sink), (0.3, 0))
    close(head.sigma, [1, 0, 0, 0, 0, 0])
    close(head.spectral_norm, math.sqrt(N * (PI**2).sum()))
    close(head.chung_gap, 1)
    close(head.dobrushin, 0)
    close(head.entropy, -(PI * np.log(PI)).sum())
    close(head.effective_rank, 1)
    close(head.distance, spread(np.tile(PI, (N, 1))))
    close(head.defect, [0, 0, 0])
    close(head.reversible, 0)
    close(head.curl, 0)  # log π_j − log π_i is a gradient


def test_the_identity():
    head = of(np.eye(N))
    close(head.eigenvalues, np.ones(N))
    close(head.gap, 0)
    close((head.dobrushin, head.entropy, head.effective_rank, head.distance), (1, 0, N, 0))
    close(head.defect, [0, 0, 0])
    close(head.spectral_norm, 1)
    assert head.masked == ""
    for name in CHAIN:
        assert getattr(head, name) is None
        assert f"{N} closed classes" in head.reasons[name]
    assert head.curl is None
    assert "zeros" in head.reasons["curl"]


def test_a_cyclic_permutation():
    head = of(np.roll(np.eye(N), 1, axis=1))
    roots = np.exp(2j * np.pi * np.arange(N) / N)
    close(np.sort_complex(head.eigenvalues.round(9)), np.sort_complex(roots.round(9)), 1e-8)
    close(head.eigenvalues[0], 1)
    close(head.gap, 0)
    close(head.stationary, np.full(N, 1 / N))
    assert "period" in head.reasons["gap"]
    close(head.sigma, np.ones(N))
    close(head.chung_gap, 1 - math.cos(2 * math.pi / N))
    close((head.dobrushin, head.entropy, head.effective_rank), (1, 0, N))
    close(head.reversible, 1)  # all flow goes round
    close(head.defect, math.sqrt(2) * np.ones(3))  # A^k and A share no entry
    close(head.distance, (N - 1 + N - 1) / N)


def test_a_bipartite_graph():
    A = np.zeros((N, N))
    A[:2, 2:], A[2:, :2] = 1 / 4, 1 / 2
    head = of(A)
    close(head.eigenvalues, [1, -1, 0, 0, 0, 0])
    close(head.gap, 0)
    assert "period 2" in head.reasons["gap"]
    close(head.stationary, [1 / 4, 1 / 4, 1 / 8, 1 / 8, 1 / 8, 1 / 8])
    close(head.sigma, [1, 1, 0, 0, 0, 0])
    close(head.chung_gap, 1)
    close(head.reversible, 0)
    close(head.dobrushin, 1)
    close(head.entropy, (2 * math.log(4) + 4 * math.log(2)) / N)
    # ‖A² − A‖² = ‖A²‖² + ‖A‖², and A³ = A
    size, square = 2 * 4 / 16 + 8 / 4, 4 / 4 + 16 / 16
    close(head.defect, [math.sqrt((size + square) / size), 0, math.sqrt((size + square) / size)])


def test_a_birth_death_chain():
    up, down = 0.3, 0.2
    A = np.diag(np.full(N - 1, up), 1) + np.diag(np.full(N - 1, down), -1)
    A += np.diag(1 - A.sum(1))
    head = of(A)
    pi = (up / down) ** np.arange(N)
    pi /= pi.sum()
    mu = 1 - up - down + 2 * math.sqrt(up * down) * np.cos(np.pi * np.arange(1, N) / N)
    mu = np.concatenate([[1], mu])
    close(head.eigenvalues, mu[np.argsort(-np.abs(mu))])
    close(head.stationary, pi)
    close((head.sink_mass, head.sink), (pi[-1], N - 1))
    close(head.sigma, np.sort(np.abs(mu))[::-1])  # B is symmetric
    close(head.chung_gap, 1 - mu[1])
    close(head.gap, 1 - np.sort(np.abs(mu))[-2])
    close(head.reversible, 0)
    close(head.distance, ((N - 1) * (up + down)) / N)
    assert head.masked == ""


def test_a_causal_triangle():
    A = np.tril(np.ones((N, N))) / np.arange(1, N + 1)[:, None]
    head = of(A)
    assert head.masked == "causal"
    close(head.eigenvalues, 1 / np.arange(1, N + 1))
    close(head.gap, 1 / 2)
    close(head.stationary, np.eye(N)[0])
    close((head.sink_mass, head.sink, head.reversible), (1, 0, 0))
    assert "first" in head.reasons["stationary"]
    for name in ("sigma", "chung_gap"):
        assert getattr(head, name) is None
        assert "π is 0 at 5 of 6 nodes" in head.reasons[name]
    assert head.curl is None
    close(head.dobrushin, 1 - 1 / N)
    close(head.entropy, np.log(np.arange(1, N + 1)).mean())
    close(head.distance, np.mean([np.arange(i + 1).mean() for i in range(N)]))


def test_two_closed_classes():
    A = np.zeros((N, N))
    A[:2, :2], A[2:5, 2:5], A[5] = 1 / 2, 1 / 3, 1 / N
    head = of(A)
    close(head.eigenvalues, [1, 1, 1 / N, 0, 0, 0], 1e-8)
    close(head.gap, 0)
    for name in CHAIN:
        assert getattr(head, name) is None
        assert "2 closed classes" in head.reasons[name]
    close(head.dobrushin, 1)
    close(head.entropy, (2 * math.log(2) + 3 * math.log(3) + math.log(6)) / N)


def test_uniform_attention():
    head = of(np.full((N, N), 1 / N))
    close((head.entropy, head.effective_rank, head.curl), (math.log(N), 1, 0))
    close((head.spectral_norm, head.dobrushin, head.reversible), (1, 0, 0))


def test_two_nodes():
    a, b = 0.3, 0.6
    head = of(np.array([[1 - a, a], [b, 1 - b]]))
    close(head.eigenvalues, [1, 1 - a - b])
    close(head.stationary, [b / (a + b), a / (a + b)])
    close((head.reversible, head.curl, head.dobrushin), (0, 0, abs(1 - a - b)))
    close(head.chung_gap, a + b)


def test_one_node_has_no_gap():
    head = of(np.ones((1, 1)))
    close(head.eigenvalues, [1])
    close((head.stationary[0], head.entropy, head.effective_rank, head.dobrushin), (1, 0, 1, 0))
    assert (head.gap, head.chung_gap) == (None, None)
    assert "one node" in head.reasons["gap"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_symmetric_doubly_stochastic_matrix_of_low_precision_has_no_curl(dtype):
    A = np.array([[0.5, 0.3, 0.2], [0.3, 0.4, 0.3], [0.2, 0.3, 0.5]]).astype(dtype)
    head = of(A)
    close(head.curl, 0)
    close(head.reversible, 0, 1e-3)
