"""Audits of networks, compared with dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.formulas import affinity, eigen, normalized, weights

import gspnl
from gspnl import nn as gnn
from gspnl.errors import InputError

C, CS, SIDE = 6, 4, 4
N = SIDE * SIDE


def make_block(name, **options):
    torch.manual_seed(0)
    block = gnn.create(name, C, inner=CS, zero_init=False, **options)
    for stage in block.stages:  # other statistics than those of a new norm
        if isinstance(stage.norm, torch.nn.BatchNorm1d):
            stage.norm.running_mean.normal_()
            stage.norm.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(stage.norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(stage.norm.bias)
    return block.double().train()


def features(items=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(items, C, SIDE, SIDE, generator=generator, dtype=torch.float64)


def numpy(tensor):
    return tensor.detach().numpy()


def embeddings(block, X):
    return [numpy(getattr(block.affinity, k).weight).T for k in ("phi", "psi")]


def dense_of(block, x):
    """Return the dense A of one item, and the diagonal of the change to its symmetric core."""
    X = numpy(x.flatten(1)).T
    options = block.config
    kernel = options["kernel"]
    own = {
        k: options[k] for k in ("feature_map", "temperature", "sigma") if options.get(k) is not None
    }
    pair = embeddings(block, X) if kernel in ("dot", "embedded_gaussian") else None
    M = affinity(kernel, X, pair, **own)
    return normalized(weights(M, options["normalization"]), options["normalization"])


def maps(stage):
    return {name: numpy(stage.get_submodule(name).weight) for name in stage.terms}


def response_of(name, w, lam, stage):
    """Return W(λ) by the formulas of the blocks (docs/mathematics.md)."""
    if name == "spectral":
        taus = 32 / (1 + np.exp(-numpy(stage.times)))
        return sum(np.exp(-t * lam) * w[f"w_{m}"] for m, t in enumerate(taus))
    if name == "chebyshev":
        return sum(np.cos(k * np.arccos(lam - 1)) * w[f"w_{k}"] for k in range(len(w)))
    return {
        "linear": lambda: w["w_1"],
        "nl": lambda: (1 - lam) * w["w"],
        "ns": lambda: -lam * w["w"],
        "snl": lambda: w["w_1"] + (1 - lam) * w["w_2"],
        "gsnl": lambda: w["w_1"] + (1 - lam) * w["w_2"] + (1 - 2 * lam) * w["w_3"],
        "a2": lambda: (1 - lam) * w["w"],
        "cc": lambda: (1 - lam) * w["w"],
    }[name]()


def unit_matrices(name, stage, mu):
    """Return H(μ), (C, C), of each mode: the unit less the identity, its norm in evaluation."""
    norm = stage.norm
    scale = 1.0 if norm is None else numpy(norm.weight / torch.sqrt(norm.running_var + norm.eps))
    W = [response_of(name, maps(stage), 1 - m, stage) for m in mu]
    return [np.diag(np.broadcast_to(scale, C)) @ w @ numpy(stage.g.weight) for w in W]


SYMMETRIC = [
    ("snl", {}),
    ("snl", {"normalization": "symmetric", "norm": "none"}),
    ("snl", {"normalization": "bistochastic", "feature_map": "softplus"}),
    ("snl", {"kernel": "cosine", "units": 2}),
    ("snl", {"kernel": "rbf", "sigma": 2.0}),
    ("gsnl", {"kernel": "gaussian"}),
    ("nl", {"kernel": "embedded_gaussian", "normalization": "random_walk", "temperature": 2.0}),
    ("ns", {"kernel": "dot", "normalization": "random_walk"}),
    ("chebyshev", {"order": 4}),
    ("spectral", {"order": 2}),
]


@pytest.mark.parametrize(("name", "options"), SYMMETRIC)
def test_symmetric_affinities_match_dense_eigenvalues(name, options):
    block, x = make_block(name, **options), features()
    record = gnn.audit(block, x)[0]
    assert len(record.items) == 2
    for i, item in enumerate(record.items):
        A, change = dense_of(block, x[i])
        lam = eigen(A, change)[0]
        # eigenvalues of symmetric 16 × 16 matrices; √ε where a few columns leave zeros
        np.testing.assert_allclose(item.eigenvalues, lam, atol=1e-10)
        mu = np.sort(np.abs(1 - lam))[::-1]
        assert item.gap == pytest.approx(1 - mu[1], abs=1e-10)
        S = A / change[:, None] * change
        defect = np.linalg.norm(S @ S - S) / np.linalg.norm(S)
        assert item.defect == pytest.approx(defect, abs=1e-10)
        check_cfl(name, block, record, i, 1 - lam)


def check_cfl(name, block, record, i, mu):
    """Compare the CFL verdict with the eigenvalues of H(μ) of all modes."""
    for stage, unit in zip(block.stages, record.units, strict=True):
        if name in ("chebyshev", "spectral"):
            mu = np.clip(mu, -1, 1)  # for arccos
        rates = np.concatenate([np.linalg.eigvals(H) for H in unit_matrices(name, stage, mu)])
        verdict = unit.cfl[i]
        assert verdict.radius == pytest.approx(np.abs(1 + rates).max(), rel=1e-9)
        moving = rates[np.abs(rates) > 1e-9 * np.abs(rates).max()]
        limit = max(0.0, (-2 * moving.real / np.abs(moving) ** 2).min())
        assert verdict.limit == pytest.approx(limit, rel=1e-6, abs=1e-12)
        assert verdict.stable == (limit >= 1)


@pytest.mark.parametrize("shift", [0.0, -0.3])
def test_cfl_limit_of_a_unit_with_one_known_rate(shift):
    """W₁ = −c W_gᵀ with W_g orthogonal: H = −c I, stable for c ≤ 2."""
    block = make_block("linear", norm="none")
    stage = block.stages[0]
    with torch.no_grad():
        torch.nn.init.orthogonal_(stage.g.weight)
        stage.w_1.weight.copy_(-(1.9 - shift) * stage.g.weight.T)
    verdict = gnn.audit(block, features())[0].units[0].cfl[0]
    assert verdict.limit == pytest.approx(2 / (1.9 - shift))
    assert verdict.stable == (shift == 0)
    assert verdict.radius == pytest.approx(max(1, 0.9 - shift))


NONSYMMETRIC = [
    ("nl", {}),
    ("ns", {"units": 2, "norm": "none"}),
    ("nl", {"kernel": "dot", "normalization": "softmax"}),
    ("a2", {}),
    ("cc", {}),
]


def structured_affinity(name, block, x):
    """Return the dense A of A2 or criss-cross attention, by its definition."""
    X = numpy(x.flatten(1)).T
    phi, psi = (X @ w for w in embeddings(block, X))
    if name == "a2":
        V, B = np.exp(phi), np.exp(psi)
        return (V / V.sum(1, keepdims=True)) @ (B / B.sum(0)).T
    row, column = np.divmod(np.arange(N), SIDE)
    crossed = (row[:, None] == row) | (column[:, None] == column)
    A = np.exp(phi @ psi.T) * crossed
    return A / A.sum(1, keepdims=True)


@pytest.mark.parametrize(("name", "options"), NONSYMMETRIC)
def test_nonsymmetric_affinities_match_dense_matrices(name, options):
    block, x = make_block(name, **options), features()
    record = gnn.audit(block, x)[0]
    for i, item in enumerate(record.items):
        A = (
            structured_affinity(name, block, x[i])
            if name in ("a2", "cc")
            else dense_of(block, x[i])[0]
        )
        check_against_dense(item, A, 1.0)
        assert "complex" in item.reasons["eigenvalues"]
        mu = np.linalg.eigvals(A)
        check_cfl(name, block, record, i, mu)
        left = np.delete(mu, np.argmin(np.abs(mu - 1)))
        assert item.gap == pytest.approx(1 - np.abs(left).max(), abs=1e-8)
    assert "complex" in str(gnn.audit(block, x))


def check_against_dense(item, A, scale):
    """Compare traces of powers, which determine all eigenvalues, and the defect."""
    mu = 1 - item.eigenvalues
    assert len(mu) == len(A)
    for k in range(1, 7):
        trace = np.trace(np.linalg.matrix_power(A, k))
        assert abs((mu**k).sum() - trace) < 1e-9 * max(1, np.abs(mu).max() ** k) * scale
    defect = np.linalg.norm(A @ A - A) / np.linalg.norm(A)
    assert item.defect == pytest.approx(defect, rel=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": "dot", "feature_map": "identity", "normalization": "mean"},
        {"kernel": "dot", "feature_map": "relu", "normalization": "none"},
        {"kernel": "concatenation", "normalization": "mean"},
    ],
)
def test_affinities_whose_rows_do_not_sum_to_one_have_no_gap(options):
    block, x = make_block("nl", bias=True, **options), features(1)
    item = gnn.audit(block, x)[0].items[0]
    X = numpy(x[0].flatten(1)).T
    affine = block.affinity
    phi, psi = (X @ numpy(e.weight).T + numpy(e.bias) for e in (affine.phi, affine.psi))
    if options["kernel"] == "concatenation":
        A = np.maximum(phi + psi.T, 0)
    else:
        h = (lambda p: np.maximum(p, 0)) if options["feature_map"] == "relu" else (lambda p: p)
        A = h(phi) @ h(psi).T
    if options["normalization"] == "mean":
        A = A / N
    check_against_dense(item, A, 1.0)
    assert item.gap is None
    assert "do not sum to 1" in item.reasons["gap"]


def test_biases_of_embeddings_are_used():
    block, x = make_block("snl", bias=True, feature_map="softplus"), features(1)
    torch.nn.init.normal_(block.affinity.phi.bias)
    X = numpy(x[0].flatten(1)).T
    phi, psi = (
        np.logaddexp(0, X @ numpy(e.weight).T + numpy(e.bias))
        for e in (block.affinity.phi, block.affinity.psi)
    )
    A, change = normalized((phi @ psi.T + psi @ phi.T) / 2, "random_walk")
    item = gnn.audit(block, x)[0].items[0]
    np.testing.assert_allclose(item.eigenvalues, eigen(A, change)[0], atol=1e-10)


@pytest.mark.parametrize("isolated", ["self", "zero"])
def test_isolated_positions_have_diagonal_one_or_zero(isolated):
    block, x = make_block("snl", isolated=isolated), features(1)
    x[0, :, 0] = 0  # a row of zeros: relu leaves no edges
    A, change = dense_of(block, x[0])
    alone = np.isclose(np.diag(A), 1) & (np.abs(A).sum(1) == 1) & (np.abs(A).sum(0) == 1)
    assert alone.sum() >= SIDE
    if isolated == "zero":
        A = A - np.diag(alone.astype(float))
    item = gnn.audit(block, x)[0].items[0]
    np.testing.assert_allclose(item.eigenvalues, eigen(A, change)[0], atol=1e-10)
    defect = np.linalg.norm((A @ A - A) / change[:, None] * change)
    assert item.defect == pytest.approx(
        defect / np.linalg.norm(A / change[:, None] * change), abs=1e-10
    )
    check_cfl("snl", block, gnn.audit(block, x)[0], 0, 1 - eigen(A, change)[0])


def test_isolated_positions_of_low_rank_softmax():
    block, x = (
        make_block("snl", kernel="dot", normalization="softmax", storage="lowrank"),
        features(1),
    )
    with torch.no_grad():
        block.affinity.psi.weight.abs_()
        block.affinity.phi.weight.abs_()
    x = x.abs()
    x[0, :, 1] *= -1
    A = dense_of(block, x[0])[0]
    assert np.trace(A) >= SIDE
    check_against_dense(gnn.audit(block, x)[0].items[0], A, 1.0)


@pytest.mark.parametrize("name", ["snl", "gsnl", "nl", "ns", "chebyshev", "spectral", "linear"])
def test_singular_values_of_responses_and_weights(name):
    block = make_block(name)
    unit, stage = gnn.audit(block, features())[0].units[0], block.stages[0]
    for lam, values in zip(unit.lam, unit.response, strict=True):
        W = response_of(name, maps(stage), lam, stage)
        np.testing.assert_allclose(values, np.linalg.svd(W, compute_uv=False), atol=1e-11)
    np.testing.assert_array_equal(unit.norm, unit.response[:, 0])
    assert unit.lam[0] == 0
    assert unit.lam[-1] == 2
    for key, weight in {
        "g": stage.g.weight,
        **{k: stage.get_submodule(k).weight for k in stage.terms},
    }.items():
        np.testing.assert_allclose(
            unit.weights[key], np.linalg.svd(numpy(weight), compute_uv=False), atol=1e-12
        )
    assert ("affinity.phi" in unit.weights) == (name != "linear")


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("snl", lambda w: w["w_2"]),
        ("nl", lambda w: w["w"]),
        ("ns", lambda w: w["w"]),
        ("gsnl", lambda w: w["w_2"] + 2 * w["w_3"]),
        ("linear", lambda w: w["w_1"]),
        ("chebyshev", lambda w: w["w_0"] - w["w_1"] + w["w_2"]),
        ("spectral", lambda w: sum(w.values())),
    ],
)
def test_damping_matches_the_symmetric_part(name, factor):
    block = make_block(name)
    product = factor(maps(block.stages[0])) @ numpy(block.stages[0].g.weight)
    values = np.linalg.eigvalsh((product + product.T) / 2)[::-1]
    found = gnn.audit(block, features())[0].units[0].damping
    np.testing.assert_allclose(found.eigenvalues, values, atol=1e-11)


def test_weights_keep_32_singular_values():
    block = gnn.create("snl", 80)
    unit = gnn.audit(block, torch.randn(1, 80, 3, 3))[0].units[0]
    truth = np.linalg.svd(numpy(block.stages[0].g.weight).astype(float), compute_uv=False)
    np.testing.assert_allclose(unit.weights["g"], truth[:32], atol=1e-6)


def test_cgnl_nodes_are_pairs_of_position_and_channel():
    block, x = make_block("cgnl", groups=2), features(1)
    record = gnn.audit(block, x)[0]
    X = numpy(x[0].flatten(1)).T
    t, p = (X @ w for w in embeddings(block, X))
    halves = [slice(0, CS // 2), slice(CS // 2, CS)]
    blocks = [np.outer(t[:, s].T.ravel(), p[:, s].T.ravel()) for s in halves]
    A = np.zeros((N * CS, N * CS))
    A[: N * CS // 2, : N * CS // 2], A[N * CS // 2 :, N * CS // 2 :] = blocks
    item = record.items[0]
    assert item.nodes == N * CS
    check_against_dense(item, A, 1.0)
    assert item.gap is None
    assert record.units[0].cfl == (None,)
    assert "channel" in record.units[0].reasons["cfl"]
    whole = np.zeros((C, CS))  # a grouped map is block-diagonal
    w = numpy(block.stages[0].w.weight)
    whole[: C // 2, : CS // 2], whole[C // 2 :, CS // 2 :] = w[: C // 2], w[C // 2 :]
    values = np.linalg.svd(whole, compute_uv=False)
    np.testing.assert_allclose(record.units[0].response[0], values, atol=1e-12)
    np.testing.assert_allclose(record.units[0].weights["w"], values, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"activation": "relu"}, "relu"),
        ({"norm": "layer"}, "PositionNorm"),
        ({"norm": "group"}, "GroupNorm"),
    ],
)
def test_nonlinear_units_have_no_cfl_verdict(options, reason):
    unit = gnn.audit(make_block("snl", **options), features())[0].units[0]
    assert unit.cfl == (None, None)
    assert reason in unit.reasons["cfl"]
    assert unit.damping.eigenvalues.shape == (C,)


def test_pooled_keys_have_no_spectrum():
    record = gnn.audit(make_block("nl", sub_sample=2), features())[0]
    assert record.items[0].eigenvalues is None
    assert "pooled" in record.items[0].reasons["eigenvalues"]
    assert "pooled" in record.units[0].reasons["cfl"]


def test_the_linear_block_has_only_constant_modes():
    record = gnn.audit(make_block("linear"), features())[0]
    item = record.items[0]
    np.testing.assert_array_equal(item.eigenvalues, np.zeros(N))
    assert (item.gap, item.defect) == (None, 0.0)
    assert "no edges" in str(gnn.audit(make_block("linear"), features()))


def test_one_position_has_one_mode_and_no_gap():
    for name in ("snl", "nl", "a2", "cc"):
        item = gnn.audit(make_block(name, norm="none"), features()[..., :1, :1].abs())[0].items[0]
        np.testing.assert_allclose(item.eigenvalues, [0], atol=1e-12)
        assert item.gap is None


def test_folded_blocks_have_the_same_verdicts():
    """Folding merges maps and norm, and leaves H(μ) as it is."""
    for name in ("gsnl", "chebyshev", "linear"):
        block = make_block(name).eval()
        plain, folded = (gnn.audit(m, features())[0] for m in (block, gnn.fold(block)))
        assert folded.units[0].cfl[0].radius == pytest.approx(plain.units[0].cfl[0].radius)
        if name == "linear":
            assert folded.units[0].cfl[0].limit == pytest.approx(plain.units[0].cfl[0].limit)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Sequential(torch.nn.Conv2d(3, C, 1), torch.nn.BatchNorm2d(C))
        self.nonlocal_block = gnn.create("snl", C)
        self.unused = gnn.create("nl", C)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(()))

    def forward(self, x, scale=1.0):
        self.calls += 1
        self.last = x.mean() + torch.rand(())  # assigned, not changed in place
        assert not self.training
        assert not self.first.training
        assert not torch.is_grad_enabled()
        return self.nonlocal_block(scale * self.first(x))


def test_networks_are_restored_and_every_block_is_listed():
    torch.manual_seed(0)
    net = gnn.insert(Net(), {"first": ("ns", {"units": 2})})
    net.first[1].eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    modes = [m.training for m in net.modules()]
    x = torch.randn(3, 3, SIDE, SIDE)
    random = torch.get_rng_state()
    seen = gnn.audit(net, x)
    assert torch.equal(torch.get_rng_state(), random)
    assert [b.module for b in seen] == ["first.1", "nonlocal_block", "unused"]
    assert [b.block for b in seen] == ["ns", "snl", "nl"]
    assert [len(b.units) for b in seen] == [2, 1, 1]
    assert [len(b.items) for b in seen] == [3, 3, 0]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert [m.training for m in net.modules()] == modes
    assert not any(m._forward_pre_hooks for m in net.modules())
    lines = str(seen).splitlines()
    assert len(lines) == 5 + len({r for b in seen for r in [(b.module, w) for w in b.reasons]})
    assert "unused: no item of the batch reaches it" in lines
    assert seen["first.1"].items[0].gap == gnn.audit(net, (x,))["first.1"].items[0].gap
    assert len(gnn.audit(net, {"x": x, "scale": 2.0})) == 3
    with pytest.raises(InputError, match="'nonlocal_block'"):
        seen["second"]


def test_half_precision_blocks_are_audited_in_float64():
    block = gnn.create("snl", C, feature_map="softplus").bfloat16()
    item = gnn.audit(block, features(1).bfloat16())[0].items[0]
    assert item.eigenvalues[0] == pytest.approx(0, abs=1e-12)


def test_models_and_batches_that_cannot_be_audited():
    block = gnn.create("snl", C)
    with pytest.raises(InputError, match="no nonlocal blocks"):
        gnn.audit(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    with pytest.raises(InputError, match="not int"):
        gnn.audit(3, torch.zeros(1, 2))
    with pytest.raises(InputError, match="made for 6 channels"):
        gnn.audit(block, torch.zeros(1, C + 1, 4, 4))
    net = torch.nn.Sequential(torch.nn.Conv2d(3, C, 1), block)
    with pytest.raises(InputError, match=r"cannot run this batch \(\(1, 4, 4, 4\)\)"):
        gnn.audit(net, torch.zeros(1, 4, 4, 4))
    with pytest.raises(InputError, match="cannot run this batch"):
        gnn.audit(net, "picture")
    with pytest.raises(InputError, match="'1' are not finite"):
        gnn.audit(net, torch.full((1, 3, 4, 4), torch.nan))
    with pytest.raises(InputError, match="nodes="):
        gnn.audit(block, features(), nodes=0)
    lonely = Net()
    lonely.forward = lambda x: x
    with pytest.raises(InputError, match="reaches none"):
        gnn.audit(lonely, torch.zeros(1))
    assert net.training
    assert not block.affinity._forward_pre_hooks


def test_no_dense_matrix_beyond_the_node_limit(monkeypatch):
    """Low-rank affinities need none; others have the gap alone, or no value."""
    x = torch.randn(1, C, 20_000)
    for name, options in (("snl", {}), ("snl", {"kernel": "cosine"}), ("a2", {}), ("cgnl", {})):
        record = gnn.audit(gnn.create(name, C, **options), x)[0]
        assert len(record.items[0].eigenvalues) == 20_000 * (3 if name == "cgnl" else 1)
        assert record.items[0].defect is not None
    few = features(1)
    soft = gnn.audit(make_block("nl"), few, nodes=8)[0].items[0]
    assert soft.gap is soft.defect is soft.eigenvalues is None
    assert "nodes=8" in soft.reasons["gap"]
    block = make_block("snl", kernel="rbf")
    near = gnn.audit(block, few, nodes=8)[0].items[0]
    lam = eigen(*dense_of(block, few[0]))[0]
    assert near.eigenvalues is None
    assert near.gap == pytest.approx(1 - np.sort(np.abs(1 - lam))[-2], abs=1e-8)
    assert "nodes=8" in gnn.audit(make_block("cc"), few, nodes=8)[0].items[0].reasons["gap"]


def test_the_graph_of_the_core_gives_the_same_verdict():
    """The graph of an item can be passed to gspnl.stability."""
    block, x = make_block("snl"), features(1)
    item = gnn.audit(block, x)[0].items[0]
    assert gspnl.stability.memory(item.graph, 3) == pytest.approx((1 - item.gap) ** 3)
    direct = [gspnl.stability.cfl(item.graph, [H0, H1 - H0]) for H0, H1 in
              [unit_matrices("snl", block.stages[0], [0.0, 1.0])]]  # fmt: skip
    found = gnn.audit(block, x)[0].units[0].cfl[0]
    assert found.radius == pytest.approx(direct[0].radius)
    assert found.limit == pytest.approx(direct[0].limit, abs=1e-9)


def test_plot_draws_spectra_responses_and_weights():
    pytest.importorskip("matplotlib")
    net = torch.nn.Sequential(make_block("snl", units=2), make_block("nl", sub_sample=2))
    figure = gnn.audit(net, features()).plot()
    spectra, responses, channels = figure.axes
    A, change = dense_of(net[0], features()[0])
    size = np.sort(np.abs(1 - eigen(A, change)[0]))[::-1]
    drawn = spectra.lines[0].get_ydata()
    np.testing.assert_allclose(drawn, size[: len(drawn)], rtol=1e-6, atol=1e-12)
    assert len(drawn) == 2 * CS  # the rank of A
    assert [line.get_label() for line in responses.lines] == [
        "0 (snl), unit 1", "0 (snl), unit 2", "1 (nl)",
    ]  # fmt: skip
    assert len(channels.get_legend().get_texts()) == 3
    figure.canvas.draw()


def test_plot_of_blocks_without_spectra():
    pytest.importorskip("matplotlib")
    figure = gnn.audit(make_block("nl", sub_sample=2), features()).plot()
    (line,) = figure.axes[0].lines
    assert line.get_label() == "nl: none"
    figure.canvas.draw()
