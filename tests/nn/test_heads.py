"""Numbers of attention heads, compared with dense NumPy formulas on heads of small networks."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from support import nn_heads
from support.nn_heads import network_calls

from gspnl.nn.auditing.heads import measure_heads

NAMES = [name for name, _, _ in network_calls()]


@cache
def measured(name):
    call = next(call for each, call, _ in network_calls() if each == name)
    return call, measure_heads(call)


def test_the_heads_of_the_oracle_are_those_of_torch():
    heads = nn_heads.every_head()
    assert len(heads) >= 40
    for name, call, weights in network_calls():
        if weights is not None:
            for head in nn_heads.captured(name, call):
                torchs = weights[head.item, head.head].numpy()[np.ix_(head.kept, head.kept)]
                np.testing.assert_allclose(head.A, torchs, atol=1e-12)
    uniform = [np.exp(nn_heads.numbers(head)["entropy"]) / len(head.A) for head in heads]
    assert np.median(uniform) < 0.4  # the heads are far from uniform


@pytest.mark.parametrize("name", NAMES)
def test_every_number_equals_its_dense_formula(name):
    call, records = measured(name)
    for head in nn_heads.captured(name, call):
        item = records[head.head].items[head.item]
        expected = nn_heads.numbers(head)
        mu = expected.pop("eigenvalues")
        pairs = linear_sum_assignment(np.abs(item.eigenvalues[:, None] - mu))
        assert np.abs(item.eigenvalues[pairs[0]] - mu[pairs[1]]).max() < 1e-8
        assert (np.diff(np.abs(item.eigenvalues)) < 1e-11).all()
        assert abs(item.eigenvalues[0] - 1) < 1e-12
        pi = expected.pop("stationary")
        np.testing.assert_allclose(item.stationary[head.kept], pi, atol=1e-8)
        assert abs(item.stationary.sum() - 1) < 1e-12
        for number, value in expected.items():
            assert getattr(item, number) is not None, (number, item.reasons)
            np.testing.assert_allclose(
                getattr(item, number), value, atol=1e-8, err_msg=f"{number} of {name}"
            )
