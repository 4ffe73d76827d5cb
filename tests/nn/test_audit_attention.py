"""Audits of attention: heads, depth, rollout, verdicts, ablation, words, and bad input."""

from __future__ import annotations

import contextlib
import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gspnl import nn as gnn
from gspnl.errors import InputError
from gspnl.nn.attention_calls import AttentionCall, observe
from gspnl.nn.auditing.heads import HeadRecord
from gspnl.nn.auditing.network.ablation import silenced
from gspnl.nn.auditing.network.advice import remarks, words
from gspnl.nn.auditing.network.audit import audit_attention
from gspnl.nn.auditing.network.depth import off_mean
from gspnl.nn.auditing.network.identity import identity_share
from gspnl.nn.auditing.network.rollout import rollout

C, H, N = 16, 4, 9
SIZE = C // H


class Attention(nn.Module):
    """Attention of a vision transformer, fused."""

    def __init__(self, gain=1.0):
        super().__init__()
        self.qkv, self.proj, self.gain = nn.Linear(C, 3 * C), nn.Linear(C, C), gain
        self.num_heads = H

    def forward(self, x):
        B, n, _ = x.shape
        qkv = self.qkv(x).reshape(B, n, 3, H, SIZE).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        y = functional.scaled_dot_product_attention(self.gain * q, k, v)
        return self.proj(y.transpose(1, 2).reshape(B, n, C))


class Layer(nn.Module):
    def __init__(self, gain=1.0):
        super().__init__()
        self.norm, self.attn = nn.LayerNorm(C), Attention(gain)

    def forward(self, x):
        return x + self.attn(self.norm(x))


class Net(nn.Module):
    def __init__(self, depth=3, gain=2.0):
        super().__init__()
        self.blocks = nn.ModuleList(Layer(gain) for _ in range(depth))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def network(**options):
    torch.manual_seed(0)
    return Net(**options).double()


