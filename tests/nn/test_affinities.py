"""Kernels and normalisations of blocks: allowed pairs equal the formula, other pairs raise."""

from __future__ import annotations

import pytest
import torch
from support.nn_cases import (
    CHANNELS,
    KERNELS,
    PAIRED,
    PLAIN,
    SYMMETRIC,
    allowed,
    close,
    compare,
    make,
    noise,
    settings,
    signal,
    state,
)
from support.nn_dense import NORMALIZATIONS

from gspnl import nn as gnn
from gspnl.errors import InputError

FREE = ["nl", "ns", "snl", "gsnl"]  # first order in A: any A will do
SPECTRAL = ["chebyshev", "spectral"]


def positive(block):
    with torch.no_grad():
        if block.affinity.phi is not None and block.affinity.phi.bias is not None:
            block.affinity.phi.bias.fill_(3.0)
            block.affinity.psi.bias.fill_(2.0)
    return block


def check(name, kernel, normalization, training=True, **more):
    x, options = settings(kernel, normalization)
    if not allowed(kernel, normalization):
        with pytest.raises(InputError, match=normalization):
            make(name, **options | more)
        return
    block = make(name, **options | more)
    if options.get("bias"):
        positive(block)
    compare(name, x, training, block=block, **options | more)


@pytest.mark.parametrize("normalization", SYMMETRIC + PLAIN)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", FREE)
def test_blocks_of_first_order_take_any_affinity(name, kernel, normalization):
    check(name, kernel, normalization)


@pytest.mark.parametrize("normalization", SYMMETRIC)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", SPECTRAL)
def test_blocks_of_higher_order_take_symmetric_affinities(name, kernel, normalization):
    check(name, kernel, normalization)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("normalization", PLAIN)
def test_chebyshev_of_order_one_takes_any_affinity(kernel, normalization):
    check("chebyshev", kernel, normalization, order=1)


@pytest.mark.parametrize("normalization", PLAIN)
@pytest.mark.parametrize("kernel", ["dot", "embedded_gaussian"])
@pytest.mark.parametrize("name", SPECTRAL)
def test_higher_order_of_unsymmetric_affinities_raises(name, kernel, normalization):
    with pytest.raises(InputError, match=normalization):
        gnn.create(name, CHANNELS, order=2, kernel=kernel, normalization=normalization)


@pytest.mark.parametrize("feature_map", ["relu", "softplus", "elu1", "square", "exp"])
@pytest.mark.parametrize("name", PAIRED)
def test_feature_maps_equal_the_formula(name, feature_map):
    options = {"kernel": "dot", "normalization": "random_walk", "feature_map": feature_map}
    compare(name, signal(), True, **options)


@pytest.mark.parametrize("normalization", ["mean", "none"])
@pytest.mark.parametrize("name", FREE)
def test_raw_dot_products_equal_the_formula(name, normalization):
    compare(name, signal(), True, kernel="dot", feature_map="identity", normalization=normalization)


@pytest.mark.parametrize("normalization", [*SYMMETRIC, "softmax"])
@pytest.mark.parametrize("name", PAIRED)
def test_raw_dot_products_with_degrees_raise(name, normalization):
    with pytest.raises(InputError, match="feature_map"):
        gnn.create(
            *(name, CHANNELS),
            kernel="dot",
            feature_map="identity",
            normalization=normalization,
        )


@pytest.mark.parametrize("normalization", ["softmax", "random_walk"])
def test_temperature_and_sigma_equal_the_formula(normalization):
    for name in ("nl", "snl"):
        for temperature in (0.3, 4.0):
            options = {"kernel": "embedded_gaussian", "temperature": temperature}
            compare(name, signal(), normalization=normalization, **options)
        for sigma in (0.5, 3.0):
            compare(name, signal(), kernel="rbf", sigma=sigma, normalization=normalization)


@pytest.mark.parametrize("name", PAIRED)
def test_kernels_without_embedding_have_no_parameters(name):
    for kernel in ("gaussian", "rbf", "cosine"):
        block = gnn.create(name, CHANNELS, kernel=kernel, normalization="random_walk")
        assert not any("affinity" in key for key in block.state_dict())
    block = gnn.create(name, CHANNELS, kernel="concatenation", normalization="random_walk")
    assert block.state_dict()["affinity.phi.weight"].shape == (1, CHANNELS)
    assert block.state_dict()["affinity.psi.weight"].shape == (1, CHANNELS)


STORED = [
    ("dot", "random_walk"),
    ("dot", "symmetric"),
    ("dot", "bistochastic"),
    ("dot", "softmax"),
    ("dot", "mean"),
    ("dot", "none"),
    *(("cosine", normalization) for normalization in SYMMETRIC + PLAIN),
]


