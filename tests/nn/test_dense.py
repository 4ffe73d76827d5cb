"""Properties of the dense formulas in tests/support/nn_dense.py."""

from __future__ import annotations

import pytest
import torch
from support import nn_dense
from support.nn_dense import NORMALIZATIONS, chebyshev, dense

ROW_STOCHASTIC = ("random_walk", "bistochastic", "softmax")


def draw(*shape, seed=0, scale=0.5):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def parameters(maps, C=4, r=3, seed=1):
    names = ("affinity.phi", "affinity.psi", "stages.0.g")
    params = {f"{name}.weight": draw(r, C, seed=seed + i) for i, name in enumerate(names)}
    for i, name in enumerate(maps):
        params[f"stages.0.{name}.weight"] = draw(C, r, seed=seed + 10 + i)
    return params


def affinity(name, x, normalization="softmax", **options):
    config = nn_dense.COMMON | {"kernel": "embedded_gaussian", "normalization": normalization}
    return nn_dense.matrix(name, parameters(["w"]), x, config | options)


@pytest.mark.parametrize("normalization", ROW_STOCHASTIC)
@pytest.mark.parametrize("kernel", ["dot", "embedded_gaussian"])
def test_rows_of_the_affinity_sum_to_one(kernel, normalization):
    x = draw(2, 4, 3, 4)
    x[0, :, 1, 2] = 0  # isolated under dot
    if (kernel, normalization) == ("dot", "bistochastic"):
        kernel, options = "dot", {"feature_map": "softplus"}
    else:
        options = {}
    A = affinity("nl", x, normalization, kernel=kernel, **options)
    assert (A.sum(-1) - 1).abs().max() < 1e-13
    if kernel == "dot" and not options:
        assert A[0, 6, 6] == 1
    if normalization == "bistochastic":
        assert (A - A.mT).abs().max() < 1e-15


@pytest.mark.parametrize("name", ["a2", "cc"])
def test_rows_of_the_other_affinities_sum_to_one(name):
    assert (affinity(name, draw(2, 4, 3, 4)).sum(-1) - 1).abs().max() < 1e-14


def test_criss_cross_is_nonzero_on_row_and_column():
    A = affinity("cc", draw(1, 4, 3, 4))[0]
    seen = (A[5] > 0).reshape(3, 4)  # of position (1, 1)
    assert seen.tolist() == [[j == 1 or i == 1 for j in range(4)] for i in range(3)]
    line = affinity("cc", draw(1, 4, 6))
    assert torch.allclose(line, affinity("nl", draw(1, 4, 6)), rtol=1e-14)


def test_symmetric_scales_of_a_small_graph():
    M = torch.tensor([[[0.0, 2.0, 0], [0.0, 1.0, 0], [0, 0, 0]]], dtype=torch.float64)
    A = NORMALIZATIONS["symmetric"](M)[0]  # W = [[0, 1], [1, 1]], d = 1, 2
    root = 2**-0.5
    expected = torch.tensor([[0, root, 0], [root, 0.5, 0], [0, 0, 1.0]], dtype=torch.float64)
    assert (A - expected).abs().max() < 1e-15


def test_sinkhorn_gradient_by_finite_differences():
    M = draw(1, 5, 5).exp().requires_grad_()
    assert torch.autograd.gradcheck(NORMALIZATIONS["bistochastic"], (M,))


def test_polynomials_and_exponentials_by_eigenvectors():
    A = affinity("nl", draw(1, 4, 7), "symmetric")[0]
    mu, V = torch.linalg.eigh(A)
    for k, T in enumerate(chebyshev(A, 6)):
        assert (
            V @ torch.diag(torch.cos(k * torch.arccos(-mu.clamp(-1, 1)))) @ V.T - T
        ).abs().max() < 1e-12
    x, raw = draw(1, 4, 7), torch.tensor([-3.0, 1.0], dtype=torch.float64)
    params = parameters(["w_0", "w_1"]) | {"stages.0.times": raw}
    options = {"norm": "none", "kernel": "embedded_gaussian", "normalization": "symmetric"}
    Z = x[0].T @ params["stages.0.g.weight"].T
    F = sum(
        V
        @ torch.diag(torch.exp(-32 * torch.sigmoid(raw[m]) * (1 - mu)))
        @ V.T
        @ Z
        @ params[f"stages.0.w_{m}.weight"].T
        for m in range(2)
    )
    assert (dense("spectral", params, x, **options)[0].T - x[0].T - F).abs().max() < 1e-12


def test_order_one_equals_snl_and_gsnl():
    x = draw(2, 4, 3, 4)
    V0, V1 = draw(4, 3, seed=5), draw(4, 3, seed=6)
    base = {k: v for k, v in parameters(["w"]).items() if ".w." not in k}

    def run(name, **maps):
        return dense(
            name, base | {f"stages.0.{k}.weight": v for k, v in maps.items()}, x, norm="none"
        )

    snl = run("snl", w_1=V0, w_2=-V1)
    assert (run("chebyshev", w_0=V0, w_1=V1) - snl).abs().max() < 1e-14
    W1, W2, W3 = (draw(4, 3, seed=s) for s in (7, 8, 9))
    folded = run("snl", w_1=W1 - W3, w_2=W2 + 2 * W3)
    assert (run("gsnl", w_1=W1, w_2=W2, w_3=W3) - folded).abs().max() < 1e-14


def test_batch_norm_equals_that_of_torch():
    x = draw(3, 4, 2, 5)
    names = ("norm.weight", "norm.bias", "norm.running_mean")
    stage = {name: draw(4, seed=i) for i, name in enumerate(names)}
    stage["norm.running_var"] = draw(4, seed=9).exp()
    mean, variance = stage["norm.running_mean"], stage["norm.running_var"]
    for training in (True, False):
        expected = torch.nn.functional.batch_norm(
            x, mean.clone(), variance.clone(), stage["norm.weight"], stage["norm.bias"], training
        )
        assert (nn_dense.batch_norm(x, stage, training) - expected).abs().max() < 1e-14
    expected = torch.nn.functional.group_norm(x, 1, stage["norm.weight"], stage["norm.bias"])
    assert (nn_dense.group_norm(x, stage, True) - expected).abs().max() < 1e-14


def test_channel_pairs_equal_the_grouped_outer_product():
    """t (pᵀ g) of each group, without the matrix."""
    x, groups = draw(1, 4, 5), 2
    params = parameters(["w"], r=4)
    params["stages.0.w.weight"] = params["stages.0.w.weight"][:, :2]
    X = x[0].T
    t, p, g = (X @ params[f"{n}.weight"].T for n in ("affinity.phi", "affinity.psi", "stages.0.g"))
    parts = []
    for c in (slice(0, 2), slice(2, 4)):
        out = t[:, c] * (p[:, c] * g[:, c]).sum()
        parts.append(out @ params["stages.0.w.weight"][c].T)
    F = dense("cgnl", params, x, groups=groups, norm="none")[0].T - X
    assert (F - torch.cat(parts, 1)).abs().max() < 1e-14
    gamma = 1e-4  # rbf: the Taylor series of exp(−γ (t − p)²) less exp(−γ (t² + p²)) …
    config = nn_dense.COMMON | {"kernel": "rbf", "order": 12}
    M = nn_dense.channel_pairs(nn_dense.under(params, "affinity."), x, config)[0]
    full = torch.exp(2 * gamma * (t.reshape(-1, 1) * p.reshape(1, -1) - 1))
    assert (M[0] - full[0])[::4].abs().max() < 1e-15