def tokens(items=2, n=N, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(items, n, C, generator=generator, dtype=torch.float64)


def dense(net, x):
    """Return A (B, H, N, N), inputs and the write of each layer, by the plain formulas."""
    found = []
    for block in net.blocks:
        X = block.norm(x)
        q, k, v = block.attn.qkv(X).reshape(*X.shape[:2], 3, H, SIZE).permute(2, 0, 3, 1, 4)
        A = torch.softmax(block.attn.gain * q @ k.mT / math.sqrt(SIZE), -1)
        written = (A @ v).transpose(1, 2).reshape(X.shape)
        found.append((A.detach().numpy(), X.detach().numpy(), (A @ v).detach().numpy()))
        x = x + block.attn.proj(written)
    return found


def call_of(A, v=None, **options):
    """Return a call of weights (H, N, M) on one item."""
    A = torch.as_tensor(np.asarray(A, dtype=np.float64))
    return AttentionCall("layer", "given", None, None, v, weights=A[None], **options)


def random_chain(n, seed=0, heads=1):
    A = np.random.default_rng(seed).uniform(0.1, 1, (heads, n, n))
    return A / A.sum(-1, keepdims=True)


# --- the audit of a network -----------------------------------------------------------------------


def test_every_head_has_a_record_in_the_order_of_execution():
    net, x = network(), tokens()
    seen = gnn.audit(net, x)
    assert [(r.layer, r.head) for r in seen.attention] == [
        (f"blocks.{i}.attn", h) for i in range(3) for h in range(H)
    ]
    for record, (i, h) in zip(seen.attention, np.ndindex(3, H), strict=True):
        A = dense(net, x)[i][0][:, h]
        assert len(record.items) == 2
        for item, a in zip(record.items, A, strict=True):
            mu = np.linalg.eigvals(a)
            assert item.gap == pytest.approx(1 - np.sort(np.abs(mu))[-2], abs=1e-8)
            log = -(a * np.log(a)).sum(1).mean()
            assert item.entropy == pytest.approx(log, abs=1e-8)
    assert list(seen) == []
    assert len(seen) == 0
    assert seen.notes == ()


def test_the_network_is_unchanged():
    net, x = network().train(), tokens()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    output, random = net.eval()(x), torch.get_rng_state()
    net.train()
    gnn.audit(net, x)
    assert net.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(net.eval()(x), output)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert not nn.modules.module._has_any_global_hook()


def test_blocks_and_attention_take_one_forward_pass():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.layer, self.runs = gnn.create("snl", C), Layer(), 0

        def forward(self, x):
            self.runs += 1
            return self.layer(self.block(x.mT).mT)

    torch.manual_seed(0)
    net = Both().double()
    seen = gnn.audit(net, tokens(), ablate=False)
    assert net.runs == 1
    assert [b.module for b in seen] == ["block"]
    assert len(seen.attention) == H
    assert len(seen["block"].items) == 2
    assert str(seen).startswith("module")
    assert "layer.attn" in str(seen)
    assert len(seen.plot().axes) == 3 + 6 + 4  # four colour bars


def test_a_softmax_inside_of_a_block_is_no_head():
    block = gnn.create("nl", 8)
    seen = gnn.audit(nn.Sequential(block), torch.randn(1, 8, 4, 4))
    assert [b.block for b in seen] == ["nl"]
    assert seen.attention == ()


def test_a_limit_on_time_says_what_it_left_out():
    seen = gnn.audit(network(), tokens(), seconds=0)
    assert len(seen.attention) == 3 * H
    assert all(record.eigenvalues is None for record in seen.attention)
    assert all(record.entropy is not None for record in seen.attention)
    (note,) = [each for each in seen.notes if "seconds=0" in each]
    assert f"eigenvalues ({3 * H})" in note
    assert note in str(seen)


# --- depth and rollout ----------------------------------------------------------------------------


def test_depth_equals_plain_formulas():
    net, x = network(), tokens()
    seen = gnn.audit(net, x)
    for layer, (A, X, _) in zip(seen.depth, dense(net, x), strict=True):
        off = [((a - a.mean(0)) ** 2).sum() / (a**2).sum() for a in X]
        assert layer.off_mean == pytest.approx(np.mean(off), rel=1e-8)
        energies = []
        for item, h in np.ndindex(2, H):
            a = A[item, h]
            values, vectors = np.linalg.eig(a.T)
            pi = np.abs(np.real(vectors[:, np.argmax(values.real)]))
            pi /= pi.sum()
            y = X[item] - pi @ X[item]
            energies.append((pi @ (y * (y - a @ y)).sum(1)) / (pi @ (y**2).sum(1)))
        assert layer.dirichlet == pytest.approx(np.mean(energies), rel=1e-6)


def test_rollout_is_the_mean_row_of_the_product():
    net, x = network(), tokens()
    seen = gnn.audit(net, x)
    product = np.eye(N)
    for A, _, _ in dense(net, x):
        product = (A[0].mean(0) + np.eye(N)) / 2 @ product
    np.testing.assert_allclose(seen.rollout, product.mean(0), atol=1e-10)
    assert seen.rollout.sum() == pytest.approx(1)


def test_rollout_leaves_out_cross_attention_and_windows():
    square, cross = call_of(random_chain(5)), call_of(random_chain(5)[:, :, :3] * 0 + 1 / 3)
    windows = AttentionCall(
        "windows", "given", None, None, None,
        weights=torch.full((4, 1, 3, 3), 1 / 3, dtype=torch.float64),
    )  # fmt: skip
    row, notes = rollout([square, square, cross, windows])
    A = (random_chain(5)[0] + np.eye(5)) / 2
    np.testing.assert_allclose(row, (A @ A).mean(0), atol=1e-12)
    assert "3 keys are other nodes" in notes[0]
    assert "windows" in notes[1]
    row, notes = rollout([cross])
    assert row is None
    assert "no layer" in notes[-1]


def test_off_mean_of_constant_and_centred_features():
    ones = torch.ones(1, 4, 3)
    centred = torch.tensor([[[1.0], [-1.0]]])
    assert off_mean(call_of(random_chain(4), inputs=ones)) == 0
    assert off_mean(call_of(random_chain(2), inputs=centred)) == 1
    assert off_mean(call_of(random_chain(2), inputs=torch.zeros(1, 2, 1))) is None
    assert off_mean(call_of(random_chain(2))) is None


# --- θ₀ -------------------------------------------------------------------------------------------


def fitted(A, outputs, n=200, seed=3):
    """Return the shares of a layer whose heads (H, N, N) write by the maps (H, c, C)."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(1, n, 6, generator=generator, dtype=torch.float64)
    maps = torch.as_tensor(np.asarray(outputs, dtype=np.float64))
    v = X[:, None].expand(1, len(A), n, 6)
    share, why = identity_share(call_of(A, v, inputs=X, output_weight=maps))
    assert why == ""
    return share


def test_theta_0_of_known_layers():
    n = 200
    chain = random_chain(n, heads=1)[0]
    rng = np.random.default_rng(5)
    first, second = rng.standard_normal((2, 6, 6))
    one = fitted([chain], [first])  # a single head is NL
    assert one.nl == pytest.approx(1)
    assert one.snl == pytest.approx(1)
    assert one.theta_0 == pytest.approx(0, abs=1e-9)
    two = fitted([chain, np.eye(n)], [first, second])  # A X W₁ + X W₂: θ₀ is free
    assert two.snl == pytest.approx(1)
    assert two.nl < 0.999
    assert two.theta_0 > 0.001
    apart = fitted([chain, np.eye(n)], [first, -first])  # (A − I) X W: NS
    assert apart.ns == pytest.approx(1)
    alone = fitted([np.eye(n)], [first])  # X W
    assert alone.identity == pytest.approx(1)


def test_theta_0_needs_values_and_tokens():
    assert "values" in identity_share(call_of(random_chain(5)))[1]
    v = torch.randn(1, 1, 3, 2, dtype=torch.float64)
    cross = call_of(np.full((1, 5, 3), 1 / 3), v)
    assert "cross" in identity_share(cross)[1]
    few = call_of(random_chain(3), v)
    assert "fewer than a fit needs" in identity_share(few)[1]
    same = call_of(np.full((1, 40, 40), 1 / 40), torch.randn(1, 1, 40, 2, dtype=torch.float64))
    assert "same at all tokens" in identity_share(same)[1]


# --- verdicts -------------------------------------------------------------------------------------


def verdicts_of(*calls):
    found = audit_attention(calls, None, nodes=1024, k=16, seconds=None, grid=None)
    return {each.name: each for each in found.verdicts}


def test_the_stable_hypothesis_holds_for_a_projection_and_not_for_a_chain():
    projection = np.full((1, 6, 6), 1 / 6)
    assert verdicts_of(call_of(projection))["stable"].holds is True
    mixed = verdicts_of(call_of(np.concatenate([projection, random_chain(6)])))["stable"]
    A = random_chain(6)[0]
    assert mixed.holds is False
    assert mixed.numbers["share"] == 0.5
    defect = np.linalg.norm(A @ A - A) / np.linalg.norm(A)
    assert mixed.value == pytest.approx(defect / 2, abs=1e-12)  # the median of 0 and it


def test_lambda_max_is_2_for_a_bipartite_chain_alone():
    swap = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    found = verdicts_of(call_of(swap))["lambda_max"]
    assert found.holds is True
    assert found.value == pytest.approx(2)
    A = random_chain(6)
    found = verdicts_of(call_of(A))["lambda_max"]
    assert found.holds is False
    assert found.value == pytest.approx(1 - np.linalg.eigvals(A[0]).real.min(), abs=1e-10)


def test_depth_smooths_where_features_go_to_their_mean():
    wide = torch.tensor([[[1.0], [-1.0]]], dtype=torch.float64)
    near = torch.tensor([[[1.0], [0.9]]], dtype=torch.float64)
    first, last = (call_of(random_chain(2), inputs=x) for x in (wide, near))
    found = verdicts_of(first, last)["depth"]
    assert found.holds is True
    assert found.numbers["off_mean"][0] == 1
    assert found.value == pytest.approx(0.05**2 * 2 / (1 + 0.81), rel=1e-12)
    assert verdicts_of(last, first)["depth"].holds is False
    assert "sharpens" in verdicts_of(last, first)["depth"].text
    assert verdicts_of(first)["depth"].holds is None


def test_the_ablated_head_is_measured():
    net, x = network(), tokens()
    seen = gnn.audit(net, x)
    verdict = next(each for each in seen.verdicts if each.name == "ablation")
    second = [np.mean([item.sigma[1] for item in r.items]) for r in seen.attention]
    least = seen.attention[int(np.argmin(second))]
    assert (verdict.numbers["layer"], verdict.numbers["head"]) == (least.layer, least.head)
    with torch.no_grad():
        output = net(x)
        weight = net.get_submodule(least.layer).proj.weight
        kept = weight.clone()
        weight[:, least.head * SIZE : (least.head + 1) * SIZE] = 0
        changed = net(x)
        weight.copy_(kept)
    change = float((changed - output).norm() / output.norm())
    assert verdict.numbers["output_change"] == pytest.approx(change, rel=1e-10)
    shares = [
        np.mean([((y - y.mean(0)) ** 2).sum() / (y**2).sum() for y in out.numpy()])
        for out in (output, changed)
    ]
    assert verdict.numbers["off_mean"] == pytest.approx(shares, rel=1e-10)
    assert verdict.value == pytest.approx(shares[1] / shares[0] - 1, rel=1e-8)
    assert verdict.numbers["at"] == "the output"
    other = verdict.numbers["control"]
    assert other["layer"] == least.layer
    assert other["head"] != least.head


def test_a_head_is_silenced_for_a_while_and_restored_bit_by_bit():
    net, x = network(), tokens()
    call = observe(net, x)[1]
    weight = net.blocks[1].attn.proj.weight
    before = weight.detach().clone()
    with contextlib.suppress(KeyboardInterrupt), silenced(net, call, 2):
        assert (weight[:, 2 * SIZE : 3 * SIZE] == 0).all()
        rest = [c for c in range(C) if not 2 * SIZE <= c < 3 * SIZE]
        assert torch.equal(weight[:, rest], before[:, rest])
        raise KeyboardInterrupt
    assert torch.equal(weight, before)


def test_ablation_says_why_it_was_not_measured():
    found = verdicts_of(call_of(random_chain(6)))["ablation"]
    assert found.holds is None
    assert "not asked for" in found.text
    seen = gnn.audit(network(), tokens(), ablate=False)
    assert "not asked for" in seen.verdicts[-1].text


# --- words, tables, numbers, figures --------------------------------------------------------------


def record(**numbers):
    return HeadRecord(**{"layer": "blocks.9.attn", "head": 1, "nodes": 50, "keys": 50} | numbers)


@pytest.mark.parametrize(
    ("numbers", "told", "kind"),
    [
        (
            {"sink_mass": 0.63, "sink": 0},
            "token 0 holds 0.63 of the stationary mass: a sink",
            "bad",
        ),
        ({"entropy": math.log(50) - 0.01}, "uniform pooling", "bad"),
        ({"entropy": 1.0, "distance": 0.05}, "near the identity: 95% of A or more", "bad"),
        ({"entropy": 0.02, "distance": 1.0}, "each token attends to one", "good"),
        ({"low_frequency_share": 0.97}, '"blocks.9.attn": "gfsa"', "bad"),
        ({"defect": np.array([0.01, 0.01, 0.01])}, "A² = A within 0.01", "neutral"),
        ({"reversible": 0.01}, "nearly reversible", "good"),
        ({"reversible": 0.7}, "directed: 70%", "neutral"),
        ({"gap": 0.01}, "groups of tokens apart", "good"),
        ({"spectral_norm": 4.4}, "many tokens attend to few", "neutral"),
        ({"value_output_eigenvalues": np.array([1.0, 0.5])}, "copies", "neutral"),
        ({"value_output_eigenvalues": np.array([-1.0, -0.5])}, "erases", "neutral"),
    ],
)
def test_each_rule_says_what_it_found(numbers, told, kind):
    assert told in words(record(**numbers), 1.0)
    assert [each.kind for each in remarks(record(**numbers), 1.0)] == [kind]


def test_rules_are_silent_below_their_thresholds():
    calm = record(
        sink_mass=0.4, sink=3, entropy=2.0, distance=5.0, low_frequency_share=0.5, gap=0.5,
        reversible=0.3, spectral_norm=1.1, defect=np.array([0.5, 0.5, 0.5]),
    )  # fmt: skip
    assert remarks(calm) == ()
    assert "7 of 50 tokens" in words(calm)
    early = remarks(record(low_frequency_share=0.97), 0.0)
    assert [(each.kind, each.try_) for each in early] == [("neutral", "")]
    causal = record(masked="causal", sink_mass=1.0, sink=0, reversible=0.0, gap=0.0)
    assert remarks(causal) == ()


def test_the_tables_have_a_row_a_head_and_a_line_of_words():
    seen = gnn.audit(network(), tokens())
    text = str(seen)
    for title in ("What each head does", "Depth", "Verdicts"):
        assert title in text.splitlines()
    for r in seen.attention:
        assert (
            sum(line.startswith(f"{r.layer}, head {r.head}: ") for line in text.splitlines()) == 1
        )
    for verdict in seen.verdicts:
        assert str(verdict) in text
    row = next(line for line in text.splitlines() if line.startswith("blocks.0.attn")).split()
    first = seen.attention[0]
    assert row[:3] == ["blocks.0.attn", "0", "9"]
    assert f"{first.gap:.2f}" in row


def test_numbers_are_json():
    seen = gnn.audit(network(), tokens())
    found = json.loads(json.dumps(seen.numbers(), allow_nan=False))
    assert found["blocks"] == []
    head = found["attention"][5]
    first = seen.attention[5]
    assert (head["layer"], head["head"], head["nodes"]) == ("blocks.1.attn", 1, N)
    assert head["gap"] == first.gap
    assert head["eigenvalues"][0] == pytest.approx([1, 0], abs=1e-8)
    assert len(head["stationary"]) == N
    assert len(head["items"]) == 2
    assert head["words"]
    assert found["rollout"] == pytest.approx(seen.rollout.tolist())
    assert {v["name"] for v in found["verdicts"]} == {
        "stable", "lambda_max", "theta_0", "depth", "ablation",
    }  # fmt: skip
    assert found["depth"][0]["identity"] is None or "theta_0" in found["depth"][0]["identity"]


def test_the_figure_of_attention_draws_its_numbers():
    pytest.importorskip("matplotlib")
    seen = gnn.audit(network(), tokens())
    figure = seen.plot()
    titles = [ax.get_title() for ax in figure.axes]
    assert "spectral gap 1 − |μ₂|" in titles
    first = figure.axes[0].images[0].get_array()
    gaps = np.array([r.gap for r in seen.attention]).reshape(3, H)
    np.testing.assert_allclose(first, gaps)
    plane = next(ax for ax in figure.axes if "eigenvalues" in ax.get_title())
    drawn = np.concatenate([line.get_xdata() for line in plane.lines[3:] if len(line.get_xdata())])
    mu = np.concatenate([r.eigenvalues for r in seen.attention])
    np.testing.assert_allclose(np.sort(drawn), np.sort(mu.real))
    figure.canvas.draw()


def test_maps_without_a_number_are_grey_and_other_names_are_refused():
    pytest.importorskip("matplotlib")
    import gspnl

    ax = gspnl.plotting.head_map([record(head=0), record(head=1, gap=0.5)])
    assert ax.images[0].get_array().mask.tolist() == [[True, False]]
    with pytest.raises(InputError, match="number='mood' must be one of 'gap'"):
        gspnl.plotting.head_map([record()], "mood")
    with pytest.raises(InputError, match="no heads"):
        gspnl.plotting.head_map([])
    with pytest.raises(InputError, match="no heads"):
        gspnl.plotting.head_eigenvalues([])
    with pytest.raises(InputError, match="no layers"):
        gspnl.plotting.smoothing_by_depth([])


# --- bad input ------------------------------------------------------------------------------------


def test_a_model_without_attention_is_told_what_was_looked_for():
    with pytest.raises(InputError) as told:
        gnn.audit(nn.Linear(2, 2), torch.zeros(1, 2))
    for part in (
        "no nonlocal blocks",
        "scaled_dot_product_attention",
        "MultiheadAttention",
        "softmax",
        "attention=",
    ):
        assert part in str(told.value)


def test_a_batch_that_the_model_refuses_is_quoted():
    with pytest.raises(InputError, match=r"cannot run this batch \(\(1, 9, 5\)\)"):
        gnn.audit(network(), torch.zeros(1, N, 5, dtype=torch.float64))


def test_features_that_are_not_finite_are_refused():
    x = tokens()
    x[0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        gnn.audit(network(), x)


def test_options_are_checked():
    net, x = network(), tokens()
    for options, match in (
        ({"nodes": 0}, "nodes=0"),
        ({"k": 0}, "k=0"),
        ({"seconds": -1}, "seconds=-1"),
        ({"attention": ["blocks"]}, "attention must map"),
    ):
        with pytest.raises(InputError, match=match):
            gnn.audit(net, x, **options)


def test_half_precision_is_audited_in_float64():
    net, x = network().bfloat16(), tokens().bfloat16()
    seen = gnn.audit(net, x)
    assert all(abs(r.eigenvalues[0] - 1) < 1e-12 for r in seen.attention)


def test_missing_heads_are_named_by_their_audit():
    with pytest.raises(InputError, match=r"audit\.attention"):
        gnn.audit(network(), tokens())["blocks.0.attn"]


class Shared(nn.Module):
    """One layer that is called three times, as in ALBERT."""

    def __init__(self):
        super().__init__()
        self.layer = Layer(2.0)

    def forward(self, x):
        for _ in range(3):
            x = self.layer(x)
        return x


def test_a_layer_that_attends_repeatedly_has_its_calls_numbered():
    torch.manual_seed(0)
    seen = gnn.audit(Shared().double(), tokens())
    assert len(seen.attention) == 3 * H
    assert [each["call"] for each in seen.numbers()["attention"]] == [0] * H + [1] * H + [2] * H
    for i in range(3):
        assert f"\nlayer.attn, call {i}, head 0: " in str(seen)
    verdict = seen.verdicts[-1]
    assert verdict.numbers["shared"] == 3
    assert "in all 3 attentions" in verdict.text
    maps = seen.plot().axes[0].images[0].get_array()
    np.testing.assert_allclose(maps, np.reshape([r.gap for r in seen.attention], (3, H)))


def test_equal_weights_of_other_layers_are_not_silenced():
    """nn.TransformerEncoder makes copies of one layer, with equal weights at first."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(C, H, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).double().eval()
    calls = observe(model, tokens())
    with silenced(model, calls[1], 0):
        zeros = [bool((each.self_attn.out_proj.weight == 0).any()) for each in model.layers]
    assert zeros == [False, True, False]
    seen = gnn.audit(model, tokens())
    assert seen.verdicts[-1].numbers["shared"] == 1


def test_cross_attention_has_what_exists_of_it():
    torch.manual_seed(0)
    model = nn.MultiheadAttention(C, H, batch_first=True).double()
    seen = gnn.audit(model, (tokens(n=5), tokens(n=7, seed=2), tokens(n=7, seed=2)))
    assert all(r.cross and (r.nodes, r.keys) == (5, 7) for r in seen.attention)
    assert all(r.entropy is not None and r.eigenvalues is None for r in seen.attention)
    assert seen.rollout is None
    assert any("7 keys are other nodes" in note for note in seen.notes)
    assert {v.name: v.holds for v in seen.verdicts} == dict.fromkeys(
        ("stable", "lambda_max", "theta_0", "depth", "ablation")
    )
    assert "5×7" in str(seen)
    seen.plot().canvas.draw()
    json.dumps(seen.numbers(), allow_nan=False)


def test_one_token_mixes_nothing():
    torch.manual_seed(0)
    seen = gnn.audit(network(), tokens(n=1))
    assert "nothing is mixed" in str(seen)
    assert "sink" not in str(seen).split("Depth")[0].split("What each head does")[1]
    seen.plot().canvas.draw()


def test_a_grid_that_fits_no_layer_is_refused():
    net, x = network(), tokens()
    flat, square = gnn.audit(net, x), gnn.audit(net, x, grid=(3, 3))
    assert square.attention[0].distance < flat.attention[0].distance
    for grid, match in (((9, 9), "81 cells"), (3, "grid=3"), ((3, 0), "grid=0")):
        with pytest.raises(InputError, match=match):
            gnn.audit(net, x, grid=grid)


def test_an_empty_batch_is_refused():
    with pytest.raises(InputError, match="empty"):
        gnn.audit(network(), tokens(items=0))


class Custom(nn.Module):
    """Attention that is no softmax to torch."""

    def forward(self, x):
        A = torch.exp(x @ x.mT / 4)
        return (A / A.sum(-1, keepdim=True)) @ x


def test_attention_that_is_not_seen_is_given_by_a_function():
    x = tokens()
    net = nn.Sequential(nn.Linear(C, C).double(), Custom())
    with pytest.raises(InputError, match="attention="):
        gnn.audit(net, x)

    def function(module, args, output):
        return torch.softmax(args[0] @ args[0].mT / 4, -1)

    seen = gnn.audit(net, x, attention={"1": function})
    (head,) = seen.attention
    X = net[0](x)[0].detach().numpy()
    A = np.exp(X @ X.T / 4)
    A /= A.sum(1, keepdims=True)
    mu = np.sort(np.abs(np.linalg.eigvals(A)))
    assert (head.layer, head.source) == ("1", "given")
    assert head.items[0].gap == pytest.approx(1 - mu[-2], abs=1e-8)
    with pytest.raises(InputError, match="rows"):
        gnn.audit(net, x, attention={"1": lambda *_: torch.ones(2, 1, N, N)})


def test_rollout_of_large_heads_makes_no_matrix(monkeypatch):
    net, x = network(), tokens()
    truth = gnn.audit(net, x).rollout

    def refuse(case):
        raise AssertionError("a dense matrix was made")

    monkeypatch.setattr("gspnl.nn.auditing.network.mixing.log_weights", refuse)
    seen = gnn.audit(net, x, nodes=N - 1, ablate=False)
    np.testing.assert_allclose(seen.rollout, truth, atol=1e-12)
    assert any("nodes=8" in why for layer in seen.depth for why in layer.reasons)


def test_lambda_max_of_large_heads_is_a_bound():
    net, x = network(), tokens(n=40)
    exact = next(v for v in gnn.audit(net, x, ablate=False).verdicts if v.name == "lambda_max")
    seen = gnn.audit(net, x, ablate=False, nodes=20, k=8)
    bound = next(v for v in seen.verdicts if v.name == "lambda_max")
    assert (exact.numbers["bounded"], bound.numbers["bounded"]) == (0, 3 * H)
    assert bound.value >= exact.value - 1e-9
    assert "by a bound" in bound.text


def test_shares_of_unrelated_writes_are_adjusted_to_zero():
    """Noise is explained by chance to the share of its coefficients, 6 of 60 tokens here."""
    n = 60
    generator = torch.Generator().manual_seed(4)
    X = torch.randn(1, n, 6, generator=generator, dtype=torch.float64)
    v = torch.randn(1, 1, n, 6, generator=generator, dtype=torch.float64)
    share, _ = identity_share(call_of(np.eye(n)[None], v, inputs=X))
    assert share.directions == 6
    assert share.identity < 0.05
    assert share.coverage == pytest.approx(1)


def test_a_pairing_is_not_stable_though_its_cube_is_itself():
    swap = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    found = verdicts_of(call_of(swap))["stable"]
    assert found.holds is False
    assert found.numbers["median"] == pytest.approx([math.sqrt(2), 0, math.sqrt(2)])


@pytest.mark.parametrize(("rise", "holds"), [(0.3, True), (0.05, False), (-0.2, False)])
def test_a_head_is_a_cause_where_the_share_rises_without_it(rise, holds):
    from gspnl.nn.auditing.network.ablation import Ablation
    from gspnl.nn.auditing.network.cause import cause

    found = Ablation("blocks.9.attn", 1, (0.5, 0.5 * (1 + rise)), 0.2, "norm")
    verdict = cause(record(sigma=np.array([1.0, 0.1])), found, "")
    assert verdict.holds is holds
    assert verdict.value == pytest.approx(rise)
    assert "at norm" in verdict.text


@pytest.mark.parametrize(("other", "holds"), [(0.1, True), (0.3, False), (0.5, False)])
def test_a_head_is_no_cause_where_another_of_its_layer_does_as_much(other, holds):
    from gspnl.nn.auditing.network.ablation import Ablation
    from gspnl.nn.auditing.network.cause import cause

    found = Ablation("blocks.9.attn", 1, (0.5, 0.65), 0.2, "norm")
    control = Ablation("blocks.9.attn", 0, (0.5, 0.5 * (1 + other)), 0.2, "norm")
    verdict = cause(record(sigma=np.array([1.0, 0.1])), found, "", control)
    assert verdict.holds is holds
    assert f"the share is {0.5 * (1 + other):.3f}" in verdict.text


def test_a_response_that_applies_a_twice_has_one_record_a_head():
    torch.manual_seed(0)
    net = gnn.set_response(network(), {"blocks.1.attn": "gfsa"})
    seen = gnn.audit(net, tokens())
    assert len(seen.attention) == 3 * H
    assert sum("applies the same A 2 times" in note for note in seen.notes) == 1


def test_the_response_that_is_advised_can_be_set():
    net, x = network(), tokens()
    told = words(record(layer="blocks.2.attn", low_frequency_share=0.97), 1.0)
    line = told[told.index("gnn.set_response") :]
    changed = eval(line, {"gnn": gnn, "model": net})
    assert torch.isfinite(changed(x)).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_network_on_a_gpu_has_the_numbers_of_the_cpu():
    net, x = network(), tokens()
    truth, seen = gnn.audit(net, x), gnn.audit(network().cuda(), x.cuda())
    for found, other in zip(seen.attention, truth.attention, strict=True):
        assert found.gap == pytest.approx(other.gap, abs=1e-8)
    assert seen.verdicts[-1].value == pytest.approx(truth.verdicts[-1].value, rel=1e-6)


def test_verdicts_take_all_items_of_the_batch():
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    half = np.full((2, 2), 0.5)
    weights = torch.tensor(np.stack([half, swap])[:, None])
    call = AttentionCall("layer", "given", None, None, None, weights=weights)
    found = verdicts_of(call)
    assert found["lambda_max"].value == pytest.approx(2)
    # ‖A² − A‖/‖A‖ is 0 on the first item and √2 on the second.
    assert found["stable"].value == pytest.approx(math.sqrt(2) / 2)
    assert found["stable"].holds is False


def test_a_pending_backward_goes_on_after_an_audit():
    net, x = network(), tokens()
    loss = net(x).square().sum()
    seen = gnn.audit(net, x)
    assert seen.verdicts[-1].value is not None
    loss.backward()
    found = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    net(x).square().sum().backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(found, net.parameters(), strict=True))


def test_audits_have_a_short_representation():
    assert repr(gnn.audit(network(), tokens())) == "Audit(0 blocks, 12 heads in 3 layers)"
