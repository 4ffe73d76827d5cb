"""Numbers of heads from products, compared with the dense NumPy formulas on the same heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import nn_heads
from support.nn_heads import scored

from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.auditing.heads import measure_heads

N = 160
EXACT = ("entropy", "low_frequency_share", "distance", "curl", "reversible", "sink_mass")
CONVERGED = ("spectral_norm", "chung_gap", "dirichlet", "gap")  # in float32, to tolerances
ESTIMATED = ("effective_rank", "defect")  # from 32 and 64 random vectors


def call_of(**more):
    """Return two heads whose slowest modes are well apart, on two items."""
    rng = np.random.default_rng(0)
    place = np.stack([np.cos(np.arange(N) * f / N) for f in (2, 5, 9, 14)], 1)
    features = np.concatenate([2 * place, 0.5 * rng.standard_normal((N, 8))], 1)
    turn = [0.4 * rng.standard_normal((12, 12)) + 1.4 * np.eye(12) for _ in range(4)]
    q = np.stack([features @ turn[0], features @ turn[1]])
    k = np.stack([features @ turn[2], features @ turn[3]])
    q, k = np.stack([q, q[:, ::-1]]), np.stack([k, k[:, ::-1]])
    v = rng.standard_normal((2, 2, N, 6)) + 0.3
    return scored(q.copy(), k.copy(), v, scale=0.2, **more)


def causal():
    return call_of(causal=True)


def padded():
    keep = torch.arange(N) < N - 40
    return call_of(mask=keep[None, None, None, :])


def biased():
    bias = -0.02 * (torch.arange(N)[:, None] - torch.arange(N)).abs().double()
    return call_of(mask=bias[None, None])


def banded():
    near = (torch.arange(N)[:, None] - torch.arange(N)).abs() < 60
    return call_of(mask=near[None, None])


CASES = {"plain": call_of, "causal": causal, "padded": padded, "biased": biased, "banded": banded}


@pytest.mark.parametrize("name", CASES)
def test_products_find_the_numbers_of_the_dense_matrix(name):
    call = CASES[name]()
    records = measure_heads(call, nodes=100, k=6)
    for head in nn_heads.captured(name, call):
        item = records[head.head].items[head.item]
        expected = nn_heads.numbers(head)
        for number in EXACT:
            if number in expected:
                np.testing.assert_allclose(
                    getattr(item, number), expected[number], rtol=1e-7, atol=1e-8, err_msg=number
                )
        if name != "causal":
            pi = expected["stationary"]
            assert np.abs(item.stationary[head.kept] - pi).sum() < 1e-7
            np.testing.assert_allclose(item.sigma[:4], expected["sigma"][:4], rtol=1e-4)
        moduli = np.abs(expected["eigenvalues"])
        np.testing.assert_allclose(np.abs(item.eigenvalues[:4]), moduli[:4], atol=1e-4)
        for number in CONVERGED:
            if number in expected:
                value = getattr(item, number)
                np.testing.assert_allclose(value, expected[number], rtol=1e-4, atol=1e-5)
        for number in ESTIMATED:
            np.testing.assert_allclose(getattr(item, number), expected[number], rtol=0.1)
            assert "estimated" in item.reasons[number]
        assert item.dobrushin is None
        assert "nodes=100" in item.reasons["dobrushin"]


@pytest.mark.parametrize("name", CASES)
def test_weights_have_the_numbers_of_their_queries_and_keys(name):
    call = CASES[name]()
    A = torch.zeros(2, 2, N, N, dtype=torch.float64)
    for head in nn_heads.captured(name, call):
        part = A[head.item, head.head]
        part[np.ix_(head.kept, head.kept)] = torch.from_numpy(head.A)
    if name == "padded":
        A = A[:, :, : N - 40, : N - 40]
    given = AttentionCall("net", "given", None, None, call.v[:, :, : A.shape[-1]], weights=A)
    found, expected = measure_heads(given, nodes=100, k=4), measure_heads(call, nodes=100, k=4)
    for one, other in zip(found, expected, strict=True):
        for number in (*EXACT, *CONVERGED):
            if getattr(other, number) is not None and number != "curl":
                value = getattr(one, number)
                np.testing.assert_allclose(value, getattr(other, number), rtol=1e-4, atol=1e-5)


def test_scores_without_digits_in_float32_are_computed_in_float64():
    call = call_of()
    steep = AttentionCall("net", "sdpa", 100 * call.q, call.k, call.v, scale=call.scale)
    records = measure_heads(steep, nodes=100, k=4)
    for head in nn_heads.captured("steep", steep):
        item = records[head.head].items[head.item]
        expected = nn_heads.numbers(head)
        assert abs(item.spectral_norm - expected["spectral_norm"]) < 1e-6
        np.testing.assert_allclose(item.entropy, expected["entropy"], rtol=1e-8)


def test_threads_over_heads_and_over_tiles_give_the_same_numbers():
    call = call_of()
    one = AttentionCall("net", "sdpa", call.q[:1, :1], call.k[:1, :1], call.v[:1, :1], scale=0.2)
    alone, both = measure_heads(one, nodes=100)[0], measure_heads(call, nodes=100)[0].items[0]
    for number in (*EXACT, *CONVERGED):
        assert abs(getattr(alone, number) - getattr(both, number)) < 1e-9
