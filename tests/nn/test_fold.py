"""Folded blocks give the same outputs from fewer maps."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from gspnl import nn as gnn
from gspnl.errors import InputError
from gspnl.nn.unit import Stage

X = torch.randn(2, 8, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

OPTIONS = [
    ("linear", {}),
    ("linear", {"inner": 6}),
    ("linear", {"norm": "none", "bias": True}),
    ("nl", {}),
    ("nl", {"inner": 8}),
    ("nl", {"inner": 9, "sub_sample": 2}),
    ("nl", {"kernel": "rbf", "normalization": "symmetric", "activation": "relu"}),
    ("ns", {"units": 3}),
    ("ns", {"norm": "layer", "inner": 8}),
    ("snl", {}),
    ("snl", {"inner": 8, "units": 2}),
    ("snl", {"inner": 12, "activation": "relu"}),
    ("snl", {"inner": 12, "activation": "relu", "zero_init": False}),
    ("snl", {"inner": 12, "norm": "group"}),
    ("snl", {"inner": 12, "bias": True}),
    ("snl", {"inner": 12, "bias": True, "norm": "none"}),
    ("snl", {"inner": 12, "embedding": 2, "storage": "lowrank"}),
    ("snl", {"inner": 12, "embedding": 2, "storage": "lowrank", "isolated": "zero"}),
    ("snl", {"kernel": "concatenation", "inner": 8}),
    ("snl", {"kernel": "cosine", "inner": 12, "normalization": "bistochastic"}),
    ("gsnl", {}),
    ("gsnl", {"inner": 16, "units": 2}),
    ("gsnl", {"norm": "group", "bias": True}),
    ("chebyshev", {"order": 4}),
    ("chebyshev", {"order": 3, "inner": 12, "storage": "lowrank"}),
    ("chebyshev", {"order": 0, "inner": 8}),
    ("spectral", {"order": 2, "storage": "dense"}),
    ("spectral", {"order": 2}),
    ("spectral", {"order": 2, "inner": 12, "storage": "lowrank", "bias": True}),
    ("cgnl", {"groups": 2}),
    ("cgnl", {"groups": 2, "norm": "group", "inner": 8}),
    ("cgnl", {"kernel": "rbf", "inner": 8, "bias": True}),
    ("a2", {"inner": 12}),
    ("a2", {}),
    ("cc", {"inner": 8}),
]


def with_trained_values(model, std=0.5):
    """Draw weights and running statistics, none at its initial value."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model.eval()


def assert_close(folded, model, x, tolerance):
    truth = model(x)
    error = ((folded(x) - truth).norm() / truth.norm()).item()
    assert error <= tolerance, error
    # The output less x must be right too, and must not be small beside x.
    if isinstance(model, gnn.Block):
        step = (truth - x).norm()
        assert step > 0.05 * x.norm()
        assert (folded(x) - truth).norm() <= 100 * tolerance * step


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_folded_blocks_give_the_same_outputs(name, options):
    torch.manual_seed(0)
    block = with_trained_values(gnn.create(name, 8, **options)).double()
    state = {key: value.clone() for key, value in block.state_dict().items()}
    block.train()
    folded = gnn.fold(block)
    assert block.training
    assert not block.folded
    assert list(block.state_dict()) == list(state)
    assert all(torch.equal(block.state_dict()[key], state[key]) for key in state)
    assert_close(folded, block.eval(), X, 1e-13)  # float64; sums of about 10 terms in another order
    assert folded.folded
    assert not any(m.training for m in folded.modules())
    assert not any(p.requires_grad for p in folded.parameters())
    assert not any(isinstance(m, nn.BatchNorm1d) for m in folded.modules())
    assert sum(p.numel() for p in folded.parameters()) < 2 * sum(
        p.numel() for p in block.parameters()
    )
    again = gnn.fold(folded)
    assert torch.equal(again(X), folded(X))
    assert list(again.state_dict()) == list(folded.state_dict())


def test_maps_are_merged_in_float64_and_rounded_once():
    for norm in ("batch", "none"):
        block = with_trained_values(gnn.create("gsnl", 8, inner=8, norm=norm))
        one, other = (
            gnn.fold(block).state_dict(),
            gnn.fold(copy.deepcopy(block).double()).state_dict(),
        )
        assert list(one) == list(other)
        assert all(torch.equal(one[key], other[key].float()) for key in one)


def test_a_bias_before_the_norm_is_merged():
    """Our blocks have none; loaded ones may."""
    block = with_trained_values(gnn.create("gsnl", 8)).double()
    for output in block.stages[0].outputs:
        output.bias = nn.Parameter(torch.randn(8, dtype=torch.float64))
    assert_close(gnn.fold(block), block, X, 1e-13)