@pytest.mark.parametrize("storage", ["dense", "lowrank"])
@pytest.mark.parametrize(("kernel", "normalization"), STORED)
def test_each_storage_equals_the_formula(kernel, normalization, storage):
    """The cost model chooses between two storages; both equal the formula."""
    for name in ("nl", "snl", "chebyshev", "spectral"):
        if name in FREE or normalization in SYMMETRIC:
            check(name, kernel, normalization, storage=storage)


@pytest.mark.parametrize("normalization", ["random_walk", "symmetric", *PLAIN])
def test_concatenation_beyond_the_sorting_threshold(normalization):
    """Sorted from 2048 nodes on."""
    options = {"kernel": "concatenation", "normalization": normalization, "inner": 2}
    x = noise(1, 3, 2100)
    for name in ("nl", "snl"):
        compare(name, x, block=make(name, channels=3, **options).eval(), **options)


@pytest.mark.parametrize("name", ["nl", "ns", "snl"])
def test_large_scores_do_not_overflow(name):
    """Scores around 1000, far beyond where exp overflows: the formula by shifted exponentials."""
    x = noise(1, CHANNELS, 3, 4, seed=2)
    options = {"kernel": "embedded_gaussian", "normalization": "softmax", "norm": "none"}
    block = make(name, **options)
    with torch.no_grad():
        block.affinity.phi.weight *= 1000
    params = state(block)
    X = x.flatten(2).mT
    phi, psi = (X @ params[f"affinity.{n}.weight"].T for n in ("phi", "psi"))
    A = torch.softmax(phi @ psi.mT, -1)
    assert (phi @ psi.mT).max() > 800
    Z = X @ params["stages.0.g.weight"].T
    F = {
        "nl": lambda s: (A @ Z) @ s["w"].T,
        "ns": lambda s: (A @ Z - Z) @ s["w"].T,
        "snl": lambda s: Z @ s["w_1"].T + (A @ Z) @ s["w_2"].T,
    }[name]({k.split(".")[2]: v for k, v in params.items() if k.startswith("stages.0.w")})
    close((block(x) - x).detach(), F.mT.reshape(x.shape).detach())


@pytest.mark.parametrize("storage", ["dense", "lowrank"])
def test_bistochastic_on_a_bipartite_graph(storage):
    """W = [[0, w], [w, 0]]: the scales (s, 1/(ws)) are not unique, A = [[0, 1], [1, 0]] is.

    So it is constant, and W's gradient is 0, though the equation of the scales is singular.
    """
    options = {"inner": 2, "normalization": "bistochastic", "norm": "none", "storage": storage}
    block = make("snl", channels=2, **options)
    with torch.no_grad():
        block.affinity.phi.weight.copy_(torch.tensor([[2.0, 0], [0, 3.0]]))
        block.affinity.psi.weight.copy_(torch.tensor([[0, 0.5], [1.0, 0]]))
    x = torch.eye(2, dtype=torch.float64)[None]
    y = block(x)
    stage = block.stages[0]
    Z = x[0].T @ stage.g.weight.T
    F = Z @ stage.w_1.weight.T + Z.flip(0) @ stage.w_2.weight.T
    close((y - x).detach()[0].T, F.detach())
    y.square().sum().backward()
    for part in (block.affinity.phi, block.affinity.psi):
        assert part.weight.grad.abs().max() < 1e-12


@pytest.mark.parametrize("normalization", [*SYMMETRIC, "softmax"])
def test_items_with_scores_of_different_scale(normalization):
    """Scores around 0 in one item, around 800 in the next, whose exponentials are infinite."""
    x = noise(2, CHANNELS, 3, 4, seed=3, scale=0.1)
    x[1] += (800 / CHANNELS) ** 0.5
    options = {"kernel": "gaussian", "normalization": normalization, "norm": "none"}
    block = make("snl", **options).eval()
    together = block(x)
    assert torch.isfinite(together).all()
    for i in range(2):
        close(together[i : i + 1], block(x[i : i + 1]))
    # A common factor of M is lost in A: the second item by scores less their mean.
    X = x[1].flatten(1).T
    s = X @ X.T
    A = NORMALIZATIONS[normalization](torch.exp(s - s.mean())[None])[0]
    stage = block.stages[0]
    Z = X @ stage.g.weight.T
    F = Z @ stage.w_1.weight.T + A @ Z @ stage.w_2.weight.T
    # Scores of 800 are rounded to 1e-13, and so are the entries of A, relatively.
    close((block(x[1:]) - x[1:])[0].flatten(1).T, F)
