"""The table of blocks agrees with the blocks."""

import numpy as np
import pytest
import torch
from support.paths import ROOT

import gspnl
from gspnl import nn as gnn

ROWS = {row.block: row for row in gnn.TABLE}


def test_every_block_has_a_row():
    assert set(ROWS) == set(gnn.BLOCKS)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_stated_parameters_equal_those_of_the_block(name):
    C, Cs, r, G = 24, 10, 10, 1
    block = gnn.create(name, C, inner=Cs)
    if "embedding" in block.config:
        r = 7
        block = gnn.create(name, C, inner=Cs, embedding=r)
    if "groups" in block.config:
        G = 2
        block = gnn.create(name, C, inner=Cs, groups=G)
    order = block.config.get("order") or 0
    symbols = {"C": C, "Cs": Cs, "r": r, "G": G, "K": order, "M": order}
    stated = eval(ROWS[name].parameters.replace("·", "*"), {}, symbols)
    assert sum(p.numel() for p in block.parameters()) == stated


@pytest.mark.parametrize("name", ["nl", "ns", "snl", "gsnl", "chebyshev", "spectral"])
def test_response_multiplies_each_mode(name):
    """A block, on one mode of the core's graph of the same features, multiplies by g(λ)."""
    torch.manual_seed(0)
    C, side = 6, 4
    options = {"kernel": "dot", "normalization": "random_walk", "feature_map": "softplus"}
    block = gnn.create(name, C, inner=C, norm="none", zero_init=False, **options).double()
    x = torch.randn(1, C, side, side, dtype=torch.float64)
    phi, psi = (getattr(block.affinity, k).weight.detach().numpy().T for k in ("phi", "psi"))
    X = x.flatten(2)[0].T.numpy()
    graph = gspnl.feature_graph(X, "dot", embed=(phi, psi), feature_map="softplus", storage="dense")
    spectrum = graph.spectrum()
    U = spectrum.modes(side * side)
    lam = np.repeat(spectrum.eigenvalues, spectrum.multiplicities)
    stage = block.stages[0]
    operator = block.affinity(x.flatten(2).mT, (side, side))
    w = {
        name: output.weight.detach().numpy()
        for name, output in zip(stage.terms, stage.outputs, strict=True)
    }
    taus = 32 / (1 + np.exp(-stage.times.detach().numpy())) if name == "spectral" else []
    for i in (0, 1, 5, side * side - 1):
        at = {
            "nl": lambda v: (1 - v) * w["w"],
            "ns": lambda v: -v * w["w"],
            "snl": lambda v: w["w_1"] + (1 - v) * w["w_2"],
            "gsnl": lambda v: w["w_1"] + (1 - v) * w["w_2"] + (1 - 2 * v) * w["w_3"],
            "chebyshev": lambda v: sum(
                np.cos(k * np.arccos(v - 1)) * w[f"w_{k}"] for k in range(len(w))
            ),
            "spectral": lambda v: sum(np.exp(-t * v) * w[f"w_{m}"] for m, t in enumerate(taus)),
        }[name](lam[i])
        signal = np.outer(U[:, i], np.arange(1.0, C + 1))
        with torch.no_grad():
            out = stage.filtered(torch.as_tensor(signal)[None], operator)[0].numpy()
        truth = np.outer(U[:, i], at @ np.arange(1.0, C + 1))
        # eigenvectors are right to 1e-13, and multiplied by sums of six weights
        assert np.abs(out - truth).max() < 1e-11 * max(1, np.abs(truth).max())


def test_documents_show_this_table():
    page = ROOT / "docs" / "blocks.md"
    assert gnn.table() in page.read_text()


@pytest.mark.parametrize("name", sorted(gnn.ATTENTION_RESPONSES))
def test_stated_parameters_and_products_equal_those_of_the_response(name):
    H, C, K = 5, 30, 4
    cls = gnn.ATTENTION_RESPONSES[name]
    response = cls(H, C, **({"order": K} if "order" in cls.defaults else {}))
    assert cls.row.response == name
    stated = eval(cls.row.parameters.replace("·", "*"), {}, {"H": H, "C": C, "K": K})
    assert sum(p.numel() for p in response.parameters()) == stated
    assert response.products == eval(cls.row.products.split(",")[0], {}, {"K": K})


def test_documents_show_the_table_of_attention():
    page = ROOT / "docs" / "blocks.md"
    assert gnn.attention_table() in page.read_text()