def test_isolated_positions_keep_a_diagonal_of_one():
    """Positions of degree 0 have A_ii = 1, with W_g merged or not."""
    for inner in (4, 12):
        block = with_trained_values(gnn.create("gsnl", 8, inner=inner, embedding=2)).double()
        x = X.clone()
        block.affinity.phi.weight.data.abs_()
        block.affinity.psi.weight.data.abs_()
        x[:, :, 0] = -x[:, :, 0].abs()
        degrees_vanish = torch.einsum("rc,bcn->brn", block.affinity.phi.weight, x.flatten(2)) <= 0
        assert degrees_vanish.all(1).any()
        assert_close(gnn.fold(block), block, x, 1e-13)


def test_gsnl_folds_into_the_snl_of_erratum_e1():
    """The SNL with maps W₁ − W₃ and W₂ + 2W₃ folds to the same weights."""
    for norm in ("batch", "layer"):
        block = with_trained_values(gnn.create("gsnl", 8, norm=norm)).double()
        stage = block.stages[0]
        snl = gnn.create("snl", 8, norm=norm).double().eval()
        snl.load_state_dict(block.state_dict(), strict=False)
        snl.stages[0].w_1.weight.data = stage.w_1.weight - stage.w_3.weight
        snl.stages[0].w_2.weight.data = stage.w_2.weight + 2 * stage.w_3.weight
        one, other = gnn.fold(block), gnn.fold(snl)
        assert list(one.state_dict()) == list(other.state_dict())
        for key, value in one.state_dict().items():
            assert torch.allclose(value, other.state_dict()[key], rtol=1e-13, atol=1e-14), key
        assert list(one.stages[0].terms) == ["v_0", "v_1"]
    scale = snl.stages[0].norm  # layer norm is kept
    assert torch.equal(one.stages[0].norm.weight, scale.weight)


def test_folded_maps_of_snl_match_the_formulas():
    block = with_trained_values(gnn.create("snl", 8, inner=12)).double()
    stage = gnn.fold(block).stages[0]
    before = block.stages[0]
    s = before.norm.weight / torch.sqrt(before.norm.running_var + before.norm.eps)
    W_g, W_1, W_2 = before.g.weight, before.w_1.weight, before.w_2.weight
    assert stage.whole
    assert stage.g is None
    eye = torch.eye(8, dtype=torch.float64)
    assert torch.allclose(stage.v_0.weight, eye + s[:, None] * (W_1 @ W_g), atol=1e-14)
    assert torch.allclose(stage.v_1.weight, s[:, None] * (W_2 @ W_g), atol=1e-14)
    shift = before.norm.bias - s * before.norm.running_mean
    assert torch.allclose(stage.v_0.bias, shift, atol=1e-14)
    assert stage.v_1.bias is None


@pytest.mark.parametrize(
    ("name", "options", "merged"),
    [
        # multiplications per position, C = 8 and r = inner: with W_g, and merged
        ("snl", {}, False),  # 2·8·4 + 8·4 = 96, 64 + 8·8 = 128
        ("snl", {"inner": 8}, True),  # 2·64 + 16·8, 64 + 16·8
        ("snl", {"inner": 5, "embedding": 4}, False),  # 80 + 8·5, 64 + 8·8: W has rank 2r
        ("snl", {"inner": 5, "embedding": 4, "normalization": "softmax"}, True),  # M has rank r
        ("snl", {"inner": 5, "embedding": 4, "storage": "dense"}, False),  # N²·5, N²·8
        ("linear", {}, True),  # 64, 64, and the residual is merged too
        ("linear", {"inner": 3}, False),  # 48, 64
        ("nl", {}, False),  # N² · 4 + 32, N² · 8
        ("nl", {"inner": 8}, True),  # N² · 8 + 64, N² · 8
        ("nl", {"inner": 8, "sub_sample": 2}, False),  # pooling does not commute with W_g
        ("snl", {"inner": 8, "bias": True}, False),  # A does not always keep a constant
        ("a2", {}, True),  # 32 + 4·4 = 48, 4·8 = 32
        ("cgnl", {"inner": 8}, False),  # its nodes are single channels
    ],
    ids=str,
)
def test_the_signal_map_is_merged_where_that_is_cheaper(name, options, merged):
    stage = gnn.fold(gnn.create(name, 8, **options)).stages[0]
    assert (stage.g is None) is merged


class Net(nn.Module):
    """Ten blocks after convolutions, each within a residual connection."""

    def __init__(self):
        super().__init__()
        names = ["snl", "gsnl", "nl", "ns", "chebyshev", "linear", "a2", "cc", "cgnl", "spectral"]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
            for _ in names
        )
        gnn.insert(self, {f"layers.{i}": name for i, name in enumerate(names)})

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x)
        return x


