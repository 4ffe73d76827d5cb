"""Sinkhorn steps with momentum: the fixed point of plain steps, in fewer products."""

from __future__ import annotations

import numpy as np
import pytest

from gspnl.affinity import normalization
from gspnl.affinity.normalization import sinkhorn
from gspnl.errors import ConvergenceError


def solve(W, monkeypatch, near):
    monkeypatch.setattr(normalization, "NEAR", near)
    calls = []

    def product(v):
        calls.append(1)
        return W @ v

    try:
        return sinkhorn(product, W.sum(1)), len(calls)
    except ConvergenceError:
        return None, len(calls)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(40))
def test_momentum_solves_what_plain_steps_solve(seed, dtype, monkeypatch):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 60))
    W = rng.random((n, n)) ** rng.integers(1, 8) * (rng.random((n, n)) < rng.choice([0.1, 0.4, 1]))
    W = (W + W.T + np.diag(rng.random(n)) * rng.choice([0, 1e-3, 1])).astype(dtype)
    plain, many = solve(W, monkeypatch, 0.0)
    fast, few = solve(W, monkeypatch, 0.1)
    if plain is None:
        return
    assert fast is not None
    assert few <= 1.5 * many + 10
    live = W.sum(1) > 0
    tolerance = 200 * 64 * np.finfo(dtype).eps  # where the plain steps may stop
    for s in (plain, fast):
        assert np.abs((s * (W @ s) - 1)[live]).max() <= tolerance


def test_momentum_takes_fewer_products_on_a_sparse_pattern(monkeypatch):
    n = 400
    W = np.zeros((n, n))
    rng = np.random.default_rng(0)
    for i in range(n):
        W[i, (i + np.arange(1, 4)) % n] = rng.random(3)
    W = W + W.T
    (plain, many), (fast, few) = (solve(W, monkeypatch, near) for near in (0.0, 0.1))
    assert np.abs(fast / plain - 1).max() < 1e-10
    assert few < 0.6 * many


def test_a_pattern_without_a_bistochastic_scaling_is_refused(monkeypatch):
    star = np.zeros((5, 5))
    star[0, 1:] = star[1:, 0] = 1.0
    assert solve(star, monkeypatch, 0.1)[0] is None
