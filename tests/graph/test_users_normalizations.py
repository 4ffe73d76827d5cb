"""A user's normalisation keeps what it declares, or is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

import gspnl
from gspnl.affinity.normalization import NORMALIZATIONS, Normalization
from gspnl.errors import InputError

X = np.random.default_rng(0).standard_normal((60, 3))
Z = np.random.default_rng(1).standard_normal((60, 2))

FALSE = [
    (Normalization(lambda w, d: (d**-0.5, d**-0.5)), "declares row_stochastic=True"),
    (Normalization(lambda w, d: (1 / d, None), row_stochastic=False), None),
    (Normalization(lambda w, d: (d**-0.5, None), row_stochastic=False), "l r = 1/d"),
    (Normalization(lambda w, d: (d**-0.5, d**-0.5), averages=True), "declares averages=True"),
    (Normalization(lambda w, d: (1 / d[:-1], None)), r"l as a ndarray of shape \(59,\)"),
    (Normalization(lambda w, d: (1.0, None)), "l as a float"),
    (Normalization(lambda w, d: (-1 / d, None)), "gave l = -"),
    (Normalization(lambda w, d: (d / 0 * 0, None)), "gave l = nan"),
    (Normalization(lambda w, d: ((1 / d).astype(np.float32), None)), "l in float32"),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("scheme", "message"), FALSE)
def test_scales_that_contradict_their_declaration_raise(scheme, message):
    NORMALIZATIONS.register("mine")(scheme)
    try:
        if message is None:  # l r = 1/d holds
            assert gspnl.feature_graph(X, "cosine", normalization="mine").n_nodes == 60
            return
        with pytest.raises(InputError, match=message) as caught:
            gspnl.feature_graph(X, "cosine", normalization="mine")
        assert "normalization='mine'" in str(caught.value)
    finally:
        NORMALIZATIONS.unregister("mine")


def test_nodes_of_degree_zero_need_scales_of_zero():
    NORMALIZATIONS.register("mine")(Normalization(lambda w, d: (1 / (d + (d == 0)), None)))
    try:
        spoiled = X.copy()
        spoiled[3] = -1
        with pytest.raises(InputError, match="at a node of degree 0"):
            gspnl.feature_graph(spoiled, "dot", normalization="mine")
    finally:
        NORMALIZATIONS.unregister("mine")


@pytest.mark.parametrize("power", [0.2, 0.75])
def test_scales_that_keep_their_declaration_equal_their_formula(power):
    scheme = Normalization(lambda w, d: (d**-power, d ** (power - 1)), row_stochastic=False)
    NORMALIZATIONS.register("mine")(scheme)
    try:
        graph = gspnl.feature_graph(X, "cosine", normalization="mine")
        unit = X / np.linalg.norm(X, axis=1, keepdims=True)
        W = (1 + unit @ unit.T) / 2
        d = W.sum(1)
        A = d[:, None] ** -power * W * d ** (power - 1)
        assert np.abs(graph.apply(Z) - A @ Z).max() < 1e-12
        assert (
            np.abs(graph.filter(Z, gspnl.responses.snl(0.3, 0.7)) - 0.3 * Z - 0.7 * A @ Z).max()
            < 1e-12
        )
    finally:
        NORMALIZATIONS.unregister("mine")