def test_a_network_of_ten_blocks_in_float32():
    torch.manual_seed(0)
    net = with_trained_values(Net(), std=0.1).train()
    x = torch.randn(4, 16, 12, 12)
    folded = gnn.fold(net)
    assert_close(folded, net.eval(), x, 1e-5)
    assert len(gnn.describe(folded)) == 10
    assert all(block.folded for block in folded.modules() if isinstance(block, gnn.Block))
    assert isinstance(folded.layers[0][1], nn.BatchNorm2d)  # outside of blocks: kept
    bare, truth = gnn.remove(copy.deepcopy(net))(x), net(x)
    assert (bare - truth).norm() > 0.1 * truth.norm()  # the blocks have an effect
    assert torch.equal(pickle.loads(pickle.dumps(folded))(x), folded(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "options"),
    [("gsnl", {"inner": 8}), ("cgnl", {"groups": 2}), ("spectral", {"order": 2})],
    ids=str,
)
def test_half_precision_is_as_accurate_as_the_block(name, options, dtype):
    """Merged maps are in float32, so the error is that of the block itself."""
    torch.manual_seed(0)
    block = with_trained_values(gnn.create(name, 8, **options), std=0.3).to(dtype)
    folded = gnn.fold(block)
    stage = folded.stages[0]
    assert {p.dtype for output in stage.outputs for p in output.parameters()} == {torch.float32}
    assert {p.dtype for p in folded.affinity.parameters()} == {dtype}
    x = X.to(dtype)
    truth = copy.deepcopy(block).double()(x.double())
    own, error = ((m(x).double() - truth).norm() for m in (block, folded))
    assert error <= 1.5 * own
    assert error <= 4 * torch.finfo(dtype).eps * truth.norm()
    assert folded(x).dtype == dtype
    assert torch.isfinite(folded.to(dtype)(x)).all()


def test_folded_blocks_run_under_autocast():
    torch.manual_seed(0)
    block = with_trained_values(gnn.create("snl", 8, inner=8), std=0.3)
    x = X.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = gnn.fold(block)(x)
    assert (y - block(x)).norm() < 0.02 * block(x).norm()


@pytest.mark.parametrize("strict", [True, False])
def test_folded_blocks_can_be_exported(strict):
    torch.manual_seed(0)
    folded = gnn.fold(with_trained_values(gnn.create("gsnl", 8, units=2, inner=8), std=0.3))
    x = X.float()
    program = torch.export.export(folded, (x,), strict=strict)
    assert torch.allclose(program.module()(x), folded(x), rtol=1e-5, atol=1e-5)


def test_folded_blocks_can_be_compiled():
    torch.manual_seed(0)
    folded = gnn.fold(with_trained_values(gnn.create("gsnl", 8), std=0.3))
    x = X.float()
    compiled = torch.compile(folded, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(x), folded(x), rtol=1e-5, atol=1e-5)


def test_folded_blocks_cannot_be_saved(tmp_path):
    pytest.importorskip("safetensors")
    folded = gnn.fold(gnn.create("snl", 8))
    with pytest.raises(InputError, match="save the block that it was folded from"):
        gnn.save(folded, tmp_path / "b")
    fresh = gnn.fold(gnn.create("snl", 8))
    fresh.load_state_dict(folded.state_dict())  # two blocks of one configuration
    assert torch.equal(fresh(X.float()), folded(X.float()))


def test_parametrised_weights_are_refused():
    block = with_trained_values(gnn.create("snl", 8)).double()
    y = block(X)
    torch.nn.utils.parametrizations.weight_norm(block.stages[0].w_1)
    with pytest.raises(InputError, match=r"'stages.0.w_1' in a block are parametrised"):
        gnn.fold(block)
    assert torch.allclose(block(X), y)


def test_a_batch_norm_without_statistics_is_kept():
    block = with_trained_values(gnn.create("snl", 8)).double()
    norm = block.stages[0].norm
    norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
    folded = gnn.fold(block)
    assert isinstance(folded.stages[0].norm, nn.BatchNorm1d)
    assert_close(folded, block, X, 1e-13)
    block = with_trained_values(gnn.create("snl", 8)).double()
    block.stages[0].norm = nn.SyncBatchNorm.convert_sync_batchnorm(block.stages[0].norm)
    plain = copy.deepcopy(block)
    plain.stages[0].norm = nn.BatchNorm1d(8).double().eval()
    plain.stages[0].norm.load_state_dict(block.stages[0].norm.state_dict())
    assert_close(gnn.fold(block), plain, X, 1e-13)


def test_subclasses_of_units_are_not_folded():
    class Own(Stage):
        def filtered(self, Z, operator):
            return super().filtered(Z, operator) ** 2

    block = with_trained_values(gnn.create("snl", 8)).double()
    block.stages[0].__class__ = Own
    assert_close(gnn.fold(block), block, X, 1e-13)


def test_models_that_cannot_be_folded_are_refused():
    with pytest.raises(InputError, match=r"must be a torch.nn.Module, not str"):
        gnn.fold("snl")
    block = gnn.create("snl", 8)
    with pytest.raises(InputError, match="is a OptimizedModule"):
        gnn.fold(torch.compile(block, backend="eager"))
    block.stages[0].kept = block.stages[0].g.weight * 2  # not a leaf
    with pytest.raises(InputError, match="cannot be copied, and so not folded"):
        gnn.fold(block)


def test_a_network_without_blocks_is_copied_in_evaluation_mode():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    folded = gnn.fold(net)
    assert folded is not net
    assert net.training
    assert not folded.training
    assert all(p.requires_grad for p in folded.parameters())
